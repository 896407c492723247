/// Work on the ledger of batches: forming, sending, settling.
///
/// Each method is one step of a write transaction.
struct Ledger {
  let transaction: StoreTransaction
  private var connection: SQLiteConnection { transaction.connection }
  private var now: WallTime { transaction.now }

  /// The most rows that ``Schema``'s log of attempts keeps.
  static let maximumAttempts: Int64 = 10_000

  // MARK: Forming and sending

  /// Writes batches down as being sent, before they are: after a crash exactly those may have arrived.
  ///
  /// Those that are not to be sent yet wait, for whoever delivers.
  func form(_ plans: [BatchBuilder.Plan], of dataSource: Int64, isSending: Bool = true) throws -> [Batch] {
    var batches: [Batch] = []
    for plan in plans {
      try connection.execute(
        SQL.advanceUnbatched, dataSource, plan.sequences.lowerBound, plan.sequences.upperBound + 1, plan.byteCount)
      guard connection.changedRowCount == 1 else {
        throw OutboxError(
          .conflict, "the events from \(plan.sequences.lowerBound) on are in a batch already; another process delivers")
      }
      batches.append(
        try insert(
          kind: .append, dataSource: dataSource, sequences: plan.sequences, eventCount: plan.eventCount,
          byteCount: plan.byteCount, sendingSince: isSending ? now : nil))
    }
    return batches
  }

  /// Notes that a batch is about to be sent again.
  func markSending(_ id: Batch.ID) throws {
    try connection.execute(SQL.markSending, id, now.milliseconds)
    guard connection.changedRowCount == 1 else { throw Self.settledError(id) }
  }

  /// After a crash or a kill: what was under way may have arrived.
  ///
  /// Returns how many batches that concerns.
  func recoverInterrupted() throws -> Int {
    try connection.execute(SQL.recoverInterrupted)
    return connection.changedRowCount
  }

  func insert(
    kind: Batch.Kind, dataSource: Int64, sequences: ClosedRange<Int64>, eventCount: Int, byteCount: Int,
    inserted: Inserted = .no, attempts: Int = 0, uncertainAttempts: Int = 0, isolation: Batch.Isolation = .none,
    sendingSince: WallTime? = nil
  ) throws -> Batch {
    let id = try connection.firstInteger(
      SQL.insertBatch, dataSource, kind.rawValue, sequences.lowerBound, sequences.upperBound, eventCount, byteCount,
      inserted.rawValue, attempts, uncertainAttempts, isolation.rawValue, sendingSince?.milliseconds,
      now.milliseconds)
    return Batch(
      id: id ?? 0, kind: kind, sequences: sequences, eventCount: eventCount, byteCount: byteCount, inserted: inserted,
      attempts: attempts, isolation: isolation, nextAttemptAt: nil,
      committedAt: kind == .append ? try commitTime(of: sequences.lowerBound, in: dataSource) : nil)
  }

  private func commitTime(of sequence: Int64, in dataSource: Int64) throws -> WallTime? {
    let key = try SequenceKey(dataSource: dataSource, sequence: sequence)
    return try connection.firstInteger(SQL.selectCommitTime, key.stored - sequence, key.stored)
      .map { WallTime(milliseconds: $0) }
  }

  // MARK: Settling

  /// What the log of attempts keeps of one request and its answer.
  struct Attempt: Sendable {
    var sentBytes: Int
    var startedAt: WallTime
    var latency: Duration
    var status: Int?
    var verdict: String
    /// Redacted and cut to ``Redaction/maximumBytes``.
    var answer: String?
  }

  /// Writes down all that one answer changes.
  ///
  /// Returns the batches that take the place of a batch that was split.
  func settle(_ settlement: Settlement, attempt: Attempt) throws -> [Batch] {
    guard let stored = try storedBatch(settlement.batch) else { throw Self.settledError(settlement.batch) }
    let isUncertain = settlement.inserted == .maybe
    var after = stored
    after.batch.inserted = stored.batch.inserted.combined(with: settlement.inserted)
    after.batch.attempts += settlement.isCounted ? 1 : 0
    after.uncertainAttempts += isUncertain ? 1 : 0
    try log(attempt, settlement, stored)
    try change(lane: settlement.lane, of: stored.dataSource, cause: settlement.batch)
    switch settlement.change {
    case .delivered(let counts):
      try deliver(after, counts)
      return []
    case .pending(let retryAfter):
      try connection.execute(
        SQL.postponeBatch, stored.batch.id, after.batch.inserted.rawValue, after.batch.attempts,
        after.uncertainAttempts, retryAfter.map { (now + $0).milliseconds })
      return []
    case .split:
      return try split(after)
    case .dead(let reason):
      try bury(after, reason, attempt)
      return []
    }
  }

