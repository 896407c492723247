internal import ArgumentParser
internal import Foundation

/// A duration on the command line: `500ms`, `2s`, `5m`, `1.5h`, `7d`.
struct DurationArgument: ExpressibleByArgument, Equatable {
  let duration: Duration

  init(_ duration: Duration) {
    self.duration = duration
  }

  init?(argument: String) {
    let units: [(String, Double)] = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]
    // "ms" stands before "s": the longer suffix wins.
    guard let (unit, seconds) = units.first(where: { argument.hasSuffix($0.0) }) else { return nil }
    let digits = argument.dropLast(unit.count)
    // `Double` would take "inf", "0x1p3" and "1e9" too.
    guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") }),
      let number = Double(digits), number * seconds < 1e10
    else { return nil }
    duration = .milliseconds(Int64((number * seconds * 1000).rounded()))
  }

  var defaultValueDescription: String {
    let milliseconds = Int64((duration / .milliseconds(1)).rounded())
    let units: [(String, Int64)] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
    let (unit, size) = units.first { milliseconds.isMultiple(of: $0.1) && milliseconds >= $0.1 } ?? ("ms", 1)
    return "\(milliseconds / size)\(unit)"
  }
}

/// A moment on the command line: `2h` for two hours ago, or `2026-11-21T04:05:06Z`, `2026-11-21` (its start in UTC).
struct MomentArgument: ExpressibleByArgument {
  let date: Date

  init?(argument: String) {
    if let ago = DurationArgument(argument: argument) {
      date = Date(timeIntervalSinceNow: -(ago.duration / .seconds(1)))
      return
    }
    let text = argument.contains("T") ? argument : argument + "T00:00:00Z"
    let found = [false, true].lazy.compactMap {
      try? Date.ISO8601FormatStyle(includingFractionalSeconds: $0).parse(text)
    }.first
    guard let found else { return nil }
    date = found
  }
}
