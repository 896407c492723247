internal import COutboxSQLite
internal import Logging

/// How one commit goes: appends and ledger work of all who wait, in one transaction, with one sync.
extension StoreWriter {
  /// Commits a group, and tells each of its entries how that ended.
  func commit(_ group: [Committer.Entry]) {
    guard let connection, let outboxID else {
      for entry in group { entry.fail(Committer.closedError) }
      return
    }
    var run = CommitRun(group)
    do {
      try withReserve {
        try write(&run, connection, outboxID)
      } beforeRetry: { error in
        // Appends are refused from now on; ledger work, which is what makes room again, gets the blocks.
        rollBack(connection)
        run = run.withoutAppends(error.asOutboxError)
        checkpoint()
      }
    } catch {
      // The connection is kept: the next commit writes the same frames of the log again. A new one could adopt frames
      // that the kernel has dropped after a sync that failed.
      rollBack(connection)
      fail(run, error)
      return
    }
    didCommit()
    run.end(nil)
  }

  private func write(_ run: inout CommitRun, _ connection: SQLiteConnection, _ outboxID: OutboxID) throws {
    let refusal = run.appendedBytes > 0 ? try refusal(ofAppending: run.appendedBytes, connection) : nil
    try foldOldLog(connection)
    try begin(connection)
    let transaction = StoreTransaction(connection: connection, outboxID: outboxID, now: .now)
    var appender = ChunkAppender(transaction: transaction)
    var room = run.appendedBytes > 0 ? try room(forAppending: run.appendedBytes, connection) : nil
    for entry in run.entries {
      switch entry {
      case .append(let events, let continuation):
        do {
          if let refusal { throw refusal }
          try take(events.byteCount, from: &room)
          try appender.open(events)
        } catch let error as OutboxError {
          // Only this caller's events are refused.
          continuation.resume(throwing: error)
          run.refused()
          continue
        }
        let receipt = try appender.add(events)
        run.written { error in
          if let error { continuation.resume(throwing: error) } else { continuation.resume(returning: receipt) }
        }
      case .job(let job, let fail):
        try runJob(job, fail, in: transaction, &run)
      }
    }
    try appender.finish()
    try connection.execute("COMMIT")
  }

  private func room(forAppending byteCount: Int, _ connection: SQLiteConnection) throws -> Int64? {
    try gate.room(
      in: connection, forAppending: byteCount, logBytes: checkpointer?.logBytes ?? 0,
      unfoldedBytes: checkpointer?.unfoldedBytes ?? 0)
  }

  private func refusal(ofAppending byteCount: Int, _ connection: SQLiteConnection) throws -> OutboxError? {
    let large = gate.limits.cost(ofLargeAppend: byteCount)
    if large > 0 {
      // First, so that nothing is held back for what the budget refuses.
      if let room = try room(forAppending: byteCount, connection), large > room {
        return gate.budgetRefusal(ofAppending: byteCount)
      }
      holdsExtra = true
    }
    switch gate.admission(ofAppending: byteCount) {
    case .granted: return nil
    case .refused(let error): return error
    case .grantedWithoutReserve:
      if !hasWarnedOfReserve {
        hasWarnedOfReserve = true
        logger.warning(
          "no blocks can be held back on this file system: when the disk is full, answers may have to wait for room",
          metadata: ["outbox.path": "\(file.reservePath)"])
      }
      return nil
    }
  }

  /// Takes the write lock: waits for others as ``LockWait`` does, and for an erasure of ours that writes the whole file
  /// anew as long as that takes.
  private func begin(_ connection: SQLiteConnection) throws {
    while true {
      do {
        return try connection.execute("BEGIN IMMEDIATE")
      } catch let error as SQLiteError where error.primaryCode == SQLITE_BUSY {
        guard let rewriter = try connection.firstInteger(SQL.selectMeta, StoreRewriter.metaName),
          isProcessAlive(rewriter), file.logWriter().map({ $0 == rewriter }) ?? true
        else { throw error }
        logger.notice("a commit waits for an erasure", metadata: ["outbox.process": "\(rewriter)"])
      }
    }
  }

  private func take(_ byteCount: Int, from room: inout Int64?) throws(OutboxError) {
    guard let left = room else { return }
    let cost = SpaceLimits.cost(ofAppending: byteCount)
    guard cost <= left else { throw gate.budgetRefusal(ofAppending: byteCount) }
    room = left - cost
  }

  /// A job that refuses its own work (the event is gone, the batch was settled) must not take the others down with it.
  ///
  /// What SQLite itself reports does: the transaction may not be whole any more.
  private func runJob(
    _ job: Committer.Job, _ fail: @Sendable (OutboxError) -> Void, in transaction: StoreTransaction,
    _ run: inout CommitRun
  ) throws {
    try transaction.connection.execute("SAVEPOINT outbox_job")
    do {
      let ending = try job(transaction)
      try transaction.connection.execute("RELEASE outbox_job")
      run.written(ending)
    } catch let error where !(error is SQLiteError) {
      try transaction.connection.execute("ROLLBACK TO outbox_job")
      try transaction.connection.execute("RELEASE outbox_job")
      fail(error as? OutboxError ?? OutboxError(.conflict, "the work was refused: \(error)", cause: error))
      run.refused()
    }
  }

  private func rollBack(_ connection: SQLiteConnection) {
    if connection.isInTransaction { try? connection.execute("ROLLBACK") }
  }

  private func fail(_ run: CommitRun, _ error: any Error) {
    let shown =
      (error as? OutboxError) ?? (error as? SQLiteError)?.asOutboxError ?? OutboxError(.database, "\(type(of: error))")
    logger.error(
      "a commit failed; nothing of it is acknowledged",
      metadata: ["outbox.error": "\(shown.shortDescription)", "outbox.group": "\(run.entries.count)"])
    run.end(shown)
  }
}

/// What has become of each entry of a group, in their order.
private struct CommitRun {
  private enum Outcome {
    /// Part of the transaction: to be told how that ended.
    case written(@Sendable (OutboxError?) -> Void)
    /// Told already, and nothing of it is in the transaction.
    case refused
  }

  let entries: [Committer.Entry]
  let appendedBytes: Int
  private var outcomes: [Outcome] = []

  init(_ entries: [Committer.Entry]) {
    self.entries = entries
    appendedBytes = entries.reduce(0) { sum, entry in
      if case .append(let events, _) = entry { sum + events.byteCount } else { sum }
    }
  }

  mutating func written(_ ending: @escaping @Sendable (OutboxError?) -> Void) { outcomes.append(.written(ending)) }

  mutating func refused() { outcomes.append(.refused) }

  /// Tells everyone; those who were not reached when an error ended the transaction have no outcome yet.
  func end(_ error: OutboxError?) {
    for outcome in outcomes {
      if case .written(let ending) = outcome { ending(error) }
    }
    guard let error else { return }
    for entry in entries.dropFirst(outcomes.count) { entry.fail(error) }
  }

  /// The ledger work alone, to be run once more; the appends are told `error`.
  func withoutAppends(_ error: OutboxError) -> CommitRun {
    var work: [Committer.Entry] = []
    for (index, entry) in entries.enumerated() {
      let outcome = index < outcomes.count ? outcomes[index] : nil
      switch (entry, outcome) {
      case (_, .refused?): break
      case (.append, _): entry.fail(error)
      case (.job, _): work.append(entry)
      }
    }
    return CommitRun(work)
  }
}
