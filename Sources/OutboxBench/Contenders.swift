internal import COutboxSQLite
internal import Foundation
internal import TinybirdOutbox

#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// One way to store events durably.
///
/// `store` returns when its events are synced.
protocol Contender: Sendable {
  static var name: String { get }
  init(file: String) async throws
  func store(_ events: ArraySlice<String>) async throws
  func close() async
}

/// The outbox, JSON validation included.
struct OutboxContender: Contender {
  static let name = "outbox"
  private let outbox: Outbox
  private static let dataSource: DataSourceName = "bookings"

  init(file: String) async throws { outbox = try await Outbox(at: file) }

  func store(_ events: ArraySlice<String>) async throws {
    if events.count == 1, let event = events.first {
      try await outbox.append(event, to: Self.dataSource)
    } else {
      try await outbox.append(contentsOf: events, to: Self.dataSource)
    }
  }

  func close() async { await outbox.close() }
}

/// What a user would write: one row an event, WAL, `synchronous=FULL`, a prepared statement, one transaction a call.
actor SQLiteContender: Contender {
  static let name = "hand-written SQLite"
  private let database: OpaquePointer
  private let insert: OpaquePointer

  init(file: String) throws {
    var opened: OpaquePointer?
    var statement: OpaquePointer?
    guard sqlite3_open(file, &opened) == SQLITE_OK, let opened,
      sqlite3_exec(
        opened,
        """
        PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=OFF;
        CREATE TABLE events (id INTEGER PRIMARY KEY, data_source TEXT, payload TEXT)
        """, nil, nil, nil) == SQLITE_OK,
      sqlite3_prepare_v2(
        opened, "INSERT INTO events (data_source, payload) VALUES ('bookings', ?1)", -1, &statement, nil) == SQLITE_OK,
      let statement
    else { throw ContenderError(what: "cannot set up \(file)") }
    database = opened
    insert = statement
  }

  func store(_ events: ArraySlice<String>) throws {
    try check(sqlite3_exec(database, "BEGIN IMMEDIATE", nil, nil, nil))
    for event in events {
      var event = event
      let code = event.withUTF8 { bytes in
        bytes.withMemoryRebound(to: CChar.self) { text in
          guard let start = text.baseAddress else { return SQLITE_MISUSE }
          sqlite3_bind_text(insert, 1, start, Int32(text.count), nil)
          defer { sqlite3_reset(insert) }
          return sqlite3_step(insert)
        }
      }
      guard code == SQLITE_DONE else { throw ContenderError(what: "SQLite code \(code)") }
    }
    try check(sqlite3_exec(database, "COMMIT", nil, nil, nil))
  }

  func close() {
    sqlite3_finalize(insert)
    sqlite3_close(database)
  }

  private func check(_ code: Int32) throws {
    guard code == SQLITE_OK else { throw ContenderError(what: "SQLite code \(code)") }
  }
}

/// As little as can be durable: `write` of newline-separated events and `fdatasync`.
actor FileContender: Contender {
  static let name = "bare file"
  private let descriptor: Int32

  init(file: String) throws {
    descriptor = open(file, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    guard descriptor >= 0 else { throw ContenderError(what: "cannot open \(file)") }
  }

  func store(_ events: ArraySlice<String>) throws {
    var bytes: [UInt8] = []
    for event in events {
      bytes += event.utf8
      bytes.append(UInt8(ascii: "\n"))
    }
    guard write(descriptor, bytes, bytes.count) == bytes.count, sync() == 0 else {
      throw ContenderError(what: "cannot write")
    }
  }

  func close() { _ = Foundation.close(descriptor) }

  private func sync() -> Int32 {
    #if canImport(Darwin)
      fcntl(descriptor, F_FULLFSYNC)
    #else
      fdatasync(descriptor)
    #endif
  }
}

/// A contender could not do its work.
struct ContenderError: Error, CustomStringConvertible {
  let what: String
  var description: String { what }
}
