internal import DequeModule

/// Group commit without clocks, threads or continuations: decides who is in which commit.
///
/// - idle: nothing is queued. `enqueue` → committing (the caller starts the writer).
/// - committing: the writer is at work, and what arrives waits in the queue to be the next group. `groupEnded` with a
///   queue → committing again; without → idle.
/// - closed: nothing new is taken. What was queued is still committed.
///
/// There is no timer: a lone caller is committed at once, and whatever arrives during one fsync shares the next.
struct CommitStateMachine {
  typealias ID = UInt64

  /// The most bytes that may wait or be under way; beyond it appends are suspended.
  ///
  /// One append that is larger is taken when nothing else waits.
  let maximumWaitingBytes: Int

  /// The most bytes of appends that one commit takes, so that the log grows in known steps.
  ///
  /// One append that is larger is a commit of its own.
  let maximumCommitBytes: Int

  private var queue = Deque<ID>()
  private var suspended = Deque<ID>()
  private var byteCounts: [ID: Int] = [:]
  private var group: [ID] = []
  private var isCommitting = false
  private(set) var isClosed = false
  private(set) var waitingBytes = 0

  init(maximumWaitingBytes: Int, maximumCommitBytes: Int) {
    self.maximumWaitingBytes = maximumWaitingBytes
    self.maximumCommitBytes = maximumCommitBytes
  }

  enum EnqueueAction: Equatable {
    /// The writer is idle: start it.
    case startCommit
    /// It will be in the next group.
    case wait
    /// Too many bytes wait: it joins a group when there is room.
    case suspend
    /// Closed.
    case refuse
  }

  /// A caller wants `byteCount` bytes committed.
  ///
  /// Ledger work has none and is never suspended: settling frees space.
  mutating func enqueue(_ id: ID, byteCount: Int) -> EnqueueAction {
    guard !isClosed else { return .refuse }
    byteCounts[id] = byteCount
    guard byteCount == 0 || (suspended.isEmpty && hasRoom(for: byteCount)) else {
      suspended.append(id)
      return .suspend
    }
    admit(id, byteCount)
    guard !isCommitting else { return .wait }
    isCommitting = true
    return .startCommit
  }

  /// The writer takes what is queued as one commit, in its order, as far as the limit goes.
  mutating func takeGroup() -> [ID] {
    var bytes = 0
    while let next = queue.first {
      let more = byteCounts[next] ?? 0
      guard group.isEmpty || more == 0 || bytes + more <= maximumCommitBytes else { break }
      bytes += more
      group.append(queue.removeFirst())
    }
    return group
  }

  enum GroupEndedAction: Equatable {
    case idle
    case commitAgain
  }

  /// The group is committed, or failed: either way its bytes are no longer held.
  mutating func groupEnded() -> GroupEndedAction {
    for id in group { waitingBytes -= byteCounts.removeValue(forKey: id) ?? 0 }
    group = []
    admitSuspended()
    isCommitting = !queue.isEmpty
    return isCommitting ? .commitAgain : .idle
  }

  enum CancelAction: Equatable {
    /// It had not joined a group: nothing of it will be stored.
    case drop
    /// It is queued or under way with others: the commit is not torn, the caller gets its receipt.
    case keep
  }

  /// The caller's task was cancelled.
  mutating func cancel(_ id: ID) -> CancelAction {
    guard let index = suspended.firstIndex(of: id) else { return .keep }
    suspended.remove(at: index)
    byteCounts[id] = nil
    // It may have stood before smaller ones that do have room.
    admitSuspended()
    return .drop
  }

  /// Takes nothing more.
  ///
  /// Returns who was suspended and is refused.
  mutating func close() -> [ID] {
    isClosed = true
    defer { suspended = [] }
    for id in suspended { byteCounts[id] = nil }
    return Array(suspended)
  }

  /// Lets the suspended in, in their order, for as long as there is room.
  ///
  /// They are suspended only while a commit is under way, so that the next group takes them.
  private mutating func admitSuspended() {
    while let first = suspended.first, let byteCount = byteCounts[first], hasRoom(for: byteCount) {
      suspended.removeFirst()
      admit(first, byteCount)
    }
  }

  private func hasRoom(for byteCount: Int) -> Bool {
    waitingBytes == 0 || waitingBytes + byteCount <= maximumWaitingBytes
  }

  private mutating func admit(_ id: ID, _ byteCount: Int) {
    queue.append(id)
    waitingBytes += byteCount
  }
}
