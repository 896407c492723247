import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Every row of the verdict table over a real socket: what the service does, and what becomes of rows and lane.
@Suite struct VerdictDeliveryTests {
  struct Row: Sendable, CustomTestStringConvertible {
    var name: String
    var faults: [FaultRule]
    var delivered = 0
    var pending = 0
    var dead: DeadReason?
    var hold: HoldKind?
    /// Rows that the service ends with, duplicates included.
    var rows: Int
    var possibleDuplicates = 0
    var inserted: Inserted?
    var testDescription: String { name }
  }

  static let table: [Row] = [
    Row(name: "200 with JSON", faults: [], delivered: 3, rows: 3),
    Row(name: "200 with no body", faults: [once(.emptyAnswer)], delivered: 3, rows: 3),
    Row(name: "200 that is not JSON", faults: [always(.placeholderPage)], pending: 3, hold: .notTheEventsAPI, rows: 0),
    Row(
      name: "200 cut short", faults: [once(.close(at: .midAnswer))], delivered: 3, rows: 6, possibleDuplicates: 3),
    Row(name: "202 once", faults: [once(.acceptWithoutWaiting)], delivered: 3, rows: 6, possibleDuplicates: 3),
    Row(
      name: "202 for ever", faults: [always(.acceptWithoutWaiting)], pending: 3, hold: .waitNotHonoured, rows: 9,
      inserted: .maybe),
    Row(name: "400 for all", faults: [always(.answer(400))], dead: .refused, rows: 0),
    Row(name: "401", faults: [always(.answer(401))], dead: .requestRefused, hold: .unauthorized, rows: 0),
    Row(name: "403", faults: [always(.answer(403))], dead: .requestRefused, hold: .unauthorized, rows: 0),
    Row(name: "404", faults: [always(.answer(404))], dead: .requestRefused, hold: .workspaceNotFound, rows: 0),
    Row(
      name: "408", faults: [once(.answer(408, commit: .all))], delivered: 3, rows: 6, possibleDuplicates: 3),
    Row(name: "409", faults: [once(.answer(409))], delivered: 3, rows: 3, possibleDuplicates: 3),
    Row(name: "425", faults: [once(.answer(425))], delivered: 3, rows: 3, possibleDuplicates: 3),
    Row(name: "413 for ever", faults: [always(.answer(413))], dead: .tooLarge, rows: 0),
    Row(name: "413 once", faults: [once(.answer(413))], delivered: 3, rows: 3),
    Row(name: "422", faults: [once(.partialFailure)], dead: .partlyInserted, rows: 1, inserted: .maybe),
    Row(
      name: "429", faults: [once(.answer(429, retryAfter: .seconds(0)))], delivered: 3, rows: 3),
    Row(name: "402", faults: [always(.answer(402))], dead: .requestRefused, hold: .unexpectedStatus, rows: 0),
    Row(name: "451", faults: [always(.answer(451))], dead: .requestRefused, hold: .unexpectedStatus, rows: 0),
    Row(
      name: "301", faults: [always(.answer(301, headers: ["Location": "http://127.0.0.1:1/"]))], pending: 3,
      hold: .redirected, rows: 0),
    Row(name: "500", faults: [once(.answer(500))], delivered: 3, rows: 3, possibleDuplicates: 3),
    Row(name: "502", faults: [once(.answer(502))], delivered: 3, rows: 3, possibleDuplicates: 3),
    Row(
      name: "504 after the commit", faults: [once(.answer(504, commit: .all))], delivered: 3, rows: 6,
      possibleDuplicates: 3),
    Row(name: "503", faults: [once(.answer(503))], delivered: 3, rows: 3),
    Row(
      name: "reset before the commit", faults: [once(.close(at: .beforeCommit))], delivered: 3, rows: 3,
      possibleDuplicates: 3),
    Row(
      name: "reset after the commit", faults: [once(.close(at: .afterCommit))], delivered: 3, rows: 6,
      possibleDuplicates: 3),
  ]

