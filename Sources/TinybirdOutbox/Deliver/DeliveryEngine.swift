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
  let housekeeper: Housekeeper
  let wakeup: Wakeup

  /// Waits for the right to deliver, then delivers until the goal is reached, or the task is cancelled.
  func run(until goal: Goal, whileWaiting: @Sendable (Int64?) -> Void) async throws {
    guard let lock = try await acquireLock(whileWaiting) else { return }
    defer { withExtendedLifetime(lock) {} }
    // A restored backup has no reserve yet, and what is sent has to be settled also on a full disk.
    _ = housekeeper.gate.reserve.hold(forAppending: 0)
    guard try await takeOver() else { return }
    let damage = await withTaskGroup(of: Void.self) { group in
      group.addTask { await housekeeper.run() }
      let damage = await withDiscardingTaskGroup { lanes in await supervise(until: goal, &lanes) }
      group.cancelAll()
      return damage
    }
    // Others may wait for the room that what was delivered takes.
    if goal == .empty { await housekeeper.look() }
    _ = try? await dependencies.committer.perform { try $0.connection.execute(SQL.deleteMeta, "holder_pid") }
    if let damage { throw damage }
  }

  /// Writes down that this process delivers, and what was under way when the last one ended.
  ///
  /// A fault of the disk, or somebody's long transaction, is waited out: it heals without a restart. Returns false where
  /// it was stopped before.
  private func takeOver() async throws -> Bool {
    while !Task.isCancelled, !dependencies.stopping.isSet {
      do {
        let limits = dependencies.settings.limits
        let doubted = try await dependencies.committer.perform { transaction in
          let doubted = try transaction.doubtIfRestored(limits: limits)
          _ = try Ledger(transaction: transaction).recoverInterrupted()
          try transaction.connection.execute(SQL.replaceMeta, "holder_pid", currentProcessID())
          return doubted
        }
        if let doubted { dependencies.logger.warnOfRestoring(doubted, file) }
        return true
      } catch let error as OutboxError where [.busy, .diskFull, .inputOutput].contains(error.code) {
        dependencies.logger.warning(
          "delivery cannot begin yet; it is tried again", metadata: ["outbox.error": "\(error.message)"])
        await wakeup.wait(until: .now + .seconds(1))
      }
    }
    return false
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

  /// Returns what keeps events from being delivered that no retry mends: damage of the file.
  private func supervise(until goal: Goal, _ group: inout DiscardingTaskGroup) async -> OutboxError? {
    var lanes: [Int64: Lane] = [:]
    var seenVersion: Int64?
    var damage: OutboxError?
    while !Task.isCancelled, !dependencies.stopping.isSet {
      do {
        let version = try await dependencies.reader.dataVersion()
        if version != seenVersion {
          let isUpToDate = try await refresh(&lanes, &group)
          // Only now: after a refresh that failed the next look must not pass over what it missed.
          seenVersion = isUpToDate ? version : nil
        }
        damage = nil
        if goal == .empty, await isFinished(lanes) { break }
      } catch {
        dependencies.logger.warning(
          "the outbox could not be read; it is tried again", metadata: ["outbox.error": "\(error)"])
        damage = error.code == .damaged ? error : nil
        if goal == .empty, damage != nil, await isFinished(lanes) { break }
      }
      await wakeup.wait(until: .now + Self.pollInterval)
    }
    for lane in lanes.values { await lane.stop() }
    guard damage == nil else { return damage }
    for lane in lanes.values {
      if let damage = await lane.damage { return damage }
    }
    return nil
  }

  /// New data sources get a lane; the others learn what has changed.
  ///
  /// One whose batches cannot be read does not keep the others waiting. Returns whether every lane knows what there is.
  private func refresh(
    _ lanes: inout [Int64: Lane], _ group: inout DiscardingTaskGroup
  ) async throws(OutboxError) -> Bool {
    var failure: OutboxError?
    var isUpToDate = true
    for record in try await dependencies.reader.read({ try $0.lanes() }) {
      if let lane = lanes[record.id] {
        if await !lane.update(record) { isUpToDate = false }
        continue
      }
      do {
        let batches = try await dependencies.reader.read { try $0.pendingBatches(of: record.id) }
        let lane = Lane(record, batches: batches, dependencies)
        lanes[record.id] = lane
        group.addTask { await lane.run() }
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return isUpToDate
  }

  private func isFinished(_ lanes: [Int64: Lane]) async -> Bool {
    for lane in lanes.values {
      guard await lane.isFinished else { return false }
    }
    return true
  }
}
