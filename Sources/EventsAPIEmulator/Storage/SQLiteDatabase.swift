internal import COutboxSQLite

/// A connection of SQLite with statements that are prepared once.
///
/// Not `Sendable`: it belongs to one actor.
final class SQLiteDatabase {
  private let handle: OpaquePointer
  private var statements: [String: OpaquePointer] = [:]

  /// Opens or creates a database; `:memory:` is one that ends with the connection.
  init(path: String) throws(EmulatorError) {
    var opened: OpaquePointer?
    let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
    let code = sqlite3_open_v2(path, &opened, flags, nil)
    guard code == SQLITE_OK, let opened else {
      let message = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
      sqlite3_close_v2(opened)
      throw EmulatorError(.storageFailed, "opening \(path): \(message)")
    }
    handle = opened
    sqlite3_busy_timeout(handle, 10_000)
  }

  deinit {
    for statement in statements.values { sqlite3_finalize(statement) }
    sqlite3_close_v2(handle)
  }

  var lastInsertID: Int { Int(sqlite3_last_insert_rowid(handle)) }

  /// Runs statements without parameters.
  func execute(_ sql: String) throws(EmulatorError) {
    guard sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK else { throw failure }
  }

  /// Runs `body` in a transaction, which is rolled back where it throws.
  func transaction(_ body: () throws(EmulatorError) -> Void) throws(EmulatorError) {
    try execute("BEGIN IMMEDIATE")
    do throws(EmulatorError) {
      try body()
      try execute("COMMIT")
    } catch {
      // The first failure is the one to report.
      try? execute("ROLLBACK")
      throw error
    }
  }

  /// Runs one statement, and hands each of its rows to `onRow`.
  func run(
    _ sql: String, bind: (borrowing Statement) -> Void = { _ in }, onRow: (borrowing Statement) -> Void = { _ in }
  ) throws(EmulatorError) {
    let statement = Statement(handle: try prepared(sql))
    defer { statement.reset() }
    bind(statement)
    while true {
      switch sqlite3_step(statement.handle) {
      case SQLITE_ROW: onRow(statement)
      case SQLITE_DONE: return
      default: throw failure
      }
    }
  }

  private func prepared(_ sql: String) throws(EmulatorError) -> OpaquePointer {
    if let statement = statements[sql] { return statement }
    var prepared: OpaquePointer?
    guard
      sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil) == SQLITE_OK,
      let prepared
    else { throw failure }
    statements[sql] = prepared
    return prepared
  }

  private var failure: EmulatorError {
    EmulatorError(.storageFailed, String(cString: sqlite3_errmsg(handle)))
  }

  /// One use of a prepared statement.
  ///
  /// Parameters count from 1, columns from 0.
  struct Statement: ~Copyable {
    fileprivate let handle: OpaquePointer

    fileprivate borrowing func reset() {
      sqlite3_reset(handle)
      sqlite3_clear_bindings(handle)
    }

    borrowing func bind(_ value: Int?, at index: Int32) {
      if let value {
        sqlite3_bind_int64(handle, index, Int64(value))
      } else {
        sqlite3_bind_null(handle, index)
      }
    }

    borrowing func bind(_ value: String?, at index: Int32) {
      guard var value else {
        sqlite3_bind_null(handle, index)
        return
      }
      value.withUTF8 { bytes in
        bytes.withMemoryRebound(to: CChar.self) {
          _ = outbox_sqlite3_bind_copied_text(handle, index, $0.baseAddress, sqlite3_uint64($0.count))
        }
      }
    }

    /// Binds text that stays where it is until the statement has been stepped.
    borrowing func bind(borrowed text: UnsafeRawBufferPointer, at index: Int32) {
      let bytes = text.bindMemory(to: CChar.self)
      // A destructor of nil is SQLITE_STATIC: SQLite reads the bytes where they are.
      sqlite3_bind_text64(handle, index, bytes.baseAddress, sqlite3_uint64(bytes.count), nil, UInt8(SQLITE_UTF8))
    }

    borrowing func int(_ column: Int32) -> Int { Int(sqlite3_column_int64(handle, column)) }

    borrowing func optionalInt(_ column: Int32) -> Int? {
      sqlite3_column_type(handle, column) == SQLITE_NULL ? nil : int(column)
    }

    borrowing func optionalText(_ column: Int32) -> String? {
      guard let bytes = sqlite3_column_text(handle, column) else { return nil }
      let count = Int(sqlite3_column_bytes(handle, column))
      return String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
    }

    borrowing func text(_ column: Int32) -> String { optionalText(column) ?? "" }
  }
}
