public import Foundation

/// Turns `Encodable` events into JSON.
///
/// ```swift
/// configuration.encoder = EventEncoder(myJSONEncoder)
/// configuration.encoder = EventEncoder { event in try MyFormat.encode(event) }
/// ```
///
/// What an encoder returns passes the same door as JSON that is given as bytes: it must be one object.
public struct EventEncoder: Sendable {
  private enum Encoding: Sendable {
    case json(JSONEncoder)
    case function(@Sendable (any Encodable) throws -> Data)
  }

  private let encoding: Encoding

  /// Foundation's encoder with dates as `2026-11-21T04:05:06.789Z` (ISO 8601, to the nearest millisecond, UTC), the form
  /// that Tinybird parses as `DateTime64(3)`, and with slashes as they are.
  ///
  /// A date outside the years 0000 to 9999 is refused: it has no such form.
  public static let `default`: EventEncoder = {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    encoder.dateEncodingStrategy = .custom { date, encoder in try encode(date, to: encoder) }
    return EventEncoder(encoder)
  }()

  /// Uses `encoder`, whose settings must not be changed afterwards: several events may be encoded at the same time.
  public init(_ encoder: JSONEncoder) {
    encoding = .json(encoder)
  }

  /// Uses `encode`, which may be called from any thread, for several events at the same time.
  public init(_ encode: @escaping @Sendable (any Encodable) throws -> Data) {
    encoding = .function(encode)
  }

  /// Encodes one event.
  ///
  /// Throws ``OutboxError/Code/encodingFailed``. The message names types only; the encoder's own error, which may quote
  /// the event, is the error's `cause`.
  public func encode<Event: Encodable>(_ event: Event) throws(OutboxError) -> Data {
    do {
      switch encoding {
      case .json(let encoder): return try encoder.encode(event)
      case .function(let encode): return try encode(event)
      }
    } catch {
      throw OutboxError(
        .encodingFailed,
        "a value of the type \(Event.self) was not encoded: \(Self.summary(of: error)); the error's cause says where",
        cause: error)
    }
  }

  private static func encode(_ date: Date, to encoder: any Encoder) throws {
    guard let text = ISO8601.text(date) else {
      // Not the date itself: who prints the error would print it, and Foundation traps on one that is not a number.
      throw EncodingError.invalidValue(
        date.timeIntervalSince1970,
        EncodingError.Context(
          codingPath: encoder.codingPath, debugDescription: "A date outside the years 0000 to 9999 cannot be written."))
    }
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }

  private static func summary(of error: any Error) -> String {
    switch error {
    case EncodingError.invalidValue(let value, _): "the encoder refused a \(type(of: value)) in it"
    default: "the encoder threw a \(type(of: error))"
    }
  }
}
