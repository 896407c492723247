internal import COutboxSQLite
internal import struct Foundation.Date

/// The current row of a running statement.
///
/// It must not outlive the closure that it was handed to.
struct SQLiteRow {
  let statement: OpaquePointer

  func int64(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }
  func int(_ column: Int32) -> Int { Int(sqlite3_column_int64(statement, column)) }

  func isNull(_ column: Int32) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }

  func optionalInt64(_ column: Int32) -> Int64? { isNull(column) ? nil : int64(column) }
  func optionalInt(_ column: Int32) -> Int? { isNull(column) ? nil : int(column) }

  func optionalDate(_ column: Int32) -> Date? { optionalTime(column)?.date }

  func text(_ column: Int32) -> String { optionalText(column) ?? "" }

  func optionalText(_ column: Int32) -> String? {
    guard let bytes = sqlite3_column_text(statement, column) else { return nil }
    let count = Int(sqlite3_column_bytes(statement, column))
    return String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
  }

  /// The bytes of a blob or text, without a copy; valid until the next row.
  func withBytes<Value>(_ column: Int32, _ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
    let start = sqlite3_column_blob(statement, column)
    let count = Int(sqlite3_column_bytes(statement, column))
    return try body(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
  }

  func bytes(_ column: Int32) -> [UInt8] { withBytes(column) { Array($0) } }
}

/// What can stand for a `?` of a statement.
protocol SQLiteBindable {
  /// Returns SQLite's result code.
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32
}

extension Int64: SQLiteBindable {
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32 { sqlite3_bind_int64(statement, index, self) }
}

extension Int: SQLiteBindable {
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    sqlite3_bind_int64(statement, index, Int64(self))
  }
}

extension UInt32: SQLiteBindable {
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    sqlite3_bind_int64(statement, index, Int64(self))
  }
}

extension String: SQLiteBindable {
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    var copy = self
    return copy.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) { characters in
        outbox_sqlite3_bind_copied_text(statement, index, characters.baseAddress ?? emptyText, UInt64(characters.count))
      }
    }
  }
}

/// Bytes that the caller keeps alive and unchanged until the statement has run: they are not copied.
struct BorrowedBlob: SQLiteBindable {
  let bytes: UnsafeRawBufferPointer

  func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    // A NULL pointer would bind NULL instead of an empty blob.
    guard let start = bytes.baseAddress else { return sqlite3_bind_zeroblob(statement, index, 0) }
    return outbox_sqlite3_bind_static_blob(statement, index, start, UInt64(bytes.count))
  }
}

/// The same for text: valid UTF-8 that the caller keeps alive until the statement has run.
struct BorrowedText: SQLiteBindable {
  let bytes: UnsafeRawBufferPointer

  func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    let characters = bytes.assumingMemoryBound(to: CChar.self)
    return outbox_sqlite3_bind_copied_text(
      statement, index, characters.baseAddress ?? emptyText, UInt64(characters.count))
  }
}

/// A non-NULL pointer for text of no bytes: a NULL pointer would bind NULL.
nonisolated(unsafe) private let emptyText: UnsafePointer<CChar> = {
  // Never freed and never written to, so every thread may read it.
  let byte = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
  byte.initialize(to: 0)
  return UnsafePointer(byte)
}()
