/// A connection that only reads, on a thread of its own.
///
/// Each call is a snapshot of its own and short, so that the log can be restarted behind it.
actor StoreReader {
  nonisolated let thread: ThreadExecutor
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  private let file: OutboxFile
  private let outboxID: OutboxID
  private var opened: SQLiteConnection?
  private var isClosed = false

  init(file: OutboxFile, outboxID: OutboxID, thread: ThreadExecutor) {
    self.file = file
    self.outboxID = outboxID
    self.thread = thread
  }

  /// Runs `body` on the connection, which is opened by the first call.
  func read<Value: Sendable>(_ body: @Sendable (StoreSnapshot) throws -> Value) throws(OutboxError) -> Value {
    try withOutboxErrors {
      guard !isClosed else { throw Committer.closedError }
      let connection = try opened ?? StoreOpening.openForReading(file)
      opened = connection
      try connection.execute("BEGIN")
      defer { try? connection.execute("COMMIT") }
      return try body(StoreSnapshot(connection: connection, outboxID: outboxID))
    }
  }

  /// Changes whenever any connection, of any process, has committed.
  func dataVersion() throws(OutboxError) -> Int64 {
    try withOutboxErrors {
      guard !isClosed else { throw Committer.closedError }
      let connection = try opened ?? StoreOpening.openForReading(file)
      opened = connection
      return try connection.firstInteger(SQL.dataVersion) ?? 0
    }
  }

  func close() {
    isClosed = true
    opened = nil
  }
}

/// An open read transaction.
struct StoreSnapshot {
  let connection: SQLiteConnection
  let outboxID: OutboxID

  var chunks: ChunkTable { ChunkTable(connection: connection, outboxID: outboxID) }
}
