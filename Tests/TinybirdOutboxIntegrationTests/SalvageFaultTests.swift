import COutboxCrashVFS
import COutboxSQLite
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Salvage of a file of an old format, from a disk that fails, and by a task that is cancelled.
@Suite(.timeLimit(.minutes(3))) struct SalvageFaultTests {
  @Test func aFileOfTheFirstFormatIsSalvagedAsItIs() async throws {
    try await withTemporaryDirectory { directory in
      let (damaged, migrated, new) = (directory + "/damaged", directory + "/migrated", directory + "/new")
      try OldFile.copy(version: 1, to: damaged)
      try OldFile.copy(version: 1, to: migrated)
      let before = try Data(contentsOf: URL(filePath: damaged))
      let report = try await Outbox.salvage(from: damaged, to: new)
      #expect(report.isWhole, "\(report.problems) \(report.lost)")
      #expect(try Data(contentsOf: URL(filePath: damaged)) == before, "it is not migrated")
      let (old, salvaged) = (try await Outbox(at: migrated), try await Outbox(at: new))
      try await expectSound(salvaged)
      #expect(try await salvaged.status().formatVersion == Int(Schema.formatVersion))
      let sources = try await old.status().dataSources
      #expect(sources.count > 2)
      #expect(try await salvaged.status().dataSources.map(\.dataSource) == sources.map(\.dataSource))
      for source in sources {
        let (one, other) = (
          try await old.contents(of: source.dataSource), try await salvaged.contents(of: source.dataSource)
        )
        #expect(one == other, "\(source.dataSource)")
      }
      await old.close()
      await salvaged.close()
    }
  }

  /// Read, and not folded into the file when it is closed.
  @Test func aLogThatACrashLeftIsReadAndLeftAsItIs() async throws {
    try await withTemporaryDirectory { directory in
      let (live, damaged, new) = (directory + "/live", directory + "/damaged", directory + "/new")
      let outbox = try await Outbox(at: live)
      try await outbox.append(event(1), to: "clicks")
      for suffix in ["", "-wal"] {
        try FileManager.default.copyItem(atPath: live + suffix, toPath: damaged + suffix)
      }
      await outbox.close()
      let before = try ["", "-wal"].map { try Data(contentsOf: URL(filePath: damaged + $0)) }
      #expect(try await Outbox.salvage(from: damaged, to: new).isWhole)
      #expect(try ["", "-wal"].map { try Data(contentsOf: URL(filePath: damaged + $0)) } == before)
      let salvaged = try await Outbox(at: new)
      #expect(try await salvaged.events(in: AddressRange("clicks")).map(\.json) == [event(1)])
      await salvaged.close()
    }
  }

  @Test func aRestoredBackupStaysOneAndANewerFormatIsRefused() async throws {
    try await withSalvageHistory { history in
      try history.run(["INSERT INTO outbox_meta VALUES ('backed_up_at', 1)"])
      _ = try await history.salvage()
      let mark = "SELECT value FROM outbox_meta WHERE name = 'backed_up_at'"
      #expect(try SQLiteShell(history.new).run(mark) == [["1"]])
      try FileManager.default.removeItem(atPath: history.new)
      try history.run(["UPDATE outbox_meta SET value = 999 WHERE name = 'format_version'"])
      let error = await #expect(throws: OutboxError.self) { try await history.salvage() }
      #expect(error?.code == .newerFormat)
    }
  }

  /// The n-th read of the damaged file fails, for n = 1, 2, … and later every third: an error and nothing, or an outbox
  /// that says what is missing.
  @Test func aReadThatFailsLosesWhatItWouldHaveRead() async throws {
    try await withSalvageHistory { history in
      let before = try await history.contents
      let machine = try CrashMachine()
      let file = try OutboxFile(path: history.path, sqliteVFS: machine.vfs)
      try copy(history.path, to: file)
      var (nth, partial): (Int64, Int) = (0, 0)
      repeat {
        nth += nth < 15 ? 1 : 3
        machine.set(
          .init(name: "read", operation: OUTBOX_CRASH_READ, file: OUTBOX_CRASH_DATABASE, code: ioError(1), nth: nth))
        do {
          let report = try await Outbox.salvage(from: file, to: history.new)
          if !report.isWhole { partial += 1 }
          try await history.withNew { new in
            // Where its name cannot be read it has another.
            guard let source = try await new.status().dataSources.first?.dataSource else {
              Issue.record("nothing at all after read \(nth): \(report)")
              return
            }
            let contents = try await new.contents(of: source)
            let lost = Set(report.lost.flatMap { range in range.sequences.map { "\(range.dataSource)/\($0)" } })
            for (number, event) in before.map({ ($0.dropFirst("clicks/".count), $1) }) {
              let address = "\(source)/\(number)"
              guard contents[address]?.json != event.json else { continue }
              let isNamed = lost.contains(address) && contents[address]?.json == nil
              #expect(isNamed, "\(address), read \(nth): \(report.lost)")
            }
          }
          try FileManager.default.removeItem(atPath: history.new)
        } catch is OutboxError {
          #expect(try history.beside.isEmpty, "read \(nth)")
        }
      } while machine.faultHits > 0
      #expect(nth > 50 && partial > 10, "\(nth) reads, \(partial) of them with a loss")
    }
  }

  /// A read of the damaged file that fails once loses nothing of the copy that is made for a new schema.
  @Test func theCopyReadsOnceMoreWhatFailed() async throws {
    try await withSalvageHistory { history in
      let before = try await history.contents
      let machine = try CrashMachine()
      let file = try OutboxFile(path: history.path, sqliteVFS: machine.vfs)
      try copy(history.path, to: file)
      try damageSchema(of: file)
      var (nth, copied): (Int64, Int) = (0, 0)
      repeat {
        nth += 1
        machine.set(
          .init(name: "read", operation: OUTBOX_CRASH_READ, file: OUTBOX_CRASH_DATABASE, code: ioError(1), nth: nth))
        do {
          let report = try await Outbox.salvage(from: file, to: history.new)
          #expect(report.lostEvents == 0, "read \(nth)")
          try await history.withNew { new in
            let after = try await new.contents()
            #expect(after == before, "read \(nth)")
          }
          if machine.faultHits > 0 { copied += 1 }
          try FileManager.default.removeItem(atPath: history.new)
        } catch is OutboxError {
          let beside = try history.beside
          #expect(beside.isEmpty, "read \(nth)")
        }
      } while machine.faultHits > 0
      #expect(copied > 3, "\(nth) reads, \(copied) of them for the copy")
    }
  }

  private func damageSchema(of file: OutboxFile) throws {
    let connection = try SQLiteConnection(path: file.path, vfs: file.sqliteVFS)
    try connection.execute(SQL.readDamagedSchema)
    try connection.execute("DELETE FROM sqlite_schema")
    try connection.foldLog()
  }

  /// In the middle, and when the last chunk is copied; twenty events of the 180 are pruned.
  @Test(arguments: [1, 160]) func aCancelledTaskLeavesNothing(events: Int) async throws {
    try await withSalvageHistory { history in
      let (path, new) = (history.path, history.new)
      let cancelled = Task {
        try await Outbox.salvage(from: path, to: new) { done, _ in
          if done >= events { withUnsafeCurrentTask { $0?.cancel() } }
        }
      }
      let error = await #expect(throws: OutboxError.self) { try await cancelled.value }
      #expect(error?.code == .conflict && error?.message.contains("cancelled") == true)
      let (beside, bytes) = (try history.beside, try history.bytes)
      #expect(beside.isEmpty && bytes == history.before)
    }
  }

  /// The pages of a real file, on a machine in memory.
  private func copy(_ path: String, to file: OutboxFile) throws {
    let from = try StoreOpening.openForReading(try OutboxFile(path: path))
    let to = try SQLiteConnection(path: file.path, vfs: file.sqliteVFS)
    let backup = try #require(sqlite3_backup_init(to.handle, "main", from.handle, "main"))
    #expect(sqlite3_backup_step(backup, -1) == SQLITE_DONE)
    #expect(sqlite3_backup_finish(backup) == SQLITE_OK)
  }
}

/// The files of past formats, in `Fixtures/databases`.
enum OldFile {
  static func copy(version: Int, to path: String) throws {
    let fixtures = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Fixtures/databases")
    try FileManager.default.copyItem(
      at: fixtures.appending(path: "version-\(version).outbox"), to: URL(filePath: path))
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
  }
}
