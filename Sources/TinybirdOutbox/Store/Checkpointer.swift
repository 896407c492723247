internal import COutboxSQLite

/// Folds the write-ahead log into the database, at our own times and on a connection of its own.
///
/// SQLite before 3.51.3 can corrupt a log that a commit restarts while another connection checkpoints. So the writer
/// holds `BEGIN IMMEDIATE` while we work: no commit, of any process, can restart the log meanwhile. The mode is PASSIVE,
/// the only one that does not want the writer's lock for itself.
final class Checkpointer {
  /// A checkpoint is due when the log has grown by this many pages since the last: 16 MiB of 4 KiB pages.
  static let duePages: Int32 = 4096

  private let connection: SQLiteConnection
  private let duePages: Int32
  private let logPages = LogPages()
  private var pagesAtLastRun: Int32 = 0

  /// Watches the log that `writer` fills.
  init(watching writer: SQLiteConnection, file: OutboxFile, duePages: Int32 = Checkpointer.duePages) throws {
    self.duePages = duePages
    connection = try SQLiteConnection(path: file.path, vfs: file.sqliteVFS)
    try Pragmas.applyForWriting(to: connection)
    // The hook replaces SQLite's own automatic checkpoint, and only takes down how long the log is.
    sqlite3_wal_hook(
      writer.handle,
      { context, _, _, pages in
        guard let context else { return SQLITE_OK }
        Unmanaged<LogPages>.fromOpaque(context).takeUnretainedValue().count = pages
        return SQLITE_OK
      }, Unmanaged.passUnretained(logPages).toOpaque())
  }

  /// Checkpoints if the log has grown enough since the last time; `writer` must be outside a transaction.
  func runIfDue(holding writer: SQLiteConnection) throws {
    if logPages.count < pagesAtLastRun { pagesAtLastRun = 0 }
    guard logPages.count - pagesAtLastRun >= duePages else { return }
    try writer.execute("BEGIN IMMEDIATE")
    defer { try? writer.execute("ROLLBACK") }
    try connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    pagesAtLastRun = logPages.count
  }

  /// How many pages the log holds, as of the last commit.
  ///
  /// Only touched on the writer's thread.
  private final class LogPages {
    var count: Int32 = 0
  }
}
