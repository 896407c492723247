internal import DequeModule
internal import Logging
internal import NIOCore

/// What all lanes of an engine share.
struct LaneDependencies: Sendable {
  let committer: Committer
  let reader: StoreReader
  let transport: any EventsTransport
  let tokens: any TokenProvider
  let budget: ByteBudget
  let settings: LaneSettings
  let compressionLevel: Int?
  let shutdownGrace: Duration
  let logger: Logger
  let start: ContinuousClock.Instant
  /// Set by a request to shut down: nothing is sent from then on.
  let stopping: StopSignal
  /// Tells the engine that something changed.
  let didChange: @Sendable () -> Void

  var now: LaneTime { start.duration(to: .now) }
}

/// Runs ``LaneStateMachine`` for one data source: forms, sends, judges and settles.
///
/// Lanes do not wait for each other.
actor Lane {
  nonisolated let id: Int64
  nonisolated let dataSource: DataSourceName
  private let dependencies: LaneDependencies
  private nonisolated let wakeup = Wakeup()
  private var machine: LaneStateMachine
  private var commandCount: Int64
  /// Grows with each change of the batches by this lane: what was read before it is stale.
  private var changeCount = 0
  /// Readings of the batches that are under way: until they have ended nobody knows whether something is left.
  private var reloadCount = 0
  /// A command, or another's work, was not taken in yet.
  private var isStale = false
  /// Answers that wait until those judged before them are written down.
  private var isSettling = false
  private var settlers = Deque<CheckedContinuation<Void, Never>>()
  private var graceEnds: ContinuousClock.Instant?
  /// Why the lane has stopped for good: the file is damaged where its ledger is.
  private(set) var damage: OutboxError?
  /// The token of the last request, in memory alone, and when it was asked for.
  private var lastToken: (token: Token, at: ContinuousClock.Instant)?

  init(_ record: LaneRecord, batches: [Batch], _ dependencies: LaneDependencies) {
    id = record.id
    dataSource = record.dataSource
    commandCount = record.commandCount
    self.dependencies = dependencies
    machine = LaneStateMachine(
      record, batches: batches, settings: dependencies.settings, now: dependencies.now, wallNow: .now)
  }

  // MARK: From the engine

  /// Sends until it is stopped and nothing is under way.
  ///
  /// A cancelled task ends what is under way.
  func run() async {
    // The group ends when every attempt has, each with its settlement written: also after a cancellation.
    await withDiscardingTaskGroup { sends in
      while !Task.isCancelled {
        if dependencies.stopping.isSet { machine.stop() }
        // Before the lane is asked: what it decides is to happen at once, for a hold, a pause or the end may come.
        let hasRoom = dependencies.budget.hasRoom(for: id, orWake: wakeup)
        switch hasRoom ? machine.next(now: dependencies.now) : .wait(until: nil) {
        case .send(let batch):
          guard await markSending(batch) else { continue }
          dependencies.budget.take(batch.byteCount, for: id)
          sends.addTask { await self.attempt(batch) }
        case .form(let limits):
          guard let batch = await form(limits) else { continue }
          dependencies.budget.take(batch.byteCount, for: id)
          sends.addTask { await self.attempt(batch) }
        case .wait(let until):
          dependencies.didChange()
          await wait(until: until)
          await probeIfTokenChanged()
          guard let graceEnds, graceEnds <= .now else { continue }
          sends.cancelAll()
          return
        case .finish:
          return
        }
      }
      machine.stop()
    }
  }

  /// Stops sending; what is under way has the grace time to be answered, then it is cancelled.
  func stop() {
    machine.stop()
    graceEnds = .now + dependencies.shutdownGrace
    wakeup.signal()
  }

  /// Takes in what the outbox says of this lane now.
  ///
  /// Returns false where it could not be read whole: it is to be told again.
  func update(_ record: LaneRecord) async -> Bool {
    if isStale || record.commandCount != commandCount { await reload() }
    if record.hasUnbatched { machine.appended() }
    wakeup.signal()
    return !isStale || damage != nil
  }

  /// Nothing is left to send, or nothing may be sent.
  var isFinished: Bool {
    damage != nil || (reloadCount == 0 && (machine.isDrained || machine.isHeldAndIdle(now: dependencies.now)))
  }

  private func wait(until: LaneTime?) async {
    let next = until.map { dependencies.start + $0 }
    await wakeup.wait(until: [next, graceEnds, nextTokenCheck].compactMap { $0 }.min())
  }

  /// When to ask for the token again: nil while the lane is not held for what the service answered.
  private var nextTokenCheck: ContinuousClock.Instant? {
    guard machine.isHeldByService, graceEnds == nil, let lastToken else { return nil }
    return lastToken.at + dependencies.settings.tokenCheckInterval
  }

  /// A hold that the service made ends on a new token.
  private func probeIfTokenChanged() async {
    guard let nextTokenCheck, nextTokenCheck <= .now, let known = lastToken?.token else { return }
    let token = try? await dependencies.tokens.token(for: dataSource)
    lastToken = (token ?? known, .now)
    if let token, token != known { machine.credentialsChanged(now: dependencies.now) }
  }

  /// Reads lane and batches anew after a command of an operator.
  ///
  /// What the lane itself is told to have changed meanwhile makes the reading stale, so that it is read again. What is
  /// committed, and the lane not told of it yet, may be in the reading.
  private func reload() async {
    isStale = true
    reloadCount += 1
    defer { reloadCount -= 1 }
    for _ in 0..<Self.maximumReloads {
      let mark = changeCount
      let id = id
      do {
        let (record, batches, sending) = try await dependencies.reader.read { snapshot in
          (try snapshot.lane(id), try snapshot.pendingBatches(of: id), try snapshot.batchesBeingSent(of: id))
        }
        guard let record else {
          _ = stop(for: SQLiteRow.damage("no data source \(id), whose events are being delivered"))
          return
        }
        guard mark == changeCount else { continue }
        machine.reload(record, batches: batches, sending: sending, now: dependencies.now, wallNow: .now)
        commandCount = record.commandCount
        isStale = false
        return
      } catch {
        if stop(for: error) { return }
        dependencies.logger.warning(
          "a lane could not be read; it is read again",
          metadata: metadata(["outbox.error": "\(error.shortDescription)"]))
        return
      }
    }
  }

  /// Readings that a busy lane may spoil in a row before the engine's next look tries again.
  private static let maximumReloads = 10

  // MARK: One request

  private func markSending(_ batch: Batch) async -> Bool {
    do {
      try await dependencies.committer.perform { try Ledger(transaction: $0).markSending(batch.id) }
      changeCount += 1
      return true
    } catch {
      if !stop(for: error) { warn("a batch could not be marked as being sent", error, batch) }
      machine.startFailed(batch.id, now: dependencies.now)
      if (error as? OutboxError)?.code == .conflict { await reload(after: batch) }
      return false
    }
  }

  private func form(_ limits: BatchLimits) async -> Batch? {
    let mark = machine.formingMark
    let id = id
    do {
      let plan = try await dependencies.reader.read { try $0.planBatch(of: id, limits: limits) }
      var batch: Batch?
      if let plan {
        batch = try await dependencies.committer.perform {
          try Ledger(transaction: $0).form([plan], of: id).first
        }
      }
      changeCount += 1
      machine.formed(batch, mark: mark, now: dependencies.now)
      return batch
    } catch {
      if !stop(for: error) { warn("a batch could not be formed", error, nil) }
      machine.formingFailed(now: dependencies.now)
      return nil
    }
  }

  private func attempt(_ batch: Batch) async {
    var held = batch.byteCount
    defer { dependencies.budget.release(held, for: id) }
    guard !isExpired(batch) else {
      // It counts as no attempt, and the log of requests says that none was made.
      let verdict = Verdict.expired
      await settle(
        batch, verdict, isCounted: false,
        Ledger.Attempt(sentBytes: 0, startedAt: .now, latency: .zero, status: nil, verdict: "expired", answer: nil))
      wakeup.signal()
      return
    }
    let startedAt = WallTime.now
    let begin = ContinuousClock.now
    do {
      let body = try await BatchBody(
        reader: dependencies.reader, compressionLevel: dependencies.compressionLevel
      ).make(batch, of: id)
      dependencies.budget.resize(from: held, to: body.readableBytes)
      held = body.readableBytes
      let (outcome, token) = await send(body)
      await settle(
        batch, outcome, token, sentBytes: body.readableBytes, startedAt: startedAt, latency: begin.duration(to: .now))
    } catch let damage as ChunkTable.Damage {
      await isolateDamage(batch, damage)
    } catch {
      if !stop(for: error) { warn("a batch could not be read", error, batch) }
      await settle(
        batch, .noAnswer(.notSent(.other)), nil, sentBytes: 0, startedAt: startedAt, latency: begin.duration(to: .now))
    }
    wakeup.signal()
  }

  /// The application wants no event sent that has waited for so long.
  private func isExpired(_ batch: Batch) -> Bool {
    guard let maximumAge = dependencies.settings.maximumAge, let committedAt = batch.committedAt else { return false }
    return WallTime.now.duration(since: committedAt) >= maximumAge
  }

  private func send(_ body: ByteBuffer) async -> (Outcome, Token?) {
    do {
      let token = try await dependencies.tokens.token(for: dataSource)
      lastToken = (token, .now)
      let request = EventsRequest(
        dataSource: dataSource, body: body, isGzip: dependencies.compressionLevel != nil, token: token)
      return (await dependencies.transport.send(request), token)
    } catch {
      // The provider's error may hold a secret: only its kind is told.
      dependencies.logger.warning(
        "the token provider failed", metadata: metadata(["outbox.error": "\(type(of: error))"]))
      return (.noAnswer(.notSent(.noToken)), nil)
    }
  }

  private func settle(
    _ batch: Batch, _ outcome: Outcome, _ token: Token?, sentBytes: Int, startedAt: WallTime, latency: Duration
  ) async {
    if case .answered(let answer) = outcome, let limit = answer.rateLimitLeft {
      machine.note(limit, answerTo: batch.id, now: dependencies.now)
    }
    let verdict = Verdict(outcome, overrides: dependencies.settings.verdictOverrides)
    await settle(
      batch, verdict,
      Ledger.Attempt(
        sentBytes: sentBytes, startedAt: startedAt, latency: latency, status: outcome.status, verdict: verdict.name,
        answer: outcome.excerpt(token: token)))
  }

  private func settle(_ batch: Batch, _ verdict: Verdict, isCounted: Bool = true, _ attempt: Ledger.Attempt) async {
    var settlement = machine.judge(
      batch.id, verdict, status: attempt.status, now: dependencies.now, fraction: .random(in: 0..<1))
    if !isCounted { settlement.isCounted = false }
    report(settlement, status: attempt.status, batch)
    // One after the other, as they were judged: what a later answer says of the lane must not be overwritten by an
    // earlier one whose commit had to be tried again.
    await waitToSettle()
    if let parts = await commit(settlement, attempt, batch) {
      changeCount += 1
      machine.settled(settlement, parts: parts)
    }
    letNextSettle()
  }

  private func waitToSettle() async {
    guard isSettling else {
      isSettling = true
      return
    }
    await withCheckedContinuation { settlers.append($0) }
  }

  private func letNextSettle() {
    if let next = settlers.popFirst() { next.resume() } else { isSettling = false }
  }

  /// An answer is never thrown away: the ledger is written as soon as it can be.
  ///
  /// Nil where another process has settled the batch, which the lock for delivery excludes unless somebody deleted the
  /// lock file.
  private func commit(_ settlement: Settlement, _ attempt: Ledger.Attempt, _ batch: Batch) async -> [Batch]? {
    var failures = 0
    while true {
      do {
        return try await dependencies.committer.perform {
          try Ledger(transaction: $0).settle(settlement, attempt: attempt)
        }
      } catch let error as OutboxError where error.code == .conflict || error.code == .closed {
        warn("an answer could not be written down; the ledger says what is to be done", error, batch)
        machine.abandoned(batch.id)
        await reload()
        return nil
      } catch {
        guard !stop(for: error) else {
          // The ledger still says that it is being sent: the next start takes it for maybe inserted.
          machine.abandoned(batch.id)
          return nil
        }
        warn("an answer could not be written down; it is tried again", error, batch)
        failures += 1
        let delay = dependencies.settings.retryPolicy.delay(failures: failures, fraction: .random(in: 0..<1))
        // In a task of its own, which a cancellation of this one does not reach: so it does not throw either.
        await Task { try? await Task.sleep(for: min(delay, .seconds(5))) }.value
      }
    }
  }

  /// What cannot be read is set apart, and everything else of the batch goes on.
  private func isolateDamage(_ batch: Batch, _ damage: ChunkTable.Damage) async {
    dependencies.logger.error(
      "a chunk is damaged; its events are set apart and the bytes are kept",
      metadata: metadata([
        "outbox.batch": "\(batch.id)", "outbox.first": "\(damage.sequences.lowerBound)",
        "outbox.last": "\(damage.sequences.upperBound)", "outbox.damage": "\(damage.what)",
      ]))
    let lost = damage.sequences.clamped(to: batch.sequences)
    let id = id
    do {
      try await dependencies.committer.perform {
        try Ledger(transaction: $0).setDamagedApart(batch.id, lost, of: id)
      }
      machine.abandoned(batch.id)
      changeCount += 1
      await reload()
    } catch {
      if !stop(for: error) { warn("damaged events could not be set apart", error, batch) }
      machine.startFailed(batch.id, now: dependencies.now)
      await reload(after: batch)
    }
  }

  /// Reads the ledger anew after it had something else to say of a batch.
  ///
  /// Where it still lists that one, it contradicts itself: to try again at once would go round in a circle.
  private func reload(after batch: Batch) async {
    await reload()
    machine.startFailed(batch.id, now: dependencies.now)
  }

  /// A damaged ledger does not heal, and to send on without it would send the same again and again.
  ///
  /// Returns whether that is the error. The other lanes go on.
  private func stop(for error: any Error) -> Bool {
    guard let error = error as? OutboxError, error.code == .damaged else { return false }
    if damage == nil {
      dependencies.logger.error(
        "delivery of a data source has stopped, because the outbox file is damaged; see `outbox doctor`",
        metadata: metadata(["outbox.error": "\(error.message)"]))
    }
    damage = error
    machine.stop()
    dependencies.didChange()
    return true
  }

  // MARK: Telling

  private func report(_ settlement: Settlement, status: Int?, _ batch: Batch) {
    if case .delivered(let counts) = settlement.change, let warning = counts.warning(sent: batch.eventCount) {
      dependencies.logger.warning(
        "a delivered batch is to be looked at; see `outbox status`, then `outbox acknowledge`",
        metadata: metadata([
          "outbox.warning": "\(warning.rawValue)", "outbox.quarantined": "\(counts.quarantined ?? 0)",
          "outbox.batch": "\(batch.id)",
        ]))
    }
    if case .backOff(let failures, _) = settlement.lane, failures == dependencies.settings.retryPolicy.burstAttempts {
      dependencies.logger.warning(
        "the service does not take events; it is probed until it is back",
        metadata: metadata(["outbox.status": "\(status ?? 0)", "outbox.batch": "\(batch.id)"]))
    }
    guard case .hold(let kind, _) = settlement.lane else { return }
    dependencies.logger.warning(
      "delivery of a data source is held; see `outbox status`, then `outbox resume`",
      metadata: metadata([
        "outbox.hold": "\(kind.rawValue)", "outbox.status": "\(status ?? 0)", "outbox.batch": "\(batch.id)",
      ]))
  }

  private func warn(_ message: Logger.Message, _ error: any Error, _ batch: Batch?) {
    let code = (error as? OutboxError)?.shortDescription ?? "\(type(of: error))"
    dependencies.logger.warning(
      message, metadata: metadata(["outbox.error": "\(code)", "outbox.batch": "\(batch?.id ?? 0)"]))
  }

  private func metadata(_ more: Logger.Metadata) -> Logger.Metadata {
    more.merging(["outbox.data_source": "\(dataSource)"]) { own, _ in own }
  }
}

extension Outcome {
  var status: Int? {
    if case .answered(let answer) = self { answer.status } else { nil }
  }

  /// What of the answer is kept: an excerpt of the body, or the name of the fault.
  func excerpt(token: Token?) -> String? {
    switch self {
    case .answered(let answer): Redaction.excerpt(answer.body, token: token)
    case .noAnswer(.notSent(let fault)), .noAnswer(.unknown(let fault)): "no answer: \(fault.rawValue)"
    case .noAnswer(.notProcessed): "no answer: stream refused"
    case .noAnswer(.cancelled): "no answer: cancelled by our own shutdown"
    }
  }
}
