internal import COutboxSQLite
internal import Foundation

/// A plain connection of SQLite for tests that look at a file, or damage it, from outside the library.
public final class SQLiteShell {
  private let handle: OpaquePointer

  /// Opens `path`, and makes the file if there is none.
  public init(_ path: String) throws {
    var opened: OpaquePointer?
    guard sqlite3_open(path, &opened) == SQLITE_OK, let opened else { throw ShellError(text: "cannot open \(path)") }
    handle = opened
    sqlite3_busy_timeout(handle, 10_000)
  }

  deinit { sqlite3_close_v2(handle) }

  /// Runs SQL and returns the rows, each value as text.
  @discardableResult
  public func run(_ sql: String) throws -> [[String?]] {
    var statement: OpaquePointer?
    guard sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK else {
      throw ShellError(text: String(cString: sqlite3_errmsg(handle)))
    }
    defer { sqlite3_finalize(statement) }
    var rows: [[String?]] = []
    while true {
      switch sqlite3_step(statement) {
      case SQLITE_ROW:
        rows.append(
          (0..<sqlite3_column_count(statement)).map { column in
            sqlite3_column_text(statement, column).map { String(cString: $0) }
          })
      case SQLITE_DONE: return rows
      default: throw ShellError(text: String(cString: sqlite3_errmsg(handle)))
      }
    }
  }
}

/// What SQLite said.
public struct ShellError: Error, CustomStringConvertible {
  let text: String
  /// SQLite's own words.
  public var description: String { text }
}
