/// Ranges are only ever replaced, in one transaction, by parts that cover them exactly.
extension Ledger {
  /// Two halves take the place of a batch that the service found too large or refused.
  func split(_ stored: StoredBatch) throws -> [Batch] {
    let batch = stored.batch
    guard batch.eventCount > 1 else { throw SQLiteRow.damage("a batch of one event that was to be halved") }
    switch batch.kind {
    case .append, .resend:
      let middle = batch.sequences.lowerBound + Int64(batch.eventCount / 2)
      let chunks = ChunkTable(connection: transaction.connection, outboxID: transaction.outboxID)
      let halves = [batch.sequences.lowerBound...(middle - 1), middle...batch.sequences.upperBound]
      // Both are counted: the bytes of a batch that was cut out of another one are only about right.
      let byteCounts = try halves.map { try chunks.byteCount(of: $0, in: stored.dataSource) }
      try transaction.connection.execute(SQL.deleteBatch, batch.id)
      return try zip(halves, byteCounts).map { try insertHalf(stored, $0, $0.count, $1) }
    case .replay:
      let letters = try transaction.connection.rows(SQL.selectReplayingKeys, batch.id) {
        ($0.int64(0), $0.figure(1))
      }
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
      uncertainAttempts: stored.uncertainAttempts,
      isolation: stored.batch.isolation.ofParts)
  }

  /// The sequence numbers between the first and the last of sorted keys.
  private func hull(_ keys: [Int64]) -> ClosedRange<Int64>? {
    guard let first = keys.first, let last = keys.last else { return nil }
    return ClosedRange(between: SequenceKey(stored: first).sequence, and: SequenceKey(stored: last).sequence)
  }

