/// Ranges are only ever replaced, in one transaction, by parts that cover them exactly.
extension Ledger {
  /// Two halves take the place of a batch that the service found too large or refused.
  func split(_ stored: StoredBatch) throws -> [Batch] {
    let batch = stored.batch
    switch batch.kind {
    case .append, .resend:
      let middle = batch.sequences.lowerBound + Int64(batch.eventCount / 2)
      let leftBytes = try ChunkTable(connection: transaction.connection, outboxID: transaction.outboxID)
        .byteCount(of: batch.sequences.lowerBound...(middle - 1), in: stored.dataSource)
      try transaction.connection.execute(SQL.deleteBatch, batch.id)
      return [
        try insertHalf(stored, batch.sequences.lowerBound...(middle - 1), batch.eventCount / 2, leftBytes),
        try insertHalf(
          stored, middle...batch.sequences.upperBound, batch.eventCount - batch.eventCount / 2,
          batch.byteCount - leftBytes),
      ]
    case .replay:
      let letters = try transaction.connection.rows(SQL.selectReplayingKeys, batch.id) { ($0.int64(0), $0.int(1)) }
      let (left, right) = (letters[..<(letters.count / 2)], letters[(letters.count / 2)...])
      let halves = try [left, right].map { half in
        try insertHalf(
          stored, hull(half.map(\.0)) ?? batch.sequences, half.count, half.reduce(0) { $0 + $1.1 })
      }
      // Right first: what is left with the old id then is the left half.
      if let lastOfLeft = left.last?.0 {
        try transaction.connection.execute(SQL.moveReplaying, batch.id, lastOfLeft, halves[1].id)
      }
      try transaction.connection.execute(SQL.moveReplaying, batch.id, 0, halves[0].id)
      try transaction.connection.execute(SQL.deleteBatch, batch.id)
      return halves
    }
  }

  private func insertHalf(
    _ stored: StoredBatch, _ sequences: ClosedRange<Int64>, _ eventCount: Int, _ byteCount: Int
  ) throws -> Batch {
    try insert(
      kind: stored.batch.kind, dataSource: stored.dataSource, sequences: sequences, eventCount: eventCount,
      byteCount: byteCount, inserted: stored.batch.inserted, attempts: stored.batch.attempts,
      uncertainAttempts: stored.uncertainAttempts, isIsolating: true)
  }

  /// The sequence numbers between the first and the last of sorted keys.
  private func hull(_ keys: [Int64]) -> ClosedRange<Int64>? {
    guard let first = keys.first, let last = keys.last else { return nil }
    return SequenceKey(stored: first).sequence...SequenceKey(stored: last).sequence
  }

  /// Gives the events `sequences` another state, whatever ranges they lie in; what lies outside keeps its own.
  ///
  /// `uncertainAttempts` is added to what is known of them: attempts that may have inserted them besides.
  func replace(
    _ sequences: ClosedRange<Int64>, of dataSource: Int64, with state: RangeState, inserted: Inserted?,
    uncertainAttempts: Int = 0
  ) throws {
    for old in try ranges(overlapping: sequences, of: dataSource) {
      try transaction.connection.execute(SQL.deleteBatch, old.id)
      let inner = old.sequences.clamped(to: sequences)
      var bytesLeft = old.byteCount
      for part in [lower(old.sequences, before: inner), inner, upper(old.sequences, after: inner)].compactMap({ $0 }) {
        var new = old
        new.sequences = part
        // A share by count: exact bytes of a settled range are in its chunks, which may be pruned.
        let isLast = part.upperBound == old.sequences.upperBound
        new.byteCount = isLast ? bytesLeft : old.byteCount / old.sequences.count * part.count
        bytesLeft -= new.byteCount
        if part == inner {
          new.state = state
          new.inserted = inserted ?? old.inserted
          new.uncertainAttempts += uncertainAttempts
          if state != old.state { new.settledAt = state == .pending ? nil : transaction.now }
        }
        try insert(new, of: dataSource)
      }
    }
  }

  private func insert(_ range: Range, of dataSource: Int64) throws {
    try transaction.connection.execute(
      SQL.insertRange, dataSource, range.sequences.lowerBound, range.sequences.upperBound, range.sequences.count,
      range.byteCount, range.state.rawValue, range.inserted.rawValue, range.attempts, range.uncertainAttempts,
      range.isIsolating ? 1 : 0, range.formedAt.milliseconds, range.settledAt?.milliseconds)
  }

  /// Gives up on events whose chunk cannot be read: the parts around them stay pending, with what is known of them.
  func setDamagedApart(_ id: Batch.ID, _ lost: ClosedRange<Int64>, of dataSource: Int64) throws {
    guard let stored = try storedBatch(id) else { throw Self.settledError(id) }
    switch stored.batch.kind {
    case .append: try replace(lost, of: dataSource, with: .damaged, inserted: nil)
    // Delivered once already: only the second sending ends.
    case .resend: try transaction.connection.execute(SQL.deleteBatch, id)
    case .replay: break
    }
  }

  private struct Range {
    let id: Batch.ID
    var sequences: ClosedRange<Int64>
    var byteCount: Int
    var state: RangeState
    var inserted: Inserted
    let attempts: Int
    var uncertainAttempts: Int
    let isIsolating: Bool
    let formedAt: WallTime
    var settledAt: WallTime?
  }

  private func ranges(overlapping sequences: ClosedRange<Int64>, of dataSource: Int64) throws -> [Range] {
    try transaction.connection.rows(
      SQL.selectRangesOverlapping, dataSource, sequences.lowerBound, sequences.upperBound
    ) { row in
      Range(
        id: row.int64(0), sequences: row.int64(1)...row.int64(2), byteCount: row.int(3),
        state: RangeState(rawValue: row.text(4)) ?? .pending, inserted: Inserted(rawValue: row.text(5)) ?? .maybe,
        attempts: row.int(6), uncertainAttempts: row.int(7), isIsolating: row.int(8) == 1,
        formedAt: WallTime(milliseconds: row.int64(9)),
        settledAt: row.optionalInt64(10).map { WallTime(milliseconds: $0) })
    }
  }

  /// The delivered ranges that `sequences` meets.
  func deliveredRanges(overlapping sequences: ClosedRange<Int64>, of dataSource: Int64) throws -> [ClosedRange<Int64>] {
    try ranges(overlapping: sequences, of: dataSource).filter { $0.state == .delivered }.map(\.sequences)
  }

  private func lower(_ whole: ClosedRange<Int64>, before inner: ClosedRange<Int64>) -> ClosedRange<Int64>? {
    whole.lowerBound < inner.lowerBound ? whole.lowerBound...(inner.lowerBound - 1) : nil
  }

  private func upper(_ whole: ClosedRange<Int64>, after inner: ClosedRange<Int64>) -> ClosedRange<Int64>? {
    whole.upperBound > inner.upperBound ? (inner.upperBound + 1)...whole.upperBound : nil
  }
}
