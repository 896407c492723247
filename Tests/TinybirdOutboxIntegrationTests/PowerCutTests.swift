import COutboxCrashVFS
import COutboxSQLite
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// The power goes: what was acknowledged must be there.
@Suite struct PowerCutTests {
  /// One workload on a machine of its own.
  private func withWorkload(
    synchronous: String? = nil, _ body: (CrashWorkload) async throws -> Void
  ) async throws {
    try await withTemporaryDirectory { directory in
      try await body(
        CrashWorkload(machine: try CrashMachine(), path: directory + "/a.outbox", synchronous: synchronous))
    }
  }

  /// Runs the workload into a power cut, then looks at what each kind of survivors makes of the disk.
  ///
  /// Returns whether the cut came before the workload had run through.
  private func runIntoCut(
    _ workload: CrashWorkload, at operation: outbox_crash_operation, _ nth: Int, after: Bool, seeds: Range<UInt64>
  ) async throws -> Bool {
    workload.machine.cut(at: operation, nth, after: after)
    do {
      try await workload.run()
    } catch {
      try #require(workload.machine.isOff, "only a power cut may end the workload, not \(error)")
    }
    guard workload.machine.isOff else { return false }
    let kinds = [CrashMachine.Survivors.nothing, .everything] + seeds.map { .random(seed: $0) }
    for kind in kinds {
      let problems = await workload.problems(on: try workload.machine.restarted(kind))
      #expect(problems.isEmpty, "cut at call \(nth), survivors \(kind)")
    }
    return true
  }

  @Test(.timeLimit(.minutes(5)), arguments: [false, true])
  func atEverySyncNothingAcknowledgedIsLost(after: Bool) async throws {
    var nth = 0
    var isCut = true
    while isCut {
      nth += 1
      try await withWorkload { workload in
        let first = UInt64(nth) * 100
        isCut = try await runIntoCut(workload, at: OUTBOX_CRASH_SYNC, nth, after: after, seeds: first..<first + 1)
      }
    }
    #expect(nth > 40, "the workload syncs less than it should: \(nth) times")
  }

  /// `OUTBOX_POWER_CUT_SEEDS=first:count` chooses other seeds.
  @Test(.timeLimit(.minutes(5)), arguments: try seedRange("OUTBOX_POWER_CUT_SEEDS", default: 1..<3))
  func atRandomWritesNothingAcknowledgedIsLost(seed: UInt64) async throws {
    var random = SeededRandom(seed: seed)
    var cuts = 0
    for _ in 0..<20 {
      let nth = Int.random(in: 1...400, using: &random)
      let first = random.next() >> 1
      try await withWorkload { workload in
        let isCut = try await runIntoCut(
          workload, at: OUTBOX_CRASH_WRITE, nth, after: Bool.random(using: &random), seeds: first..<first + 2)
        if isCut { cuts += 1 }
      }
    }
    print("seed \(seed): \(cuts) power cuts")
    #expect(cuts > 5)
  }

  /// A file of version 1 is either that or one of today's, whole, wherever the power goes while it is migrated.
  @Test(arguments: [OUTBOX_CRASH_SYNC, OUTBOX_CRASH_WRITE])
  func aMigrationIsWholeOrNotThere(operation: outbox_crash_operation) async throws {
    var nth = 0
    var isCut = true
    while isCut {
      nth += 1
      try await withWorkload { workload in
        let machine = workload.machine
        let outbox = try await machine.open(workload.path)
        try await workload.append([event(1), event(2)], to: "clicks", outbox)
        await outbox.close()
        try downgrade(workload.path, on: machine)
        machine.cut(at: operation, nth, after: nth.isMultiple(of: 2))
        let migrated = try? await machine.open(workload.path)
        isCut = machine.isOff
        for kind in [CrashMachine.Survivors.nothing, .everything, .random(seed: UInt64(nth))] where isCut {
          let problems = await workload.problems(on: try machine.restarted(kind))
          #expect(problems.isEmpty, "cut at call \(nth), survivors \(kind)")
        }
        await migrated?.close()
      }
    }
    #expect(nth > 2, "a migration must sync and write")
  }

  /// Makes of today's file what version 1 of the format was.
  private func downgrade(_ path: String, on machine: CrashMachine) throws {
    let connection = try SQLiteConnection(path: path, vfs: machine.vfs)
    try connection.executeScript(
      """
      PRAGMA synchronous = FULL;
      BEGIN;
      DROP INDEX outbox_batches_prunable;
      ALTER TABLE outbox_data_sources DROP COLUMN pruned_uncertain;
      ALTER TABLE outbox_dead_letters DROP COLUMN repaired_crc32;
      UPDATE outbox_meta SET value = 1 WHERE name = 'format_version';
      COMMIT;
      """)
  }

  /// The test of the tests: without the sync of each commit the same workload loses events.
  @Test(arguments: [("FULL", false), ("NORMAL", true), ("OFF", true)])
  func onlyFullKeepsWhatWasAcknowledged(synchronous: String, loses: Bool) async throws {
    try await withWorkload(synchronous: synchronous) { workload in
      let outbox = try await workload.run(closes: false)
      workload.machine.cut()
      let problems = await workload.problems(on: try workload.machine.restarted(.nothing))
      #expect(problems.contains { $0.hasPrefix("lost") } == loses, "\(problems)")
      await outbox?.close()
    }
  }

