internal import COutboxSQLite

/// One connection of SQLite.
///
/// Not `Sendable`: it lives and dies on the thread of the actor that owns it.
///
/// Statements are prepared once and kept; each is reset before it is handed out again, also when the last use threw.
final class SQLiteConnection {
  let handle: OpaquePointer
  /// How this connection waits for others.
  let lockWait: LockWait
  private var statements: [String: OpaquePointer] = [:]

  /// Opens a database that exists (`SQLITE_OPEN_READWRITE` without `CREATE`: files are made by ``OutboxFile``).
  ///
  /// `vfs` names the operating system layer that SQLite is to use; nil is its own.
  init(path: String, vfs: String? = nil, lockPatience: Duration = LockWait.patience) throws(SQLiteError) {
    var opened: OpaquePointer?
    let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
    let code = sqlite3_open_v2(path, &opened, flags, vfs)
    guard code == SQLITE_OK, let opened else {
      let message = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
      sqlite3_close_v2(opened)
      throw SQLiteError(code: code, message: message, doing: "opening \(path)")
    }
    handle = opened
    lockWait = LockWait(path: path, patience: lockPatience)
    waitForLocks()
  }

  /// Opens the database of an outbox.
  convenience init(_ file: OutboxFile) throws(SQLiteError) {
    try self.init(path: file.path, vfs: file.sqliteVFS, lockPatience: file.lockPatience)
  }

  deinit {
    for statement in statements.values { sqlite3_finalize(statement) }
    sqlite3_close_v2(handle)
  }

  /// Whether a transaction is open.
  var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

  /// How many rows the last INSERT, UPDATE or DELETE changed.
  var changedRowCount: Int { Int(sqlite3_changes(handle)) }

  /// How folding the log and beginning it anew has ended.
  enum Folding {
    case done
    /// A transaction that reads an old state did not end in time.
    case keptFromByReader
    /// Another connection went on holding the write lock.
    case keptFromByWriter
  }

  /// Folds the whole log into the file by a checkpoint that also begins the log anew, which waits for those who read an old
  /// state, and for whoever writes, until `isOver`.
  ///
  /// Without the write lock SQLite would checkpoint all the same, which is what corrupts logs before 3.51.3: so when the
  /// time is over it is interrupted, before it copies a page. So it is every moment, for it holds the write lock while it
  /// waits for readers: others are to get their turn.
  func foldAndRestartLog(_ checkpoint: String, until isOver: () -> Bool) throws -> Folding {
    let limit = FoldingLimit(handle: handle)
    sqlite3_busy_handler(handle, FoldingLimit.handler, Unmanaged.passUnretained(limit).toOpaque())
    defer {
      waitForLocks()
      withExtendedLifetime(limit) {}
    }
    do {
      // Where another process checkpoints too, SQLite does not wait: we do.
      while try !foldAtOnce(checkpoint, limit) {
        guard !isOver() else { return try blocker() }
        sleepMicroseconds(10_000)
      }
      return .done
    } catch {
      if (try? execute("BEGIN IMMEDIATE")) != nil {
        forgetCopiedPages()
        try? execute("ROLLBACK")
      }
      throw error
    }
  }

  /// Returns false where somebody kept it from that for a moment.
  private func foldAtOnce(_ checkpoint: String, _ limit: FoldingLimit) throws -> Bool {
    limit.end = .now + .milliseconds(20)
    do {
      return try firstInteger(checkpoint) == 0
    } catch let error as SQLiteError where error.primaryCode == SQLITE_INTERRUPT {
      return false
    }
  }

  private func blocker() throws -> Folding {
    sqlite3_busy_handler(handle, nil, nil)
    do {
      try execute("BEGIN IMMEDIATE")
      try execute("ROLLBACK")
      return .keptFromByReader
    } catch let error as SQLiteError where error.primaryCode == SQLITE_BUSY {
      return .keptFromByWriter
    }
  }

  private func waitForLocks() {
    sqlite3_busy_handler(handle, LockWait.handler, Unmanaged.passUnretained(lockWait).toOpaque())
  }

  private final class FoldingLimit {
    let handle: OpaquePointer
    var end = ContinuousClock.now

    init(handle: OpaquePointer) { self.handle = handle }

    static let handler: @convention(c) (UnsafeMutableRawPointer?, Int32) -> Int32 = { context, _ in
      guard let context else { return 0 }
      let limit = Unmanaged<FoldingLimit>.fromOpaque(context).takeUnretainedValue()
      guard .now < limit.end else {
        sqlite3_interrupt(limit.handle)
        return 0
      }
      sleepMicroseconds(1000)
      return 1
    }
  }

  /// Runs several statements without parameters: schema and the like.
  func executeScript(_ sql: String) throws(SQLiteError) {
    let code = sqlite3_exec(handle, sql, nil, nil, nil)
    guard code == SQLITE_OK else { throw lastError(code, doing: "running a script") }
  }

  /// Runs one statement and throws its rows away.
  func execute(_ sql: String, _ values: (any SQLiteBindable)?...) throws {
    try withStatement(sql, values) { statement in
      while try step(statement, sql) {}
    }
  }