  /// Gives the events `sequences` another state, whatever ranges they lie in; what lies outside keeps its own.
  ///
  /// `uncertainAttempts` is added to what is known of them: attempts that may have inserted them besides.
  ///
  /// Throws where the ledger does not have each of them in one range: who waits for them to change would wait for ever.
  func replace(
    _ sequences: ClosedRange<Int64>, of dataSource: Int64, with state: RangeState, inserted: Inserted?,
    uncertainAttempts: Int = 0
  ) throws {
    let found = try ranges(overlapping: sequences, of: dataSource)
    guard found.reduce(0, { $0 + $1.sequences.clamped(to: sequences).count }) == sequences.count else {
      throw SQLiteRow.damage("no range for some of the events \(sequences.lowerBound) to \(sequences.upperBound)")
    }
    for old in found {
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

  /// Events that were erased wait for nothing any more: pending and dead become *discarded*.
  ///
  /// Returns how many of them are, or may be, in Tinybird.
  func discardErased(_ runs: [ClosedRange<Int64>], of dataSource: Int64) throws -> Int {
    var inTinybird = 0
    for run in runs {
      for range in try ranges(overlapping: run, of: dataSource) {
        let part = range.sequences.clamped(to: run)
        if range.state == .delivered || range.inserted != .no { inTinybird += part.count }
        guard range.state == .pending || range.state == .dead else { continue }
        try replace(part, of: dataSource, with: .discarded, inserted: nil)
      }
    }
    return inTinybird
  }

  /// Another batch takes the place of a replay that some of its dead letters were taken from; none, where all were.
  ///
  /// A new number makes a lane that holds the old one in memory look again.
  func renewReplay(_ id: Batch.ID) throws {
    guard let stored = try storedBatch(id) else { return }
    let letters = try transaction.connection.rows(SQL.selectReplayingKeys, id) { ($0.int64(0), $0.int(1)) }
    if let sequences = hull(letters.map(\.0)) {
      let batch = try insertRest(stored, sequences, letters.count, letters.reduce(0) { $0 + $1.1 })
      try transaction.connection.execute(SQL.moveReplaying, id, 0, batch.id)
    }
    try transaction.connection.execute(SQL.deleteBatch, id)
  }

  /// Others take the place of a resend, for the events before and behind `run`.
  func renewResend(_ id: Batch.ID, without run: ClosedRange<Int64>) throws {
    guard let stored = try storedBatch(id) else { return }
    let chunks = ChunkTable(connection: transaction.connection, outboxID: transaction.outboxID)
    let whole = stored.batch.sequences
    for part in [lower(whole, before: run.clamped(to: whole)), upper(whole, after: run.clamped(to: whole))] {
      guard let part else { continue }
      for rest in try chunks.unerased(part, in: stored.dataSource) {
        _ = try insertRest(stored, rest.sequences, rest.sequences.count, rest.byteCount)
      }
    }
    try transaction.connection.execute(SQL.deleteBatch, id)
  }

  private func insertRest(
    _ stored: StoredBatch, _ sequences: ClosedRange<Int64>, _ eventCount: Int, _ byteCount: Int
  ) throws -> Batch {
    try insert(
      kind: stored.batch.kind, dataSource: stored.dataSource, sequences: sequences, eventCount: eventCount,
      byteCount: byteCount, inserted: stored.batch.inserted, attempts: stored.batch.attempts,
      uncertainAttempts: stored.uncertainAttempts, isolation: stored.batch.isolation)
  }

  private func insert(_ range: Range, of dataSource: Int64) throws {
    try transaction.connection.execute(
      SQL.insertRange, dataSource, range.sequences.lowerBound, range.sequences.upperBound, range.sequences.count,
      range.byteCount, range.state.rawValue, range.inserted.rawValue, range.attempts, range.uncertainAttempts,
      range.isolation.rawValue, range.formedAt.milliseconds, range.settledAt?.milliseconds)
  }

  /// Gives up on events whose chunk cannot be read: the parts around them stay pending, with what is known of them.
  func setDamagedApart(_ id: Batch.ID, _ lost: ClosedRange<Int64>, of dataSource: Int64) throws {
    guard let stored = try storedBatch(id) else { throw Self.settledError(id) }
    switch stored.batch.kind {
    case .append: try replace(lost, of: dataSource, with: .damaged, inserted: nil)
    // Delivered once already: only the second sending ends.
    case .resend: try transaction.connection.execute(SQL.deleteBatch, id)
    // Dead letters again, as they are; only an operator can say what belongs there.
    case .replay:
      let connection = transaction.connection
      let first = try SequenceKey(dataSource: dataSource, sequence: lost.lowerBound)
      let last = try SequenceKey(dataSource: dataSource, sequence: lost.upperBound)
      try connection.execute(SQL.returnDamaged, id, first.stored, last.stored)
      guard connection.changedRowCount > 0 else { throw SQLiteRow.damage("no dead letter for batch \(id)") }
      try connection.execute(SQL.deleteEmptyReplay, id)
      try connection.execute(SQL.recountReplay, id)
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
    let isolation: Batch.Isolation
    let formedAt: WallTime
    var settledAt: WallTime?
  }

  private func ranges(overlapping sequences: ClosedRange<Int64>, of dataSource: Int64) throws -> [Range] {
    try transaction.connection.rows(
      SQL.selectRangesOverlapping, dataSource, sequences.lowerBound, sequences.upperBound
    ) { row in
      let range = try row.sequences(1, 2)
      guard range.overlaps(sequences) else {
        throw SQLiteRow.damage("the range from \(range.lowerBound) where \(sequences.lowerBound) belongs")
      }
      return Range(
        id: row.int64(0), sequences: range, byteCount: try row.count(3), state: try row.word(4),
        inserted: Inserted(rawValue: row.text(5)) ?? .maybe, attempts: row.figure(6),
        uncertainAttempts: row.figure(7), isolation: Batch.Isolation(stored: row.int(8)), formedAt: row.time(9),
        settledAt: row.optionalTime(10))
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
