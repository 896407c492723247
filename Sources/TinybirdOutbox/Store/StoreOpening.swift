internal import COutboxSQLite
internal import Foundation

/// Opens a file as an outbox: tells ours from others', creates or migrates, and applies the settings.
enum StoreOpening {
  /// A connection that writes, with the schema of today below it.
  ///
  /// `whenOurs` is called when the file is known to be an outbox of this version, or to become one, and nothing was
  /// changed yet; `foldOldLog` before a migration, as before every first commit.
  static func openForWriting(
    _ file: OutboxFile, create: Bool, limits: SpaceLimits, newID: OutboxID, now: WallTime,
    whenOurs: (SQLiteConnection) throws -> Void = { _ in }, foldOldLog: (SQLiteConnection) throws -> Void = { _ in }
  ) throws -> SQLiteConnection {
    try file.prepare(create: create)
    let connection = try SQLiteConnection(file)
    // Until the file is known to be ours nothing of it may change, not even by the checkpoint of a close.
    _ = outbox_sqlite3_db_config_bool(connection.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    switch try content(of: connection, file) {
    case .outbox(let version) where version > Schema.formatVersion:
      throw OutboxError(
        .newerFormat,
        "the outbox \(file.shownPath) has format version \(version), this version of the library knows \(Schema.formatVersion); upgrade the program that opens it. The file was left as it is"
      )
    case .outbox(let version) where version < 1:
      throw SQLiteRow.damage("a format version of \(version)")
    case .outbox(let version):
      try whenOurs(connection)
      _ = outbox_sqlite3_db_config_bool(connection.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
      try Pragmas.applyForWriting(to: connection, journalSizeLimitBytes: limits.journalSizeLimitBytes)
      if version < Schema.formatVersion {
        try foldOldLog(connection)
        try migrate(connection, newID: newID, now: now)
      }
    case .empty:
      guard create else {
        throw OutboxError(.notFound, "the file \(file.shownPath) is empty: there is no outbox in it; check the path")
      }
      try whenOurs(connection)
      _ = outbox_sqlite3_db_config_bool(connection.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
      try Pragmas.applyForCreating(to: connection)
      try Pragmas.applyForWriting(to: connection, journalSizeLimitBytes: limits.journalSizeLimitBytes)
      try migrate(connection, newID: newID, now: now)
    case .foreign:
      throw OutboxError(
        .foreignDatabase,
        "the file \(file.shownPath) is another application's database, not an outbox; check the path. The file was left as it is"
      )
    }
    // Also where the file was there: whoever made it may have died before this.
    if create { try file.syncDirectory() }
    return connection
  }

  /// The outbox's id, which must be that of its chunks: else every one of them would count as another outbox's.
  static func readID(_ connection: SQLiteConnection, _ file: OutboxFile) throws -> OutboxID {
    let stored = try connection.firstRow(SQL.selectMeta, "outbox_id") { OutboxID($0.bytes(0)) }
    guard let id = stored ?? nil else {
      throw OutboxError(.damaged, "the outbox \(file.shownPath) has lost its id\(OutboxError.seeDoctor)")
    }
    var inChunks: [[UInt8]] = []
    do {
      inChunks = try connection.rows(SQL.selectChunkIDs) { $0.bytes(0) }
    } catch let error as SQLiteError where error.isCorruption {
      // A damaged chunk is found when it is read.
    }
    guard inChunks.isEmpty || inChunks.contains(id.bytes) else {
      throw OutboxError(
        .damaged,
        "the outbox \(file.shownPath) has another id than its chunks\(OutboxError.seeDoctor)")
    }
    return id
  }

  /// A connection that only reads; it leaves the log alone when it is closed, also as the last one.
  static func openForReading(_ file: OutboxFile) throws -> SQLiteConnection {
    try file.refuseStrayFiles()
    let connection = try SQLiteConnection(file)
    _ = outbox_sqlite3_db_config_bool(connection.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    try Pragmas.applyForReading(to: connection)
    return connection
  }

  private enum Content {
    case empty
    case outbox(version: Int64)
    case foreign
  }

  private static func content(of connection: SQLiteConnection, _ file: OutboxFile) throws -> Content {
    let tableCount: Int64
    do {
      tableCount = try connection.firstInteger(SQL.countSchemaObjects) ?? 0
    } catch let error as SQLiteError where error.primaryCode == SQLITE_NOTADB {
      throw OutboxError(
        .notADatabase,
        "the file \(file.shownPath) is not an SQLite database, so not an outbox; check the path. The file was left as it is",
        cause: error)
    }
    if try connection.firstInteger(SQL.metaTableExists) != nil {
      guard let version = try connection.firstInteger(SQL.selectMeta, "format_version") else { return .foreign }
      return .outbox(version: version)
    }
    let applicationID = try connection.firstInteger(SQL.applicationID) ?? 0
    let isUnmarked = applicationID == 0 || applicationID == Schema.applicationID
    return tableCount == 0 && isUnmarked ? .empty : .foreign
  }

  /// Brings the schema to this version in one transaction.
  ///
  /// Two processes may come here at once: the second finds the work done.
  private static func migrate(_ connection: SQLiteConnection, newID: OutboxID, now: WallTime) throws {
    try connection.execute("BEGIN IMMEDIATE")
    do {
      let hasMeta = try connection.firstInteger(SQL.metaTableExists) != nil
      let version = hasMeta ? try connection.firstInteger(SQL.selectMeta, "format_version") ?? 0 : 0
      for script in Schema.migrations.dropFirst(Int(version)) { try connection.executeScript(script) }
      if version == 0 {
        try connection.execute(SQL.insertMeta, "created_at", now.milliseconds)
        try newID.withBytes { try connection.execute(SQL.insertMeta, "outbox_id", BorrowedBlob(bytes: $0)) }
      }
      try connection.execute(SQL.replaceMeta, "format_version", Schema.formatVersion)
      try connection.execute("COMMIT")
    } catch {
      if connection.isInTransaction { try? connection.execute("ROLLBACK") }
      throw error
    }
  }
}

/// The 16 bytes that tell one outbox from all others; every chunk carries them.
struct OutboxID: Hashable, Sendable, CustomStringConvertible {
  let bytes: [UInt8]

  init?(_ bytes: [UInt8]) {
    guard bytes.count == 16 else { return nil }
    self.bytes = bytes
  }

  /// A random one (UUID version 4).
  init(using generator: inout some RandomNumberGenerator) {
    var bytes = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    bytes[6] = bytes[6] & 0x0F | 0x40
    bytes[8] = bytes[8] & 0x3F | 0x80
    self.bytes = bytes
  }

  func withBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
    try bytes.withUnsafeBytes(body)
  }

  var uuid: UUID {
    bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
  }

  var description: String { uuid.uuidString.lowercased() }
}
