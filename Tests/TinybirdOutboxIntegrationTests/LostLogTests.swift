import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// What SQLite cannot see: a file without its log, a log without its file, or with another's; a journal of another time.
@Suite struct LostLogTests {
  /// An outbox whose first event is in the file, and the second in the log alone; it stays open.
  private func makeOutbox(_ path: String, _ name: String) async throws -> Outbox {
    let first = try await Outbox(at: path)
    try await first.append(#"{"from":"\#(name)","n":1}"#, to: "clicks")
    await first.close()
    let outbox = try await Outbox(at: path)
    try await outbox.append(#"{"from":"\#(name)","n":2}"#, to: "clicks")
    return outbox
  }

  private func copy(_ from: String, _ to: String) throws {
    try FileManager.default.copyItem(atPath: from, toPath: to)
  }

  @Test func whatWasNotFoldedIsLostWithTheLog() async throws {
    try await withTemporaryDirectory { directory in
      let original = try await makeOutbox(directory + "/a", "a")
      try copy(directory + "/a", directory + "/copy")
      let outbox = try await Outbox(at: directory + "/copy")
      let events = try await outbox.events(in: AddressRange("clicks"))
      #expect(events.map(\.json) == [#"{"from":"a","n":1}"#])
      try await expectSound(outbox)
      let receipt = try await outbox.append("{}", to: "clicks")
      #expect(receipt.ranges.map(\.sequences) == [2...2], "an address is given again")
      await outbox.close()
      // With its log it is whole.
      try copy(directory + "/a", directory + "/whole")
      try copy(directory + "/a-wal", directory + "/whole-wal")
      let whole = try await Outbox(at: directory + "/whole")
      #expect(try await whole.events(in: AddressRange("clicks")).count == 2)
      await whole.close()
      await original.close()
    }
  }

  /// SQLite deletes the log of a database that has no byte, whoever opens it and for whatever.
  @Test(arguments: [false, true]) func aLogThatHasLostItsFileIsKept(isGone: Bool) async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/copy"
      let original = try await makeOutbox(directory + "/a", "a")
      try copy(directory + "/a", directory + "/moved")
      try copy(directory + "/a-wal", path + "-wal")
      await original.close()
      let log = try Data(contentsOf: URL(filePath: path + "-wal"))
      if !isGone { try Data().write(to: URL(filePath: path)) }

      for createsFile in [true, false] {
        var configuration = OutboxConfiguration()
        configuration.createsFile = createsFile
        let error = await #expect(throws: OutboxError.self) {
          try await Outbox(at: path, configuration: configuration)
        }
        #expect(error?.code == .damaged && error?.message.contains("-wal has \(log.count) bytes") == true)
      }
      #expect(throws: OutboxError.self) { try StoreOpening.openForReading(OutboxFile(path: path)) }
      let report = await Outbox.doctor(at: path)
      #expect(report.findings.contains { $0.severity == .problem && $0.text.contains("SQLite would delete") })
      let salvage = await #expect(throws: OutboxError.self) {
        try await Outbox.salvage(from: path, to: directory + "/salvaged")
      }
      #expect(salvage?.code == .damaged)
      #expect(try Data(contentsOf: URL(filePath: path + "-wal")) == log)

      var setsAside = OutboxConfiguration()
      setsAside.setsAsideUnreadableFile = true
      let new = try await Outbox(at: path, configuration: setsAside)
      let aside = try #require(new.setAsidePath)
      try await expectSound(new)
      await new.close()
      #expect(try Data(contentsOf: URL(filePath: aside + "-wal")) == log)
      #expect(FileManager.default.fileExists(atPath: aside) == !isGone)

      // Beside its file again it is whole.
      try copy(aside + "-wal", directory + "/moved-wal")
      let whole = try await Outbox(at: directory + "/moved")
      #expect(try await whole.events(in: AddressRange("clicks")).count == 2)
      await whole.close()
    }
  }

  /// SQLite would roll it back into the file: here it is valid, and holds the state with one event.
  @Test func aJournalIsNotRolledBack() async throws {
    try await withTemporaryDirectory { directory in
      let (path, old) = (directory + "/a", directory + "/old")
      let first = try await Outbox(at: path)
      try await first.append("{}", to: "clicks")
      await first.close()
      try copy(path, old)
      do {
        let shell = try SQLiteShell(old)
        // Without a sync the journal holds at once what it is rolled back to.
        for sql in ["PRAGMA journal_mode = DELETE", "PRAGMA synchronous = OFF", "PRAGMA cache_size = 1"] {
          try shell.run(sql)
        }
        try shell.run("BEGIN")
        for table in ["outbox_chunks", "outbox_data_sources", "outbox_meta"] {
          try shell.run("DELETE FROM \(table)")
        }
        try copy(old + "-journal", path + "-stale")
        try shell.run("ROLLBACK")
      }
      let outbox = try await Outbox(at: path)
      try await outbox.append(contentsOf: Array(repeating: "{}", count: 300), to: "clicks")
      await outbox.close()
      try FileManager.default.moveItem(atPath: path + "-stale", toPath: path + "-journal")
      let journal = try Data(contentsOf: URL(filePath: path + "-journal"))
      try #require(!journal.isEmpty)

      for body in [
        { _ = try await Outbox(at: path) }, { _ = try StoreOpening.openForReading(OutboxFile(path: path)) },
        { _ = try await Outbox.salvage(from: path, to: directory + "/salvaged") },
      ] as [() async throws -> Void] {
        let error = await #expect(throws: OutboxError.self) { try await body() }
        #expect(error?.code == .conflict && error?.message.contains("-journal") == true)
      }
      #expect(await !Outbox.doctor(at: path).isSound)
      #expect(try Data(contentsOf: URL(filePath: path + "-journal")) == journal)
      try FileManager.default.moveItem(atPath: path + "-journal", toPath: path + "-away")
      let again = try await Outbox(at: path)
      let pending = try await again.status().pendingEvents
      #expect(pending == 301)
      await again.close()
    }
  }

  @Test func nothingOfAnotherOutboxIsSent() async throws {
    try await withTemporaryDirectory { directory in
      let (one, other) = (
        try await makeOutbox(directory + "/a", "a"), try await makeOutbox(directory + "/b", "b")
      )
      try copy(directory + "/a", directory + "/copy")
      try copy(directory + "/b-wal", directory + "/copy-wal")
      let service = ScriptedService()
      service.acceptEverything()
      do {
        let outbox = try await Outbox(at: directory + "/copy")
        _ = try? await outbox.deliver(to: service)
        await outbox.close()
      } catch is OutboxError {
        // To refuse it is as good.
      }
      for number in 1...2 { #expect(service.arrivals(of: #"{"from":"b","n":\#(number)}"#) == 0) }
      await one.close()
      await other.close()
    }
  }
}
