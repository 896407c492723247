import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct EventIDTests {
  private let time = WallTime(milliseconds: 0x0123_4567_89AB)

  /// A generator of one word, so that every random bit can be seen.
  private struct Constant: RandomNumberGenerator {
    let word: UInt64
    func next() -> UInt64 { word }
  }

  @Test(arguments: [
    (UInt64.min, "01234567-89ab-7000-8000-000000000000"), (.max, "01234567-89ab-7fff-bfff-ffffffffffff"),
    (0x1234_5678_9ABC_DEF0, "01234567-89ab-7123-848d-159e26af37bc"),
  ])
  func isAVersion7UUID(_ word: UInt64, _ text: String) {
    var generator = Constant(word: word)
    #expect(EventID(at: time, using: &generator).description == text)
  }

  @Test(arguments: [
    (Int64.min, "00000000-0000-7000-8000-000000000000"), (-1, "00000000-0000-7000-8000-000000000000"),
    (0, "00000000-0000-7000-8000-000000000000"), (1, "00000000-0001-7000-8000-000000000000"),
    ((1 << 48) - 1, "ffffffff-ffff-7000-8000-000000000000"), (1 << 48, "ffffffff-ffff-7000-8000-000000000000"),
    (.max, "ffffffff-ffff-7000-8000-000000000000"),
  ])
  func timesThatDoNotFitBecomeTheNearest(_ milliseconds: Int64, _ text: String) {
    var generator = Constant(word: 0)
    #expect(EventID(at: WallTime(milliseconds: milliseconds), using: &generator).description == text)
  }

  @Test func idsOfOneMillisecondDiffer() {
    var generator = SeededRandom(seed: 1)
    let ids = Set((0..<10_000).map { _ in EventID(at: time, using: &generator).description })
    #expect(ids.count == 10_000)
    #expect(ids.allSatisfy { $0.utf8.count == EventID.textByteCount })
  }

  @Test func sortsByTime() {
    var generator = SeededRandom(seed: 2)
    let ids = (0..<1000).map { EventID(at: time + .milliseconds($0), using: &generator).description }
    #expect(ids == ids.sorted())
  }

  private static let id = "01234567-89ab-7123-848d-159e26af37bc"

  @Test(arguments: [
    ("event_id", "{}", #"{"event_id":"ID"}"#),
    ("event_id", "{ }", #"{"event_id":"ID" }"#),
    ("event_id", " \t{\n} ", " \t{\"event_id\":\"ID\" } "),
    ("event_id", #"{"a":1}"#, #"{"event_id":"ID","a":1}"#),
    ("event_id", #" { "a":1} "#, #" {"event_id":"ID", "a":1} "#),
    ("event_id", "\n{\r\n\"a\":\n1\n}\n", " {\"event_id\":\"ID\",  \"a\": 1 } "),
    ("event_id", #"{"a":{"event_id":1}}"#, #"{"event_id":"ID","a":{"event_id":1}}"#),
    (
      "event_id", #"{"n":123456789012345678901234567890,"s":"\u00e9é"}"#,
      #"{"event_id":"ID","n":123456789012345678901234567890,"s":"\u00e9é"}"#
    ),
    ("quote\"slash\\line\n", "{}", #"{"quote\"slash\\line\u000a":"ID"}"#),
    ("\0\u{F}\u{10}\u{1F}\u{7F}", "{}", "{\"\\u0000\\u000f\\u0010\\u001f\u{7F}\":\"ID\"}"),
    ("Kennung für 😀", "{}", #"{"Kennung für 😀":"ID"}"#),
  ])
  func isInsertedBehindTheBrace(_ name: String, _ text: String, _ expected: String) throws {
    let validator = JSONValidator(memberName: name)
    let object = try validate(text, validator)
    #expect(!object.hasMember)
    let member = EventIDMember(name: name)
    var generator = Constant(word: 0x1234_5678_9ABC_DEF0)
    let id = EventID(at: time, using: &generator)
    var output = Array("before\n".utf8)
    Array(text.utf8).withUnsafeBytes { member.append($0, object, id: id, to: &output) }
    let stored = Array(output.dropFirst(7))
    #expect(String(decoding: stored, as: UTF8.self) == expected.replacing("ID", with: Self.id))
    #expect(String(decoding: output.prefix(7), as: UTF8.self) == "before\n")
    #expect(stored.count == text.utf8.count + member.addedByteCount(to: object))
    // It is an event, and one that brings its id.
    let result = try validate(stored, validator)
    #expect(result.hasMember)
    #expect(!result.hasLineBreaks)
  }
}
