/// The door: accepts exactly a text in UTF-8 that is one JSON object by RFC 8259, of bounded depth, with white space
/// around it or not.
///
/// One pass, no recursion, and no allocation below 64 levels of nesting. What RFC 8259 leaves open is taken as it comes:
/// numbers of any size, names that occur twice, and `\u` escapes that are half of a surrogate pair.
struct JSONValidator: Sendable {
  static let defaultMaximumDepth = 512

  /// How deep objects and arrays may be nested, at least 1: the event itself is level 1.
  let maximumDepth: Int
  private let memberName: [UInt8]?

  /// With a `memberName`, each event is also searched for a member of that name at its top level.
  init(maximumDepth: Int = defaultMaximumDepth, memberName: String? = nil) {
    self.maximumDepth = maximumDepth
    self.memberName = memberName.map { Array($0.utf8) }
  }

  /// Accepts `bytes`, or throws the first fault.
  func validate(_ bytes: UnsafeRawBufferPointer) throws(JSONValidationError) -> ValidatedObject {
    guard var scanner = JSONScanner(bytes) else { throw JSONValidationError(reason: .unexpectedEnd, offset: 0) }
    guard !scanner.isAtByteOrderMark else { throw scanner.failure(.byteOrderMark) }
    guard scanner.nextToken() == UInt8(ascii: "{") else { throw scanner.failure(.expectedObject) }
    scanner.advance()
    var object = ValidatedObject(contentOffset: scanner.index)
    if scanner.nextToken() == UInt8(ascii: "}") {
      object.isEmpty = true
      scanner.advance()
    } else {
      object.hasMember = try validateMembers(&scanner, bytes)
    }
    _ = scanner.nextToken()
    guard scanner.isAtEnd else { throw scanner.failure(.textAfterObject) }
    object.hasLineBreaks = scanner.hasLineBreaks
    return object
  }

  /// From the first member of the event to behind its closing brace.
  ///
  /// Returns whether the member asked for is there.
  private func validateMembers(
    _ scanner: inout JSONScanner, _ bytes: UnsafeRawBufferPointer
  ) throws(JSONValidationError) -> Bool {
    var hasMember = false
    var containers = ContainerStack()
    element: while true {
      if containers.isInObject {
        let (name, hasEscapes) = try skipMemberName(&scanner)
        if let memberName, containers.depth == 1, !hasMember {
          hasMember = JSONMemberName(raw: bytes[name], hasEscapes: hasEscapes).matches(memberName)
        }
      }
      switch scanner.nextToken() {
      case UInt8(ascii: "\""):
        scanner.advance()
        _ = try scanner.skipString()
      case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try scanner.skipNumber()
      case UInt8(ascii: "t"): try scanner.skipLiteral("true")
      case UInt8(ascii: "f"): try scanner.skipLiteral("false")
      case UInt8(ascii: "n"): try scanner.skipLiteral("null")
      case UInt8(ascii: "{"):
        try open(.object, &scanner, &containers)
        if scanner.nextToken() != UInt8(ascii: "}") { continue element }
      case UInt8(ascii: "["):
        try open(.array, &scanner, &containers)
        if scanner.nextToken() != UInt8(ascii: "]") { continue element }
      default: throw scanner.failure(.expectedValue)
      }
      // Behind an element: a comma and the next one, or the end of one container or more.
      while scanner.nextToken() != UInt8(ascii: ",") {
        let isInObject = containers.isInObject
        guard scanner.nextToken() == (isInObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
          throw scanner.failure(isInObject ? .expectedCommaOrBrace : .expectedCommaOrBracket)
        }
        scanner.advance()
        guard containers.depth > 1 else { return hasMember }
        containers.pop()
      }
      scanner.advance()
    }
  }

  /// Skips a member's name and the colon.
  ///
  /// Returns where the name stands between its quotes, and whether it has escapes.
  private func skipMemberName(_ scanner: inout JSONScanner) throws(JSONValidationError) -> (Range<Int>, Bool) {
    guard scanner.nextToken() == UInt8(ascii: "\"") else { throw scanner.failure(.expectedMemberName) }
    scanner.advance()
    let start = scanner.index
    let hasEscapes = try scanner.skipString()
    let name = start..<scanner.index - 1
    guard scanner.nextToken() == UInt8(ascii: ":") else { throw scanner.failure(.expectedColon) }
    scanner.advance()
    return (name, hasEscapes)
  }

  private func open(
    _ container: ContainerStack.Container, _ scanner: inout JSONScanner, _ containers: inout ContainerStack
  ) throws(JSONValidationError) {
    guard containers.depth < maximumDepth else { throw scanner.failure(.tooDeep(maximum: maximumDepth)) }
    containers.push(container)
    scanner.advance()
  }
}

/// What the door learned of an event that it accepted.
struct ValidatedObject: Equatable, Sendable {
  /// CR or LF stand between tokens, or around the object.
  var hasLineBreaks = false
  /// The member that was asked for is there, at the top level.
  var hasMember = false
  /// The byte behind the opening brace, from 0.
  var contentOffset: Int
  /// The object has no members.
  var isEmpty = false

  /// Appends `event` as it is stored: CR and LF become spaces, all else stays byte for byte.
  func append(_ event: UnsafeRawBufferPointer, to output: inout [UInt8]) {
    let start = output.count
    output.append(contentsOf: event)
    replaceLineBreaks(in: &output, from: start)
  }

  /// Makes one line of the event that `output` holds from `start` on.
  ///
  /// A string cannot hold CR or LF unescaped, so that every one in the text stands between tokens.
  func replaceLineBreaks(in output: inout [UInt8], from start: Int) {
    guard hasLineBreaks else { return }
    for index in start..<output.count
    where output[index] == UInt8(ascii: "\n") || output[index] == UInt8(ascii: "\r") {
      output[index] = UInt8(ascii: " ")
    }
  }
}

/// Which containers are open, a bit each: the innermost 64 in a word, those around them in an array.
private struct ContainerStack {
  enum Container: UInt64 {
    case array = 0
    case object = 1
  }

  private var innermost = Container.object.rawValue
  private var outer: [UInt64] = []
  /// How many are open.
  ///
  /// It starts with the event's own object.
  private(set) var depth = 1

  var isInObject: Bool { innermost & 1 == Container.object.rawValue }

  mutating func push(_ container: Container) {
    if depth.isMultiple(of: 64) { outer.append(innermost) }
    innermost = innermost << 1 | container.rawValue
    depth += 1
  }

  mutating func pop() {
    depth -= 1
    innermost = depth.isMultiple(of: 64) ? outer.removeLast() : innermost >> 1
  }
}
