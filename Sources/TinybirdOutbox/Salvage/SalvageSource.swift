internal import COutboxSQLite

/// Reads a damaged outbox row by row, and goes on behind what cannot be read.
///
/// Nothing is written: the connection takes queries alone and leaves the log as it is when it is closed. SQLite itself
/// reads, and not a copy of the bytes: a plain open and close would drop the locks of an app that has the file open.
struct SalvageSource {
  let connection: SQLiteConnection
  /// Nil where neither the file nor a chunk tells it.
  let outboxID: OutboxID?
  /// What of the log SQLite passes over.
  let logLoss: LogScan.Loss?
  /// A restored backup that was not delivered from yet.
  let backedUpAt: Int64?
  /// Whether nothing tells that: neither a mark, nor its absence.
  let isMetaLost: Bool
  /// Whether a copy is read whose schema is a new one, because its own was damaged.
  let isRebuilt: Bool

  /// How many leaps a stretch that cannot be read is probed with.
  private static let maximumLeaps: Int64 = 4096

  /// Begins to read a file that ``OutboxFile/prepare(create:)`` has looked at.
  ///
  /// A failure is what a copy with a new schema may be read in spite of.
  static func open(_ file: OutboxFile) throws -> Result<SalvageSource, OutboxError> {
    do {
      return .success(try SalvageSource(file))
    } catch let error as SQLiteError
      where error.isCorruption || error.primaryCode == SQLITE_NOTADB || error.primaryCode == SQLITE_ERROR
    {
      return .failure(error.asOutboxError)
    } catch let error as OutboxError where error.code == .damaged || error.code == .inputOutput {
      return .failure(error)
    }
  }

  /// Begins to read a copy with a new schema and a mended log; nil where nothing of an outbox is found in it.
  static func open(
    _ file: OutboxFile, rebuild: SchemaRebuild, isSchemaDoubtful: Bool = true
  ) throws -> SalvageSource? {
    let logLoss = try rebuild.run(file)
    do {
      let source = try SalvageSource(rebuild.copy, isRebuilt: isSchemaDoubtful, logLoss: logLoss)
      return source.outboxID == nil ? nil : source
    } catch let error as OutboxError where error.code == .newerFormat {
      throw error
    } catch {
      return nil
    }
  }

  /// Whether a copy with a new schema, or a mended log, may show more.
  ///
  /// In an app's own database it cannot: there the tables lie anywhere.
  var mayCopyShowMore: Bool {
    get throws { try Self.isOwnFile(connection) && (logLoss != nil || isSchemaDoubtful) }
  }

  /// Whether header or schema are not as this library has written them.
  var isSchemaDoubtful: Bool {
    get throws { try !SchemaLayout.isKnown(connection) || !SchemaRebuild.isHeaderKnown(connection) }
  }

