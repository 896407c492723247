/// Recognises the texts that the emulator takes for a `dateTime` column.
///
/// Pure.
enum DateTimeText {
  /// `YYYY-MM-DD`, `T` or a space, `HH:MM:SS`; then, each if given, a fraction of up to nine digits, and `Z` or an
  /// offset such as `+02:00` or `+0200`.
  static func isValid(_ text: Slice<UnsafeRawBufferPointer>) -> Bool {
    var rest = text
    guard
      number(&rest, digits: 4, in: 0...9999), separator(&rest, "-"),
      number(&rest, digits: 2, in: 1...12), separator(&rest, "-"),
      number(&rest, digits: 2, in: 1...31), separator(&rest, "T") || separator(&rest, " "),
      number(&rest, digits: 2, in: 0...23), separator(&rest, ":"),
      number(&rest, digits: 2, in: 0...59), separator(&rest, ":"),
      number(&rest, digits: 2, in: 0...59)
    else { return false }
    if separator(&rest, ".") {
      let fraction = rest.prefix { $0.isDigit }
      guard (1...9).contains(fraction.count) else { return false }
      rest.removeFirst(fraction.count)
    }
    if rest.isEmpty || separator(&rest, "Z") { return rest.isEmpty }
    guard separator(&rest, "+") || separator(&rest, "-"), number(&rest, digits: 2, in: 0...23) else { return false }
    _ = separator(&rest, ":")
    return number(&rest, digits: 2, in: 0...59) && rest.isEmpty
  }

  private static func separator(_ rest: inout Slice<UnsafeRawBufferPointer>, _ expected: Unicode.Scalar) -> Bool {
    guard rest.first == UInt8(ascii: expected) else { return false }
    rest.removeFirst()
    return true
  }

  private static func number(
    _ rest: inout Slice<UnsafeRawBufferPointer>, digits: Int, in range: ClosedRange<Int>
  ) -> Bool {
    let text = rest.prefix(digits)
    guard text.count == digits, text.allSatisfy(\.isDigit) else { return false }
    rest.removeFirst(digits)
    return range.contains(text.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) })
  }
}

extension UInt8 {
  fileprivate var isDigit: Bool { self >= UInt8(ascii: "0") && self <= UInt8(ascii: "9") }
}
