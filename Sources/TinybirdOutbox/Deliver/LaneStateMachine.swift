/// One lane: what to send next, and what an answer means for batch and lane. Pure: no clock, no socket, no store.
///
/// ``Condition`` has these transitions:
/// - open → backingOff (a failure), held (a verdict or an operator)
/// - backingOff → probing (the wait is over: one request finds out), open (a success of a request still under way), held
/// - probing → open (any answer that shows a healthy service), backingOff (a further failure), held
/// - held → open (an operator, a new token or base URL, or a probe that was delivered)
struct LaneStateMachine {
  enum Condition: Equatable {
    case open
    case backingOff(until: LaneTime)
    case probing
    /// `probeAt` is nil where only an operator can end the hold.
    case held(LaneRecord.Hold, probeAt: LaneTime?)
  }

  enum Action: Equatable {
    /// Note in the ledger that the batch is being sent, then send it.
    case send(Batch)
    /// Form the next batch within the limits, and send it.
    case form(BatchLimits)
    /// Nothing until then, or until something happens.
    case wait(until: LaneTime?)
    /// Stopped, and nothing is under way.
    case finish
  }

  private(set) var condition: Condition
  /// Failures of the lane in a row.
  private(set) var failures: Int
  var queue: LaneQueue
  let settings: LaneSettings

  private var pacer: RatePacer
  private var mayHaveUnbatched: Bool
  private var appendCount = 0
  private var isForming = false
  private var isStopping = false
  private var pausesInRow = 0
  private var unacknowledgedInRow = 0
  private var refusalsInRow = 0
  private var lastProbeWasOldest = false

  /// A lane as the outbox stores it. Stored waits are capped, so that a clock that was set back cannot stop a lane.
  init(_ record: LaneRecord, batches: [Batch], settings: LaneSettings, now: LaneTime, wallNow: WallTime) {
    self.settings = settings
    failures = record.failures
    pacer = RatePacer(limits: settings.rateLimits)
    mayHaveUnbatched = record.hasUnbatched
    queue = LaneQueue()
    condition = .open
    reload(record, batches: batches, now: now, wallNow: wallNow)
  }

  // MARK: What to do next

  mutating func next(now: LaneTime) -> Action {
    if isStopping { return queue.isAnyUnderWay || isForming ? .wait(until: nil) : .finish }
    switch condition {
    case .held(_, let probeAt):
      guard let probeAt, !queue.isAnyUnderWay, !isForming, hasWork else { return .wait(until: nil) }
      guard probeAt <= now else { return .wait(until: probeAt) }
      return start(queue.smallestWaiting(now: now), else: settings.probeLimits, now: now)
    case .backingOff(let until):
      guard until <= now else { return .wait(until: until) }
      guard hasWork else { return .wait(until: nil) }
      return probe(now: now)
    case .probing:
      return .wait(until: nil)
    case .open:
      guard queue.underWayCount + (isForming ? 1 : 0) < settings.maximumInFlight else { return .wait(until: nil) }
      return start(queue.nextWaiting(now: now, isStrict: settings.isStrict), else: settings.limits, now: now)
    }
  }

  /// Whether every event of the lane is settled, as far as it knows.
  var isDrained: Bool { !hasWork && !queue.isAnyUnderWay && !isForming }

  /// Whether the lane is held, with no answer outstanding.
  var isHeldAndIdle: Bool { isHeld && !queue.isAnyUnderWay && !isForming }

  fileprivate var isHeld: Bool {
    if case .held = condition { true } else { false }
  }

  private var hasWork: Bool { mayHaveUnbatched || queue.isAnyWaiting }

  private mutating func start(_ batch: Batch?, else limits: BatchLimits, now: LaneTime) -> Action {
    let mayForm = mayHaveUnbatched && !isForming && !(settings.isStrict && queue.isAnyWaiting)
    guard batch != nil || mayForm else { return .wait(until: queue.nextMoment(after: now)) }
    if let later = pacer.nextStart(now: now) { return .wait(until: later) }
    guard let batch else {
      isForming = true
      return .form(limits)
    }
    pacer.charge(byteCount: batch.byteCount)
    queue.start(batch.id)
    return .send(batch)
  }

