/// Which events an erasure is for: those that match all that is set.
public struct EventSelection: Sendable, Equatable {
  /// Events of these ranges; none means of every data source.
  public var ranges: [AddressRange]
  /// Events that have all of these members.
  public var members: [MemberMatch]

  /// Selects by address, by what the events say, or both.
  public init(ranges: [AddressRange] = [], members: [MemberMatch] = []) {
    self.ranges = ranges
    self.members = members
  }

  /// Whether an event, as JSON, has every member that is asked for.
  func matches(_ event: UnsafeRawBufferPointer) -> Bool {
    members.allSatisfy { $0.matches(event) }
  }

  /// The sequence numbers that are asked for of a data source, in order and without overlap.
  func sequences(of dataSource: DataSourceName, upTo last: Int64) -> [ClosedRange<Int64>] {
    guard last >= 1 else { return [] }
    guard !ranges.isEmpty else { return [1...last] }
    return ranges.filter { $0.dataSource == dataSource && $0.sequences.lowerBound <= last }.sorted()
      .reduce(into: []) { joined, range in
        let sequences = range.sequences.clamped(to: 1...last)
        if let previous = joined.last, sequences.lowerBound <= previous.upperBound + 1 {
          joined[joined.count - 1] = previous.lowerBound...max(previous.upperBound, sequences.upperBound)
        } else {
          joined.append(sequences)
        }
      }
  }
}

/// A member of an event and what it must say, written `user_id=4711` or `user.email=ann@example.org`.
///
/// A string matches if its text is the value; a number, `true` or `false` if it is written like the value, so that `1`
/// does not match `1.0`. A dot leads into an object, or is part of a name: both are tried. Arrays are looked through: one
/// element that matches is enough.
public struct MemberMatch: Sendable, Equatable {
  /// The member's name, with a dot before each name further inside.
  public let path: String
  /// The text that it must say.
  public let value: String

  /// Takes a path and a value.
  ///
  /// Throws ``OutboxError/Code/invalidConfiguration`` where the path is empty.
  public init(path: String, value: String) throws(OutboxError) {
    guard !path.isEmpty else {
      throw OutboxError(
        .invalidConfiguration, "cannot look for a member without a name; write NAME=VALUE, such as user_id=4711")
    }
    self.path = path
    self.value = value
    names = Self.names(path)
    depth = names.count
    valueBytes = Array(value.utf8)
  }

  /// Reads `NAME=VALUE`; the first `=` divides.
  ///
  /// Throws ``OutboxError/Code/invalidConfiguration``.
  public init(_ text: String) throws(OutboxError) {
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2 else {
      // The text may be the value itself, which is nobody's business.
      throw OutboxError(
        .invalidConfiguration, "cannot read what to look for: there is no '='; write NAME=VALUE, such as user_id=4711")
    }
    try self.init(path: String(parts[0]), value: String(parts[1]))
  }

  /// For each number of parts of the path that led to an object: the names that lead on, with the number they lead to.
  private let names: [[(name: [UInt8], leadsTo: Int)]]
  private let depth: Int
  private let valueBytes: [UInt8]

  private static func names(_ path: String) -> [[(name: [UInt8], leadsTo: Int)]] {
    let parts = path.split(separator: ".", omittingEmptySubsequences: false)
    return parts.indices.map { start in
      (start + 1...parts.count).map { (Array(parts[start..<$0].joined(separator: ".").utf8), $0) }
    }
  }

  /// The same path and value.
  public static func == (left: Self, right: Self) -> Bool { left.path == right.path && left.value == right.value }

  /// Whether `event` has the member.
  ///
  /// What is no JSON has none.
  func matches(_ event: UnsafeRawBufferPointer) -> Bool {
    guard var scanner = JSONScanner(event) else { return false }
    return (try? isFound(by: &scanner, in: event)) ?? false
  }

  /// Walks over the whole event, without recursion, with the number of parts of the path that led to each value.
  private func isFound(
    by scanner: inout JSONScanner, in event: UnsafeRawBufferPointer
  ) throws(JSONValidationError) -> Bool {
    var containers: [(isObject: Bool, progress: Int?)] = []
    var progress: Int? = 0
    value: while true {
      switch scanner.nextToken() {
      case UInt8(ascii: "{"):
        scanner.advance()
        containers.append((true, progress == depth ? nil : progress))
        if scanner.nextToken() != UInt8(ascii: "}") {
          progress = try skipName(&scanner, event, containers)
          continue value
        }
      case UInt8(ascii: "["):
        scanner.advance()
        containers.append((false, progress))
        if scanner.nextToken() != UInt8(ascii: "]") { continue value }
      default:
        if try skipScalar(&scanner, event), progress == depth { return true }
      }
      while scanner.nextToken() != UInt8(ascii: ",") {
        guard !scanner.isAtEnd, containers.popLast() != nil else { return false }
        scanner.advance()
      }
      guard let container = containers.last else { return false }
      scanner.advance()
      progress = container.isObject ? try skipName(&scanner, event, containers) : container.progress
    }
  }

  /// Skips a name and its colon; returns where in the path it leads, or nil for off the path.
  private func skipName(
    _ scanner: inout JSONScanner, _ event: UnsafeRawBufferPointer, _ containers: [(isObject: Bool, progress: Int?)]
  ) throws(JSONValidationError) -> Int? {
    guard scanner.nextToken() == UInt8(ascii: "\"") else { throw scanner.failure(.expectedMemberName) }
    let text = try skipText(&scanner, event)
    guard scanner.nextToken() == UInt8(ascii: ":") else { throw scanner.failure(.expectedColon) }
    scanner.advance()
    guard let progress = containers.last?.progress else { return nil }
    return names[progress].first { text.matches($0.name) }?.leadsTo
  }

  /// Skips a value that is no container; returns whether it says what is looked for.
  private func skipScalar(
    _ scanner: inout JSONScanner, _ event: UnsafeRawBufferPointer
  ) throws(JSONValidationError) -> Bool {
    let start: Int
    switch scanner.nextToken() {
    case UInt8(ascii: "\""): return try skipText(&scanner, event).matches(valueBytes)
    case UInt8(ascii: "n"):
      try scanner.skipLiteral("null")
      return false
    case UInt8(ascii: "t"):
      start = scanner.index
      try scanner.skipLiteral("true")
    case UInt8(ascii: "f"):
      start = scanner.index
      try scanner.skipLiteral("false")
    default:
      start = scanner.index
      try scanner.skipNumber()
    }
    return event[start..<scanner.index].elementsEqual(valueBytes)
  }

  private func skipText(
    _ scanner: inout JSONScanner, _ event: UnsafeRawBufferPointer
  ) throws(JSONValidationError) -> JSONMemberName {
    scanner.advance()
    let start = scanner.index
    let hasEscapes = try scanner.skipString()
    return JSONMemberName(raw: event[start..<scanner.index - 1], hasEscapes: hasEscapes)
  }
}
