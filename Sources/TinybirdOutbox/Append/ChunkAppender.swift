/// Writes the appends of one commit as chunks: one or more a data source, however many callers wait.
struct ChunkAppender {
  private struct Lane {
    let id: Int64
    var nextSequence: Int64
    var byteCount = 0
    /// Pieces that are not in a chunk yet.
    var waiting: [PackedEvents.Piece] = []
    var waitingBytes = 0
    var waitingEvents = 0
    var chunkSequence: Int64
  }

  private let transaction: StoreTransaction
  private var lanes: [DataSourceName: Lane] = [:]

  init(transaction: StoreTransaction) {
    self.transaction = transaction
  }

  /// Finds or makes the data sources of `events`.
  ///
  /// What it throws concerns only them, and has written nothing.
  mutating func open(_ events: PackedEvents) throws {
    for piece in events.pieces where lanes[piece.dataSource] == nil {
      lanes[piece.dataSource] = try open(piece.dataSource)
    }
  }

  /// Gives the events their addresses; their data sources are open.
  ///
  /// They are written at the latest by ``finish()``.
  mutating func add(_ events: PackedEvents) throws -> AppendReceipt {
    var ranges: [AddressRange] = []
    for piece in events.pieces {
      guard var lane = lanes.removeValue(forKey: piece.dataSource) else { continue }
      if lane.waitingEvents > 0, lane.waitingBytes + piece.bytes.count > EventPacker.maximumChunkBytes {
        try writeChunk(&lane)
      }
      let first = lane.nextSequence
      let last = first + Int64(piece.eventCount) - 1
      lane.waiting.append(piece)
      lane.waitingBytes += piece.bytes.count
      lane.waitingEvents += piece.eventCount
      lane.nextSequence = last + 1
      lanes[piece.dataSource] = lane
      if let index = ranges.firstIndex(where: { $0.dataSource == piece.dataSource }) {
        ranges[index] = AddressRange(
          dataSource: piece.dataSource, sequences: ranges[index].sequences.lowerBound...last)
      } else {
        ranges.append(AddressRange(dataSource: piece.dataSource, sequences: first...last))
      }
    }
    return AppendReceipt(ranges: ranges)
  }

  /// Writes what still waits, and where each sequence goes on.
  mutating func finish() throws {
    for name in lanes.keys {
      guard var lane = lanes[name], lane.waitingEvents > 0 || lane.byteCount > 0 else { continue }
      try writeChunk(&lane)
      try transaction.connection.execute(SQL.advanceSequence, lane.id, lane.nextSequence, lane.byteCount)
    }
    lanes = [:]
  }

  /// Reads the next number inside the transaction: a number kept in memory would leave a hole after a rollback.
  private func open(_ name: DataSourceName) throws -> Lane {
    let known = try transaction.connection.firstRow(SQL.selectSequence, name.rawValue) { ($0.int64(0), $0.int64(1)) }
    if let (id, next) = known {
      try check(next, follows: id)
      return Lane(id: id, nextSequence: next, chunkSequence: next)
    }
    let count = try transaction.connection.firstInteger(SQL.countDataSources) ?? 0
    guard count < SequenceKey.maximumDataSource else {
      throw OutboxError(
        .limitReached,
        "the outbox has \(count) data sources, the most that it can hold; '\(name)' was not added. Check for generated names"
      )
    }
    let id = try transaction.connection.firstInteger(SQL.insertDataSource, name.rawValue) ?? 0
    return Lane(id: id, nextSequence: 1, chunkSequence: 1)
  }

  /// A next number that lies within what is stored would give an address twice.
  private func check(_ next: Int64, follows dataSource: Int64) throws {
    let low = try SequenceKey(dataSource: dataSource, sequence: 0).stored
    let high = try SequenceKey(dataSource: dataSource, sequence: SequenceKey.maximumSequence).stored
    let end = try transaction.connection.firstRow(SQL.selectLastChunkHeader, low, high) { row in
      let first = SequenceKey(stored: row.int64(0)).sequence
      return first + (row.eventCount(1, from: first) ?? 1)
    }
    guard next >= max(1, end ?? 1), next <= SequenceKey.maximumSequence + 1 else {
      throw SQLiteRow.damage("\(next) as the next sequence number, and events up to \((end ?? 1) - 1)")
    }
  }

  private func writeChunk(_ lane: inout Lane) throws {
    guard let first = lane.waiting.first else { return }
    // The last number of the chunk must fit a key too.
    _ = try SequenceKey(dataSource: lane.id, sequence: lane.chunkSequence + Int64(lane.waitingEvents) - 1)
    if lane.waiting.count == 1 {
      try insert(first.bytes, crc32: first.crc32, lane)
    } else {
      var bytes: [UInt8] = []
      bytes.reserveCapacity(lane.waitingBytes)
      var crc32: UInt32 = 0
      for piece in lane.waiting {
        bytes += piece.bytes
        crc32 = CRC32.combine(crc32, piece.crc32, secondByteCount: piece.bytes.count)
      }
      try insert(bytes, crc32: crc32, lane)
    }
    lane.byteCount += lane.waitingBytes
    lane.chunkSequence += Int64(lane.waitingEvents)
    lane.waiting = []
    lane.waitingBytes = 0
    lane.waitingEvents = 0
  }

  private func insert(_ bytes: [UInt8], crc32: UInt32, _ lane: Lane) throws {
    let key = try SequenceKey(dataSource: lane.id, sequence: lane.chunkSequence)
    let place = ChunkPlace(
      key: key.stored, eventCount: Int64(lane.waitingEvents), committedAt: transaction.now.milliseconds)
    let checksum = place.checksum(with: crc32, byteCount: bytes.count)
    try transaction.outboxID.withBytes { outboxID in
      try bytes.withUnsafeBytes { payload in
        try transaction.connection.execute(
          SQL.insertChunk, key.stored, lane.waitingEvents, bytes.count, checksum, BorrowedBlob(bytes: outboxID),
          transaction.now.milliseconds, BorrowedBlob(bytes: payload))
      }
    }
  }
}
