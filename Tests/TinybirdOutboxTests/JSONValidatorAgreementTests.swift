import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// The door against a plain parser, on thousands of texts that were events once.
@Suite struct JSONValidatorAgreementTests {
  private static let memberName = "event_id"

  @Test(arguments: AcceptedTexts.all) func agreesOnWhatIsAccepted(_ text: String) throws {
    try expectAgreement(on: Array(text.utf8))
  }

  @Test(arguments: RefusedTexts.all) func agreesOnWhatIsRefused(_ refused: RefusedTexts.Case) throws {
    try expectAgreement(on: refused.bytes)
  }

  @Test func everyEventOfTheAccessLogIsAccepted() throws {
    let events = try AccessLog.events()
    #expect(events.count == 9999)
    for event in events { try validate(event) }
  }

  @Test(arguments: [1, 2, 3, 4] as [UInt64]) func agreesOnMutationsOfRealEvents(_ seed: UInt64) throws {
    var generator = SeededRandom(seed: seed)
    let real = try AccessLog.events().prefix(200)
    let samples = (AcceptedTexts.samples + Self.withMember).map { Array($0.utf8) }
    var accepted = 0
    let rounds = 3000
    for round in 0..<rounds {
      // Every other one from the samples: they are short, so that a change often hits the grammar's rare parts.
      guard var text = (round.isMultiple(of: 2) ? samples[...] : real).randomElement(using: &generator) else { return }
      for _ in 0..<Int.random(in: 1...3, using: &generator) { mutate(&text, &generator) }
      accepted += try expectAgreement(on: text) ? 1 : 0
    }
    // Neither side may be what all the mutations lead to.
    #expect((rounds / 10...rounds * 9 / 10).contains(accepted), "\(accepted) of \(rounds) accepted")
  }

  /// What the door accepts, Foundation can read: one way only, since Foundation takes more than RFC 8259 allows, and
  /// no surrogate alone nor number beyond Double.
  @Test func foundationReadsWhatIsAccepted() throws {
    var generator = SeededRandom(seed: 5)
    let real = try AccessLog.events().prefix(200)
    var accepted = 0
    for _ in 0..<3000 {
      guard var text = real.randomElement(using: &generator) else { return }
      mutate(&text, &generator)
      let hasEscapesOrExponents = String(decoding: text, as: UTF8.self).contains(/\\|[0-9][eE][-+0-9]/)
      guard !hasEscapesOrExponents, (try? validate(text)) != nil else { continue }
      accepted += 1
      guard (try? JSONSerialization.jsonObject(with: Data(text))) is [String: Any] else {
        Issue.record("Foundation refuses \(String(decoding: text, as: UTF8.self))")
        return
      }
    }
    #expect(accepted > 300)
  }

  private static let withMember = [
    #"{"event_id":1}"#, #"{"a":{"event_id":1},"b":"event_id"}"#, #"{"event\u005Fid":[]}"#, #"{"a":1,"event_id":null}"#,
  ]

  @discardableResult
  private func expectAgreement(on text: [UInt8]) throws -> Bool {
    let expected = ReferenceJSON.object(text, memberName: Self.memberName)
    let seen = try? validate(text, JSONValidator(memberName: Self.memberName))
    // A macro a text would take minutes; only what differs is worth one.
    if seen != expected { #expect(seen == expected, "\(String(decoding: text, as: UTF8.self).debugDescription)") }
    return seen != nil
  }

  private func mutate(_ text: inout [UInt8], _ generator: inout SeededRandom) {
    guard !text.isEmpty else { return text.append(UInt8(ascii: "{")) }
    let place = Int.random(in: text.indices, using: &generator)
    let end = min(text.count, place + Int.random(in: 1...8, using: &generator))
    switch Int.random(in: 0..<9, using: &generator) {
    case 0: text[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
    case 1: text[place] = UInt8.random(in: .min ... .max, using: &generator)
    case 2: text.remove(at: place)
    case 3: text.removeSubrange(place..<end)
    case 4: text.insert(contentsOf: text[place..<end], at: place)
    case 5: text.removeSubrange(end...)
    case 6: text.swapAt(place, Int.random(in: text.indices, using: &generator))
    case 7: text.insert(contentsOf: Self.tokens.randomElement(using: &generator)?.utf8 ?? "".utf8, at: place)
    default:
      // At a place where one may stand, so that more than a rare mutation stays an event.
      let places = text.indices.filter { text[$0] == UInt8(ascii: ",") || text[$0] == UInt8(ascii: "}") }
      let token = Self.harmlessTokens.randomElement(using: &generator) ?? ""
      text.insert(contentsOf: token.utf8, at: places.randomElement(using: &generator) ?? place)
    }
  }

  private static let tokens = [
    "{", "}", "[", "]", ",", ":", "\"", "\\", "{}", "[]", "\"\"", "\"a\":", "\\u00e9", "\\ud83d", "\\u", "\\\"", "\n",
    "\r", "\t", " ", "0", "-", "+", ".", "e", "E", "1e5", "00", "true", "false", "null", "é", "😀", "\u{FEFF}", "\0",
    "\u{1F}", "\u{7F}", "event_id", "\"event_id\":1,",
  ]
  private static let harmlessTokens = [" ", "\n", "\r\n", "\t", "0", "5", ",\"event_id\":{}", ",\"x\":[1,{}]"]
}

/// The real events of `Fixtures/`.
enum AccessLog {
  static let url = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/access_log.ndjson.gz")

  static func ndjson() throws -> [UInt8] {
    try Data(contentsOf: url).withUnsafeBytes { try gunzip($0, limit: 4_000_000) }
  }

  static func events() throws -> [[UInt8]] {
    try ndjson().split(separator: UInt8(ascii: "\n")).map { Array($0) }
  }
}