  private init(_ file: OutboxFile, isRebuilt: Bool = false, logLoss: LogScan.Loss? = nil) throws {
    self.isRebuilt = isRebuilt
    guard file.size(beside: "-journal") ?? 0 == 0 else {
      throw OutboxError(
        .conflict,
        "a -journal lies beside \(file.shownPath), which SQLite would roll back into it: salvage a copy of the file without it"
      )
    }
    connection = try SQLiteConnection(file)
    _ = outbox_sqlite3_db_config_bool(connection.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    // Before anything is read: without it SQLite opens no file that was cut short, or has a bad line in its schema.
    try connection.execute(SQL.readDamagedSchema)
    try Pragmas.applyForReading(to: connection)
    try Self.checkSchema(connection, file)
    // One state for all of it: where a fault of the disk ends the transaction, each row is still whole in itself.
    try connection.execute("BEGIN")
    let connection = connection
    self.logLoss = logLoss ?? connection.logLoss()
    let mark = try Self.reading { try connection.firstInteger(SQL.selectMeta, "backed_up_at") }
    backedUpAt = mark ?? nil
    isMetaLost =
      try mark == nil || Self.reading { try connection.firstInteger(SQL.selectMeta, "format_version") } ?? nil == nil
    let stored = try? StoreOpening.readID(connection, file)
    outboxID = try stored ?? Self.mostFrequentID(connection)
  }

  /// Marked as an outbox, or with nothing but an outbox in it.
  private static func isOwnFile(_ connection: SQLiteConnection) throws -> Bool {
    if try reading({ try connection.firstInteger(SQL.applicationID) }) == .some(Schema.applicationID) { return true }
    return try reading { try connection.firstInteger(SQL.countForeignObjects) } == .some(0)
  }

  private static func checkSchema(_ connection: SQLiteConnection, _ file: OutboxFile) throws {
    let tables = try reading { try connection.firstInteger(SQL.countEventTables) ?? 0 } ?? 0
    guard tables == 2 else {
      let objects = try reading { try connection.firstInteger(SQL.countSchemaObjects) ?? 0 } ?? 0
      if objects > 0, tables == 0, try reading({ try connection.firstInteger(SQL.metaTableExists) }) == .some(nil),
        try !isOwnFile(connection)
      {
        throw OutboxError(
          .foreignDatabase,
          "the file \(file.shownPath) is another application's database, not an outbox; check the path")
      }
      throw OutboxError(
        .damaged,
        "nothing of \(file.shownPath) can be salvaged: its first pages name no tables of an outbox, and nothing lies where an outbox has them. Check the path; if it was an outbox, keep a copy and restore a backup"
      )
    }
    // A fault of the disk, while SQLite learnt the schema, would make an outbox of nothing out of it.
    for sql in [SQL.selectChunkKeyFrom, SQL.selectBatchIDFrom] {
      do {
        _ = try connection.firstInteger(sql, Int64.max)
      } catch let error as SQLiteError where error.doing == SQLiteError.preparing {
        throw OutboxError(
          .inputOutput,
          "the tables of \(file.shownPath) are there, but could not be read in full: give the command again, and look after the disk. If it stays so the schema is damaged, and nothing can be salvaged: keep a copy and restore a backup",
          cause: error)
      } catch is SQLiteError {
        // What cannot be read in a table is passed over later.
      }
    }
    let version = try reading { try connection.firstInteger(SQL.selectMeta, "format_version") } ?? nil
    guard version ?? 0 <= Schema.formatVersion else {
      throw OutboxError(
        .newerFormat,
        "the outbox \(file.shownPath) has format version \(version ?? 0), this version of the library knows \(Schema.formatVersion): salvage it with the program that wrote it"
      )
    }
  }

  /// Whether the tables have the columns that version 2 has added.
  var isVersion2: Bool {
    get throws { try Self.reading { try connection.firstInteger(SQL.hasColumnsOfVersion2) } ?? nil != nil }
  }

  /// Nil where what is asked for cannot be read: a bad page, a bad disk, a table that the schema has lost.
  static func reading<Value>(_ body: () throws -> Value) throws -> Value? {
    do {
      return try body()
    } catch let error as SQLiteError where isUnreadable(error) {
      return nil
    }
  }

  private static func isUnreadable(_ error: SQLiteError) -> Bool {
    error.isCorruption || error.primaryCode == SQLITE_IOERR
      || (error.primaryCode == SQLITE_ERROR && error.doing == SQLiteError.preparing)
  }

  /// The id that most chunks carry, by the vote of Boyer and Moore: one candidate in memory, however many there are.
  private static func mostFrequentID(_ connection: SQLiteConnection) throws -> OutboxID? {
    var (candidate, votes) = (OutboxID?.none, 0)
    let scan = TableScan(connection: connection, sql: SQL.selectChunkKeyFrom, isUnreadable: isUnreadable)
    var next = SequenceKey.lowest
    while let key = try scan.next(from: next, upTo: .max).key {
      let id = try reading { try connection.firstRow(SQL.selectChunkIDOf, key) { OutboxID($0.bytes(0)) } ?? nil } ?? nil
      if let id {
        if votes == 0 { candidate = id }
        votes += id == candidate ? 1 : -1
      }
      guard key < .max else { break }
      next = key + 1
    }
    return candidate
  }

  // MARK: Tables

  /// A table that is gone through by key.
  struct Table {
    fileprivate let first: String
    fileprivate let last: String?

    static let dataSources = Table(first: SQL.selectDataSourceIDFrom, last: nil)
    static let chunks = Table(first: SQL.selectChunkKeyFrom, last: SQL.selectLastChunkKey)
    static let batches = Table(first: SQL.selectBatchIDFrom, last: SQL.selectLastBatchID)
    static let letters = Table(first: SQL.selectLetterKeyFrom, last: SQL.selectLastLetterKey)
  }

  /// Hands every key between two that can be found to `body`.
  ///
  /// `expected` is where the last key is thought to be, if known. Returns whether anything could not be read.
  func forEachKey(
    of table: Table, from first: Int64, upTo last: Int64, expected: Int64? = nil, _ body: (Int64) throws -> Void
  ) throws -> Bool {
    let found = try table.last.flatMap { sql in
      try Self.reading { try connection.firstInteger(sql, first, last) } ?? nil
    }
    // The nearer the end, the shorter the leaps.
    let end = [found, expected, table.last == nil ? last : nil].compactMap { $0 }.max().map { min(last, $0) }
    let scan = TableScan(
      connection: connection, sql: table.first,
      longestLeap: end.map { max(1, ($0 - first) / Self.maximumLeaps) } ?? .max, isUnreadable: Self.isUnreadable)
    var next = first
    var hasDamage = false
    while true {
      let step = try scan.next(from: next, upTo: end ?? last)
      if step.isBehindDamage { hasDamage = true }
      guard let key = step.key else { return hasDamage }
      try body(key)
      guard key < last else { return hasDamage }
      next = key + 1
    }
  }

  /// The numbers of the data sources that chunks are there of.
  func dataSourcesOfChunks() throws -> [Int64] {
    let scan = TableScan(connection: connection, sql: SQL.selectChunkKeyFrom, isUnreadable: Self.isUnreadable)
    var found: [Int64] = []
    var next = SequenceKey.lowest
    while let key = try scan.next(from: next, upTo: .max).key {
      let id = SequenceKey(stored: key).dataSource
      found.append(id)
      guard id < SequenceKey.maximumDataSource else { break }
      next = (id + 1) << 48
    }
    return found
  }

  /// The row that `sql` gives of a key, or nil where it cannot be read or makes no sense.
  func row<Value>(_ sql: String, _ key: Int64, _ body: (SQLiteRow) throws -> Value?) throws -> Value? {
    do {
      return try Self.reading { try connection.firstRow(sql, key, body: body) ?? nil } ?? nil
    } catch let error as OutboxError where error.code == .damaged {
      return nil
    }
  }

  /// A whole chunk, or nil where it fails its checks.
  func chunk(_ key: Int64) throws -> ChunkTable.Slice? {
    guard let outboxID else { return nil }
    let chunks = ChunkTable(connection: connection, outboxID: outboxID)
    do {
      return try Self.reading {
        try connection.firstRow(SQL.selectChunksFrom, key, key, 1) { row in
          guard row.int64(0) == key else { return nil as ChunkTable.Slice? }
          return try chunks.read(row, from: SequenceKey(stored: key).sequence, upTo: SequenceKey.maximumSequence)
        } ?? nil
      } ?? nil
    } catch is ChunkTable.Damage {
      return nil
    }
  }

  /// Whether the index of names says the same as the row: one changed letter would name another data source.
  func confirms(_ name: DataSourceName, of dataSource: Int64) throws -> Bool {
    try Self.reading { try connection.firstInteger(SQL.selectNumber, name.rawValue) } == .some(dataSource)
  }
}

extension SequenceKey {
  /// The least key of all.
  static let lowest: Int64 = 1 << 48
}
