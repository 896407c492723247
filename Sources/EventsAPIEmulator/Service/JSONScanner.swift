/// Checks that a line is one JSON object by RFC 8259 in valid UTF-8, and finds the object's members.
///
/// One pass, without building values: a service is asked for hundreds of thousands of events a second. Every index is
/// compared with the end before the byte at it is read.
struct JSONScanner {
  /// The kind of a value; a number without fraction and exponent is an integer.
  enum Kind {
    case string, integer, decimal, bool, null, array, object
  }

  /// What is wrong, and at which byte of the line.
  struct Fault: Error, Equatable {
    var offset: Int
    var reason: String
  }

  /// The deepest nesting that is taken: deeper than real events, and far from the end of a thread's stack.
  static let maximumDepth = 512

  private let bytes: UnsafeRawBufferPointer
  private var position = 0

  private init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
  }

  /// Checks one line.
  ///
  /// - Parameters:
  ///   - bytes: the line, without its line break.
  ///   - onMember: called with the name (between the quotes, not unescaped) and the value of each member of the object.
  static func scanObject(
    _ bytes: UnsafeRawBufferPointer,
    onMember: ((_ name: Range<Int>, _ value: Range<Int>, _ kind: Kind) -> Void)? = nil
  ) throws(Fault) {
    var scanner = JSONScanner(bytes)
    scanner.skipSpace()
    guard scanner.current == UInt8(ascii: "{") else { throw scanner.fault("not a JSON object") }
    try scanner.object(depth: 1, onMember: onMember)
    scanner.skipSpace()
    guard scanner.position == bytes.count else { throw scanner.fault("something follows the JSON object") }
  }

  /// The byte at the position; NUL at the end, which JSON has nowhere outside of strings.
  private var current: UInt8 {
    position < bytes.count ? bytes[position] : 0
  }

  private func fault(_ reason: String) -> Fault {
    Fault(offset: position, reason: reason)
  }

  private mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: "\n"): position += 1
      default: return
      }
    }
  }

  private mutating func value(depth: Int) throws(Fault) -> Kind {
    switch current {
    case UInt8(ascii: "\""):
      try string()
      return .string
    case UInt8(ascii: "{"):
      try object(depth: depth + 1, onMember: nil)
      return .object
    case UInt8(ascii: "["):
      try array(depth: depth + 1)
      return .array
    case UInt8(ascii: "t"):
      try literal("true")
      return .bool
    case UInt8(ascii: "f"):
      try literal("false")
      return .bool
    case UInt8(ascii: "n"):
      try literal("null")
      return .null
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
      return try number()
    default:
      throw fault("a value is missing")
    }
  }

  private mutating func object(
    depth: Int, onMember: ((Range<Int>, Range<Int>, Kind) -> Void)?
  ) throws(Fault) {
    guard depth <= Self.maximumDepth else { throw fault("nested deeper than \(Self.maximumDepth)") }
    position += 1
    skipSpace()
    if current == UInt8(ascii: "}") {
      position += 1
      return
    }
    while true {
      guard current == UInt8(ascii: "\"") else { throw fault("a member's name is missing") }
      let nameStart = position + 1
      try string()
      let name = nameStart..<(position - 1)
      skipSpace()
      guard current == UInt8(ascii: ":") else { throw fault("':' is missing") }
      position += 1
      skipSpace()
      let valueStart = position
      let kind = try value(depth: depth)
      onMember?(name, valueStart..<position, kind)
      skipSpace()
      switch current {
      case UInt8(ascii: ","):
        position += 1
        skipSpace()
      case UInt8(ascii: "}"):
        position += 1
        return
      default:
        throw fault("',' or '}' is missing")
      }
    }
  }

  private mutating func array(depth: Int) throws(Fault) {
    guard depth <= Self.maximumDepth else { throw fault("nested deeper than \(Self.maximumDepth)") }
    position += 1
    skipSpace()
    if current == UInt8(ascii: "]") {
      position += 1
      return
    }
    while true {
      _ = try value(depth: depth)
      skipSpace()
      switch current {
      case UInt8(ascii: ","):
        position += 1
        skipSpace()
      case UInt8(ascii: "]"):
        position += 1
        return
      default:
        throw fault("',' or ']' is missing")
      }
    }
  }

  private mutating func literal(_ text: StaticString) throws(Fault) {
    let length = text.utf8CodeUnitCount
    guard position + length <= bytes.count else { throw fault("a value is cut short") }
    for offset in 0..<length where bytes[position + offset] != text.utf8Start[offset] {
      throw fault("a value is neither true, false nor null")
    }
    position += length
  }

  private mutating func number() throws(Fault) -> Kind {
    var kind = Kind.integer
    if current == UInt8(ascii: "-") { position += 1 }
    if current == UInt8(ascii: "0") {
      position += 1
    } else {
      try digits()
    }
    if current == UInt8(ascii: ".") {
      position += 1
      try digits()
      kind = .decimal
    }
    if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
      position += 1
      if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
      try digits()
      kind = .decimal
    }
    return kind
  }

  private mutating func digits() throws(Fault) {
    let start = position
    while current >= UInt8(ascii: "0"), current <= UInt8(ascii: "9") { position += 1 }
    guard position > start else { throw fault("a digit is missing") }
  }

  private mutating func string() throws(Fault) {
    position += 1
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        position += 1
        return
      case UInt8(ascii: "\\"):
        try escape()
      case 0..<0x20:
        throw fault("a control character in a string is not escaped")
      case 0x80...:
        try multibyteCharacter()
      default:
        position += 1
      }
    }
    throw fault("a string does not end")
  }

  private mutating func escape() throws(Fault) {
    position += 1
    switch current {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
      UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      position += 1
    case UInt8(ascii: "u"):
      position += 1
      for _ in 0..<4 {
        switch current {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
          UInt8(ascii: "A")...UInt8(ascii: "F"):
          position += 1
        default: throw fault("\\u needs four hexadecimal digits")
        }
      }
    default:
      throw fault("unknown escape in a string")
    }
  }

  /// One character of two to four bytes, by table 3-7 of the Unicode standard: nothing overlong, no surrogates.
  private mutating func multibyteCharacter() throws(Fault) {
    let second: ClosedRange<UInt8>
    let length: Int
    switch bytes[position] {
    case 0xC2...0xDF: (second, length) = (0x80...0xBF, 2)
    case 0xE0: (second, length) = (0xA0...0xBF, 3)
    case 0xED: (second, length) = (0x80...0x9F, 3)
    case 0xE1...0xEF: (second, length) = (0x80...0xBF, 3)
    case 0xF0: (second, length) = (0x90...0xBF, 4)
    case 0xF1...0xF3: (second, length) = (0x80...0xBF, 4)
    case 0xF4: (second, length) = (0x80...0x8F, 4)
    default: throw fault("not valid UTF-8")
    }
    guard position + length <= bytes.count, second.contains(bytes[position + 1]) else {
      throw fault("not valid UTF-8")
    }
    for offset in 2..<max(length, 2) where bytes[position + offset] & 0xC0 != 0x80 {
      throw fault("not valid UTF-8")
    }
    position += length
  }
}
