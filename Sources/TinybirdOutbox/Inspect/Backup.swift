internal import COutboxSQLite
internal import Logging
public import struct Foundation.Date

/// What a backup holds.
public struct BackupReport: Sendable, Equatable {
  /// Where it is.
  public var path: String
  /// Its size.
  public var bytes: Int64
  /// The moment that it shows.
  public var takenAt: Date
  /// Events that were pending then: a restored backup may send them again.
  public var pendingEvents: Int
}

extension Outbox {
  /// Copies the outbox to a new file, as it is at one moment, while others append and deliver.
  ///
  /// The copy is readable for this user alone, and synced with its directory before this returns; after a crash there is
  /// either no file at `path`, or the whole copy. What a crash leaves of one that was not complete, `path.partial` and what
  /// lies beside it, the next backup to `path` clears away. The copy has the same outbox id and addresses. While the copy is made the log cannot be restarted, and grows with what is appended.
  ///
  /// A backup is restored by putting it in the outbox's place while no program uses that, after `-wal` and `-shm` beside
  /// it were removed: SQLite would take an old log for the backup's own. What was pending when it was
  /// taken may have been delivered since: when it is first delivered from, all of that counts as maybe inserted, and is
  /// sent again.
  ///
  /// - Parameters:
  ///   - path: The new file; nothing may be there.
  ///   - progress: Called now and then with the pages copied so far and those there are.
  /// - Throws: ``OutboxError``: ``OutboxError/Code/notWritable`` where something is at `path`, ``OutboxError/Code/conflict``
  ///   where it came there meanwhile, or another program is making it.
  public func backup(
    to path: String, progress: @Sendable (Int, Int) -> Void = { _, _ in }
  ) async throws -> BackupReport {
    await writer.prepareForLongReading()
    return try await BackupWorker(thread: ThreadExecutor(name: "outbox-backup"))
      .copy(file, outboxID, to: path, progress)
  }
}

/// Copies a file through SQLite, on a thread of its own.
private actor BackupWorker {
  private nonisolated let thread: ThreadExecutor
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  /// 4 MiB between two looks at the caller's wishes.
  private static let pagesPerStep: Int32 = 1024

  init(thread: ThreadExecutor) {
    self.thread = thread
  }

  func copy(
    _ source: OutboxFile, _ id: OutboxID, to path: String, _ progress: @Sendable (Int, Int) -> Void
  ) throws(OutboxError) -> BackupReport {
    try withOutboxErrors {
      let target = try NewFile(at: path)
      defer { target.removePartial() }
      let now = WallTime.now
      let pendingEvents: Int
      do throws(OutboxError) {
        pendingEvents = try withOutboxErrors { try copy(source, id, to: target.partial, now, progress) }
      } catch {
        throw target.explaining(error, filledFrom: source)
      }
      try target.finish()
      return BackupReport(
        path: path, bytes: target.file.sizeBytes(), takenAt: now.date, pendingEvents: pendingEvents)
    }
  }

  /// Returns how many events are pending in the copy.
  private func copy(
    _ source: OutboxFile, _ id: OutboxID, to target: OutboxFile, _ now: WallTime, _ progress: (Int, Int) -> Void
  ) throws -> Int {
    let from = try StoreOpening.openForReading(source)
    let to = try SQLiteConnection(path: target.path)
    // One snapshot for the whole copy: without it every commit of another process would start it anew.
    try from.execute("BEGIN")
    defer { try? from.execute("COMMIT") }
    _ = try from.firstInteger(SQL.countSchemaObjects)
    guard let backup = sqlite3_backup_init(to.handle, "main", from.handle, "main") else {
      throw to.lastError(doing: "starting a backup")
    }
    var code = SQLITE_OK
    while code == SQLITE_OK {
      guard !Task.isCancelled else {
        sqlite3_backup_finish(backup)
        throw OutboxError(.conflict, "the backup was cancelled; nothing of it is left")
      }
      code = sqlite3_backup_step(backup, Self.pagesPerStep)
      let total = Int(sqlite3_backup_pagecount(backup))
      progress(total - Int(sqlite3_backup_remaining(backup)), total)
    }
    let finished = sqlite3_backup_finish(backup)
    guard code == SQLITE_DONE, finished == SQLITE_OK else { throw to.lastError(doing: "copying pages to a backup") }
    try Pragmas.applyForWriting(to: to, journalSizeLimitBytes: 0)
    try to.execute("BEGIN IMMEDIATE")
    try to.execute(SQL.replaceMeta, "backed_up_at", now.milliseconds)
    try to.execute(SQL.deleteMeta, "holder_pid")
    try to.execute(SQL.deleteMeta, StoreRewriter.metaName)
    try to.execute("COMMIT")
    try to.foldLog()
    return try StoreSnapshot(connection: to, outboxID: id).dataSourceStatuses(burstAttempts: 0)
      .reduce(0) { $0 + $1.pendingEvents }
  }
}

extension SQLiteConnection {
  /// Folds the whole log into the file and syncs that; the only connection of a new file.
  func foldLog() throws {
    guard try firstInteger("PRAGMA wal_checkpoint(TRUNCATE)") == 0 else {
      throw OutboxError(.busy, "another program has the new file open; it must not be used before it is complete")
    }
  }
}

extension StoreTransaction {
  /// The first delivery from a restored backup, or replay in it: whatever it shows as not delivered may have been since.
  ///
  /// Returns how many events may be sent again; nil where this is no backup.
  func doubtIfRestored(limits: BatchLimits) throws -> Int? {
    guard try connection.firstInteger(SQL.selectMeta, "backed_up_at") != nil else { return nil }
    let snapshot = StoreSnapshot(connection: connection, outboxID: outboxID)
    let ledger = Ledger(transaction: self)
    for lane in try snapshot.lanes() {
      while let plan = try snapshot.planBatch(of: lane.id, limits: limits) { _ = try ledger.form([plan], of: lane.id) }
    }
    // Formed ones are marked as being sent, which is just what is not known of them.
    try connection.execute(SQL.doubtUndelivered)
    try connection.execute(SQL.doubtDeadLetters)
    try connection.execute(SQL.deleteMeta, "backed_up_at")
    return Int(try connection.firstInteger(SQL.countPending) ?? 0)
  }
}

extension Logger {
  /// Tells that events which were pending when a backup was taken are sent again.
  func warnOfRestoring(_ events: Int, _ file: OutboxFile) {
    warning(
      "this outbox was restored from a backup: what was pending then may have been delivered since, and is sent again",
      metadata: ["outbox.path": "\(file.shownPath)", "outbox.events": "\(events)"])
  }
}
