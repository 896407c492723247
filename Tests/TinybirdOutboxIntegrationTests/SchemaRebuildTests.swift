import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Salvage of a file whose first pages no longer tell where its tables are.
@Suite(.timeLimit(.minutes(3))) struct SchemaRebuildTests {
  struct Damage: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Overwrites the first page.
    let damage: @Sendable (inout Data) -> Void
  }

  static let damages = [
    Damage(testDescription: "zeros") { $0.replaceSubrange(0..<4096, with: Data(count: 4096)) },
    Damage(testDescription: "garbage") { page in
      var random = SeededRandom(seed: 7)
      page.replaceSubrange(0..<4096, with: (0..<4096).map { _ in UInt8.random(in: 0...255, using: &random) })
    },
    Damage(testDescription: "the header alone") { $0.replaceSubrange(0..<100, with: Data(count: 100)) },
    Damage(testDescription: "the tree of the schema alone") { $0.replaceSubrange(100..<4096, with: Data(count: 3996)) },
    Damage(testDescription: "another page size") { $0[16] = 0x20 },
    Damage(testDescription: "another format of the schema") { $0[47] = 6 },
    Damage(testDescription: "bytes that no page uses") { $0[20] = 8 },
    Damage(testDescription: "fewer pages") { $0[31] -= 9 },
    Damage(testDescription: "the way to the last rows of the schema") { page in
      page.replaceSubrange(108..<112, with: [0, 0, 0, 1])
    },
    Damage(testDescription: "the way to the first rows of the schema") { page in
      let cell = Int(page[112]) << 8 | Int(page[113])
      page.replaceSubrange(cell..<cell + 4, with: [0, 0, 0, 9])
    },
  ]

  @Test(arguments: damages) func withoutItsFirstPageAllIsSaved(damage: Damage) async throws {
    try await withSalvageHistory { history in
      let before = try await history.contents
      try history.change(damage.damage)
      try await expectAllSaved(history, before)
    }
  }

  @Test(arguments: [
    "DELETE FROM sqlite_schema",
    "UPDATE sqlite_schema SET sql = replace(sql, 'CREATE', 'CRXATE') WHERE name = 'outbox_chunks'",
    "UPDATE sqlite_schema SET sql = replace(sql, 'CREATE', 'CRXATE') WHERE name = 'outbox_batches'",
    "UPDATE sqlite_schema SET sql = replace(sql, 'payload', 'pxyload') WHERE name = 'outbox_dead_letters'",
    "DELETE FROM sqlite_schema WHERE name = 'outbox_dead_letters'",
    "DELETE FROM sqlite_schema WHERE name = 'outbox_data_sources'",
    "DELETE FROM sqlite_schema WHERE name LIKE 'sqlite_autoindex_outbox_data_sources_%'",
    "UPDATE sqlite_schema SET rootpage = 9999 WHERE name = 'outbox_chunks'",
    "UPDATE sqlite_schema SET rootpage = 6 WHERE name = 'outbox_batches'",
    "UPDATE sqlite_schema SET rootpage = 6 WHERE name = 'outbox_data_sources'",
    "UPDATE sqlite_schema SET rootpage = 9999 WHERE name = 'outbox_dead_letters'",
  ])
  func aDamagedSchemaIsNoLoss(damage: String) async throws {
    try await withSalvageHistory { history in
      let before = try await history.contents
      try history.run(["PRAGMA writable_schema = ON", damage])
      try await expectAllSaved(history, before)
    }
  }

  private func expectAllSaved(_ history: SalvageHistory, _ before: [String: SalvagedEvent]) async throws {
    let report = try await history.salvage()
    #expect(
      report.problems.count == 1 && report.problems.allSatisfy { $0.contains("first pages") }, "\(report.problems)")
    #expect(report.lostEvents == 0)
    #expect(try history.bytes == history.before, "not one byte is changed")
    #expect(try history.beside == ["new.outbox"], "the copy is gone")
    try await history.withNew { new in
      #expect(try await new.contents() == before)
      try await new.deliver(to: IdentitySink([:]))
      #expect(try await new.status().pendingEvents == 0)
    }
  }

  /// Where the tables lie in another order, and the damage is elsewhere, the new schema would lose what the old one shows.
  @Test func whatSavesMoreIsKept() async throws {
    try await withSalvageHistory { history in
      let letters =
        "SELECT sql FROM sqlite_schema WHERE name IN ('outbox_dead_letters', 'outbox_dead_letters_replaying')"
      let sql = try SQLiteShell(history.path).run("\(letters) ORDER BY type DESC").compactMap { $0[0] }
      try history.run([
        "PRAGMA legacy_alter_table = ON", "DROP INDEX outbox_dead_letters_replaying",
        "ALTER TABLE outbox_dead_letters RENAME TO other", sql[0], "CREATE TABLE last (a)",
        "INSERT INTO outbox_dead_letters SELECT * FROM other", "DROP TABLE other", sql[1],
      ])
      let before = try await history.contents
      #expect(before.values.contains { $0.letter != nil })
      try history.run(["UPDATE outbox_chunks SET payload = x'00' WHERE key & 65535 = 31"])
      let report = try await history.salvage()
      #expect(report.lost.map(\.description) == ["clicks/31..40"] && report.problems.isEmpty, "\(report.problems)")
      try await history.withNew { new in
        let after = try await new.contents()
        for (address, event) in before where after[address]?.state != .damaged { #expect(after[address] == event) }
      }
    }
  }

  /// Nothing but the mark tells an outbox's own file from an app's, and the mark is on the first page too.
  @Test func withoutItsMarkItIsStillAnOutbox() async throws {
    try await withSalvageHistory { history in
      let before = try await history.contents
      try history.run([
        "PRAGMA application_id = 7", "PRAGMA writable_schema = ON",
        "DELETE FROM sqlite_schema WHERE name = 'outbox_dead_letters'",
      ])
      try await expectAllSaved(history, before)
    }
  }

  @Test func aNewerFormatIsToldAlsoWithoutItsFirstPage() async throws {
    try await withSalvageHistory { history in
      try history.run(["UPDATE outbox_meta SET value = 999 WHERE name = 'format_version'"])
      try history.change { $0.replaceSubrange(0..<4096, with: Data(count: 4096)) }
      let error = await #expect(throws: OutboxError.self) { try await history.salvage() }
      #expect(error?.code == .newerFormat)
    }
  }

  /// The first format had one index less.
  @Test func aFileOfTheFirstFormatIsFoundAsWell() async throws {
    try await withTemporaryDirectory { directory in
      let (damaged, migrated, new) = (directory + "/damaged", directory + "/migrated", directory + "/new")
      try OldFile.copy(version: 1, to: migrated)
      var bytes = try Data(contentsOf: URL(filePath: migrated))
      bytes.replaceSubrange(0..<4096, with: Data(count: 4096))
      try bytes.write(to: URL(filePath: damaged))
      let report = try await Outbox.salvage(from: damaged, to: new)
      #expect(report.problems.count == 1 && report.lostEvents == 0, "\(report.problems) \(report.lost)")
      let (old, salvaged) = (try await Outbox(at: migrated), try await Outbox(at: new))
      let sources = try await old.status().dataSources.map(\.dataSource)
      #expect(sources.count > 2)
      for source in sources {
        let (one, other) = (try await old.contents(of: source), try await salvaged.contents(of: source))
        #expect(one == other, "\(source)")
      }
      await old.close()
      await salvaged.close()
    }
  }

  /// Commits that are in the log alone; where it has a first page too, SQLite takes that one.
  @Test(arguments: [false, true]) func aLogIsFoldedIntoTheCopy(hasFirstPage: Bool) async throws {
    try await withTemporaryDirectory { directory in
      let (live, damaged, new) = (directory + "/live", directory + "/damaged", directory + "/new")
      try await withOutbox(at: live) { outbox in
        try await outbox.append(contentsOf: (1...300).map { event($0) }, to: "clicks")
      }
      try await withOutbox(at: live) { outbox in
        try await outbox.append(event(301), to: "clicks")
        if hasFirstPage {
          let shell = try SQLiteShell(live)
          try shell.run("PRAGMA wal_autocheckpoint = 0")
          try shell.run("PRAGMA user_version = 7")
        }
        for suffix in ["", "-wal"] {
          try FileManager.default.copyItem(atPath: live + suffix, toPath: damaged + suffix)
        }
      }
      var bytes = try Data(contentsOf: URL(filePath: damaged))
      bytes.replaceSubrange(0..<4096, with: Data(count: 4096))
      try bytes.write(to: URL(filePath: damaged))
      let log = try Data(contentsOf: URL(filePath: damaged + "-wal"))
      #expect(!log.isEmpty)
      let report = try await Outbox.salvage(from: damaged, to: new)
      #expect(report.lostEvents == 0, "\(report.problems)")
      #expect(try Data(contentsOf: URL(filePath: damaged)) == bytes)
      #expect(try Data(contentsOf: URL(filePath: damaged + "-wal")) == log)
      try await withOutbox(at: new) { salvaged in
        let found = try await salvaged.events(in: AddressRange("clicks"), limit: 1000).map(\.json)
        #expect(found == (1...301).map { event($0) })
      }
    }
  }

  /// Who could not tell would send a backup again, and nobody would know.
  @Test(arguments: [
    ["DELETE FROM outbox_meta"],
    // In an app's own database no schema is made anew.
    [
      "PRAGMA application_id = 0", "CREATE TABLE app (a)", "PRAGMA writable_schema = ON",
      "DELETE FROM sqlite_schema WHERE name = 'outbox_meta'",
    ],
  ])
  func whatMayBeABackupCountsAsOne(damage: [String]) async throws {
    try await withSalvageHistory { history in
      try history.run(damage)
      let report = try await history.salvage()
      #expect(report.problems.contains { $0.contains("restored backup") }, "\(report.problems)")
      let mark = "SELECT count(*) FROM outbox_meta WHERE name = 'backed_up_at'"
      #expect(try SQLiteShell(history.new).run(mark) == [["1"]])
    }
  }

  @Test func whatWasNeverAnOutboxIsRefused() async throws {
    try await withTemporaryDirectory { directory in
      let (text, foreign, new) = (directory + "/text", directory + "/foreign", directory + "/new")
      try Data(repeating: 0x61, count: 100_000).write(to: URL(filePath: text))
      try SQLiteShell(foreign).run("CREATE TABLE t (a)")
      for (path, code) in [(text, OutboxError.Code.notADatabase), (foreign, .foreignDatabase)] {
        let error = await #expect(throws: OutboxError.self) { try await Outbox.salvage(from: path, to: new) }
        #expect(error?.code == code, "\(path)")
      }
      let left = try FileManager.default.contentsOfDirectory(atPath: directory).filter { $0.hasPrefix("new") }
      #expect(left.isEmpty)
    }
  }

  /// Its copy would be of two moments.
  @Test func anOutboxThatIsOpenIsNotCopied() async throws {
    try await withSalvageHistory { history in
      let outbox = try await Outbox(at: history.path)
      try history.change { $0.replaceSubrange(0..<4096, with: Data(count: 4096)) }
      let error = await #expect(throws: OutboxError.self) { try await history.salvage() }
      #expect(error?.code == .conflict && error?.message.contains("end that first") == true)
      #expect(try history.beside.isEmpty)
      await outbox.close()
    }
  }
}