  /// Linux marks pages clean when their sync has failed: a later sync does not write them, yet they are read as
  /// written.
  @Test func aFailedSyncDoesNotTearAHoleBeforeLaterCommits() async throws {
    try await withWorkload { workload in
      let outbox = try await workload.machine.open(workload.path)
      try await workload.append([event(1)], to: "clicks", outbox)
      workload.machine.set(
        .init(name: "sync", operation: OUTBOX_CRASH_SYNC, file: OUTBOX_CRASH_WAL, code: ioError(4), dropsPages: true))
      await #expect(throws: OutboxError.self) { try await workload.append([event(2)], to: "clicks", outbox) }
      #expect(workload.machine.faultHits == 1)
      try await workload.append([event(3)], to: "clicks", outbox)
      workload.machine.cut()
      let problems = await workload.problems(on: try workload.machine.restarted(.nothing))
      #expect(problems.isEmpty)
      #expect(workload.acknowledged.events.count == 2)
      await outbox.close()
    }
  }

  /// A reader has cut a checkpoint short; the sync of the database in the next one fails, and what both have copied is gone.
  @Test func aFailedSyncOfTheDatabaseLosesNothingThatWasCopiedBefore() async throws {
    try await withTemporaryDirectory { directory in
      let workload = CrashWorkload(machine: try CrashMachine(), path: directory + "/a.outbox")
      let machine = workload.machine
      let outbox = try await machine.open(workload.path, checkpointPages: 16)
      var number = 0
      func append() async throws {
        number += 1
        try await workload.append([event(number, padding: 9000)], to: "clicks", outbox)
      }
      func appendUntilPagesAreCopied() async throws {
        let written = machine.count(OUTBOX_CRASH_WRITE, OUTBOX_CRASH_DATABASE)
        while machine.count(OUTBOX_CRASH_WRITE, OUTBOX_CRASH_DATABASE) == written { try await append() }
      }
      try await appendUntilPagesAreCopied()
      try await append()
      let reading = try SQLiteConnection(path: workload.path, vfs: machine.vfs)
      try reading.execute("BEGIN")
      _ = try reading.firstInteger(SQL.countSchemaObjects)
      try await appendUntilPagesAreCopied()
      try reading.execute("COMMIT")
      machine.set(
        .init(
          name: "sync of the database", operation: OUTBOX_CRASH_SYNC, file: OUTBOX_CRASH_DATABASE, code: ioError(4),
          dropsPages: true))
      while machine.faultHits == 0 { try await append() }
      machine.set(nil)
      let rounds = machine.logHeaders
      while machine.logHeaders == rounds { try await append() }
      machine.cut()
      #expect(await workload.problems(on: try machine.restarted(.nothing)).isEmpty)
      await outbox.close()
    }
  }

  /// The same, with the process killed after the failed sync: the next one finds frames in the log that are on no disk.
  @Test func aFailedSyncAndAKillDoNotTearAHoleBeforeLaterCommits() async throws {
    try await withWorkload { workload in
      let killed = try await workload.machine.open(workload.path)
      try await workload.append([event(1)], to: "clicks", killed)
      workload.machine.set(
        .init(name: "sync", operation: OUTBOX_CRASH_SYNC, file: OUTBOX_CRASH_WAL, code: ioError(4), dropsPages: true))
      await #expect(throws: OutboxError.self) { try await workload.append([event(2)], to: "clicks", killed) }
      let machine = try workload.machine.killed()
      let outbox = try await machine.open(workload.path)
      try await workload.append([event(3)], to: "clicks", outbox)
      machine.cut()
      for survivors in [CrashMachine.Survivors.nothing, .random(seed: 1), .random(seed: 2), .everything] {
        #expect(await workload.problems(on: try machine.restarted(survivors)).isEmpty)
      }
      await outbox.close()
      await killed.close()
    }
  }

  /// A commit costs one sync of the log.
  ///
  /// Besides there are one for each start of the log, and one for each checkpoint, which also syncs the database.
  @Test func aCommitCostsOneSync() async throws {
    try await withWorkload { workload in
      let machine = workload.machine
      let outbox = try await machine.open(workload.path)
      let before = (
        log: machine.count(OUTBOX_CRASH_SYNC, OUTBOX_CRASH_WAL), commits: machine.commitFrames,
        headers: machine.logHeaders, database: machine.count(OUTBOX_CRASH_SYNC, OUTBOX_CRASH_DATABASE)
      )
      for number in 0..<20 { try await workload.append([event(number, padding: 9000)], to: "clicks", outbox) }
      #expect(machine.commitFrames - before.commits == 20)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 100..<300 {
          group.addTask { try await workload.append([event(number)], to: "views", outbox) }
        }
        try await group.waitForAll()
      }
      let commits = machine.commitFrames - before.commits
      let headers = machine.logHeaders - before.headers
      let checkpoints = machine.count(OUTBOX_CRASH_SYNC, OUTBOX_CRASH_DATABASE) - before.database
      let log = machine.count(OUTBOX_CRASH_SYNC, OUTBOX_CRASH_WAL) - before.log
      #expect(log == commits + headers + checkpoints)
      #expect(checkpoints > 0 && headers > 0, "the workload must checkpoint, and start the log again")
      await outbox.close()
    }
  }

  /// The machine in memory writes what SQLite's own layer reads.
  @Test func whatTheMachineHoldsIsAnOutboxOnARealDisk() async throws {
    try await withWorkload { workload in
      let outbox = try await workload.run(closes: false)
      let real = workload.path + "-real"
      for suffix in ["", "-wal"] {
        try workload.machine.contents(of: workload.path + suffix).write(to: URL(fileURLWithPath: real + suffix))
      }
      let copy = try await Outbox(at: real)
      #expect(try await workload.check(copy).isEmpty)
      await copy.close()
      await outbox?.close()
    }
  }
}

/// An extended code of `SQLITE_IOERR`: macros that Swift does not import.
func ioError(_ number: Int32) -> Int32 { SQLITE_IOERR | number << 8 }