  /// In turn the oldest batch and the next not yet tried, so that one poisoned batch cannot hide a healthy service.
  private mutating func probe(now: LaneTime) -> Action {
    let oldest = queue.nextWaiting(now: now, isStrict: settings.isStrict)
    let untried = queue.firstUntried(now: now)
    let wantsUntried = lastProbeWasOldest && !settings.isStrict && (untried != nil || mayHaveUnbatched)
    let action = start(wantsUntried ? untried : oldest, else: settings.probeLimits, now: now)
    if case .wait = action { return action }
    lastProbeWasOldest = !wantsUntried
    condition = .probing
    return action
  }

  // MARK: What happened

  /// Events were appended, by this or another process.
  mutating func appended() {
    mayHaveUnbatched = true
    appendCount += 1
  }

  /// A mark to hand back to ``formed(_:mark:)``: appends after it are not forgotten.
  var formingMark: Int { appendCount }

  /// The batch that ``Action/form(_:)`` asked for, now being sent; nil where there was nothing to form.
  mutating func formed(_ batch: Batch?, mark: Int) {
    isForming = false
    guard let batch else {
      if mark == appendCount { mayHaveUnbatched = false }
      if case .probing = condition { condition = .backingOff(until: .zero) }
      return
    }
    pacer.charge(byteCount: batch.byteCount)
    queue.insert(batch, notBefore: nil)
    queue.start(batch.id)
  }

  /// The ledger could not be written: the batch waits, and was not sent.
  mutating func startFailed(_ id: Batch.ID, now: LaneTime) {
    queue.postpone(id, notBefore: now + settings.retryPolicy.firstDelay)
    if case .probing = condition { condition = .backingOff(until: now + settings.retryPolicy.firstDelay) }
  }

  /// The same for a batch that could not be formed.
  mutating func formingFailed(now: LaneTime) {
    isForming = false
    condition = .backingOff(until: now + settings.retryPolicy.firstDelay)
  }

  /// The settlement of a batch is committed; `parts` take its place if it was split.
  mutating func settled(_ settlement: Settlement, parts: [Batch]) {
    switch settlement.change {
    case .delivered, .dead: queue.remove(settlement.batch)
    case .split:
      queue.remove(settlement.batch)
      for part in parts { queue.insert(part, notBefore: nil) }
    case .pending:
      queue.finishAttempt(settlement)
    }
  }

  /// The batch is not in the ledger any more: others take its place.
  mutating func abandoned(_ id: Batch.ID) {
    queue.remove(id)
    answered()
  }

  /// An operator's command changed the lane, or its batches.
  mutating func reload(_ record: LaneRecord, batches: [Batch], now: LaneTime, wallNow: WallTime) {
    func moment(_ time: WallTime) -> LaneTime {
      let wait = Duration.milliseconds(time.milliseconds - wallNow.milliseconds)
      return now + min(max(.zero, wait), settings.retryPolicy.maximumDelay)
    }
    queue.synchronise(with: batches) { $0.nextAttemptAt.map(moment) }
    mayHaveUnbatched = record.hasUnbatched
    failures = record.failures
    refusalsInRow = 0
    unacknowledgedInRow = 0
    if let hold = record.hold {
      condition = .held(hold, probeAt: probeMoment(hold, now: now))
    } else if let retryAt = record.retryAt {
      condition = .backingOff(until: moment(retryAt))
    } else {
      condition = failures == 0 ? .open : .backingOff(until: now)
    }
  }

  /// No new requests; those under way may end.
  mutating func stop() { isStopping = true }

  private func probeMoment(_ hold: LaneRecord.Hold, now: LaneTime) -> LaneTime? {
    hold.kind == .byOperator ? nil : now + settings.holdProbeInterval
  }
}

// MARK: - What an answer means