  @Test(arguments: table)
  func theLedgerEndsAsTheTableSays(row: Row) async throws {
    try await withDelivery { outbox, emulator in
      emulator.faults = row.faults
      try await outbox.append(contentsOf: (1...3).map { #"{"n":\#($0)}"# }, to: "clicks")
      try await outbox.deliverUntilEmpty()
      let status = try await outbox.status().dataSources[0]
      #expect(status.deliveredEvents == row.delivered)
      #expect(status.pendingEvents == row.pending)
      #expect(status.deadEvents == (row.dead == nil ? 0 : 3))
      #expect(status.possibleDuplicates == row.possibleDuplicates)
      let dead = try await outbox.deadLetters()
      #expect(dead.allSatisfy { $0.reason == row.dead && $0.inserted == row.inserted ?? .no })
      #expect(dead.map(\.json) == (row.dead == nil ? [] : (1...3).map { #"{"n":\#($0)}"# }))
      if case .held(let kind, _, _, _) = status.lane {
        #expect(kind == row.hold)
      } else {
        #expect(row.hold == nil)
      }
      if let inserted = row.inserted, row.pending > 0 {
        #expect(try await outbox.events(in: AddressRange("clicks")).allSatisfy { $0.inserted == inserted })
      }
      #expect(try await emulator.rowCount() == row.rows)
      try await expectSound(outbox)
    }
  }

  @Test func anApplicationCanOverrideAStatus() async throws {
    try await withDelivery {
      $0.delivery?.verdictOverrides = [404: .retry, 500: .deadLetter]
    } run: { outbox, emulator in
      emulator.faults = [Self.once(.answer(404)), Self.once(.answer(500))]
      try await outbox.append("{}", to: "clicks")
      try await outbox.deliverUntilEmpty()
      let attempts = try await outbox.attempts(for: AddressRange("clicks"))
      #expect(attempts.map(\.verdict) == ["dead_letter", "retry"])
      let letter = try #require(try await outbox.deadLetters().first)
      #expect(letter.status == 500 && letter.inserted == .maybe, "what is known of the rows stays the table's")
    }
  }

  @Test func nobodyListens() async throws {
    try await withDelivery { outbox, emulator in
      try await emulator.stopListening()
      try await outbox.append("{}", to: "clicks")
      let delivering = Task { try await outbox.deliverUntilEmpty() }
      try await waitUntil(outbox) { $0.dataSources.first?.lastAnswer?.text == "no answer: connection_refused" }
      try await emulator.startListening()
      try await delivering.value
      let status = try await outbox.status()
      #expect(status.deliveredEvents == 1)
      #expect(status.possibleDuplicates == 0, "nothing was written to a connection that was refused")
    }
  }

  @Test func aWrongTokenIsNeverWrittenDown() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.tokens = .only("another")
    try await withDelivery(emulator: configuration) { outbox, emulator in
      try await outbox.append("{}", to: "clicks")
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.status().dataSources[0].lastAnswer?.status == 403)
      await outbox.close()
      for suffix in ["", "-wal"] {
        let bytes = FileManager.default.contents(atPath: outbox.file.path + suffix) ?? Data()
        #expect(bytes.range(of: Data(testToken.utf8)) == nil, "the token is in app.outbox\(suffix)")
      }
    }
  }

