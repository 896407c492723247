/// What the outbox stores of a lane.
struct LaneRecord: Equatable, Sendable {
  struct Hold: Equatable, Sendable {
    var kind: HoldKind
    var status: Int?
  }

  var id: Int64
  var dataSource: DataSourceName
  var nextSequence: Int64
  var nextUnbatched: Int64
  var failures: Int
  var retryAt: WallTime?
  var hold: Hold?
  /// Grows with every command of an operator: the lane reads everything anew when it has.
  var commandCount: Int64

  var hasUnbatched: Bool { nextUnbatched < nextSequence }
}

extension StoreSnapshot {
  /// Every lane, by data source number.
  func lanes() throws -> [LaneRecord] {
    try connection.rows(SQL.selectLanes) { row in
      LaneRecord(
        id: row.int64(0), dataSource: DataSourceName(stored: row.text(1)), nextSequence: row.int64(2),
        nextUnbatched: row.int64(3), failures: row.int(4),
        retryAt: row.optionalInt64(5).map { WallTime(milliseconds: $0) },
        hold: row.optionalText(6).map {
          LaneRecord.Hold(kind: HoldKind(rawValue: $0) ?? .unexpectedStatus, status: row.optionalInt(7))
        },
        commandCount: row.int64(10))
    }
  }

  /// The batches of a lane that are not settled, in the order of their events.
  func pendingBatches(of lane: Int64) throws -> [Batch] {
    try connection.rows(SQL.selectPendingBatches, lane) { row in
      Batch(
        id: row.int64(0), kind: Batch.Kind(rawValue: row.text(1)) ?? .append, sequences: row.int64(2)...row.int64(3),
        eventCount: row.int(4), byteCount: row.int(5), inserted: Inserted(rawValue: row.text(6)) ?? .maybe,
        attempts: row.int(7), isIsolating: row.int(8) == 1,
        nextAttemptAt: row.optionalInt64(9).map { WallTime(milliseconds: $0) })
    }
  }

  /// The next batch that could be formed from whole chunks, or nil where all is in batches.
  func planBatch(of lane: Int64, limits: BatchLimits) throws -> BatchBuilder.Plan? {
    guard let record = try self.lanes().first(where: { $0.id == lane }), record.hasUnbatched else { return nil }
    let first = try SequenceKey(dataSource: lane, sequence: record.nextUnbatched)
    let last = try SequenceKey(dataSource: lane, sequence: SequenceKey.maximumSequence)
    var builder = BatchBuilder(limits: limits)
    try connection.forEachRow(SQL.selectChunkHeadersFrom, first.stored, last.stored) { row in
      builder.offer(
        firstSequence: SequenceKey(stored: row.int64(0)).sequence, eventCount: row.int(1), byteCount: row.int(2))
    }
    return builder.plan
  }
}
