internal import COutboxSQLite
internal import Logging

/// The one writer of this process: owns the connection that commits and the one that checkpoints, on a thread of its own.
actor StoreWriter {
  nonisolated let thread: ThreadExecutor
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  private let file: OutboxFile
  private let checkpointPages: Int32
  private let logger: Logger
  private let didCommit: @Sendable () -> Void
  private var connection: SQLiteConnection?
  private var checkpointer: Checkpointer?
  private var outboxID: OutboxID?
  /// Whether all that the log held when it was opened is known to be on the disk.
  private var hasFoldedOldLog = false

  /// `didCommit` is called on the writer's thread after each commit that changed something.
  ///
  /// A checkpoint is due when the log has grown by `checkpointPages`.
  init(
    file: OutboxFile, thread: ThreadExecutor, checkpointPages: Int32 = Checkpointer.duePages, logger: Logger,
    didCommit: @escaping @Sendable () -> Void
  ) {
    self.file = file
    self.thread = thread
    self.checkpointPages = checkpointPages
    self.logger = logger
    self.didCommit = didCommit
  }

  /// Opens or creates the file.
  ///
  /// Returns the outbox's id.
  func open(create: Bool) throws(OutboxError) -> OutboxID {
    try withOutboxErrors {
      var generator = SystemRandomNumberGenerator()
      let newID = OutboxID(using: &generator)
      let connection = try StoreOpening.openForWriting(file, create: create, newID: newID, now: .now)
      let stored = try connection.firstRow(SQL.selectMeta, "outbox_id") { OutboxID($0.bytes(0)) }
      guard let stored = stored ?? nil else {
        throw OutboxError(.damaged, "the outbox \(file.shownPath) has lost its id; keep a copy of the file")
      }
      outboxID = stored
      checkpointer = try Checkpointer(watching: connection, file: file, duePages: checkpointPages)
      self.connection = connection
      return stored
    }
  }

  /// Closes both connections.
  ///
  /// The last process to close an outbox folds the log into the file.
  func close() {
    connection = nil
    checkpointer = nil
  }

  /// Commits a group: ledger work and appends in one transaction, with one sync for all of them.
  func commit(_ group: [Committer.Entry]) {
    guard let connection, let outboxID else {
      for entry in group { entry.fail(Committer.closedError) }
      return
    }
    var endings: [@Sendable (OutboxError?) -> Void] = []
    do {
      try foldOldLog(connection)
      try connection.execute("BEGIN IMMEDIATE")
      let transaction = StoreTransaction(connection: connection, outboxID: outboxID, now: .now)
      var appender = ChunkAppender(transaction: transaction)
      for entry in group {
        switch entry {
        case .append(let events, let continuation):
          do {
            try appender.open(events)
          } catch let error as OutboxError {
            // Only this caller's data sources are at fault.
            continuation.resume(throwing: error)
            endings.append { _ in }
            continue
          }
          let receipt = try appender.add(events)
          endings.append { error in
            if let error { continuation.resume(throwing: error) } else { continuation.resume(returning: receipt) }
          }
        case .job(let job, let fail):
          endings.append(try run(job, fail, in: transaction))
        }
      }
      try appender.finish()
      try connection.execute("COMMIT")
    } catch {
      fail(group, endings, connection, error)
      return
    }
    didCommit()
    for ending in endings { ending(nil) }
  }

  /// Folds what an earlier process left in the log into the database, before the first commit of this one.
  ///
  /// After a sync that failed, the kernel shows frames that are on no disk. If that process is gone, opening has taken
  /// them for good, and a commit behind them would be lost with them in a power cut. So nothing is accepted until the
  /// log begins anew. RESTART holds the write lock throughout, so that no commit can restart the log meanwhile.
  private func foldOldLog(_ connection: SQLiteConnection) throws {
    guard !hasFoldedOldLog else { return }
    // SQLite does not wait where another process checkpoints too: we do.
    var tries: Int32 = 0
    while try connection.firstInteger(SQL.checkpointAndRestart) != 0 {
      guard BusyHandler.wait(nil, tries) != 0 else {
        throw OutboxError(
          .busy,
          "another program reads an old state of the outbox \(file.shownPath), so that its log cannot begin anew; nothing can be stored until it ends its transaction"
        )
      }
      tries += 1
    }
    hasFoldedOldLog = true
  }

  /// A job that refuses its own work (the event is gone, the batch was settled) must not take the others down with it.
  ///
  /// What SQLite itself reports does: the transaction may not be whole any more.
  private func run(
    _ job: Committer.Job, _ fail: @Sendable (OutboxError) -> Void, in transaction: StoreTransaction
  ) throws -> @Sendable (OutboxError?) -> Void {
    try transaction.connection.execute("SAVEPOINT outbox_job")
    do {
      let ending = try job(transaction)
      try transaction.connection.execute("RELEASE outbox_job")
      return ending
    } catch let error where !(error is SQLiteError) {
      try transaction.connection.execute("ROLLBACK TO outbox_job")
      try transaction.connection.execute("RELEASE outbox_job")
      fail(error as? OutboxError ?? OutboxError(.conflict, "the work was refused: \(error)", cause: error))
      return { _ in }
    }
  }

  /// Rolls back and keeps the connection: the next commit writes the same frames of the log again.
  ///
  /// A new connection could adopt frames that the kernel has dropped after the failed sync.
  private func fail(
    _ group: [Committer.Entry], _ endings: [@Sendable (OutboxError?) -> Void], _ connection: SQLiteConnection,
    _ error: any Error
  ) {
    if connection.isInTransaction { try? connection.execute("ROLLBACK") }
    let shown =
      (error as? OutboxError) ?? (error as? SQLiteError)?.asOutboxError ?? OutboxError(.database, "\(type(of: error))")
    logger.error(
      "a commit failed; nothing of it is acknowledged",
      metadata: ["outbox.error": "\(shown.shortDescription)", "outbox.group": "\(group.count)"])
    for ending in endings { ending(shown) }
    // Entries are handled in order: the one that threw and those behind it have no ending yet.
    for entry in group.dropFirst(endings.count) { entry.fail(shown) }
  }

  /// Folds the log into the database where it has grown enough.
  func checkpointIfDue() {
    guard let connection, let checkpointer else { return }
    do {
      try checkpointer.runIfDue(holding: connection)
    } catch {
      logger.warning("a checkpoint failed; the log grows until one succeeds", metadata: ["outbox.error": "\(error)"])
    }
  }
}
