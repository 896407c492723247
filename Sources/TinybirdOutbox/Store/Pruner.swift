/// Takes delivered and discarded events out of the file, in small steps.
///
/// A step is part of a write transaction, so a crash leaves whole steps. A range leaves the ledger from its first event
/// on, its events are added to what the data source has pruned, and each chunk goes that no range names any more. Never
/// touched are ranges that are pending, dead or damaged, those with a warning that nobody has acknowledged, and delivered
/// ones that are being sent once more.
struct Pruner {
  /// What may go.
  struct Goal: Equatable, Sendable {
    /// Ranges settled up to this moment.
    var settledUpTo: WallTime
    /// Beyond these, the oldest until so many NDJSON bytes are gone.
    var excessBytes: Int64 = 0
  }

  /// Where the next step goes on, and what the steps so far have done.
  struct Progress: Equatable, Sendable {
    var events = 0
    var bytes: Int64 = 0
    var chunks = 0
    /// Rows of the ledger up to here were looked at.
    fileprivate var cursor: (settledAt: Int64, id: Int64) = (.min, 0)

    static func == (left: Self, right: Self) -> Bool {
      (left.events, left.bytes, left.chunks) == (right.events, right.bytes, right.chunks)
        && left.cursor == right.cursor
    }
  }

  /// Chunks and ledger rows of one step, so that it holds nobody's commit up for long.
  private static let maximumStepRows = 256
  /// NDJSON bytes of one step.
  private static let maximumStepBytes: Int64 = 4 << 20

  let transaction: StoreTransaction
  private var connection: SQLiteConnection { transaction.connection }

  /// One step.
  ///
  /// Returns false when nothing is left to do.
  func step(_ goal: Goal, _ progress: inout Progress) throws -> Bool {
    let start = progress
    var rowsLeft = Self.maximumStepRows
    while rowsLeft > 0, progress.bytes - start.bytes < Self.maximumStepBytes {
      guard let row = try nextRow(behind: progress.cursor) else { return false }
      guard row.settledAt <= goal.settledUpTo.milliseconds || progress.bytes < goal.excessBytes else { return false }
      rowsLeft -= 1
      guard row.kind == .append else {
        try connection.execute(SQL.deleteBatch, row.id)
        continue
      }
      if row.isSound, try !isBeingResent(row) {
        let isGone = try prune(
          row, &rowsLeft, &progress, bytesLeft: Self.maximumStepBytes - progress.bytes + start.bytes)
        guard isGone else { return true }
      }
      progress.cursor = (row.settledAt, row.id)
    }
    return true
  }

  private struct Row {
    let id: Int64
    let settledAt: Int64
    let dataSource: Int64
    let kind: Batch.Kind
    let first: Int64
    let last: Int64
    let byteCount: Int64
    let state: RangeState
    let isUncertain: Bool

    /// A damaged row is left for `verify` to find.
    var isSound: Bool { first >= 1 && first <= last && last <= SequenceKey.maximumSequence }
  }

  private func nextRow(behind cursor: (settledAt: Int64, id: Int64)) throws -> Row? {
    try connection.firstRow(SQL.selectPrunable, cursor.settledAt, cursor.id) { row in
      Row(
        id: row.int64(0), settledAt: row.int64(1), dataSource: row.int64(2),
        kind: Batch.Kind(rawValue: row.text(3)) ?? .append, first: row.int64(4), last: row.int64(5),
        byteCount: Int64(row.figure(6)), state: RangeState(rawValue: row.text(7)) ?? .delivered,
        isUncertain: row.int(8) > 0)
    }
  }

  private func isBeingResent(_ row: Row) throws -> Bool {
    try connection.firstInteger(SQL.resendOverlapping, row.dataSource, row.first, row.last) != nil
  }

