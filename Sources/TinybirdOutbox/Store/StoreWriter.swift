internal import COutboxSQLite
internal import Logging

/// The one writer of this process: owns the connection that commits and the one that checkpoints, on a thread of its own.
///
/// What one commit does is in `StoreWriter+Commit.swift`.
actor StoreWriter {
  nonisolated let thread: ThreadExecutor
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  let file: OutboxFile
  let gate: SpaceGate
  let logger: Logger
  let didCommit: @Sendable () -> Void
  private(set) var connection: SQLiteConnection?
  private(set) var checkpointer: Checkpointer?
  private(set) var outboxID: OutboxID?
  /// Whether the reserve is larger than it must be, for a large append of this process.
  var holdsExtra = false
  var hasWarnedOfReserve = false
  private var presence: Presence?

  /// `didCommit` is called on the writer's thread after each commit that changed something.
  init(
    file: OutboxFile, limits: SpaceLimits, thread: ThreadExecutor, logger: Logger,
    didCommit: @escaping @Sendable () -> Void
  ) {
    self.file = file
    self.thread = thread
    self.logger = logger
    self.didCommit = didCommit
    gate = SpaceGate(file, limits: limits)
  }

  /// Opens or creates the file.
  ///
  /// Returns the outbox's id.
  func open(create: Bool) throws(OutboxError) -> OutboxID {
    try withOutboxErrors {
      // Opening wants a few blocks for shared memory, and for a migration.
      try withReserve { try openOnce(create: create) }
    }
  }

  /// Runs `body`, and where the disk is full once more with a part of the reserve, until none is left.
  func withReserve<Value>(
    _ body: () throws -> Value, beforeRetry prepare: (SQLiteError) -> Void = { _ in }
  ) throws -> Value {
    while true {
      do {
        return try body()
      } catch let error as SQLiteError where error.isDiskFull {
        let isKnown = gate.reserve.isBrokenInto
        guard gate.reserve.release() else { throw error }
        if !isKnown {
          logger.error(
            "the disk is full; appends are refused until there is room, everything else goes on",
            metadata: ["outbox.path": "\(file.shownPath)"])
        }
        prepare(error)
      }
    }
  }

  private func openOnce(create: Bool) throws -> OutboxID {
    var generator = SystemRandomNumberGenerator()
    let newID = OutboxID(using: &generator)
    var presence: Presence?
    let connection = try StoreOpening.openForWriting(
      file, create: create, limits: gate.limits, newID: newID, now: .now,
      whenOurs: {
        presence = try Presence.share(file)
        try refuseDamagedLog($0, presence)
      },
      foldOldLog: { [self] in
        self.presence = presence
        try foldOldLog($0)
      })
    let stored = try StoreOpening.readID(connection, file)
    outboxID = stored
    checkpointer = try Checkpointer(watching: connection, file: file, limits: gate.limits)
    self.connection = connection
    self.presence = presence
    // What a crash left of a large append. Others who have it open may hold back more than we would, and go on so.
    if presence?.isLogFolded == false { gate.reserve.trim() }
    return stored
  }

  /// Before anything is written, for that would write over the log.
  private func refuseDamagedLog(_ connection: SQLiteConnection, _ presence: Presence?) throws(OutboxError) {
    guard presence?.isLogFolded != true, let loss = connection.logLoss() else { return }
    throw OutboxError(
      .damaged,
      "the log of the outbox \(file.shownPath) is damaged: behind \(loss.place) at least \(loss.commits) commits can no longer be read. Nothing was written; keep a copy of the file and of -wal, and run `outbox doctor`"
    )
  }

  /// Closes both connections.
  ///
  /// The last process to close an outbox folds the log into the file.
  func close() {
    connection = nil
    checkpointer = nil
    presence = nil
  }

  /// Folds what earlier processes left in the log into the database, before the first commit of those who have the
  /// outbox open now.
  ///
  /// After a sync that failed, the kernel shows frames that are on no disk. A process that lives writes them again. If
  /// all are gone, the next opening has taken them for good, and a commit behind them would be lost with them in a power
  /// cut. So nothing is accepted until the log begins anew.
  func foldOldLog(_ connection: SQLiteConnection) throws {
    guard let presence else { return }
    let wait = connection.lockWait
    wait.begin()
    try foldOldLog(connection, presence, until: { wait.isOver() })
  }

  private func foldOldLog(_ connection: SQLiteConnection, _ presence: Presence, until isOver: () -> Bool) throws {
    guard !presence.isLogFolded else { return }
    let folding = try connection.foldAndRestartLog(
      SQL.checkpointAndRestart, until: { presence.isLogFolded || isOver() })
    // Another process may have done it meanwhile.
    guard !presence.isLogFolded else { return }
    switch folding {
    case .done: presence.noteLogFolded()
    case .keptFromByReader:
      throw OutboxError(
        .busy,
        "another program reads an old state of the outbox \(file.shownPath), so that its log cannot begin anew; nothing can be stored until it ends its transaction"
      )
    case .keptFromByWriter:
      throw OutboxError(
        .busy,
        "another program is writing to the outbox \(file.shownPath), and keeps its write lock; nothing can be stored until it ends its transaction"
      )
    }
  }

  /// The same before a long reading of our own, which would keep the first commit of another process from it.
  func prepareForLongReading() {
    guard let connection, let presence else { return }
    // Where it cannot be done now, the first commit says why.
    let end = ContinuousClock.now + .seconds(1)
    try? foldOldLog(connection, presence, until: { .now >= end })
  }

  /// Folds the log into the database where it has grown enough, and at once behind a large append.
  func checkpointIfDue() {
    guard let checkpointer, checkpointer.isDue || holdsExtra else { return }
    // Under a budget the file grows into what was held back for it.
    if holdsExtra, gate.limits.maximumBytes != nil { gate.reserve.trim() }
    checkpoint()
    if holdsExtra { gate.reserve.trim() }
    holdsExtra = false
  }

  /// Folds the log into the database.
  ///
  /// On a full disk with the blocks of the reserve: behind a log that cannot be folded nothing could be settled for long.
  func checkpoint() {
    guard let connection, let checkpointer else { return }
    do {
      try withReserve { try checkpointer.run(holding: connection) }
    } catch {
      logger.warning("a checkpoint failed; the log grows until one succeeds", metadata: ["outbox.error": "\(error)"])
    }
  }
}
