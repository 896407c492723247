/// A member's name as it stands between its quotes in a text that was validated.
struct JSONMemberName {
  let raw: Slice<UnsafeRawBufferPointer>
  let hasEscapes: Bool

  /// Compares what the name means: `event\u005fid` is `event_id`.
  func matches(_ name: [UInt8]) -> Bool {
    hasEscapes ? unescaped() == name : raw.elementsEqual(name)
  }

  /// The name in UTF-8, or nil where a surrogate stands alone: no text has such a name.
  private func unescaped() -> [UInt8]? {
    var name: [UInt8] = []
    var rest = raw
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\"), let escape = rest.popFirst() else {
        name.append(byte)
        continue
      }
      switch escape {
      case UInt8(ascii: "b"): name.append(0x08)
      case UInt8(ascii: "f"): name.append(0x0C)
      case UInt8(ascii: "n"): name.append(0x0A)
      case UInt8(ascii: "r"): name.append(0x0D)
      case UInt8(ascii: "t"): name.append(0x09)
      case UInt8(ascii: "u"):
        guard let scalar = Self.scalar(from: &rest) else { return nil }
        name.append(contentsOf: scalar.utf8)
      default: name.append(escape)
      }
    }
    return name
  }

  /// Reads what follows `\u`: four digits, and those of a second escape where they are the first half of a pair.
  private static func scalar(from rest: inout Slice<UnsafeRawBufferPointer>) -> Unicode.Scalar? {
    let first = codeUnit(from: &rest)
    guard UTF16.isLeadSurrogate(first) else { return Unicode.Scalar(first) }
    guard rest.starts(with: [UInt8(ascii: "\\"), UInt8(ascii: "u")]) else { return nil }
    rest.removeFirst(2)
    let second = codeUnit(from: &rest)
    guard UTF16.isTrailSurrogate(second) else { return nil }
    return Unicode.Scalar(0x10000 + (UInt32(first & 0x3FF) << 10 | UInt32(second & 0x3FF)))
  }

  private static func codeUnit(from rest: inout Slice<UnsafeRawBufferPointer>) -> UInt16 {
    let digits = rest.prefix(4)
    rest.removeFirst(4)
    return digits.reduce(0) { value, digit in (value << 4) + UInt16(digit & 0xF) + (digit > UInt8(ascii: "9") ? 9 : 0) }
  }
}