  struct StoredBatch {
    var dataSource: Int64
    var batch: Batch
    var uncertainAttempts: Int
    var formedAt: WallTime
  }

  func storedBatch(_ id: Batch.ID) throws -> StoredBatch? {
    try connection.firstRow(SQL.selectBatch, id) { row in
      let kind = try row.word(1, Batch.Kind.self)
      let numbers = try row.batchNumbers(2, kind)
      return StoredBatch(
        dataSource: row.int64(0),
        batch: Batch(
          id: id, kind: kind, sequences: numbers.sequences, eventCount: numbers.eventCount,
          byteCount: numbers.byteCount, inserted: Inserted(rawValue: row.text(6)) ?? .maybe,
          attempts: row.figure(7), isolation: Batch.Isolation(stored: row.int(9)), nextAttemptAt: nil),
        uncertainAttempts: row.figure(8), formedAt: row.time(10))
    }
  }

  private func deliver(_ stored: StoredBatch, _ counts: RowCounts) throws {
    let warning = counts.warning(sent: stored.batch.eventCount)
    try close(stored, state: .delivered, counts: counts, warning: warning)
    try connection.execute(
      SQL.recordDelivered, stored.dataSource, now.milliseconds, counts.successful ?? 0, counts.quarantined ?? 0)
    if stored.batch.isolation == .refused {
      try connection.execute(
        SQL.noteRefusedInPart, stored.dataSource, Batch.Isolation.refused.rawValue,
        Batch.Isolation.refusedInPart.rawValue)
    }
    if stored.batch.kind == .replay {
      try DeadLetterTable(transaction: transaction).removeDelivered(by: stored)
    }
  }

  private func bury(_ stored: StoredBatch, _ reason: DeadReason, _ attempt: Attempt) throws {
    try close(stored, state: .dead, counts: nil, warning: nil)
    let deadLetters = DeadLetterTable(transaction: transaction)
    switch stored.batch.kind {
    case .append: try deadLetters.bury(stored, reason, attempt)
    case .replay: try deadLetters.returnReplayed(by: stored, reason, attempt)
    // The events were delivered once and stay so; the row and the log keep what became of the second sending.
    case .resend: break
    }
  }

  private func close(
    _ stored: StoredBatch, state: RangeState, counts: RowCounts?, warning: CountsWarning?
  ) throws {
    try connection.execute(
      SQL.settleBatch, stored.batch.id, state.rawValue, stored.batch.inserted.rawValue, stored.batch.attempts,
      stored.uncertainAttempts, counts?.successful, counts?.quarantined, warning?.rawValue, now.milliseconds)
  }

  private func log(_ attempt: Attempt, _ settlement: Settlement, _ stored: StoredBatch) throws {
    let batch = stored.batch
    let id = try connection.firstInteger(
      SQL.insertAttempt, batch.id, stored.dataSource, batch.sequences.lowerBound, batch.sequences.upperBound,
      batch.eventCount, attempt.sentBytes, attempt.startedAt.milliseconds, attempt.latency.wholeMilliseconds,
      attempt.status, attempt.verdict, settlement.inserted.rawValue, attempt.answer)
    try connection.execute(SQL.trimAttempts, (id ?? 0) - Self.maximumAttempts)
    guard attempt.status != nil || attempt.answer != nil else { return }
    try connection.execute(
      SQL.recordAnswer, stored.dataSource, attempt.status, attempt.answer, now.milliseconds)
  }

  private func change(lane: LaneChange, of dataSource: Int64, cause: Batch.ID) throws {
    switch lane {
    case .none: break
    case .open: try connection.execute(SQL.openLane, dataSource)
    case .backOff(let failures, let delay):
      try connection.execute(SQL.backOffLane, dataSource, failures, (now + delay).milliseconds)
    case .hold(let kind, let status):
      try connection.execute(SQL.holdLane, dataSource, kind.rawValue, status, cause, now.milliseconds)
    }
  }

  static func settledError(_ id: Batch.ID) -> OutboxError {
    OutboxError(.conflict, "batch \(id) is not pending any more; another process settled it")
  }
}

/// What a range of the ledger is.
public enum RangeState: String, Sendable, Codable, CaseIterable {
  /// Waits to be delivered, or is under way.
  case pending
  /// The service acknowledged it.
  case delivered
  /// Refused; each event is in the dead-letter table.
  case dead
  /// An operator threw it away.
  case discarded
  /// Its chunk cannot be read; the bytes are kept.
  case damaged
}
