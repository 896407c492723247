internal import Foundation
internal import TinybirdOutbox

/// Numbers, sizes and times as a person reads them.
enum Humane {
  /// Writes `12,345`.
  static func count(_ number: some BinaryInteger) -> String {
    let digits = String(number.magnitude)
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index).isMultiple(of: 3) { text.append(",") }
      text.append(digit)
    }
    return number < 0 ? "-" + text : text
  }

  /// Writes `1 event`, `12,345 events`; `plural` where an s is not enough.
  static func count(_ number: some BinaryInteger, _ noun: String, _ plural: String? = nil) -> String {
    "\(count(number)) \(number == 1 ? noun : plural ?? noun + "s")"
  }

  /// Writes `512 B`, `1.2 kB`, `346 MB`: decimal units, at least two digits that mean something.
  static func bytes(_ number: some BinaryInteger) -> String {
    guard number >= 1000 else { return "\(number) B" }
    var value = Double(number)
    for unit in ["kB", "MB", "GB", "TB"] {
      value /= 1000
      // What would be rounded to 1000 is 1.0 of the next unit.
      if value < 999.5 || unit == "TB" {
        return (value < 99.95 ? fixed(value, 1) : count(Int(value.rounded()))) + " " + unit
      }
    }
    return "\(number) B"
  }

  /// Writes `850 ms`, `3.2 s`, `2 min 5 s`, `3 h 20 min`, `4 d 6 h`.
  static func duration(_ duration: Duration) -> String {
    let milliseconds = Int64((duration / .milliseconds(1)).rounded())
    let seconds = (milliseconds + 500) / 1000
    return switch milliseconds {
    case ..<1000: "\(max(0, milliseconds)) ms"
    case ..<59_950: fixed(Double(milliseconds) / 1000, 1) + " s"
    case ..<3_599_500: pair(seconds / 60, "min", seconds % 60, "s")
    case ..<86_399_500: pair(seconds / 3600, "h", seconds % 3600 / 60, "min")
    default: pair(seconds / 86400, "d", seconds % 86400 / 3600, "h")
    }
  }

  /// Writes `12 s ago`, `in 3 min`, `now`: as coarse as a glance needs.
  static func relative(_ date: Date, to now: Date) -> String {
    let seconds = Int64(now.timeIntervalSince(date).rounded())
    if seconds == 0 { return "now" }
    return seconds > 0 ? "\(age(seconds)) ago" : "in \(age(-seconds))"
  }

  /// Writes `3 min`: how long ago `date` is.
  static func age(of date: Date, at now: Date) -> String {
    age(max(0, Int64(now.timeIntervalSince(date).rounded())))
  }

  /// Writes `2026-11-21T04:05:06.789Z`.
  static func time(_ date: Date) -> String {
    ISO8601.text(date) ?? "-"
  }

  private static func age(_ seconds: Int64) -> String {
    switch seconds {
    case ..<60: "\(seconds) s"
    case ..<3600: "\(seconds / 60) min"
    case ..<86400: pair(seconds / 3600, "h", seconds % 3600 / 60, "min")
    default: pair(seconds / 86400, "d", seconds % 86400 / 3600, "h")
    }
  }

  private static func pair(_ large: Int64, _ largeUnit: String, _ small: Int64, _ smallUnit: String) -> String {
    small == 0 ? "\(large) \(largeUnit)" : "\(large) \(largeUnit) \(small) \(smallUnit)"
  }

  private static func fixed(_ value: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", value)
  }
}
