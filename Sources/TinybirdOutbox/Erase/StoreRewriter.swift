/// Writes the whole file anew, so that nothing is left in it of what was ever deleted.
///
/// Deleted rows live on: in free pages, in the gaps of pages that are in use, where no overwriting of what is deleted now
/// can reach what was deleted before, and in the log. `VACUUM` copies what is there into a file of its own, and from there
/// over the old pages in one transaction; a checkpoint then folds the log into the file and cuts it to nothing.
///
/// On a thread and a connection of its own. It holds the write lock for as long as the copy takes; a row of `outbox_meta`
/// tells those who wait for it why.
actor StoreRewriter {
  private nonisolated let thread = ThreadExecutor(name: "outbox-rewrite")
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  /// Names the process that writes the file anew, while it does.
  static let metaName = "rewriter_pid"

  /// Others may write on and on meanwhile: that is no reason to wait for whoever reads an old state.
  private static let patienceWithReaders = Duration.seconds(10)

  /// What is left where another program reads an old state: the log cannot be emptied, nor the old pages overwritten.
  private static let keptForReaders: [EraseReport.Remainder] = [.log, .freePages]

  /// Returns what could not be done.
  ///
  /// `temporary` is where SQLite makes its copy: a parameter for tests.
  func run(
    _ file: OutboxFile, _ limits: SpaceLimits, temporary: TemporaryDirectory? = .ofSQLite
  ) throws(OutboxError) -> [EraseReport.Remainder] {
    try withOutboxErrors {
      let connection = try SQLiteConnection(file)
      try Pragmas.applyForWriting(to: connection, journalSizeLimitBytes: 0)
      // A connection that is new must not commit behind what a sync that failed may have left in the log.
      guard try truncateLog(connection) else { return Self.keptForReaders }
      guard try connection.firstInteger("PRAGMA application_id") == Schema.applicationID else {
        return [.sharedDatabase]
      }
      let needs = try needs(SpaceUse(of: connection), file, limits, temporary)
      if let missing = needs.first(where: \.isMissing) { throw noRoom(file, missing.words) }
      try connection.execute(SQL.replaceMeta, Self.metaName, currentProcessID())
      let rewriting = Result { try connection.execute("VACUUM") }
      try connection.execute(SQL.deleteMeta, Self.metaName)
      do {
        try rewriting.get()
      } catch let error as SQLiteError where error.isDiskFull {
        // Others get back what the log has taken.
        _ = try? truncateLog(connection)
        throw noRoom(file, needs.map(\.words).joined(separator: ", and "), cause: error)
      }
      return try truncateLog(connection) ? [] : Self.keptForReaders
    }
  }

  /// Free bytes that are wanted on one disk.
  private struct Need {
    var place: String
    var bytes: Int64
    /// Nil where the file system does not say.
    var freeBytes: Int64?

    var isMissing: Bool { freeBytes.map { $0 < bytes } ?? false }
    var words: String {
      let free = freeBytes.map { " (\($0 >> 20) MiB are)" } ?? ""
      return "\((bytes >> 20) + 1) MiB must be free \(place)\(free)"
    }
  }

  /// The log takes all that is in the outbox once more, and so does SQLite's copy, wherever that is made.
  ///
  /// Besides, others go on settling: the disk must not become full for them.
  private func needs(
    _ use: SpaceUse, _ file: OutboxFile, _ limits: SpaceLimits, _ temporary: TemporaryDirectory?
  ) -> [Need] {
    let copyBytes = use.usedBytes + use.usedBytes / 8
    let logBytes = copyBytes + limits.checkpointBytes
    let disk = "on the disk of \(file.directory)"
    guard let temporary else { return [Need(place: disk, bytes: logBytes, freeBytes: file.freeDiskBytes)] }
    guard !temporary.sharesDisk(with: file.directory) else {
      let place = "\(disk), which \(temporary.path) is on too"
      return [Need(place: place, bytes: logBytes + copyBytes, freeBytes: file.freeDiskBytes)]
    }
    return [
      Need(place: disk, bytes: logBytes, freeBytes: file.freeDiskBytes),
      Need(place: "in \(temporary.path)", bytes: copyBytes, freeBytes: temporary.freeBytes),
    ]
  }

  private func noRoom(_ file: OutboxFile, _ needs: String, cause: (any Error)? = nil) -> OutboxError {
    OutboxError(
      .diskFull,
      "the events are erased, but not what is left of them in free pages: to write \(file.shownPath) anew, \(needs). Free some space, or have SQLite make its copy elsewhere (SQLITE_TMPDIR or TMPDIR), and give the command again",
      cause: cause)
  }

  /// False: another program reads an old state, or goes on writing.
  private func truncateLog(_ connection: SQLiteConnection) throws -> Bool {
    let end = ContinuousClock.now + Self.patienceWithReaders
    return try connection.foldAndRestartLog(SQL.checkpointAndTruncate, until: { .now >= end }) == .done
  }
}
