/// Carries over what can be read; ``SalvageRepair`` then makes it whole.
struct Salvage {
  let source: SalvageSource
  let target: StoreTransaction
  var report: SalvageReport

  /// NDJSON bytes after which what was written is committed and folded into the file, so that no log grows large.
  private static let commitBytes = 16 << 20
  /// Rows of the ledger, or dead letters, that count as so many bytes.
  private static let rowBytes = 256
  /// The repair of a data source likewise.
  private static let repairBytes = 64 << 10

  private var uncommittedBytes = 0
  private var lanes: [Int64: Lane] = [:]

  /// A data source of the new outbox.
  struct Lane {
    var name: DataSourceName
    /// What the damaged file says; nil where that cannot be read.
    var nextSequence: Int64?
    var nextUnbatched: Int64?
    /// The highest number that any row shows.
    var highest: Int64 = 0
  }

  init(source: SalvageSource, target: StoreTransaction, report: SalvageReport) {
    self.source = source
    self.target = target
    self.report = report
  }

  mutating func run(_ progress: (Int, Int) -> Void) throws {
    try target.connection.execute("BEGIN IMMEDIATE")
    if source.isRebuilt {
      report.problems.append(
        "its first pages, with the header and where each table is, are damaged: the tables were taken from where every outbox has them"
      )
    }
    if let loss = source.logLoss {
      report.problems.append(
        loss.isMended
          ? "\(loss.place) of its log is damaged: the commits behind it were read from a mended copy, up to the last two, which may be gone with the addresses that were given in them"
          : "\(loss.place) of its log is damaged: at least \(loss.commits) commits behind it cannot be read, and the addresses that were given in them are given again"
      )
    }
    // A backup that is not known as one would be sent again, and nobody would know.
    if let backedUpAt = source.backedUpAt ?? (source.isMetaLost ? target.now.milliseconds : nil) {
      try target.connection.execute(SQL.replaceMeta, "backed_up_at", backedUpAt)
    }
    if source.isMetaLost {
      report.problems.append(
        "whether it is a restored backup cannot be read: it counts as one, so that what waits is maybe inserted")
    }
    if source.outboxID == nil, try !source.dataSourcesOfChunks().isEmpty {
      report.problems.append("neither the file nor any chunk tells the outbox's id, so that no chunk can be trusted")
    }
    try copyDataSources()
    try copyChunks(progress)
    try copyLedger()
    for (id, lane) in lanes.sorted(by: { $0.key < $1.key }) {
      var repair = try SalvageRepair(source: source, target: target, id: id, lane: lane, report: report)
      try repair.run()
      report = repair.report
      try wrote(Self.repairBytes)
    }
    try target.connection.execute("COMMIT")
    try target.connection.foldLog()
  }

  private mutating func commit() throws {
    uncommittedBytes = 0
    try target.connection.execute("COMMIT")
    try target.connection.foldLog()
    try target.connection.execute("BEGIN IMMEDIATE")
  }

  static func checkCancellation() throws(OutboxError) {
    guard !Task.isCancelled else {
      throw OutboxError(.conflict, "the salvage was cancelled; nothing of it is left")
    }
  }

  private mutating func wrote(_ byteCount: Int) throws {
    try Self.checkCancellation()
    uncommittedBytes += byteCount
    if uncommittedBytes >= Self.commitBytes { try commit() }
  }

  // MARK: Data sources

  private mutating func copyDataSources() throws {
    let source = source
    let sql = SQL.selectWholeDataSource(isVersion2: try source.isVersion2)
    let hasDamage = try source.forEachKey(of: .dataSources, from: 1, upTo: SequenceKey.maximumDataSource) { id in
      try add(id, try source.row(sql, id) { DataSourceRow($0) })
    }
    if hasDamage { report.problems.append("part of the table of data sources cannot be read") }
  }

  /// What is read of a data source; nil is what makes no sense.
  private struct DataSourceRow {
    var name: DataSourceName?
    var nextSequence: Int64?
    var nextUnbatched: Int64?
    /// The other columns, in their order.
    var rest: [(any SQLiteBindable)?]

    init(_ row: SQLiteRow) {
      let (next, unbatched) = (row.int64(1), row.int64(2))
      name = try? DataSourceName(row.text(0))
      nextSequence = (1...SequenceKey.maximumSequence + 1).contains(next) ? next : nil
      nextUnbatched = unbatched >= 1 && unbatched <= nextSequence ?? 0 ? unbatched : nil
      let hold = row.optionalText(7).map { HoldKind(rawValue: $0) ?? .unexpectedStatus }
      rest = [
        row.figure(3), row.figure(4), row.figure(5), row.optionalTime(6)?.milliseconds, hold?.rawValue,
        row.optionalInt64(8), row.optionalInt64(9), row.optionalTime(10)?.milliseconds, row.figure(11),
        row.optionalInt64(12), row.optionalText(13), row.optionalTime(14)?.milliseconds,
        row.optionalTime(15)?.milliseconds, row.figure(16), row.figure(17), row.figure(18), row.figure(19),
        row.figure(20), row.figure(21),
      ]
    }

    /// Of a data source that only its chunks show.
    static var none: [(any SQLiteBindable)?] {
      [0, 0, 0, nil, nil, nil, nil, nil, 0, nil, nil, nil, nil, 0, 0, 0, 0, 0, 0]
    }
  }

