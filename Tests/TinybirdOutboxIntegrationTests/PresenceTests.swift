import COutboxCrashVFS
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Who has the outbox open, and what that means for the log and for those who wait.
@Suite struct PresenceTests {
  /// A snapshot is held, as a backup holds one, and there are commits behind it.
  private func withLongReading(
    _ body: (_ path: String, _ working: Outbox, _ reading: SQLiteConnection) async throws -> Void
  ) async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let working = try await Outbox(at: path)
      try await working.append("{}", to: "clicks")
      let reading = try StoreOpening.openForReading(OutboxFile(path: path))
      try reading.execute("BEGIN")
      _ = try reading.firstInteger(SQL.countSchemaObjects)
      try await working.append("{}", to: "clicks")
      try await body(path, working, reading)
    }
  }

  /// The log was folded away since, by a process that is there: what is in it is on the disk.
  @Test func aNewProcessNeedNotWaitForAReader() async throws {
    try await withLongReading { path, working, reading in
      let another = try await Outbox(at: path)
      let receipt = try await another.append("{}", to: "clicks")
      #expect(receipt.description == "clicks/3")
      try reading.execute("COMMIT")
      try await expectSound(another)
      await another.close()
      await working.close()
    }
  }

  /// Nobody is left who could know what the log holds: nothing is stored behind it.
  @Test func theFirstProcessWaitsAndSaysForWhom() async throws {
    try await withLongReading { path, working, reading in
      await working.close()
      let first = try await Outbox(at: path, configuration: .impatient)
      let error = await #expect(throws: OutboxError.self) { try await first.append("{}", to: "clicks") }
      #expect(error?.code == .busy)
      #expect(error?.message.contains("another program reads an old state") == true)
      try reading.execute("COMMIT")
      try await first.append("{}", to: "clicks")
      try await expectSound(first)
      await first.close()
    }
  }

  /// Two wait for the reader, and one of them is done: that is enough for both.
  @Test(.timeLimit(.minutes(1))) func whatAnotherHasFoldedMeanwhileIsNotWaitedFor() async throws {
    try await withTemporaryDirectory { directory in
      let original = try await Outbox(at: directory + "/a")
      try await original.append("{}", to: "clicks")
      // As after a kill: a log, and nobody who has it open. Then somebody reads it.
      let path = directory + "/app.outbox"
      for suffix in ["", "-wal"] {
        try FileManager.default.copyItem(atPath: directory + "/a" + suffix, toPath: path + suffix)
      }
      await original.close()
      let reading = try StoreOpening.openForReading(OutboxFile(path: path))
      try reading.execute("BEGIN")
      _ = try reading.firstInteger(SQL.countSchemaObjects)
      let vfs = "watch-\(UUID().uuidString)"
      let folds = Watch(false)
      let watch = outbox_watch_start(
        vfs, false,
        { context, step in
          guard let context, let step, String(cString: step) == "done database-write" else { return }
          Unmanaged<Watch<Bool>>.fromOpaque(context).takeUnretainedValue().update { $0 = true }
        }, Unmanaged.passUnretained(folds).toOpaque())
      #expect(watch != nil)
      var configuration = OutboxConfiguration()
      configuration.sqliteVFS = vfs
      configuration.lockPatience = .seconds(90)
      let first = try await Outbox(at: path, configuration: configuration)
      async let receipt = first.append("{}", to: "clicks")
      await folds.wait { $0 }
      // As another process that came in between does it.
      let another = try Presence.share(OutboxFile(path: path))
      another.noteLogFolded()
      #expect(try await receipt.description == "clicks/2")
      try reading.execute("COMMIT")
      await first.close()
      outbox_watch_stop(watch)
      withExtendedLifetime(another) {}
    }
  }

  /// Our own long readings fold the log before they begin, so that they are in nobody's way.
  @Test func aBackupThatCameFirstIsInNobodysWay() async throws {
    try await withLongReading { path, working, reading in
      try reading.execute("COMMIT")
      await working.close()
      let backingUp = try await Outbox(at: path)
      await backingUp.writer.prepareForLongReading()
      try reading.execute("BEGIN")
      _ = try reading.firstInteger(SQL.countSchemaObjects)
      let app = try await Outbox(at: path)
      try await app.append("{}", to: "clicks")
      try reading.execute("COMMIT")
      await app.close()
      await backingUp.close()
    }
  }

  @Test func nobodyIsAloneWhileAnotherHasItOpen() async throws {
    try await withTemporaryDirectory { directory in
      let file = try OutboxFile(path: directory + "/app.outbox")
      let first = try Presence.share(file)
      #expect(!first.isLogFolded)
      first.noteLogFolded()
      let second = try Presence.share(file)
      #expect(second.isLogFolded, "what the first has done is known to the second")
      #expect(try Presence.alone(file) == nil)
      withExtendedLifetime((first, second)) {}
    }
  }

  @Test func whatTheLastOnesNotedIsOver() async throws {
    try await withTemporaryDirectory { directory in
      let file = try OutboxFile(path: directory + "/app.outbox")
      do {
        let last = try Presence.share(file)
        last.noteLogFolded()
      }
      let presence = try Presence.share(file)
      #expect(!presence.isLogFolded)
    }
  }

  /// An erasure holds the write lock for as long as it takes to write the file anew.
  @Test func aCommitWaitsForAnErasureHoweverLongItTakes() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let log = RecordedLog()
      let outbox = try await Outbox(at: path, configuration: .impatient, logger: log.logger)
      try await outbox.append("{}", to: "clicks")
      let erasing = try SQLiteConnection(path: path)
      try erasing.execute(SQL.replaceMeta, StoreRewriter.metaName, currentProcessID())
      try erasing.execute("BEGIN IMMEDIATE")
      async let receipt = outbox.append("{}", to: "clicks")
      await log.wait(for: "a commit waits for an erasure", "a commit failed")
      try erasing.execute("ROLLBACK")
      #expect(try await receipt.description == "clicks/2")
      // One that left its mark when it was killed, and whose number is another's now.
      try erasing.execute(SQL.replaceMeta, StoreRewriter.metaName, Int64(1))
      try erasing.execute("BEGIN IMMEDIATE")
      let other = await #expect(throws: OutboxError.self) { try await outbox.append("{}", to: "clicks") }
      #expect(other?.code == .busy)
      try erasing.execute("ROLLBACK")
      // One that is dead is waited for by nobody.
      try erasing.execute(SQL.replaceMeta, StoreRewriter.metaName, Int64(Int32.max))
      try erasing.execute("BEGIN IMMEDIATE")
      let error = await #expect(throws: OutboxError.self) { try await outbox.append("{}", to: "clicks") }
      #expect(error?.code == .busy)
      try erasing.execute("ROLLBACK")
      await outbox.close()
    }
  }
}
