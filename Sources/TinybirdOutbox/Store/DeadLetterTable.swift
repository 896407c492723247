/// The dead-letter table: events come in when a batch is refused, and leave when a replay is delivered or an operator
/// discards them.
struct DeadLetterTable {
  let transaction: StoreTransaction
  private var connection: SQLiteConnection { transaction.connection }

  /// Moves every event of a refused batch here.
  func bury(_ stored: Ledger.StoredBatch, _ reason: DeadReason, _ attempt: Ledger.Attempt) throws {
    let chunks = ChunkTable(connection: connection, outboxID: transaction.outboxID)
    let range = stored.batch.sequences
    var next = range.lowerBound
    while next <= range.upperBound {
      let slice = try chunks.slice(from: next, upTo: range.upperBound, in: stored.dataSource)
      try slice.bytes.withUnsafeBytes { bytes in
        var lines = LineCursor(bytes: bytes)
        while let line = lines.next() {
          let key = try SequenceKey(dataSource: stored.dataSource, sequence: next)
          try connection.execute(
            SQL.insertDeadLetter, key.stored, BorrowedText(bytes: line), slice.committedAt.milliseconds,
            reason.rawValue, attempt.status, attempt.answer, stored.batch.attempts, stored.batch.inserted.rawValue,
            transaction.now.milliseconds)
          next += 1
        }
      }
    }
  }

  /// A replay was delivered: its dead letters go, and the ledger says delivered where it said dead.
  func removeDelivered(by stored: Ledger.StoredBatch) throws {
    let ledger = Ledger(transaction: transaction)
    for run in try runs(replayedBy: stored.batch.id) {
      try ledger.replace(
        run, of: stored.dataSource, with: .delivered, inserted: .yes, uncertainAttempts: stored.uncertainAttempts)
    }
    try connection.execute(SQL.deleteReplayed, stored.batch.id)
  }

  /// A replay was refused: its dead letters are dead again, with the new answer.
  func returnReplayed(by stored: Ledger.StoredBatch, _ reason: DeadReason, _ attempt: Ledger.Attempt) throws {
    if stored.uncertainAttempts > 0 {
      let ledger = Ledger(transaction: transaction)
      for run in try runs(replayedBy: stored.batch.id) {
        try ledger.replace(
          run, of: stored.dataSource, with: .dead, inserted: stored.batch.inserted,
          uncertainAttempts: stored.uncertainAttempts)
      }
    }
    try connection.execute(
      SQL.returnReplaying, stored.batch.id, reason.rawValue, attempt.status, attempt.answer, 1,
      stored.batch.inserted.rawValue, transaction.now.milliseconds)
  }

  /// Neighbouring sequence numbers of a replay, joined.
  private func runs(replayedBy id: Batch.ID) throws -> [ClosedRange<Int64>] {
    let sequences = try connection.rows(SQL.selectReplayingKeys, id) { SequenceKey(stored: $0.int64(0)).sequence }
    return sequences.joinedRuns()
  }
}

extension [Int64] {
  /// Runs of neighbours in an ascending list: `[1, 2, 3, 7]` is `[1...3, 7...7]`.
  func joinedRuns() -> [ClosedRange<Int64>] {
    reduce(into: []) { runs, number in
      if let last = runs.last, last.upperBound + 1 == number {
        runs[runs.count - 1] = last.lowerBound...number
      } else {
        runs.append(number...number)
      }
    }
  }
}
