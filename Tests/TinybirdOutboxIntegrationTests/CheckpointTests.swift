import COutboxCrashVFS
import Foundation
import OutboxTestSupport
import Synchronization
import Testing

@testable import TinybirdOutbox

/// The log: who may write while it is folded into the database, and how long it gets.
@Suite struct CheckpointTests {
  /// SQLite before 3.51.3 can corrupt a log that a commit restarts during a checkpoint, so there is none meanwhile.
  @Test func noConnectionCommitsDuringACheckpoint() async throws {
    let watch = try DatabaseWriteWatch()
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      var configuration = OutboxConfiguration()
      configuration.sqliteVFS = watch.vfs
      configuration.spaceLimits = .checkpointing(every: 8)
      let outbox = try await Outbox(at: path, configuration: configuration)
      try await outbox.append("{}", to: "clicks")
      let other = try SQLiteShell(path)
      try other.run("PRAGMA busy_timeout = 0")
      #expect(throws: Never.self) { try other.run("BEGIN IMMEDIATE") }
      try other.run("ROLLBACK")

      watch.hold()
      let appending = Task { try await outbox.append(event(1, padding: 60_000), to: "clicks") }
      await watch.held.wait { $0 }
      let refused = #expect(throws: ShellError.self) { try other.run("BEGIN IMMEDIATE") }
      #expect(refused?.description == "database is locked")
      watch.release()
      _ = try await appending.value
      // The next commit of our own comes behind the checkpoint, so that it is over.
      try await outbox.append("{}", to: "clicks")
      try other.run("BEGIN IMMEDIATE")
      try other.run("ROLLBACK")
      await outbox.close()
    }
  }

  /// Where another program writes for long, SQLite gives up on the write lock and would checkpoint without it.
  @Test func anOldLogIsNotFoldedWhileAnotherWrites() async throws {
    try await withTemporaryDirectory { directory in
      let original = try await Outbox(at: directory + "/a")
      for number in 1...5 { try await original.append(event(number), to: "clicks") }
      // As after a kill: a log, and nobody who has it open.
      let path = directory + "/app.outbox"
      for suffix in ["", "-wal"] {
        try FileManager.default.copyItem(atPath: directory + "/a" + suffix, toPath: path + suffix)
      }
      await original.close()
      let writing = try SQLiteShell(path)
      try writing.run("BEGIN IMMEDIATE")
      let before = try modificationDate(path)
      let outbox = try await Outbox(at: path, configuration: .impatient)
      let error = await #expect(throws: OutboxError.self) { try await outbox.append("{}", to: "clicks") }
      #expect(error?.code == .busy && error?.message.contains("keeps its write lock") == true)
      #expect(try modificationDate(path) == before, "nothing was folded behind the writer's back")
      try writing.run("ROLLBACK")
      try await outbox.append("{}", to: "clicks")
      #expect(try await outbox.status().pendingEvents == 6)
      try await expectSound(outbox)
      await outbox.close()
    }
  }

  /// `OUTBOX_COMMITS` says how many; by default 50,000, on a disk in memory where there is one.
  @Test func manySmallCommitsDoNotGrowTheLog() async throws {
    let count = ProcessInfo.processInfo.environment["OUTBOX_COMMITS"].flatMap(Int.init) ?? 50_000
    try await withFastDirectory { directory in
      let path = directory + "/app.outbox"
      let outbox = try await Outbox(at: path)
      var longest = 0
      for number in 1...count {
        try await outbox.append(#"{"n":\#(number)}"#, to: "clicks")
        if number.isMultiple(of: 100) { longest = max(longest, try logBytes(path)) }
      }
      print("\(count) commits, the log at its longest: \(longest) bytes")
      // It begins anew when 16 MiB of it are folded away.
      #expect(longest < 17 << 20)
      #expect(try await outbox.status().dataSources.map(\.appendedEvents) == [count])
      await outbox.close()
    }
  }

  /// What another program still reads cannot be overwritten: the log grows, and is folded away when that one ends.
  @Test func underAForeignReaderTheLogGrowsAndIsFoldedWhenItEnds() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      var configuration = OutboxConfiguration()
      configuration.spaceLimits = .checkpointing(every: 64)
      let outbox = try await Outbox(at: path, configuration: configuration)
      try await append(200, outbox)
      let usual = try logBytes(path)
      let reader = try SQLiteShell(path)
      try reader.run("BEGIN")
      try reader.run("SELECT count(*) FROM outbox_chunks")
      try await append(400, outbox)
      let grown = try logBytes(path)
      #expect(grown > 3 * usual, "\(usual) bytes before, \(grown) under a reader")
      try reader.run("COMMIT")
      // A few commits more until a checkpoint is due; from then on the log begins anew, again and again.
      try await append(200, outbox)
      let folded = try logBytes(path)
      try await append(400, outbox)
      #expect(try logBytes(path) == folded)
      try await expectSound(outbox)
      await outbox.close()
    }
  }

  private func append(_ count: Int, _ outbox: Outbox) async throws {
    for number in 0..<count { try await outbox.append(event(number, padding: 1000), to: "clicks") }
  }

  private func modificationDate(_ path: String) throws -> Date? {
    try FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
  }

  private func logBytes(_ path: String) throws -> Int {
    try FileManager.default.attributesOfItem(atPath: path + "-wal")[.size] as? Int ?? 0
  }
}

/// A directory whose syncs cost nothing, where the system has one.
private func withFastDirectory(_ body: (String) async throws -> Void) async throws {
  let memory = URL(filePath: "/dev/shm")
  guard FileManager.default.isWritableFile(atPath: memory.path) else { return try await withTemporaryDirectory(body) }
  let directory = memory.appending(path: "outbox-test-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
  defer { try? FileManager.default.removeItem(at: directory) }
  try await body(directory.path)
}

/// Holds the next write to the database, which only a checkpoint makes, until it is released.
///
/// Unchecked: the pointer never changes, and is only used to start and to end.
private final class DatabaseWriteWatch: @unchecked Sendable {
  struct OutOfMemory: Error {}

  let vfs = "watch-\(UUID().uuidString)"
  /// Whether a write is held.
  let held = Watch(false)
  private let isArmed = Mutex(false)
  private let gate = DispatchSemaphore(value: 0)
  private var pointer: OpaquePointer?

  init() throws {
    pointer = outbox_watch_start(
      vfs, false,
      { context, step in
        guard let context, let step, String(cString: step) == "database-write" else { return }
        Unmanaged<DatabaseWriteWatch>.fromOpaque(context).takeUnretainedValue().writes()
      }, Unmanaged.passUnretained(self).toOpaque())
    guard pointer != nil else { throw OutOfMemory() }
  }

  deinit { outbox_watch_stop(pointer) }

  func hold() { isArmed.withLock { $0 = true } }
  func release() { gate.signal() }

  private func writes() {
    let isFirst = isArmed.withLock { isArmed in
      defer { isArmed = false }
      return isArmed
    }
    guard isFirst else { return }
    held.update { $0 = true }
    gate.wait()
  }
}
