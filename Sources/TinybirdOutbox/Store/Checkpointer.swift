internal import COutboxSQLite

/// Folds the write-ahead log into the database, at our own times and on a connection of its own.
///
/// SQLite before 3.51.3 can corrupt a log that a commit restarts while another connection checkpoints. So the writer
/// holds `BEGIN IMMEDIATE` while we work: no commit, of any process, can restart the log meanwhile. The mode is PASSIVE,
/// the only one that does not want the writer's lock for itself.
final class Checkpointer {
  private let connection: SQLiteConnection
  private let dueBytes: Int64
  /// A page and its header in the log.
  private let frameBytes: Int64
  private let logPages = LogPages()
  /// A reader of an old state held the last run up: it is tried again with each commit, which costs little.
  private var isUnfinished = false

  /// Watches the log that `writer` fills; a checkpoint is due when it has grown by `limits.checkpointBytes`.
  init(watching writer: SQLiteConnection, file: OutboxFile, limits: SpaceLimits) throws {
    dueBytes = limits.checkpointBytes
    connection = try SQLiteConnection(file)
    try Pragmas.applyForWriting(to: connection, journalSizeLimitBytes: limits.journalSizeLimitBytes)
    frameBytes = (try connection.firstInteger(SQL.pageSize) ?? 4096) + 24
    // The hook replaces SQLite's own automatic checkpoint, and only takes down how long the log is.
    sqlite3_wal_hook(
      writer.handle,
      { context, _, _, pages in
        guard let context else { return SQLITE_OK }
        Unmanaged<LogPages>.fromOpaque(context).takeUnretainedValue().note(pages)
        return SQLITE_OK
      }, Unmanaged.passUnretained(logPages).toOpaque())
  }

  /// The bytes of what the log holds, as of the last commit.
  var logBytes: Int64 { Int64(logPages.count) * frameBytes }

  /// The bytes of the log that the next commit is written behind: none where all is folded, for then it begins anew.
  var unfoldedBytes: Int64 {
    !isUnfinished && logPages.count == logPages.countAtLastRun ? 0 : logBytes
  }

  /// Whether the log has grown enough since the last time.
  var isDue: Bool {
    if isUnfinished { return true }
    return Int64(logPages.count - logPages.countAtLastRun) * frameBytes >= dueBytes
  }

  /// Checkpoints; `writer` must be outside a transaction.
  func run(holding writer: SQLiteConnection) throws {
    try writer.execute("BEGIN IMMEDIATE")
    defer { try? writer.execute("ROLLBACK") }
    let pages: (inLog: Int, folded: Int)?
    do {
      pages = try connection.firstRow(SQL.checkpoint) { (inLog: $0.int(1), folded: $0.int(2)) }
    } catch {
      connection.forgetCopiedPages()
      throw error
    }
    isUnfinished = pages.map { $0.folded < $0.inLog } ?? false
    logPages.countAtLastRun = logPages.count
  }

  /// How many pages the log holds, as of the last commit, and held when it was last folded away.
  ///
  /// Only touched on the writer's thread.
  private final class LogPages {
    private(set) var count: Int32 = 0
    var countAtLastRun: Int32 = 0

    func note(_ pages: Int32) {
      // The log has begun anew: a run is due when it is as long again, not when it is longer than the last time.
      if pages < count { countAtLastRun = 0 }
      count = pages
    }
  }
}
