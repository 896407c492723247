internal import Logging
internal import Synchronization

/// Runs ``CommitStateMachine``: holds what waits, starts the writer, and tells each caller how its commit ended.
final class Committer: Sendable {
  /// Work on the ledger that joins a commit.
  ///
  /// It returns what to do when the commit has ended, with its error if it failed.
  typealias Job = @Sendable (StoreTransaction) throws -> @Sendable (OutboxError?) -> Void

  enum Entry: Sendable {
    case append(PackedEvents, CheckedContinuation<AppendReceipt, any Error>)
    case job(Job, fail: @Sendable (OutboxError) -> Void)

    func fail(_ error: OutboxError) {
      switch self {
      case .append(_, let continuation): continuation.resume(throwing: error)
      case .job(_, let fail): fail(error)
      }
    }
  }

  private struct State {
    var machine: CommitStateMachine
    var entries: [CommitStateMachine.ID: Entry] = [:]
    var nextID: CommitStateMachine.ID = 0
  }

  private let state: Mutex<State>
  private let thread: ThreadExecutor
  private let writer: StoreWriter

  init(writer: StoreWriter, thread: ThreadExecutor, maximumWaitingBytes: Int, maximumCommitBytes: Int) {
    self.writer = writer
    self.thread = thread
    state = Mutex(
      State(
        machine: CommitStateMachine(
          maximumWaitingBytes: maximumWaitingBytes, maximumCommitBytes: maximumCommitBytes)))
  }

  /// Returns once the events are synced to disk.
  func append(_ events: PackedEvents) async throws -> AppendReceipt {
    let id = nextID()
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        enqueue(id, .append(events, continuation), byteCount: events.byteCount)
        // Cancelled before it was enqueued: the handler has run already and found nothing.
        if Task.isCancelled { cancel(id) }
      }
    } onCancel: {
      cancel(id)
    }
  }

  /// Runs `body` in the next commit, and returns its value once that is synced.
  ///
  /// What `body` throws undoes only its own work. Not cancellable: a settle always runs to its end.
  func perform<Value: Sendable>(_ body: @escaping @Sendable (StoreTransaction) throws -> Value) async throws -> Value {
    let id = nextID()
    return try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Value, any Error>) in
      let job: Job = { transaction in
        let value = try body(transaction)
        return { error in
          if let error { continuation.resume(throwing: error) } else { continuation.resume(returning: value) }
        }
      }
      enqueue(id, .job(job) { continuation.resume(throwing: $0) }, byteCount: 0)
    }
  }

  /// Refuses what comes from now on.
  ///
  /// What is queued is still committed.
  func close() {
    let refused = state.withLock { state in
      state.machine.close().compactMap { state.entries.removeValue(forKey: $0) }
    }
    for entry in refused { entry.fail(Self.closedError) }
  }

  /// How many wait for a commit that has not begun.
  var waitingCount: Int { state.withLock { $0.entries.count } }

  static let closedError = OutboxError(.closed, "the outbox was closed; nothing was stored. Open it again")

  private func nextID() -> CommitStateMachine.ID {
    state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
  }

  private func enqueue(_ id: CommitStateMachine.ID, _ entry: Entry, byteCount: Int) {
    let action = state.withLock { state in
      state.entries[id] = entry
      let action = state.machine.enqueue(id, byteCount: byteCount)
      if action == .refuse { state.entries[id] = nil }
      return action
    }
    switch action {
    case .startCommit: thread.enqueue { self.commitNext() }
    case .wait, .suspend: break
    case .refuse: entry.fail(Self.closedError)
    }
  }

  private func cancel(_ id: CommitStateMachine.ID) {
    let entry = state.withLock { state in
      state.machine.cancel(id) == .drop ? state.entries.removeValue(forKey: id) : nil
    }
    if case .append(_, let continuation)? = entry { continuation.resume(throwing: CancellationError()) }
  }

  /// On the writer's thread: one commit, and where somebody waits behind it the next in a turn of its own, so that what
  /// else the writer has to do gets its turn too.
  ///
  /// After a close the next turn is the end of the writer: what is queued is committed before.
  private func commitNext() {
    var (isWaitedFor, isClosed) = commitGroup()
    while isWaitedFor, isClosed { (isWaitedFor, isClosed) = commitGroup() }
    if isWaitedFor { thread.enqueue { self.commitNext() } }
  }

  private func commitGroup() -> (isWaitedFor: Bool, isClosed: Bool) {
    let group = state.withLock { state in
      state.machine.takeGroup().compactMap { state.entries.removeValue(forKey: $0) }
    }
    // The thread is the writer's executor, so that this is the actor's own turn.
    writer.assumeIsolated { $0.commit(group) }
    let next = state.withLock { ($0.machine.groupEnded() == .commitAgain, $0.machine.isClosed) }
    // Between two commits is the moment at which a checkpoint holds up nobody's fsync.
    writer.assumeIsolated { $0.checkpointIfDue() }
    return next
  }
}
