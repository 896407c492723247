internal import NIOCore

/// A request's body as the service reads it: one JSON object a line, and for each what becomes of it.
///
/// Pure.
struct NDJSONBody: Equatable {
  /// One row: where its line lies in the body, and whether it goes to the quarantine.
  struct Row: Equatable {
    var start: Int
    var end: Int
    var isQuarantined: Bool
  }

  /// Why the whole body is refused.
  struct Refusal: Error, Equatable {
    /// The line, from 1; empty lines count too.
    ///
    /// Nil where it is not one line's fault.
    var line: Int?
    var reason: String
  }

  /// The rows, in the order of their lines.
  var rows: [Row] = []

  /// Reads a body.
  ///
  /// - Parameters:
  ///   - body: the decompressed bytes. Lines end with LF, or CR LF; empty lines are skipped.
  ///   - rules: what the data source takes.
  ///   - malformedLine: what a line that is not a JSON object does.
  /// - Throws: ``Refusal`` where the service refuses the whole request.
  init(_ body: ByteBuffer, rules: DataSourceRules, malformedLine: EventsAPIEmulator.MalformedLine) throws(Refusal) {
    let check = EventCheck(rules)
    let refusal = body.withUnsafeReadableBytes { bytes in
      read(bytes, check: check, malformedLine: malformedLine)
    }
    if let refusal { throw refusal }
    if rows.isEmpty { throw Refusal(line: nil, reason: "the body has no events") }
  }

  private mutating func read(
    _ bytes: UnsafeRawBufferPointer, check: EventCheck, malformedLine: EventsAPIEmulator.MalformedLine
  ) -> Refusal? {
    rows.reserveCapacity(bytes.count / 256)
    var line = 0
    var next = 0
    while next < bytes.count {
      let start = next
      let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
      next = end + 1
      line += 1
      if bytes[start..<end].allSatisfy(\.isJSONSpace) { continue }
      switch check.judge(UnsafeRawBufferPointer(rebasing: bytes[start..<end])) {
      case .good:
        rows.append(Row(start: start, end: end, isQuarantined: false))
      case .mismatch:
        rows.append(Row(start: start, end: end, isQuarantined: true))
      case .malformed where malformedLine == .quarantineLine:
        rows.append(Row(start: start, end: end, isQuarantined: true))
      case .malformed(let reason), .refused(let reason):
        return Refusal(line: line, reason: reason)
      }
    }
    return nil
  }
}

extension UInt8 {
  fileprivate var isJSONSpace: Bool {
    switch self {
    case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: "\n"): true
    default: false
    }
  }
}
