internal import COutboxSQLite

/// Every setting of SQLite that the promise rests on, in one place.
///
/// Each is set and read back; opening fails if SQLite did not take it.
enum Pragmas {
  /// The page cache of each connection: 8 MiB.
  ///
  /// Chunks are written and read once, so a larger one gains nothing.
  static let cacheKibibytes: Int64 = 8 << 10

  private enum Value: Equatable, CustomStringConvertible {
    case integer(Int64)
    case text(String)

    var description: String {
      switch self {
      case .integer(let value): "\(value)"
      case .text(let value): value
      }
    }
  }

  /// For the connection that writes, and the one that checkpoints.
  ///
  /// When the log begins anew it shrinks to `journalSizeLimitBytes`, so that one burst does not keep the disk for ever.
  static func applyForWriting(to connection: SQLiteConnection, journalSizeLimitBytes: Int64) throws {
    // A commit is one append to the log and one sync of it.
    try set("journal_mode", .text("wal"), on: connection)
    // FULL syncs the log in every commit. NORMAL leaves commits of the last moments to the kernel: a power cut loses
    // acknowledged events.
    try set("synchronous", .integer(2), on: connection)
    // Debian's build overwrites what is deleted with zeros: 107 MB of log instead of 2 for 100 MiB of chunks.
    try set("secure_delete", .integer(0), on: connection)
    // A checkpoint is ours to time: see Checkpoint.swift.
    try set("wal_autocheckpoint", .integer(0), on: connection)
    try set("journal_size_limit", .integer(journalSizeLimitBytes), on: connection)
    try set("foreign_keys", .integer(1), on: connection)
    try set("cache_size", .integer(-cacheKibibytes), on: connection)
    #if canImport(Darwin)
      // fsync does not reach the platter there; F_FULLFSYNC does.
      try set("fullfsync", .integer(1), on: connection)
      try set("checkpoint_fullfsync", .integer(1), on: connection)
    #endif
  }

  /// For the connections that only read.
  static func applyForReading(to connection: SQLiteConnection) throws {
    try set("wal_autocheckpoint", .integer(0), on: connection)
    try set("cache_size", .integer(-cacheKibibytes), on: connection)
    try set("query_only", .integer(1), on: connection)
  }

  /// For a file that we are about to fill: what can only be chosen before the first table.
  static func applyForCreating(to connection: SQLiteConnection) throws {
    // INCREMENTAL: the file can shrink in small steps.
    try set("auto_vacuum", .integer(2), on: connection)
    try set("application_id", .integer(Schema.applicationID), on: connection)
  }

  /// SQLite does not ask the busy handler where several processes turn the log of a new file on at once: we wait as it
  /// would.
  private static func waiting(with wait: LockWait, _ body: () throws -> Void) throws {
    var tries: Int32 = 0
    while true {
      do {
        return try body()
      } catch let error as SQLiteError where error.primaryCode == SQLITE_BUSY {
        guard wait.step(tries) else { throw error }
        tries += 1
      }
    }
  }

  private static func set(_ name: String, _ value: Value, on connection: SQLiteConnection) throws {
    try waiting(with: connection.lockWait) { try connection.execute("PRAGMA \(name) = \(value)") }
    let actual = try connection.firstRow("PRAGMA \(name)") { row in
      switch value {
      case .integer: Value.integer(row.int64(0))
      case .text: Value.text(row.text(0).lowercased())
      }
    }
    guard actual == value else {
      throw OutboxError(
        .settingRefused,
        "SQLite did not take \(name) = \(value), it says \(actual.map { "\($0)" } ?? "nothing"); "
          + "without it the outbox cannot keep its promise, so it is not opened")
    }
  }
}
