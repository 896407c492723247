internal import Logging

/// Delivers from one outbox: finds its lanes, starts them, tells them of what other processes did, and stops them.
struct DeliveryEngine: Sendable {
  /// When to stop.
  enum Goal: Sendable {
    /// When the surrounding service is shut down.
    case shutdown
    /// When every lane is empty or held.
    case empty
  }

  /// How often an idle engine looks for what other processes committed.
  static let pollInterval = Duration.milliseconds(50)
  /// How often a process that stands by asks for the lock: a hand-over takes less than a second.
  static let standbyInterval = Duration.milliseconds(250)

  let file: OutboxFile
  let dependencies: LaneDependencies
  let wakeup: Wakeup

  /// Waits for the right to deliver, then delivers until the goal is reached, or the task is cancelled.
  func run(until goal: Goal, whileWaiting: @Sendable (Int64?) -> Void) async throws {
    guard let lock = try await acquireLock(whileWaiting) else { return }
    defer { withExtendedLifetime(lock) {} }
    try await dependencies.committer.perform { transaction in
      _ = try Ledger(transaction: transaction).recoverInterrupted()
      try transaction.connection.execute(SQL.replaceMeta, "holder_pid", currentProcessID())
    }
    await withDiscardingTaskGroup { lanes in await supervise(until: goal, &lanes) }
    _ = try? await dependencies.committer.perform { try $0.connection.execute(SQL.deleteMeta, "holder_pid") }
  }

  private func acquireLock(_ whileWaiting: @Sendable (Int64?) -> Void) async throws -> DeliveryLock? {
    var hasTold = false
    while !Task.isCancelled, !dependencies.stopping.isSet {
      if let lock = try DeliveryLock.tryAcquire(file) { return lock }
      if !hasTold {
        hasTold = true
        let holder = try await dependencies.reader.read { try $0.connection.firstInteger(SQL.selectMeta, "holder_pid") }
        dependencies.logger.info(
          "another process delivers; standing by", metadata: ["outbox.holder_pid": "\(holder ?? 0)"])
        whileWaiting(holder)
      }
      await wakeup.wait(until: .now + Self.standbyInterval)
    }
    return nil
  }

  private func supervise(until goal: Goal, _ group: inout DiscardingTaskGroup) async {
    var lanes: [Int64: Lane] = [:]
    var seenVersion: Int64?
    while !Task.isCancelled, !dependencies.stopping.isSet {
      do {
        let version = try await dependencies.reader.dataVersion()
        if version != seenVersion {
          try await refresh(&lanes, &group)
          // Only now: after a refresh that failed the next look must not pass over what it missed.
          seenVersion = version
        }
        if goal == .empty, await isFinished(lanes) { break }
      } catch {
        dependencies.logger.warning(
          "the outbox could not be read; it is tried again", metadata: ["outbox.error": "\(error)"])
      }
      await wakeup.wait(until: .now + Self.pollInterval)
    }
    for lane in lanes.values { await lane.stop() }
  }

  /// New data sources get a lane; the others learn what has changed.
  private func refresh(_ lanes: inout [Int64: Lane], _ group: inout DiscardingTaskGroup) async throws {
    for record in try await dependencies.reader.read({ try $0.lanes() }) {
      if let lane = lanes[record.id] {
        await lane.update(record)
        continue
      }
      let batches = try await dependencies.reader.read { try $0.pendingBatches(of: record.id) }
      let lane = Lane(record, batches: batches, dependencies)
      lanes[record.id] = lane
      group.addTask { await lane.run() }
    }
  }

  private func isFinished(_ lanes: [Int64: Lane]) async -> Bool {
    for lane in lanes.values {
      guard await lane.isFinished else { return false }
    }
    return true
  }
}