extension LaneStateMachine {
  /// Turns a verdict on a batch that is under way into what the ledger is to record. `fraction` is random in 0..<1.
  mutating func judge(
    _ id: Batch.ID, _ verdict: Verdict, status: Int?, now: LaneTime, fraction: Double
  ) -> Settlement {
    var settlement = Settlement(
      batch: id, change: .pending(retryAfter: nil), lane: .none, inserted: verdict.inserted, isCounted: true)
    let batch = queue.underWay(id)
    switch verdict.kind {
    case .delivered(let counts):
      settlement.change = .delivered(counts)
      settlement.lane = succeed()
    case .retry(let after):
      fail(id, after: after, now: now, fraction, &settlement)
    case .pause(let after):
      pause(after: after, now: now, fraction, &settlement)
    case .retryAtOnce:
      if queue.countImmediateRetry(id) <= settings.maximumImmediateRetries {
        settlement.isCounted = false
        answered()
      } else {
        fail(id, after: nil, now: now, fraction, &settlement)
      }
    case .unacknowledged:
      unacknowledgedInRow += 1
      if unacknowledgedInRow > settings.maximumUnacknowledged {
        hold(.waitNotHonoured, status, now: now, &settlement)
      } else {
        fail(id, after: nil, now: now, fraction, &settlement)
      }
    case .isolate:
      isolate(batch, status, now: now, &settlement)
    case .split:
      settlement.change = (batch?.eventCount ?? 1) > 1 ? .split : .dead(.tooLarge)
      answered()
    case .deadLetter(let reason):
      settlement.change = .dead(reason)
      answered()
    case .deadLetterAndHold(let kind):
      if !isHeld { settlement.change = .dead(.requestRefused) }
      hold(kind, status, now: now, &settlement)
    case .hold(let kind):
      hold(kind, status, now: now, &settlement)
    case .none:
      settlement.isCounted = false
    }
    return settlement
  }

  private mutating func succeed() -> LaneChange {
    failures = 0
    pausesInRow = 0
    unacknowledgedInRow = 0
    refusalsInRow = 0
    queue.noteSuccess()
    if case .held(let hold, _) = condition, hold.kind == .byOperator { return .open }
    condition = .open
    return .open
  }

  /// The service is there and looks at what it gets, even though it did not take this.
  fileprivate mutating func answered() {
    if case .probing = condition { condition = failures == 0 ? .open : .backingOff(until: .zero) }
  }

  private mutating func fail(
    _ id: Batch.ID, after: Duration?, now: LaneTime, _ fraction: Double, _ settlement: inout Settlement
  ) {
    if case .held(let hold, _) = condition {
      condition = .held(hold, probeAt: probeMoment(hold, now: now))
      return
    }
    // Others were delivered since it last failed: this batch is to blame, not the service. It is parked, alone.
    if let ownFailures = queue.noteFailure(id), !settings.isStrict {
      let delay = capped(after) ?? settings.retryPolicy.delay(failures: ownFailures, fraction: fraction)
      queue.delay(id, until: now + delay)
      settlement.change = .pending(retryAfter: delay)
      answered()
      return
    }
    // Requests that were under way together fail together: that is one failure of the lane.
    if case .backingOff = condition { return }
    failures += 1
    let delay = capped(after) ?? settings.retryPolicy.delay(failures: failures, fraction: fraction)
    condition = .backingOff(until: now + delay)
    queue.delay(id, until: now + delay)
    settlement.change = .pending(retryAfter: delay)
    settlement.lane = .backOff(failures: failures, delay: delay)
  }

  private mutating func pause(
    after: Duration?, now: LaneTime, _ fraction: Double, _ settlement: inout Settlement
  ) {
    settlement.isCounted = false
    if case .held = condition { return }
    if case .backingOff = condition, after == nil { return }
    pausesInRow += 1
    let delay = capped(after) ?? settings.retryPolicy.delay(failures: pausesInRow, fraction: fraction)
    condition = .backingOff(until: now + delay)
    settlement.lane = .backOff(failures: failures, delay: delay)
  }

  private mutating func isolate(
    _ batch: Batch?, _ status: Int?, now: LaneTime, _ settlement: inout Settlement
  ) {
    let eventCount = batch?.eventCount ?? 1
    if eventCount > 1 || batch?.isIsolating == true { refusalsInRow += 1 }
    if refusalsInRow >= settings.maximumRefusalsInRow {
      hold(.everyEventRefused, status, now: now, &settlement)
      return
    }
    settlement.change = eventCount > 1 ? .split : .dead(.refused)
    answered()
  }

  /// A lane that is held already stays held for its first reason.
  private mutating func hold(
    _ kind: HoldKind, _ status: Int?, now: LaneTime, _ settlement: inout Settlement
  ) {
    if case .held(let hold, _) = condition {
      condition = .held(hold, probeAt: probeMoment(hold, now: now))
      return
    }
    let hold = LaneRecord.Hold(kind: kind, status: status)
    condition = .held(hold, probeAt: probeMoment(hold, now: now))
    settlement.lane = .hold(kind, status: status)
  }

  /// No answer may stop a lane for longer than the longest wait.
  private func capped(_ after: Duration?) -> Duration? {
    after.map { min(max(.zero, $0), settings.retryPolicy.maximumDelay) }
  }
}
