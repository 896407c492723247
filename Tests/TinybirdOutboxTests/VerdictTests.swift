import Testing

@testable import TinybirdOutbox

/// Every row of the verdict table, in its order.
@Suite struct VerdictTests {
  struct Row: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let outcome: Outcome
    let kind: Verdict.Kind
    let inserted: Inserted

    init(_ name: String, _ outcome: Outcome, _ kind: Verdict.Kind, _ inserted: Inserted) {
      testDescription = name
      self.outcome = outcome
      self.kind = kind
      self.inserted = inserted
    }
  }

  private static let counts = Array(#"{"successful_rows":2,"quarantined_rows":1}"#.utf8)
  private static let page = Array("<html><body>It works!</body></html>".utf8)
  private static let error = Array(#"{"error":"no","documentation":"https://example.com"}"#.utf8)
  private static let wait = Duration.seconds(7)

  private static func answer(
    _ status: Int, _ body: [UInt8] = error, isBodyWhole: Bool = true, retryAfter: Duration? = wait
  ) -> Outcome {
    .answered(Outcome.Answer(status: status, body: body, isBodyWhole: isBodyWhole, retryAfter: retryAfter))
  }

  @Test(arguments: success + refusals + faults) func row(_ row: Row) {
    let verdict = Verdict(row.outcome)
    #expect(verdict.kind == row.kind)
    #expect(verdict.inserted == row.inserted)
  }

  static let noCounts = RowCounts(successful: nil, quarantined: nil)

  static let success = [
    Row("200 with counts", answer(200, counts), .delivered(RowCounts(successful: 2, quarantined: 1)), .yes),
    Row("200 without a body", answer(200, []), .delivered(noCounts), .yes),
    Row("200 with white space for a body", answer(200, Array(" \r\n\t ".utf8)), .delivered(noCounts), .yes),
    Row("200 with JSON without counts", answer(200, Array("{}".utf8)), .delivered(noCounts), .yes),
    Row("200 with JSON that is no object", answer(200, Array("[]".utf8)), .delivered(noCounts), .yes),
    Row("200 with a placeholder page", answer(200, page), .hold(.notTheEventsAPI), .maybe),
    Row("200 with the word OK", answer(200, Array("OK".utf8)), .hold(.notTheEventsAPI), .maybe),
    Row("200 with bytes that are no text", answer(200, [0xFF, 0xFE, 0x00]), .hold(.notTheEventsAPI), .maybe),
    Row("200 with half of its JSON", answer(200, counts.dropLast(5) + []), .hold(.notTheEventsAPI), .maybe),
    Row("200, cut in its JSON", answer(200, Array(counts.prefix(9)), isBodyWhole: false), .retry(nil), .maybe),
    Row("200, cut before its first byte", answer(200, [], isBodyWhole: false), .retry(nil), .maybe),
    Row("200, cut behind JSON that looks whole", answer(200, counts, isBodyWhole: false), .retry(nil), .maybe),
    Row("200, a page that is cut", answer(200, page, isBodyWhole: false), .retry(nil), .maybe),
    Row("202 with counts", answer(202, counts), .unacknowledged, .maybe),
    Row("202 without a body", answer(202, []), .unacknowledged, .maybe),
  ]

  static let refusals = [
    Row("400", answer(400), .isolate, .no),
    Row("401", answer(401), .deadLetterAndHold(.unauthorized), .no),
    Row("403", answer(403), .deadLetterAndHold(.unauthorized), .no),
    Row("404", answer(404), .deadLetterAndHold(.workspaceNotFound), .no),
    Row("408", answer(408), .retry(wait), .maybe),
    Row("409", answer(409), .retry(wait), .maybe),
    Row("425", answer(425), .retry(wait), .maybe),
    Row("413", answer(413), .split, .no),
    Row("422", answer(422), .deadLetter(.partlyInserted), .maybe),
    Row("429", answer(429), .pause(wait), .no),
    Row("429 that does not say for how long", answer(429, retryAfter: nil), .pause(nil), .no),
    Row("402", answer(402), .deadLetterAndHold(.unexpectedStatus), .no),
    Row("405", answer(405), .deadLetterAndHold(.unexpectedStatus), .no),
    Row("407", answer(407), .deadLetterAndHold(.unexpectedStatus), .no),
    Row("411", answer(411), .deadLetterAndHold(.unexpectedStatus), .no),
    Row("451", answer(451), .deadLetterAndHold(.unexpectedStatus), .no),
    Row("301", answer(301), .hold(.redirected), .no),
    Row("302", answer(302), .hold(.redirected), .no),
    Row("307", answer(307), .hold(.redirected), .no),
    Row("308", answer(308), .hold(.redirected), .no),
  ]

  static let faults =
    [
      Row("500", answer(500), .retry(wait), .maybe),
      Row("502 with a page", answer(502, page), .retry(wait), .maybe),
      Row("504", answer(504, retryAfter: nil), .retry(nil), .maybe),
      Row("503", answer(503), .retry(wait), .no),
      Row("503 that does not say for how long", answer(503, retryAfter: nil), .retry(nil), .no),
      Row("HTTP/2 stream refused", .noAnswer(.notProcessed), .retryAtOnce, .no),
      Row("cancelled by our own shutdown", .noAnswer(.cancelled), .none, .maybe),
    ]
    + TransportFault.allCases.flatMap { fault in
      [
        Row("no answer, nothing sent: \(fault)", .noAnswer(.notSent(fault)), .retry(nil), .no),
        Row("no answer, unknown when: \(fault)", .noAnswer(.unknown(fault)), .retry(nil), .maybe),
      ]
    }

  /// What a status means where no row names it.
  private static func byItsClass(_ status: Int) -> (Verdict.Kind, Inserted) {
    switch status / 100 {
    case 3: (.hold(.redirected), .no)
    case 4: (.deadLetterAndHold(.unexpectedStatus), .no)
    case 5: (.retry(wait), .maybe)
    default: (.hold(.notTheEventsAPI), .maybe)
    }
  }

  private static let named: Set<Int> = [200, 202, 400, 401, 403, 404, 408, 409, 413, 422, 425, 429, 503]

  @Test func everyStatusHasItsVerdict() {
    for status in 100...599 where !Self.named.contains(status) {
      let verdict = Verdict(Self.answer(status))
      let (kind, inserted) = Self.byItsClass(status)
      #expect(verdict.kind == kind && verdict.inserted == inserted, "\(status)")
    }
    for status in Self.named {
      let verdict = Verdict(Self.answer(status))
      #expect(verdict.kind != Self.byItsClass(status).0 || verdict.inserted != Self.byItsClass(status).1, "\(status)")
    }
  }

  @Test(arguments: [-1, 0, 1, 99, 600, 999, 20_000, .min, .max]) func aNumberThatIsNoStatusHolds(status: Int) {
    #expect(Verdict(Self.answer(status)).kind == .hold(.notTheEventsAPI))
    #expect(Verdict(Self.answer(status)).inserted == .maybe)
  }

  /// Only a 200 is judged by its body; every other status is what it is, whatever comes with it or is cut off.
  @Test func otherStatusesAreNotJudgedByTheirBody() {
    for status in 100...599 where status != 200 {
      let plain = Verdict(Self.answer(status, []))
      for body in [Self.counts, Self.page, [0xFF]] {
        for isWhole in [true, false] {
          #expect(Verdict(Self.answer(status, body, isBodyWhole: isWhole)) == plain, "\(status)")
        }
      }
    }
  }

  /// Nothing but a whole 200 says that rows are there; nothing but a refusal says that none are.
  @Test func insertedIsNeverMoreThanWhatIsKnown() {
    let refused: Set<Int> = [400, 401, 403, 404, 413, 429, 503]
    for status in 100...599 {
      let inserted = Verdict(Self.answer(status, Self.counts)).inserted
      let undocumented = (300..<500).contains(status) && ![408, 409, 422, 425].contains(status)
      #expect((inserted == .yes) == (status == 200), "\(status)")
      #expect((inserted == .no) == (refused.contains(status) || undocumented), "\(status)")
    }
  }

  // MARK: The application's own word

  /// A status, the application's word on it, and the verdict.
  ///
  /// What is known of the rows stays what the table says.
  @Test(
    arguments: [
      (503, .delivered, .delivered(noCounts), .yes), (500, .retry, .retry(wait), .maybe),
      (400, .retry, .retry(wait), .no), (403, .retry, .retry(wait), .no), (202, .delivered, .delivered(noCounts), .yes),
      (202, .retry, .retry(wait), .maybe), (200, .hold, .hold(.unexpectedStatus), .yes),
      (500, .isolate, .isolate, .maybe), (422, .isolate, .isolate, .maybe),
      (413, .deadLetter, .deadLetter(.refused), .no),
      (500, .deadLetter, .deadLetter(.refused), .maybe), (429, .hold, .hold(.unexpectedStatus), .no),
      (400, .deadLetterAndHold, .deadLetterAndHold(.unexpectedStatus), .no),
      (409, .deadLetterAndHold, .deadLetterAndHold(.unexpectedStatus), .maybe),
    ] as [(Int, StatusVerdict, Verdict.Kind, Inserted)])
  func overrides(status: Int, word: StatusVerdict, kind: Verdict.Kind, inserted: Inserted) {
    let verdict = Verdict(Self.answer(status), overrides: [status: word, 418: .retry])
    #expect(verdict.kind == kind)
    #expect(verdict.inserted == inserted)
  }

  @Test func whatIsNotOverriddenKeepsItsVerdict() {
    let overrides = Dictionary(uniqueKeysWithValues: StatusVerdict.allCases.enumerated().map { (600 + $0, $1) })
    for row in Self.success + Self.refusals + Self.faults {
      #expect(Verdict(row.outcome, overrides: overrides) == Verdict(row.outcome))
      #expect(Verdict(row.outcome, overrides: [:]) == Verdict(row.outcome))
    }
  }

  @Test func anOverriddenAnswerWithCountsIsCounted() {
    let verdict = Verdict(Self.answer(202, Self.counts), overrides: [202: .delivered])
    #expect(verdict.kind == .delivered(RowCounts(successful: 2, quarantined: 1)))
  }

  /// The log of attempts is a format: these names stay.
  @Test(
    arguments: [
      (.delivered(noCounts), "delivered"), (.retry(nil), "retry"), (.pause(nil), "pause"),
      (.retryAtOnce, "retry_at_once"), (.unacknowledged, "unacknowledged"), (.isolate, "isolate"), (.split, "split"),
      (.deadLetter(.partlyInserted), "dead_letter"), (.deadLetterAndHold(.unauthorized), "dead_letter_and_hold"),
      (.hold(.redirected), "hold"), (.none, "none"),
    ] as [(Verdict.Kind, String)])
  func names(kind: Verdict.Kind, name: String) {
    var verdict = Verdict(.noAnswer(.cancelled))
    verdict.kind = kind
    #expect(verdict.name == name)
  }
}

@Suite struct InsertedTests {
  @Test(
    arguments: [
      (.no, .no, .no), (.no, .maybe, .maybe), (.no, .yes, .yes),
      // A doubt stays when a later answer is a refusal.
      (.maybe, .no, .maybe), (.maybe, .maybe, .maybe), (.maybe, .yes, .yes),
      (.yes, .no, .yes), (.yes, .maybe, .yes), (.yes, .yes, .yes),
    ] as [(Inserted, Inserted, Inserted)])
  func combined(before: Inserted, answer: Inserted, after: Inserted) {
    #expect(before.combined(with: answer) == after)
  }
}