  /// Prunes a range, or its first part where it is too much for one step.
  ///
  /// Returns whether the range is gone.
  private func prune(_ row: Row, _ rowsLeft: inout Int, _ progress: inout Progress, bytesLeft: Int64) throws -> Bool {
    let part = try chunks(from: row.first, upTo: row.last, of: row.dataSource, rows: rowsLeft, bytes: bytesLeft)
    let end = part.last.map { min($0.last, row.last) } ?? row.last
    let isGone = end == row.last
    let eventCount = Int(end - row.first + 1)
    let byteCount = isGone ? row.byteCount : min(row.byteCount, part.reduce(0) { $0 + $1.byteCount })
    if isGone {
      try connection.execute(SQL.deleteBatch, row.id)
    } else {
      try connection.execute(SQL.cutBatch, row.id, end + 1, eventCount, byteCount)
    }
    let isDelivered = row.state == .delivered
    try connection.execute(
      SQL.addPruned, row.dataSource, isDelivered ? eventCount : 0, isDelivered ? 0 : eventCount,
      isDelivered && row.isUncertain ? eventCount : 0)
    for chunk in part where try !isNamed(chunk, of: row.dataSource) {
      try connection.execute(SQL.deleteChunk, try key(row.dataSource, chunk.first))
      progress.chunks += 1
    }
    progress.events += eventCount
    progress.bytes += byteCount
    rowsLeft -= part.count
    return isGone
  }

  private struct Chunk {
    let first: Int64
    let last: Int64
    let byteCount: Int64
  }

  /// The chunks that hold events of a range, as many as a step may take but at least one.
  private func chunks(
    from first: Int64, upTo last: Int64, of dataSource: Int64, rows: Int, bytes: Int64
  ) throws -> [Chunk] {
    var chunks: [Chunk] = []
    var bytesLeft = bytes
    try connection.forEachRow(
      SQL.selectChunkHeadersOver, try key(dataSource, 0), try key(dataSource, first), try key(dataSource, last)
    ) { row in
      let start = SequenceKey(stored: row.int64(0)).sequence
      // A row whose count makes no sense stands for one event: what is pruned is told by the ledger.
      let chunk = Chunk(
        first: start, last: start + (row.eventCount(1, from: start) ?? 1) - 1, byteCount: Int64(row.figure(2)))
      // The one before the range is looked at too, because it may reach into it.
      guard chunk.last >= first else { return true }
      chunks.append(chunk)
      bytesLeft -= chunk.byteCount
      return bytesLeft > 0 && chunks.count < max(1, rows)
    }
    return chunks
  }

  /// Whether a range still names an event of the chunk.
  private func isNamed(_ chunk: Chunk, of dataSource: Int64) throws -> Bool {
    try connection.firstInteger(SQL.rangeOverlapping, dataSource, chunk.first, chunk.last) != nil
  }

  private func key(_ dataSource: Int64, _ sequence: Int64) throws -> Int64 {
    try SequenceKey(dataSource: dataSource, sequence: sequence).stored
  }

  // MARK: The file

  /// The file shrinks only while more than half of it is free, because each page that is moved is written twice.
  ///
  /// A small one is left alone. On a full disk every page is worth it.
  static func isWorthShrinking(_ use: SpaceUse, _ limits: SpaceLimits, isDiskFull: Bool) -> Bool {
    isDiskFull
      ? use.freePages > 0
      : use.freePages > use.pages / 2 && use.pages * use.pageBytes >= limits.notableFileBytes
  }

  /// Gives free pages at the end of the file back to the disk.
  ///
  /// A step is an eighth of what the log may grow by, 2 MiB usually, because pages that move are written to the log. The
  /// file is cut when the log is folded. Returns false when it is not worth going on.
  func shrinkStep(_ limits: SpaceLimits, isDiskFull: Bool) throws -> Bool {
    let use = try SpaceUse(of: connection)
    guard Self.isWorthShrinking(use, limits, isDiskFull: isDiskFull) else { return false }
    try connection.execute(SQL.shrink(pages: max(1, limits.checkpointBytes / 8 / use.pageBytes)))
    return try SpaceUse(of: connection).pages < use.pages
  }
}
