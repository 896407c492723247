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
  ///
  /// Each name is looked up in its index too: an event must not go to a data source that one changed letter names.
  func lanes() throws -> [LaneRecord] {
    try connection.rows(SQL.selectLanes) { row in
      let lane = try LaneRecord(row)
      guard try connection.firstInteger(SQL.selectNumber, lane.dataSource.rawValue) == lane.id else {
        throw SQLiteRow.damage("data source \(lane.id) under a name that its index does not have")
      }
      return lane
    }
  }

  /// The lane of a data source number.
  func lane(_ id: Int64) throws -> LaneRecord? { try connection.firstRow(SQL.selectLane, id) { try LaneRecord($0) } }

  /// The lane of a name.
  func lane(_ dataSource: DataSourceName) throws -> LaneRecord? {
    try connection.firstRow(SQL.selectLaneByName, dataSource.rawValue) { try LaneRecord($0) }
  }

  /// The batches of a lane that are not settled, in the order of their events.
  func pendingBatches(of lane: Int64) throws -> [Batch] {
    try connection.rows(SQL.selectPendingBatches, lane) { row in
      let kind = try row.word(1, Batch.Kind.self)
      let numbers = try row.batchNumbers(2, kind)
      return Batch(
        id: row.int64(0), kind: kind, sequences: numbers.sequences, eventCount: numbers.eventCount,
        byteCount: numbers.byteCount, inserted: Inserted(rawValue: row.text(6)) ?? .maybe, attempts: row.figure(7),
        isolation: Batch.Isolation(stored: row.int(8)), nextAttemptAt: row.optionalTime(9),
        committedAt: kind == .append ? row.optionalTime(10) : nil)
    }
  }

  /// The batches of a lane whose last answer, if there is one, is not written down yet.
  func batchesBeingSent(of lane: Int64) throws -> Set<Batch.ID> {
    Set(try connection.rows(SQL.selectBatchesBeingSent, lane) { $0.int64(0) })
  }

  /// The next batch that could be formed from whole chunks, or nil where all is in batches.
  ///
  /// Events whose chunk cannot be found become a batch of their own: reading it says what is wrong, and sets them apart.
  func planBatch(of lane: Int64, limits: BatchLimits) throws -> BatchBuilder.Plan? {
    guard let record = try self.lane(lane), record.hasUnbatched else { return nil }
    try checkUnbatched(record)
    let first = try SequenceKey(dataSource: lane, sequence: record.nextUnbatched)
    let end = try SequenceKey(dataSource: lane, sequence: record.nextSequence - 1)
    var builder = BatchBuilder(limits: limits)
    var next = first.sequence
    do {
      try connection.forEachRow(SQL.selectChunkHeadersFrom, first.stored, end.stored) { row in
        guard row.int64(0) == first.stored + (next - first.sequence), let eventCount = row.eventCount(1, from: next),
          next + eventCount <= record.nextSequence, row.figure(2) <= SQLiteRow.maximumBytes
        else { return false }
        let isTaken = builder.offer(firstSequence: next, eventCount: Int(eventCount), byteCount: row.figure(2))
        next += eventCount
        return isTaken
      }
    } catch let error as SQLiteError where error.isCorruption {
      // What lies before it can be sent.
    }
    if let plan = builder.plan { return plan }
    let found = try chunks.keyOfChunk(from: first.sequence + 1, upTo: end.sequence, in: lane)
    let lost = first.sequence...(found.map { $0 - 1 } ?? end.sequence)
    return BatchBuilder.Plan(sequences: lost, eventCount: lost.count, byteCount: 0)
  }

  /// The number that batching goes on from must lie behind every batch, and no chunk in between: what was pruned has none.
  private func checkUnbatched(_ lane: LaneRecord) throws {
    let last = try connection.firstInteger(SQL.lastBatchedSequence, lane.id) ?? 0
    guard (0..<lane.nextUnbatched).contains(last),
      try chunks.keyOfChunk(from: last + 1, upTo: lane.nextUnbatched - 1, in: lane.id) == nil
    else {
      throw SQLiteRow.damage("batches up to \(last), and \(lane.nextUnbatched) as the next event to batch")
    }
  }
}

extension LaneRecord {
  /// A row of `selectLanes`.
  fileprivate init(_ row: SQLiteRow) throws(OutboxError) {
    let (id, next, unbatched) = (row.int64(0), row.int64(2), row.int64(3))
    guard (1...SequenceKey.maximumDataSource).contains(id), (1...SequenceKey.maximumSequence + 1).contains(next),
      (1...next).contains(unbatched), let name = try? DataSourceName(row.text(1))
    else {
      throw SQLiteRow.damage("data source \(id) with \(next) and \(unbatched) as its next numbers, or no name")
    }
    self.init(
      id: id, dataSource: name, nextSequence: next, nextUnbatched: unbatched, failures: row.figure(4),
      retryAt: row.optionalTime(5),
      hold: row.optionalText(6).map {
        Hold(kind: HoldKind(rawValue: $0) ?? .unexpectedStatus, status: row.optionalInt(7))
      },
      commandCount: row.int64(10))
  }
}