  /// Runs one statement and hands each row to `body`, for as long as it returns true.
  func forEachRow(
    _ sql: String, _ values: (any SQLiteBindable)?..., body: (SQLiteRow) throws -> Bool
  ) throws {
    try withStatement(sql, values) { statement in
      while try step(statement, sql) {
        guard try body(SQLiteRow(statement: statement)) else { return }
      }
    }
  }

  /// Every row of one statement, as `body` reads it.
  func rows<Value>(
    _ sql: String, _ values: (any SQLiteBindable)?..., body: (SQLiteRow) throws -> Value
  ) throws -> [Value] {
    try rows(sql, bindings: values, body: body)
  }

  /// The same with a list of parameters.
  func rows<Value>(
    _ sql: String, bindings: [(any SQLiteBindable)?], body: (SQLiteRow) throws -> Value
  ) throws -> [Value] {
    var result: [Value] = []
    try withStatement(sql, bindings) { statement in
      while try step(statement, sql) {
        result.append(try body(SQLiteRow(statement: statement)))
      }
    }
    return result
  }

  /// The first row of one statement, as `body` reads it, or nil where there is none.
  func firstRow<Value>(
    _ sql: String, _ values: (any SQLiteBindable)?..., body: (SQLiteRow) throws -> Value
  ) throws -> Value? {
    try firstRow(sql, bindings: values, body: body)
  }

  /// The same with a list of parameters.
  func firstRow<Value>(
    _ sql: String, bindings: [(any SQLiteBindable)?], body: (SQLiteRow) throws -> Value
  ) throws -> Value? {
    var result: Value?
    try withStatement(sql, bindings) { statement in
      if try step(statement, sql) { result = try body(SQLiteRow(statement: statement)) }
    }
    return result
  }

  /// The integer in the first column of the first row, or nil where there is no row or it is NULL.
  func firstInteger(_ sql: String, _ values: (any SQLiteBindable)?...) throws -> Int64? {
    var result: Int64?
    try withStatement(sql, values) { statement in
      if try step(statement, sql) { result = SQLiteRow(statement: statement).optionalInt64(0) }
    }
    return result
  }

  private func withStatement<Value>(
    _ sql: String, _ values: [(any SQLiteBindable)?], _ body: (OpaquePointer) throws -> Value
  ) throws -> Value {
    let statement = try prepare(sql)
    defer {
      sqlite3_reset(statement)
      sqlite3_clear_bindings(statement)
    }
    for (offset, value) in values.enumerated() {
      let code = value?.bind(to: statement, at: Int32(offset + 1)) ?? sqlite3_bind_null(statement, Int32(offset + 1))
      guard code == SQLITE_OK else { throw lastError(code, doing: "binding parameter \(offset + 1)") }
    }
    return try body(statement)
  }

  private func prepare(_ sql: String) throws(SQLiteError) -> OpaquePointer {
    if let statement = statements[sql] { return statement }
    var prepared: OpaquePointer?
    let code = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
    guard code == SQLITE_OK, let prepared else { throw lastError(code, doing: SQLiteError.preparing) }
    statements[sql] = prepared
    return prepared
  }

  private func step(_ statement: OpaquePointer, _ sql: String) throws(SQLiteError) -> Bool {
    switch sqlite3_step(statement) {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    case let code: throw lastError(code, doing: String(sql.prefix { $0 != "\n" }.prefix(60)))
    }
  }

  /// What the last call on this connection reported.
  func lastError(doing: String) -> SQLiteError { lastError(sqlite3_extended_errcode(handle), doing: doing) }

  private func lastError(_ code: Int32, doing: String) -> SQLiteError {
    SQLiteError(
      code: code, message: String(cString: sqlite3_errmsg(handle)), doing: doing,
      systemCode: sqlite3_system_errno(handle))
  }
}

extension SQLiteConnection {
  /// Makes the next checkpoint copy the whole log once more; only while this connection, or another of this process, holds
  /// the write lock.
  ///
  /// A checkpoint that readers cut short leaves pages in the database that are not synced, and counts them as copied. When a
  /// later sync of the database fails, the kernel drops those too, and SQLite would never copy them again. The count is the
  /// number of 32 bits at byte 96 of the shared memory (*WAL-Index File Format*, `nBackfill`), which a recovery sets to 0 too.
  func forgetCopiedPages() {
    var opened: UnsafeMutablePointer<sqlite3_file>?
    guard sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &opened) == SQLITE_OK, let file = opened,
      let methods = file.pointee.pMethods, methods.pointee.iVersion >= 2, let map = methods.pointee.xShmMap
    else { return }
    var region: UnsafeMutableRawPointer?
    guard
      withUnsafeMutablePointer(to: &region, { map(file, 0, 32_768, 0, UnsafeMutablePointer(OpaquePointer($0))) })
        == SQLITE_OK,
      let region
    else { return }
    region.storeBytes(of: 0, toByteOffset: 96, as: UInt32.self)
  }
}