  @Test(arguments: [1, 2, 5])
  func onlyTheGuiltyEventsDie(guiltyCount: Int) async throws {
    try await withDelivery { outbox, emulator in
      emulator.dataSources = ["clicks": DataSourceRules(rejects: .member("guilty", equals: true))]
      let guilty = Set((1...guiltyCount).map { $0 * 397 })
      let events = (1...2000).map { guilty.contains($0) ? #"{"n":\#($0),"guilty":true}"# : #"{"n":\#($0)}"# }
      try await outbox.append(contentsOf: events, to: "clicks")
      try await outbox.deliverUntilEmpty()
      let dead = try await outbox.deadLetters()
      #expect(Set(dead.map { Int($0.address.sequence) }) == guilty)
      #expect(dead.allSatisfy { $0.status == 400 && $0.reason == .refused && $0.answer != nil })
      #expect(try await emulator.deliveries(of: "clicks").count == 2000 - guiltyCount)
      #expect(try await emulator.rowCount() == 2000 - guiltyCount)
      let requests = try await emulator.requests().count
      #expect(requests <= 2 * guiltyCount * 12 + 1)
      try await expectSound(outbox)
    }
  }

  /// Fifty neighbours: the refusals in a row are no sign of a lane that is wrong, for another part of the batch was delivered.
  ///
  /// What is known of that outlives the process.
  @Test(.timeLimit(.minutes(1))) func neighboursThatAreGuiltyDieAloneHoweverOftenTheEngineStarts() async throws {
    try await withDelivery({ $0.delivery?.order = .strict }) { outbox, emulator in
      emulator.dataSources = ["clicks": DataSourceRules(rejects: .member("guilty", equals: true))]
      let guilty = 900...949
      let events = (1...2000).map { guilty.contains($0) ? #"{"n":\#($0),"guilty":true}"# : #"{"n":\#($0)}"# }
      try await outbox.append(contentsOf: events, to: "clicks")
      for dead in [5, 15] {
        let running = Task { try await outbox.run() }
        try await waitUntil(outbox) { $0.deadEvents >= dead }
        running.cancel()
        try? await running.value
      }
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.deadLetters().map { Int($0.address.sequence) } == Array(guilty))
      #expect(try await emulator.deliveries(of: "clicks").count == 1950)
      #expect(try await outbox.status().pendingEvents == 0)
      try await expectSound(outbox)
    }
  }

  @Test func whenEveryEventIsRefusedTheLaneIsHeld() async throws {
    try await withDelivery { outbox, emulator in
      emulator.faults = [Self.always(.answer(400))]
      try await outbox.append(contentsOf: Array(repeating: "{}", count: 1000), to: "clicks")
      try await outbox.deliverUntilEmpty()
      let status = try await outbox.status().dataSources[0]
      guard case .held(.everyEventRefused, status: 400, _, _) = status.lane else {
        Issue.record("the lane is \(status.lane)")
        return
      }
      #expect(status.pendingEvents >= 900)
      #expect(try await emulator.requests().count <= 24)
      try await expectSound(outbox)
      // The fault is mended: everything that was not burnt is delivered.
      emulator.faults = []
      try await outbox.resume("clicks")
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.status().pendingEvents == 0)
      try await expectSound(outbox)
    }
  }

  @Test func countsThatDifferAndQuarantinedRowsWarn() async throws {
    try await withDelivery { outbox, emulator in
      emulator.faults = [
        FaultRule(times: 1, do: .quarantine(rows: 1)),
        FaultRule(times: 1, do: .miscount(successfulRows: 5, quarantinedRows: 0)),
      ]
      try await outbox.append(contentsOf: ["{}", "{}"], to: "clicks")
      try await outbox.deliverUntilEmpty()
      try await outbox.append(contentsOf: ["{}", "{}"], to: "clicks")
      try await outbox.deliverUntilEmpty()
      let status = try await outbox.status().dataSources[0]
      #expect(status.deliveredEvents == 4)
      #expect(status.quarantinedRows == 1)
      #expect(status.batchesWithWarnings == 2)
    }
  }

  static func once(_ fault: Fault) -> FaultRule { FaultRule(times: 1, do: fault) }
  static func always(_ fault: Fault) -> FaultRule { FaultRule(do: fault) }
}

/// Waits until the outbox looks as it should: after each commit, never by sleeping.
func waitUntil(_ outbox: Outbox, _ isTrue: (OutboxStatus) -> Bool) async throws {
  while true {
    if isTrue(try await outbox.status()) { return }
    try Task.checkCancellation()
    await Task.yield()
  }
}
