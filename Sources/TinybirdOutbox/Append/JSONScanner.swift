/// Walks over the tokens of a JSON text in one pass, never reading past its end.
///
/// A byte of 0 stands for the end of the text. No token starts with a 0, so that each check of the next byte is the check
/// for the end as well.
struct JSONScanner {
  private let base: UnsafeRawPointer
  private let end: Int
  /// Where the scanner is, in bytes from 0.
  private(set) var index = 0
  /// CR or LF were skipped between tokens.
  private(set) var hasLineBreaks = false

  /// Returns nil for a buffer without memory.
  ///
  /// The caller keeps `bytes` alive for as long as the scanner is used.
  init?(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress else { return nil }
    self.base = base
    end = bytes.count
  }

  var isAtEnd: Bool { index == end }

  var isAtByteOrderMark: Bool {
    index + 3 <= end && load(index) == 0xEF && load(index + 1) == 0xBB && load(index + 2) == 0xBF
  }

  /// The failure at the next byte.
  ///
  /// At the end of the text it is the end that is wrong.
  func failure(_ reason: JSONValidationError.Reason) -> JSONValidationError {
    JSONValidationError(reason: isAtEnd ? .unexpectedEnd : reason, offset: index)
  }

  /// Goes behind one byte.
  ///
  /// Only where a byte other than 0 was seen.
  mutating func advance() { index += 1 }

  /// Skips white space and returns the first byte of the next token, or 0 at the end.
  mutating func nextToken() -> UInt8 {
    // Most tokens follow one another directly.
    let byte = byte
    return byte > 0x20 ? byte : skipWhitespace()
  }

  /// Skips a string, from behind its opening quote to behind its closing one.
  ///
  /// Returns whether it has escapes.
  mutating func skipString() throws(JSONValidationError) -> Bool {
    var hasEscapes = false
    while true {
      skipPlainCharacters()
      switch byte {
      case UInt8(ascii: "\""):
        advance()
        return hasEscapes
      case UInt8(ascii: "\\"):
        hasEscapes = true
        // Escapes come in runs where a writer keeps its text ASCII.
        repeat { try skipEscape() } while byte == UInt8(ascii: "\\")
      case 0x80...: try skipNonASCII()
      default: throw failure(.controlCharacter)
      }
    }
  }

  /// Skips a number from its first byte, a digit or `-`.
  ///
  /// What follows it is not looked at.
  mutating func skipNumber() throws(JSONValidationError) {
    if byte == UInt8(ascii: "-") { advance() }
    if byte == UInt8(ascii: "0") {
      advance()
      guard !isDigit(byte) else { throw JSONValidationError(reason: .leadingZero, offset: index - 1) }
    } else {
      try skipDigits()
    }
    if byte == UInt8(ascii: ".") {
      advance()
      try skipDigits()
    }
    if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
      advance()
      if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { advance() }
      try skipDigits()
    }
  }

  /// Skips `true`, `false` or `null`.
  mutating func skipLiteral(_ literal: StaticString) throws(JSONValidationError) {
    for offset in 0..<literal.utf8CodeUnitCount {
      guard byte == literal.utf8Start[offset] else { throw failure(.invalidLiteral) }
      advance()
    }
  }
}

extension JSONScanner {
  private var byte: UInt8 { index < end ? load(index) : 0 }

  private func load(_ offset: Int) -> UInt8 { base.load(fromByteOffset: offset, as: UInt8.self) }

  private func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

  private mutating func skipWhitespace() -> UInt8 {
    while true {
      let byte = byte
      switch byte {
      case UInt8(ascii: " "), UInt8(ascii: "\t"): advance()
      case UInt8(ascii: "\n"), UInt8(ascii: "\r"):
        hasLineBreaks = true
        advance()
      default: return byte
      }
    }
  }

  private mutating func skipDigits() throws(JSONValidationError) {
    guard isDigit(byte) else { throw failure(.expectedDigit) }
    repeat { advance() } while isDigit(byte)
  }

  /// Goes to the next byte that is a quote, a backslash, a control character or not ASCII, or to the end.
  private mutating func skipPlainCharacters() {
    // Eight bytes at a time: 2.7 GB/s on web events, of 327 bytes each, where one at a time makes 1.6.
    while index + 8 <= end {
      let word = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: index, as: UInt64.self))
      let quotes = word ^ 0x2222_2222_2222_2222
      let backslashes = word ^ 0x5C5C_5C5C_5C5C_5C5C
      // The top bit of a byte is set where it is to stop at: it was set, or the subtraction passed below 0. A borrow
      // can set it wrongly only above a byte that is rightly set, and the lowest one is the one that is used.
      let below20 = word &- 0x2020_2020_2020_2020
      let below1 = (quotes &- 0x0101_0101_0101_0101) | (backslashes &- 0x0101_0101_0101_0101)
      let stops = (word | below20 | below1) & 0x8080_8080_8080_8080
      guard stops == 0 else {
        index += stops.trailingZeroBitCount / 8
        return
      }
      index += 8
    }
    while index < end {
      let byte = load(index)
      guard (0x20..<0x80).contains(byte), byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") else { return }
      advance()
    }
  }

  /// Skips an escape from its backslash.
  ///
  /// By the grammar a `\u` may be half of a surrogate pair alone.
  private mutating func skipEscape() throws(JSONValidationError) {
    advance()
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
      UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      advance()
    case UInt8(ascii: "u"):
      advance()
      for _ in 0..<4 {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "F"),
          UInt8(ascii: "a")...UInt8(ascii: "f"):
          advance()
        default: throw failure(.invalidUnicodeEscape)
        }
      }
    default: throw failure(.invalidEscape)
    }
  }

  /// Skips a run of characters beyond ASCII.
  ///
  /// Well-formed is what table 3-7 of the Unicode standard lists: no overlong form, no surrogate, nothing above
  /// U+10FFFF.
  private mutating func skipNonASCII() throws(JSONValidationError) {
    while byte >= 0x80 {
      let start = index
      let second: ClosedRange<UInt8>
      let following: Int
      switch byte {
      case 0xC2...0xDF: (second, following) = (0x80...0xBF, 0)
      case 0xE0: (second, following) = (0xA0...0xBF, 1)
      case 0xED: (second, following) = (0x80...0x9F, 1)
      case 0xE1...0xEF: (second, following) = (0x80...0xBF, 1)
      case 0xF0: (second, following) = (0x90...0xBF, 2)
      case 0xF1...0xF3: (second, following) = (0x80...0xBF, 2)
      case 0xF4: (second, following) = (0x80...0x8F, 2)
      default: throw failure(.invalidUTF8)
      }
      advance()
      guard second.contains(byte) else { throw invalidUTF8(from: start) }
      advance()
      for _ in 0..<following {
        guard (0x80...0xBF).contains(byte) else { throw invalidUTF8(from: start) }
        advance()
      }
    }
  }

  /// A sequence that breaks off with the text is the end of the text; any other is reported where it starts.
  private func invalidUTF8(from start: Int) -> JSONValidationError {
    isAtEnd ? failure(.unexpectedEnd) : JSONValidationError(reason: .invalidUTF8, offset: start)
  }
}