  /// Writes a data source; where its name cannot be trusted, under another one and held.
  private mutating func add(_ id: Int64, _ row: DataSourceRow?) throws {
    var name = row?.name
    if let read = name, try !source.confirms(read, of: id) { name = nil }
    var called = name?.rawValue ?? "salvaged_\(id)"
    while try target.connection.firstInteger(SQL.selectNumber, called) != nil { called += "_" }
    let values: [(any SQLiteBindable)?] = [id, called, row?.nextSequence ?? 1, row?.nextUnbatched ?? 1]
    _ = try target.connection.rows(
      SQL.insertWholeDataSource, bindings: values + (row?.rest ?? DataSourceRow.none)
    ) { _ in }
    lanes[id] = Lane(
      name: DataSourceName(stored: called), nextSequence: row?.nextSequence, nextUnbatched: row?.nextUnbatched)
    guard name == nil else { return }
    try target.connection.execute(SQL.holdByOperator, id, target.now.milliseconds)
    report.problems.append(
      "the name of data source \(id) cannot be read, or its index says another: its events are under \(called), and held"
    )
  }

  // MARK: Chunks and ledger

  private mutating func copyChunks(_ progress: (Int, Int) -> Void) throws {
    let source = source
    let total = lanes.values.reduce(0) { $0 + Int($1.nextSequence ?? 1) - 1 }
    var copied = 0
    for id in Set(lanes.keys).union(try source.dataSourcesOfChunks()).sorted() {
      guard (1...SequenceKey.maximumDataSource).contains(id) else { continue }
      var end: Int64 = 0
      let first = try SequenceKey(dataSource: id, sequence: 1).stored
      let last = try SequenceKey(dataSource: id, sequence: SequenceKey.maximumSequence).stored
      let expected = lanes[id]?.nextSequence.map { first + max(0, $0 - 2) }
      _ = try source.forEachKey(of: .chunks, from: first, upTo: last, expected: expected) { key in
        // One that reaches into the chunk before it would give addresses twice.
        guard let chunk = try source.chunk(key), chunk.sequences.lowerBound > end else { return }
        if lanes[id] == nil { try add(id, nil) }
        try insert(chunk, key)
        end = chunk.sequences.upperBound
        copied += chunk.sequences.count
        progress(min(copied, total), total)
        try wrote(chunk.bytes.count)
      }
      lanes[id]?.highest = end
    }
  }

  private func insert(_ chunk: ChunkTable.Slice, _ key: Int64) throws {
    let place = ChunkPlace(
      key: key, eventCount: Int64(chunk.sequences.count), committedAt: chunk.committedAt.milliseconds)
    try chunk.bytes.withUnsafeBytes { payload in
      let checksum = place.checksum(with: CRC32.checksum(payload), byteCount: payload.count)
      try target.outboxID.withBytes { id in
        try target.connection.execute(
          SQL.insertChunk, key, chunk.sequences.count, payload.count, checksum, BorrowedBlob(bytes: id),
          chunk.committedAt.milliseconds, BorrowedBlob(bytes: payload))
      }
    }
  }

  /// Every range that can be read and makes sense.
  ///
  /// By id, for the index may be what is damaged.
  private mutating func copyLedger() throws {
    let source = source
    var (unreadable, resends) = (0, 0)
    let hasDamage = try source.forEachKey(of: .batches, from: 1, upTo: .max) { id in
      let row = try source.row(SQL.selectWholeBatch, id) { try LedgerRow($0) }
      switch row?.kind {
      case .append: if let row, try !insert(row, id) { unreadable += 1 }
      case .resend: if row?.state == .pending { resends += 1 }
      // Its dead letters tell.
      case .replay: break
      case nil: unreadable += 1
      }
      try wrote(Self.rowBytes)
    }
    if hasDamage { report.problems.append("part of the ledger cannot be read") }
    if unreadable > 0 { report.problems.append("\(unreadable) rows of the ledger make no sense, and were left out") }
    if resends > 0 {
      report.notes.append("\(resends) resends that waited were dropped: their events stay delivered")
    }
  }

  private struct LedgerRow {
    let dataSource: Int64
    let kind: Batch.Kind
    let sequences: ClosedRange<Int64>
    let state: RangeState
    /// The columns behind the numbers, in their order.
    let rest: [(any SQLiteBindable)?]

    init(_ row: SQLiteRow) throws {
      dataSource = row.int64(0)
      kind = try row.word(1)
      let numbers = try row.batchNumbers(2, kind)
      sequences = numbers.sequences
      state = try row.word(6)
      var inserted = try row.word(7, Inserted.self)
      let (attempts, isSending) = (row.figure(8), !row.isNull(11))
      var uncertainAttempts = row.figure(9)
      // Whatever was begun with it may have arrived.
      if state == .pending, attempts > 0 || isSending || inserted != .no {
        inserted = .maybe
        uncertainAttempts = max(1, uncertainAttempts + (isSending ? 1 : 0))
      }
      rest = [
        numbers.eventCount, numbers.byteCount, state.rawValue, inserted.rawValue, attempts, uncertainAttempts,
        row.int(10) == 1 ? 1 : 0, row.optionalTime(12)?.milliseconds, row.optionalInt64(13), row.optionalInt64(14),
        row.optionalText(15), row.optionalTime(16)?.milliseconds, row.time(17).milliseconds,
        row.optionalTime(18)?.milliseconds,
      ]
    }
  }

  /// Returns false where the row makes no sense beside the others.
  private mutating func insert(_ row: LedgerRow, _ id: Int64) throws -> Bool {
    let (first, last) = (row.sequences.lowerBound, row.sequences.upperBound)
    guard var lane = lanes[row.dataSource],
      try target.connection.firstInteger(SQL.rangeOverlapping, row.dataSource, first, last) == nil
    else { return false }
    let values: [(any SQLiteBindable)?] = [id, row.dataSource, first, last]
    _ = try target.connection.rows(SQL.insertWholeBatch, bindings: values + row.rest) { _ in }
    lane.highest = max(lane.highest, last)
    lanes[row.dataSource] = lane
    return true
  }
}
