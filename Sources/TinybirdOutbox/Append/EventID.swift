/// The stable, unique id of an event: a UUID version 7, which is the time in milliseconds and 74 random bits.
///
/// Version 7 and not 4, since neighbours share the time's digits: on 10,000 web events an id costs 19 to 22 bytes of a
/// compressed request in place of 29. It also sorts by time at the receiving side.
struct EventID: Hashable, Sendable, CustomStringConvertible {
  /// The length of an id's text.
  static let textByteCount = 36

  private let high: UInt64
  private let low: UInt64

  /// Makes an id.
  ///
  /// Times that 48 bits cannot hold, before 1970 or after 10889, become the nearest that they can: the random bits
  /// alone make an id unique.
  init(at time: WallTime, using generator: inout some RandomNumberGenerator) {
    let milliseconds = UInt64(min(max(time.milliseconds, 0), 1 << 48 - 1))
    high = milliseconds << 16 | 0x7000 | generator.next() >> 52
    low = 0x8000_0000_0000_0000 | generator.next() >> 2
  }

  /// Appends the id's text: lower case, `xxxxxxxx-xxxx-7xxx-xxxx-xxxxxxxxxxxx`.
  func append(to output: inout [UInt8]) {
    Self.append(high, digits: 0..<8, to: &output)
    output.append(UInt8(ascii: "-"))
    Self.append(high, digits: 8..<12, to: &output)
    output.append(UInt8(ascii: "-"))
    Self.append(high, digits: 12..<16, to: &output)
    output.append(UInt8(ascii: "-"))
    Self.append(low, digits: 0..<4, to: &output)
    output.append(UInt8(ascii: "-"))
    Self.append(low, digits: 4..<16, to: &output)
  }

  var description: String {
    var text: [UInt8] = []
    append(to: &text)
    return String(decoding: text, as: UTF8.self)
  }

  private static func append(_ word: UInt64, digits: Range<UInt64>, to output: inout [UInt8]) {
    for digit in digits {
      let value = UInt8(truncatingIfNeeded: word >> (60 - 4 * digit)) & 0xF
      output.append(value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") - 10 + value)
    }
  }
}

/// The member that carries the id of an event which does not bring one.
struct EventIDMember: Sendable {
  /// The member's name.
  let name: String
  /// Up to the id: `"event_id":"`.
  private let opening: [UInt8]

  /// Any text can be a name; what JSON does not allow in a string is escaped.
  init(name: String) {
    self.name = name
    var opening = [UInt8(ascii: "\"")]
    for byte in name.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): opening += [UInt8(ascii: "\\"), byte]
      case ..<0x20: opening += Array((byte < 0x10 ? "\\u000" : "\\u00").utf8) + Array(String(byte, radix: 16).utf8)
      default: opening.append(byte)
      }
    }
    self.opening = opening + Array("\":\"".utf8)
  }

  /// How many bytes longer an event becomes.
  func addedByteCount(to object: ValidatedObject) -> Int {
    opening.count + EventID.textByteCount + (object.isEmpty ? 1 : 2)
  }

  /// Appends `event` with the member right behind the opening brace.
  ///
  /// `object` is what the door learned of the event; the event must not have the member yet. Line breaks become spaces,
  /// as in ``ValidatedObject/append(_:to:)``.
  func append(_ event: UnsafeRawBufferPointer, _ object: ValidatedObject, id: EventID, to output: inout [UInt8]) {
    let start = output.count
    output.append(contentsOf: event[..<object.contentOffset])
    output.append(contentsOf: opening)
    id.append(to: &output)
    output.append(UInt8(ascii: "\""))
    if !object.isEmpty { output.append(UInt8(ascii: ",")) }
    output.append(contentsOf: event[object.contentOffset...])
    object.replaceLineBreaks(in: &output, from: start)
  }
}
