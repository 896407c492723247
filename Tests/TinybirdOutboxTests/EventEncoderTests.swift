import Foundation
import Testing

@testable import TinybirdOutbox

@Suite struct EventEncoderTests {
  private struct Booking: Codable, Equatable {
    var at: Date
    var path = "/hotels/berlin"
    var guests = [Guest(name: "Zoë", born: Date(timeIntervalSince1970: -0.5))]
    var note: String?

    struct Guest: Codable, Equatable {
      var name: String
      var born: Date
    }
  }

  @Test func datesHaveMillisecondsInUTCAndSlashesStay() throws {
    let booking = Booking(at: Date(timeIntervalSince1970: 1_795_233_906.789))
    let encoded = try EventEncoder.default.encode(booking)
    let text = String(decoding: encoded, as: UTF8.self)
    #expect(text.contains(#""at":"2026-11-21T04:05:06.789Z""#))
    #expect(text.contains(#""born":"1969-12-31T23:59:59.500Z""#))
    #expect(text.contains(#""path":"/hotels/berlin""#))
    #expect(!text.contains("note"))
    try validate(Array(encoded))
  }

  @Test func valuesComeBack() throws {
    let booking = Booking(at: Date(timeIntervalSince1970: 1_795_233_906.789), note: "line\nbreak \"quote\" \u{1} 😀")
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .custom { decoder in
      let text = try decoder.singleValueContainer().decode(String.self)
      return try Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(text)
    }
    let decoded = try decoder.decode(Booking.self, from: EventEncoder.default.encode(booking))
    #expect(decoded == booking)
  }

  /// A date that is its own value, in an array, and as a value of a dictionary.
  @Test func datesInEveryPlace() throws {
    let date = Date(timeIntervalSince1970: 0)
    let encoded = try EventEncoder.default.encode(["a": [date], "b": []])
    #expect(String(decoding: encoded, as: UTF8.self).contains(#"["1970-01-01T00:00:00.000Z"]"#))
    #expect(String(decoding: try EventEncoder.default.encode(date), as: UTF8.self) == #""1970-01-01T00:00:00.000Z""#)
  }

  @Test(arguments: [.nan, 253_402_300_800, -1e12] as [Double])
  func refusesADateThatCannotBeWritten(_ seconds: Double) throws {
    let error = try #require(throws: OutboxError.self) {
      try EventEncoder.default.encode(Booking(at: Date(timeIntervalSince1970: seconds)))
    }
    #expect(error.code == .encodingFailed)
    #expect(error.message.contains("a value of the type Booking was not encoded: the encoder refused a Double in it"))
    guard case EncodingError.invalidValue(_, let context)? = error.cause else {
      Issue.record("the cause is \(String(describing: error.cause))")
      return
    }
    #expect(context.codingPath.map(\.stringValue) == ["at"])
  }

  @Test func anEncoderOfOnesOwn() throws {
    let json = JSONEncoder()
    json.keyEncodingStrategy = .convertToSnakeCase
    json.dateEncodingStrategy = .secondsSince1970
    struct Visit: Encodable { let startedAt = Date(timeIntervalSince1970: 5) }
    #expect(String(decoding: try EventEncoder(json).encode(Visit()), as: UTF8.self) == #"{"started_at":5}"#)
  }

  @Test func aFunctionOfOnesOwn() throws {
    let encoder = EventEncoder { event in Data(#"{"type":"\#(type(of: event))"}"#.utf8) }
    let booking: any Encodable = Booking(at: .now)
    #expect(String(decoding: try encoder.encode(booking), as: UTF8.self) == #"{"type":"Booking"}"#)
    #expect(String(decoding: try encoder.encode(5), as: UTF8.self) == #"{"type":"Int"}"#)
  }

  private struct Secret: Encodable, Error, CustomStringConvertible {
    let description = "hunter2"
    func encode(to encoder: any Encoder) throws { throw self }
  }

  @Test func anErrorNamesTypesAndNeverValues() throws {
    let failures: [() throws -> Data] = [
      { try EventEncoder.default.encode(["hunter2": Double.nan]) },
      { try EventEncoder.default.encode(["hunter2": Secret()]) },
      { try EventEncoder { _ in throw Secret() }.encode("hunter2") },
      {
        try EventEncoder { value in
          throw EncodingError.invalidValue(value, .init(codingPath: [], debugDescription: "hunter2"))
        }.encode("hunter2")
      },
    ]
    for failure in failures {
      let error = try #require(throws: OutboxError.self) { try failure() }
      #expect(error.code == .encodingFailed)
      #expect(error.cause != nil)
      for said in ["\(error)", error.message, error.shortDescription, String(reflecting: error)] {
        #expect(!said.contains("hunter2"))
      }
    }
  }

  @Test func manyMayEncodeAtOnce() async {
    let encoder = EventEncoder.default
    let wrong = await withTaskGroup(of: Int.self) { group in
      for task in 0..<16 {
        group.addTask {
          var wrong = 0
          for round in 0..<200 {
            let date = Date(timeIntervalSince1970: Double(task * 1000 + round))
            let expected = #"{"at":"\#(ISO8601.text(date) ?? "")"}"#
            let encoded = try? encoder.encode(["at": date])
            wrong += encoded == Data(expected.utf8) ? 0 : 1
          }
          return wrong
        }
      }
      return await group.reduce(0, +)
    }
    #expect(wrong == 0)
  }
}
