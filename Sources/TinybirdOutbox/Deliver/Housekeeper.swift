internal import Logging

/// Prunes and shrinks the file while this process delivers, and fills the reserve again when the disk has room.
actor Housekeeper {
  /// How often it looks whether something has grown old.
  private static let interval = Duration.seconds(10)
  /// How often it looks whether space has become short.
  private static let spaceInterval = Duration.seconds(1)

  private let committer: Committer
  private let reader: StoreReader
  private let writer: StoreWriter
  nonisolated let gate: SpaceGate
  private let logger: Logger
  private let openedAt = ContinuousClock.now
  private var policy: RetentionPolicy

  init(
    committer: Committer, reader: StoreReader, writer: StoreWriter, configuration: OutboxConfiguration, logger: Logger
  ) {
    self.committer = committer
    self.reader = reader
    self.writer = writer
    self.logger = logger
    gate = writer.gate
    policy = RetentionPolicy(
      keepsFor: configuration.keepsDeliveredFor, keepsBytes: configuration.keepsDeliveredBytes,
      limits: writer.gate.limits, openedAt: .now)
  }

  /// Works until the task is cancelled.
  func run() async {
    var nextLook = ContinuousClock.now
    while !Task.isCancelled {
      let isShort = (try? await isSpaceShort()) ?? false
      if isShort || nextLook <= .now {
        let begin = ContinuousClock.now
        nextLook = begin + Self.interval
        await look()
        // Where very many small batches are kept a look takes long: it costs one part in a hundred of the time.
        nextLook = max(nextLook, begin + begin.duration(to: .now) * 100)
      }
      // Throws where the task is cancelled, which ends the loop.
      try? await Task.sleep(for: Self.spaceInterval)
    }
  }

  /// Does what is to be done now; an error is told, and the next look tries again.
  func look() async {
    do {
      try await tidy()
    } catch {
      logger.warning(
        "old events could not be pruned; it is tried again",
        metadata: ["outbox.error": "\((error as? OutboxError)?.shortDescription ?? "\(type(of: error))")"])
    }
  }

  /// Prunes for an append that the budget has refused; returns whether there was something to prune.
  ///
  /// Whoever delivers may have a larger budget, or none, and keeps events by that.
  func makeRoom() async throws -> Bool {
    let excess = RetentionPolicy.excess(over: gate.limits, room: try await room())
    return try await prune(Pruner.Goal(settledUpTo: .distantPast, excessBytes: excess)).events > 0
  }

  /// Does what is to be done now.
  func tidy() async throws {
    let isDiskFull = gate.reserve.isBrokenInto && !refillsReserve()
    let kept = try await reader.read { try $0.connection.firstInteger(SQL.sumPrunable) ?? 0 }
    let goal = policy.goal(
      RetentionPolicy.Look(
        wall: .now, monotonic: openedAt.duration(to: .now), keptBytes: kept, room: try await room(),
        isDiskFull: isDiskFull))
    _ = try await prune(goal)
    if isDiskFull { _ = refillsReserve() }
  }

  /// Prunes up to `goal`, then gives free pages back to the disk where that is worth it, or where the disk is full.
  func prune(
    _ goal: Pruner.Goal, progress tell: @Sendable (Int) -> Void = { _ in }
  ) async throws -> Pruner.Progress {
    var progress = Pruner.Progress()
    var isMoreLeft = true
    while isMoreLeft {
      (isMoreLeft, progress) = try await committer.perform { [progress] transaction in
        var progress = progress
        let isMoreLeft = try Pruner(transaction: transaction).step(goal, &progress)
        return (isMoreLeft, progress)
      }
      tell(progress.events)
    }
    try await shrink()
    return progress
  }

  private func shrink() async throws {
    var steps = 0
    let isDiskFull = gate.reserve.isBrokenInto
    let limits = gate.limits
    while try await committer.perform({ try Pruner(transaction: $0).shrinkStep(limits, isDiskFull: isDiskFull) }) {
      steps += 1
    }
    // The file is cut when the log is folded.
    if steps > 0 { await writer.checkpoint() }
  }

  private func isSpaceShort() async throws -> Bool {
    try await gate.reserve.isBrokenInto ? true : policy.isShort(room())
  }

  private func room() async throws -> Int64? {
    guard gate.limits.maximumBytes != nil else { return nil }
    return try await reader.read { [gate] in try gate.room(in: $0.connection) }
  }

  /// Whether the disk has room for the reserve again.
  private func refillsReserve() -> Bool {
    guard gate.reserve.hold(forAppending: 0) == .whole else { return false }
    logger.notice("the disk has room again; appends are taken")
    return true
  }
}
