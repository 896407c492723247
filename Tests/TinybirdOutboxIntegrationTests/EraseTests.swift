import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// A person's events go, from wherever they are; everything else stays.
@Suite(.timeLimit(.minutes(3))) struct EraseTests {
  static let marker = "person-4711"
  static let selection = EventSelection(members: [.sample])

  /// One event a number, in every tenth the person's.
  private static func event(_ number: Int) -> String {
    number.isMultiple(of: 10) ? #"{"n":\#(number),"user":{"id":"\#(marker)"}}"# : #"{"n":\#(number)}"#
  }

  private func append(_ numbers: ClosedRange<Int>, to dataSource: DataSourceName, _ outbox: Outbox) async throws {
    try await outbox.append(contentsOf: numbers.map { Self.event($0) }, to: dataSource)
  }

  /// How often the marker stands in the bytes of the outbox's files.
  private func countMarkers(_ outbox: Outbox) throws -> Int {
    try ["", "-wal"].reduce(0) { sum, suffix in
      let path = outbox.file.path + suffix
      guard FileManager.default.fileExists(atPath: path) else { return sum }
      // Another process reads it: to open and close it here would drop SQLite's locks.
      return sum + (try countOccurrences(of: Self.marker, inFileAt: path))
    }
  }

  @Test func everyTraceGoesWhateverTheState() async throws {
    try await withDelivery { outbox, emulator in
      // Delivered; dead, with an answer that quotes it; discarded long ago; delivered as a replay; and waiting.
      try await append(1...20, to: "clicks", outbox)
      try await outbox.deliverUntilEmpty()
      emulator.faults = [FaultRule(do: .answer(422, body: #"{"error":"no place for \#(Self.marker)"}"#))]
      try await append(21...60, to: "clicks", outbox)
      try await append(1...20, to: "orders", outbox)
      try await outbox.deliverUntilEmpty()
      emulator.faults = []
      #expect(try await outbox.discard(matching: DeadLetterFilter(AddressRange("clicks/21..30"))) == 10)
      _ = try await outbox.replay(matching: DeadLetterFilter(AddressRange("clicks/31..40")), mayDuplicate: true)
      try await outbox.deliverUntilEmpty()
      try await append(61...80, to: "clicks", outbox)
      try await append(1...5, to: "visits", outbox)
      let before = try await outbox.status()
      #expect(try countMarkers(outbox) > 10)

      let found = try await outbox.erase(Self.selection, isDryRun: true)
      #expect(found.ranges.map(\.description) == (1...8).map { "clicks/\($0)0" } + ["orders/10", "orders/20"])
      #expect(try countMarkers(outbox) > 10, "a dry run changes nothing")

      let report = try await outbox.erase(Self.selection)
      #expect(report.ranges == found.ranges && report.events == 10 && report.isComplete)
      // 10 and 20 are delivered, 40 is as a replay; of the others a 422 has told that they may be there, but 70 and 80
      // were never sent.
      #expect(report.eventsInTinybird == 8)
      #expect(try countMarkers(outbox) == 0)

      try await expectSound(outbox)
      let clicks = try #require(try await outbox.status().dataSources.first)
      #expect(clicks.appendedEvents == 80 && clicks.deliveredEvents == before.dataSources[0].deliveredEvents)
      #expect(clicks.pendingEvents == 18 && clicks.deadEvents == 18 && clicks.discardedEvents == 14)
      let events = try await outbox.events(in: AddressRange("clicks"))
      for event in events {
        let number = Int(event.address.sequence)
        #expect(event.isErased == number.isMultiple(of: 10))
        #expect(event.json == (event.isErased ? nil : Self.event(number)))
      }
      #expect(try await outbox.deadLetters().allSatisfy { $0.answer == "[erased]" })
      #expect(try SQLiteShell(outbox.file.path).run("SELECT count(*) FROM outbox_events") == [["105"]])

      // What is left goes its way.
      try await outbox.deliverUntilEmpty()
      _ = try await outbox.replay(matching: DeadLetterFilter(), mayDuplicate: true)
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.status().pendingEvents == 0)
      #expect(try await emulator.deliveries(of: "clicks").keys.count { $0.contains(Self.marker) } == 3)
      try await expectSound(outbox)

      let again = try await outbox.erase(Self.selection)
      #expect(again.events == 0 && again.isComplete)
    }
  }

  /// An answer quotes an event that is not there any more: it was pruned, or its neighbours alone are dead.
  @Test func whatIsNotFoundMayStillBeQuoted() async throws {
    try await withDelivery { outbox, emulator in
      let quoting = #"{"error":"no place for \#(Self.marker)"}"#
      emulator.faults = [VerdictDeliveryTests.once(.answer(503, body: quoting))]
      try await append(1...10, to: "clicks", outbox)
      try await outbox.deliverUntilEmpty()
      _ = try await outbox.prune(settledBefore: .distantFuture)
      emulator.faults = [VerdictDeliveryTests.once(.answer(422, body: quoting))]
      try await append(1...10, to: "orders", outbox)
      try await outbox.deliverUntilEmpty()
      _ = try await outbox.replay(matching: DeadLetterFilter(AddressRange("orders/10")), mayDuplicate: true)
      try await outbox.deliverUntilEmpty()
      // The log of requests is bounded.
      try SQLiteShell(outbox.file.path).run("DELETE FROM outbox_attempts WHERE status = 422")
      _ = try await outbox.prune(settledBefore: .distantFuture)
      #expect(try countMarkers(outbox) > 0)
      let report = try await outbox.erase(Self.selection)
      #expect(report.ranges.map(\.description) == ["orders/10"] && report.isComplete)
      #expect(try countMarkers(outbox) == 0)
      let letters = try await outbox.deadLetters()
      #expect(letters.count == 9 && letters.allSatisfy { $0.answer == "[erased]" && $0.status == 422 })
      try await expectSound(outbox)
    }
  }

  @Test func deletedLongBeforeIsOverwrittenToo() async throws {
    try await withOutbox { outbox in
      try await append(1...500, to: "clicks", outbox)
      let shell = try SQLiteShell(outbox.file.path)
      try shell.run("PRAGMA secure_delete = OFF")
      // As an older version, or a shell, may have left it: whole pages, and gaps within pages.
      try shell.run("CREATE TABLE outbox_other (id INTEGER PRIMARY KEY, text TEXT)")
      for id in 1...200 { try shell.run("INSERT INTO outbox_other VALUES (\(id), '\(Self.marker)-\(id)')") }
      try shell.run("DELETE FROM outbox_other WHERE id % 3 > 0")
      try shell.run("UPDATE outbox_other SET text = 'nobody'")
      #expect(try countMarkers(outbox) > 100)
      let report = try await outbox.erase(Self.selection)
      #expect(report.events == 50 && report.isComplete)
      #expect(try countMarkers(outbox) == 0)
      try await expectSound(outbox)
      for name in ["auto_vacuum", "application_id", "journal_mode"] {
        #expect(try shell.run("PRAGMA \(name)") != [["0"]], "\(name) is as it was")
      }
    }
  }

  @Test func aBatchThatWaitsIsSentWithoutThem() async throws {
    try await withDelivery { outbox, emulator in
      emulator.faults = [FaultRule(times: 1, do: .answer(503))]
      try await append(1...30, to: "clicks", outbox)
      let failing = Task { try await outbox.run() }
      try await waitUntil(outbox) { $0.dataSources.first?.lastAnswer?.status == 503 }
      failing.cancel()
      try await failing.value
      #expect(try await outbox.erase(Self.selection).events == 3)
      try await outbox.deliverUntilEmpty()
      let delivered = try await emulator.deliveries(of: "clicks")
      let all = (1...30).filter { !$0.isMultiple(of: 10) }.map { Self.event($0) }
      #expect(Set(all).isSubset(of: delivered.keys))
      let status = try await outbox.status().dataSources[0]
      #expect(status.deliveredEvents + status.discardedEvents == 30)
      try await expectSound(outbox)
    }
  }

  @Test func whileARequestIsUnderWayItsEventsAreLeftAlone() async throws {
    try await withDelivery { outbox, emulator in
      emulator.faults = [FaultRule(times: 1, delay: .untilReleased(at: .beforeCommit))]
      try await append(1...10, to: "clicks", outbox)
      let delivering = Task { try await outbox.run() }
      try await emulator.waitForHeldRequests(count: 1)
      let outcome = try await outbox.committer.perform { try EventEraser(transaction: $0).erase([10...10], of: 1) }
      #expect(outcome == .underWay)
      // The lane goes on with a batch behind it meanwhile; another data source's event can be erased.
      try await append(11...20, to: "clicks", outbox)
      let erasing = Task { try await outbox.erase(Self.selection) }
      emulator.releaseHeldRequests()
      let report = try await erasing.value
      #expect(report.events == 2)
      try await waitUntil(outbox) { $0.pendingEvents == 0 }
      delivering.cancel()
      try await delivering.value
      let status = try await outbox.status().dataSources[0]
      #expect(status.deliveredEvents + status.discardedEvents == 20 && status.deliveredEvents >= 19)
      #expect(try countMarkers(outbox) == 0)
      try await expectSound(outbox)
    }
  }

  @Test func whatACrashLeftUnderWayIsNotWaitedFor() async throws {
    try await withOutbox { outbox in
      try await append(1...10, to: "clicks", outbox)
      try await outbox.committer.perform { transaction in
        _ = try Ledger(transaction: transaction).form(
          [BatchBuilder.Plan(sequences: 1...10, eventCount: 10, byteCount: 200)], of: 1)
      }
      let report = try await outbox.erase(Self.selection)
      #expect(report.events == 1 && report.eventsInTinybird == 1)
      #expect(try await outbox.events(in: AddressRange("clicks/10")).first?.inserted == .maybe)
      try await expectSound(outbox)
    }
  }

  @Test func replaysAndResendsGoOnWithoutThem() async throws {
    try await withDelivery { outbox, emulator in
      emulator.dataSources = ["clicks": DataSourceRules(rejects: .member("n", equals: -1))]
      try await append(1...30, to: "clicks", outbox)
      try await outbox.deliverUntilEmpty()
      emulator.faults = [FaultRule(do: .answer(422))]
      try await append(31...50, to: "clicks", outbox)
      try await outbox.deliverUntilEmpty()
      emulator.faults = []
      #expect(try await outbox.replay(matching: DeadLetterFilter(), mayDuplicate: true).events == 20)
      #expect(try await outbox.resend(AddressRange("clicks/1..30")).events == 30)
      let rows = try await emulator.rowCount()
      #expect(try await outbox.erase(Self.selection).events == 5)
      try await expectSound(outbox)
      try await outbox.deliverUntilEmpty()
      #expect(try await emulator.rowCount() == rows + 27 + 18)
      let status = try await outbox.status().dataSources[0]
      #expect(status.deliveredEvents == 48 && status.discardedEvents == 2 && status.deadEvents == 0)
      // Later resends pass over what was erased.
      #expect(try await outbox.resend(AddressRange("clicks/1..30")).events == 27)
      try await expectSound(outbox)
    }
  }

  @Test func aDamagedChunkIsNamed() async throws {
    try await withOutbox { outbox in
      for start in [1, 11, 21] { try await append(start...start + 9, to: "clicks", outbox) }
      try SQLiteShell(outbox.file.path).run("UPDATE outbox_chunks SET crc32 = 1 WHERE key & 255 = 11")
      let report = try await outbox.erase(Self.selection)
      #expect(report.ranges.map(\.description) == ["clicks/10", "clicks/30"])
      #expect(report.unreadable.map(\.description) == ["clicks/11..20"])
      #expect(!report.isComplete)
    }
  }

  @Test func aReaderOfAnOldStateIsNamed() async throws {
    try await withOutbox { outbox in
      try await append(1...500, to: "clicks", outbox)
      let reader = try SQLiteShell(outbox.file.path)
      try reader.run("BEGIN")
      try reader.run("SELECT count(*) FROM outbox_chunks")
      let report = try await outbox.erase(EventSelection(ranges: [AddressRange("clicks")]))
      #expect(report.events == 500 && report.remainders == [.log, .freePages])
      try reader.run("COMMIT")
      // The log goes by itself now; what the file keeps does not.
      try await outbox.hold("clicks")
      await outbox.writer.checkpoint()
      try await outbox.resume("clicks")
      #expect(try countOccurrences(of: Self.marker, inFileAt: outbox.file.path) > 0)
      let again = try await outbox.erase(Self.selection)
      #expect(again.events == 0 && again.isComplete)
      #expect(try countMarkers(outbox) == 0)
    }
  }

  @Test func anotherApplicationsDatabaseIsNotWrittenAnew() async throws {
    try await withOutbox { outbox in
      try await append(1...10, to: "clicks", outbox)
      try SQLiteShell(outbox.file.path).run("PRAGMA application_id = 7")
      let report = try await outbox.erase(Self.selection)
      #expect(report.events == 1 && report.remainders == [.sharedDatabase])
    }
  }

  @Test func manySmallChunksInManySteps() async throws {
    try await withOutbox { outbox in
      for number in 1...300 { try await outbox.append(Self.event(number), to: "clicks") }
      #expect(try await outbox.erase(EventSelection(ranges: [AddressRange("clicks/95..105")])).events == 11)
      #expect(try await outbox.erase(Self.selection).events == 29)
      #expect(try await outbox.status().pendingEvents == 300 - 40)
      try await expectSound(outbox)
    }
  }
}

extension MemberMatch {
  fileprivate static let sample: MemberMatch = {
    do { return try MemberMatch("user.id=\(EraseTests.marker)") } catch { preconditionFailure("\(error)") }
  }()
}

/// How often `text` stands in a file, counted by another process.
func countOccurrences(of text: String, inFileAt path: String) throws -> Int {
  let process = Process()
  process.executableURL = URL(filePath: "/usr/bin/env")
  process.arguments = ["grep", "-a", "-o", "-F", text, path]
  let output = Pipe()
  process.standardOutput = output
  try process.run()
  let data = try output.fileHandleForReading.readToEnd() ?? Data()
  process.waitUntilExit()
  return data.count { $0 == UInt8(ascii: "\n") }
}
