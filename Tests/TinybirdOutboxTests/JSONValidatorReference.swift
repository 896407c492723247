@testable import TinybirdOutbox

/// RFC 8259 once more, written for being read: recursive, a character at a time, with the standard library for UTF-8.
struct ReferenceJSON {
  private var rest: Substring.UnicodeScalarView
  private var names: [[UInt8]] = []
  private var hasLineBreaks = false
  private let maximumDepth: Int

  /// What the door should say of `bytes`, or nil where it should refuse them.
  static func object(_ bytes: [UInt8], memberName: String, maximumDepth: Int = 512) -> ValidatedObject? {
    guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
    var parser = ReferenceJSON(rest: Substring(text).unicodeScalars, maximumDepth: maximumDepth)
    parser.skipWhitespace()
    guard parser.rest.first == "{", parser.skipValue(depth: 0) else { return nil }
    parser.skipWhitespace()
    guard parser.rest.isEmpty else { return nil }
    return ValidatedObject(
      hasLineBreaks: parser.hasLineBreaks, hasMember: parser.names.contains(Array(memberName.utf8)),
      contentOffset: (bytes.firstIndex(of: UInt8(ascii: "{")) ?? 0) + 1, isEmpty: parser.names.isEmpty)
  }

  private init(rest: Substring.UnicodeScalarView, maximumDepth: Int) {
    self.rest = rest
    self.maximumDepth = maximumDepth
  }

  // value = false / null / true / object / array / number / string
  private mutating func skipValue(depth: Int) -> Bool {
    switch rest.first {
    case "{": skipObject(depth: depth + 1)
    case "[": skipArray(depth: depth + 1)
    case "\"": skipString() != nil
    case "t": skip("true")
    case "f": skip("false")
    case "n": skip("null")
    default: skipNumber()
    }
  }

  private mutating func skipObject(depth: Int) -> Bool {
    guard depth <= maximumDepth, skip("{") else { return false }
    skipWhitespace()
    if skip("}") { return true }
    while true {
      guard let name = skipString() else { return false }
      if depth == 1 { names.append(name) }
      skipWhitespace()
      guard skip(":") else { return false }
      skipWhitespace()
      guard skipValue(depth: depth) else { return false }
      skipWhitespace()
      if skip("}") { return true }
      guard skip(",") else { return false }
      skipWhitespace()
    }
  }

  private mutating func skipArray(depth: Int) -> Bool {
    guard depth <= maximumDepth, skip("[") else { return false }
    skipWhitespace()
    if skip("]") { return true }
    while true {
      guard skipValue(depth: depth) else { return false }
      skipWhitespace()
      if skip("]") { return true }
      guard skip(",") else { return false }
      skipWhitespace()
    }
  }

  /// Returns the text that the string stands for, with bytes that no text has where a surrogate is alone.
  private mutating func skipString() -> [UInt8]? {
    guard skip("\"") else { return nil }
    var units: [UInt16] = []
    while let character = rest.popFirst() {
      switch character {
      case "\"": return Self.utf8(units)
      case "\\":
        guard let unit = skipEscape() else { return nil }
        units.append(unit)
      case ..<" ": return nil
      default: units += Array(String(character).utf16)
      }
    }
    return nil
  }

  private mutating func skipEscape() -> UInt16? {
    let simple: [Unicode.Scalar: UInt16] = [
      "\"": 0x22, "\\": 0x5C, "/": 0x2F, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9,
    ]
    guard let character = rest.popFirst() else { return nil }
    guard character == "u" else { return simple[character] }
    let digits = rest.prefix(4)
    guard digits.count == 4, digits.allSatisfy({ "0123456789abcdefABCDEF".unicodeScalars.contains($0) }) else {
      return nil
    }
    rest.removeFirst(4)
    return UInt16(String(digits), radix: 16)
  }

  private static func utf8(_ units: [UInt16]) -> [UInt8] {
    String(validating: units, as: UTF16.self).map { Array($0.utf8) } ?? [0xFF]
  }

  // number = [ "-" ] ( "0" / digit1-9 *DIGIT ) [ "." 1*DIGIT ] [ ( "e" / "E" ) [ "-" / "+" ] 1*DIGIT ]
  private mutating func skipNumber() -> Bool {
    _ = skip("-")
    guard skip("0") || (rest.first != "0" && skipDigits()) else { return false }
    if skip(".") { guard skipDigits() else { return false } }
    if skip("e") || skip("E") {
      _ = skip("+") || skip("-")
      guard skipDigits() else { return false }
    }
    return true
  }

  private mutating func skipDigits() -> Bool {
    let digits = rest.prefix { ("0"..."9").contains($0) }
    rest.removeFirst(digits.count)
    return !digits.isEmpty
  }

  private mutating func skipWhitespace() {
    while let character = rest.first, [" ", "\t", "\n", "\r"].contains(character) {
      if character == "\n" || character == "\r" { hasLineBreaks = true }
      rest.removeFirst()
    }
  }

  private mutating func skip(_ text: String) -> Bool {
    guard rest.starts(with: text.unicodeScalars) else { return false }
    rest.removeFirst(text.unicodeScalars.count)
    return true
  }
}
