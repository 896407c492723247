/// One lane: what to send next, and what an answer means for batch and lane.
///
/// Pure: no clock, no socket, no store.
///
/// ``Condition`` has these transitions:
/// - open → backingOff (a failure), held (a verdict or an operator)
/// - backingOff → probing (the wait is over: one request finds out), open (a success of a request still under way, unless
///   the service asked for the wait), held
/// - probing → open (a success), backingOff (a further failure; or an answer that refuses the batch alone, and then the
///   next probe goes out at once), held
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
  /// Until then the service asked to be left alone: no success of a request that is still under way cuts it short.
  private var pausedUntil = LaneTime.zero
  private var unacknowledgedInRow = 0
  private var refusalsInRow = 0
  private var isolationsInRow = 0
  private var lastProbeWasOldest = false
  /// Nil before the first probe of a hold in this process.
  private var lastHoldProbeWasNew: Bool?
  /// Whether the hold was probed.
  ///
  /// A probe starts when nothing else is under way, so that every answer from then on is to a request that was sent
  /// after the hold began.
  private var hasProbedHold = false
  /// What answers did to the lane that the ledger does not say yet, in their order.
  private var unsettled: [(batch: Batch.ID, change: LaneChange, at: LaneTime)] = []

  /// A lane as the outbox stores it.
  ///
  /// Stored waits are capped, so that a clock that was set back cannot stop a lane.
  init(_ record: LaneRecord, batches: [Batch], settings: LaneSettings, now: LaneTime, wallNow: WallTime) {
    self.settings = settings
    failures = record.failures
    pacer = RatePacer(limits: settings.rateLimits)
    mayHaveUnbatched = record.hasUnbatched
    queue = LaneQueue()
    condition = .open
    reload(record, batches: batches, sending: [], now: now, wallNow: wallNow)
    // A program is often started anew because its token or base URL was wrong: one small batch finds out.
    credentialsChanged(now: now)
  }

  // MARK: What to do next

  mutating func next(now: LaneTime) -> Action {
    if isStopping { return queue.isAnyUnderWay || isForming ? .wait(until: nil) : .finish }
    switch condition {
    case .held(_, let probeAt):
      guard let probeAt, !queue.isAnyUnderWay, !isForming, hasWork else { return .wait(until: nil) }
      return probeHold(at: max(probeAt, pausedUntil), now: now)
    case .backingOff(let until):
      guard until <= now else { return .wait(until: until) }
      // What failed is under way until it is settled: under strict order a probe must not overtake it.
      guard hasWork, hasFreeRequest else { return .wait(until: nil) }
      return probe(now: now)
    case .probing:
      return .wait(until: nil)
    case .open:
      guard hasFreeRequest else { return .wait(until: nil) }
      let batch = queue.nextWaiting(now: now, isStrict: settings.isStrict, partFrom: placeOfNextPart)
      return start(batch, else: settings.limits, now: now)
    }
  }

  /// Refused neighbours look as if every event was refused: after ten in a row, parts all over the batch tell.
  ///
  /// Multiples of the golden section leave no gap: each place is far from those before it.
  private var placeOfNextPart: Double {
    guard refusalsInRow >= settings.maximumRefusalsInRow / 2 else { return 0 }
    return (Double(refusalsInRow) * 0.381_966).truncatingRemainder(dividingBy: 1)
  }

  /// Whether every event of the lane is settled, as far as it knows.
  var isDrained: Bool { !hasWork && !queue.isAnyUnderWay && !isForming }

  /// Whether the lane is held, with no answer outstanding and no probe due.
  func isHeldAndIdle(now: LaneTime) -> Bool {
    guard case .held(_, let probeAt) = condition, !queue.isAnyUnderWay, !isForming else { return false }
    guard let probeAt, hasWork else { return true }
    return probeAt > now
  }

  /// Whether the lane is held for what the service answered.
  var isHeldByService: Bool {
    if case .held(_, .some) = condition { true } else { false }
  }

  fileprivate var isHeld: Bool {
    if case .held = condition { true } else { false }
  }

  private func isHeld(for kind: HoldKind) -> Bool {
    if case .held(let hold, _) = condition { hold.kind == kind } else { false }
  }

  private var hasWork: Bool { mayHaveUnbatched || queue.isAnyWaiting }

  private var hasFreeRequest: Bool { queue.underWayCount + (isForming ? 1 : 0) < settings.maximumInFlight }

  private mutating func start(_ batch: Batch?, else limits: BatchLimits, now: LaneTime) -> Action {
    let mayForm = mayHaveUnbatched && !isForming && !(settings.isStrict && queue.isAnyWaiting)
    guard batch != nil || mayForm else { return .wait(until: queue.nextMoment(after: now)) }
    let least = Int(min(Double(limits.maximumBytes), pacer.leastRoom(now: now)))
    if let later = pacer.nextStart(byteCount: batch?.byteCount ?? least, now: now) { return .wait(until: later) }
    guard let batch else {
      isForming = true
      var limits = limits
      limits.maximumBytes = Int(min(Double(limits.maximumBytes), pacer.room(now: now)))
      return .form(limits)
    }
    start(batch, now: now)
    return .send(batch)
  }

  private mutating func start(_ batch: Batch, now: LaneTime) {
    queue.start(batch.id, number: pacer.charge(byteCount: batch.byteCount, now: now))
  }

  /// In turn the oldest batch and the next not yet tried, or else the others one after the other, so that one poisoned
  /// batch cannot hide a healthy service.
  private mutating func probe(now: LaneTime) -> Action {
    let oldest = queue.nextWaiting(now: now, isStrict: settings.isStrict)
    let untried = queue.firstUntried(now: now)
    let other = mayHaveUnbatched ? untried : untried ?? queue.leastProbed(besides: oldest?.id, now: now)
    let wantsOther = lastProbeWasOldest && !settings.isStrict && (other != nil || mayHaveUnbatched)
    let action = start(wantsOther ? other : oldest, else: settings.probeLimits, now: now)
    if case .wait = action { return action }
    if case .send(let batch) = action { queue.noteProbe(batch.id) }
    lastProbeWasOldest = !wantsOther
    condition = .probing
    return action
  }

  /// A small batch, so that little is at stake, in turn with a new one, for what waits may be refused whatever becomes of
  /// the service; under strict order the first, which nothing may overtake.
  private mutating func probeHold(at moment: LaneTime, now: LaneTime) -> Action {
    guard moment <= now else { return .wait(until: moment) }
    let batch =
      settings.isStrict ? queue.nextWaiting(now: now, isStrict: true) : queue.smallestWaiting(now: now)
    // A process that is started anew probes first: what was tried again and again has told all it knows.
    let isNewsTurn = lastHoldProbeWasNew.map { !$0 } ?? (batch.map { $0.attempts > 1 } ?? true)
    let wantsNew = isNewsTurn && mayHaveUnbatched && !settings.isStrict
    let action = start(wantsNew ? nil : batch, else: settings.probeLimits, now: now)
    if case .wait = action { return action }
    hasProbedHold = true
    lastHoldProbeWasNew = wantsNew || batch == nil
    if case .send(let probe) = action { queue.noteProbe(probe.id) }
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
  mutating func formed(_ batch: Batch?, mark: Int, now: LaneTime) {
    isForming = false
    guard let batch else {
      if mark == appendCount { mayHaveUnbatched = false }
      if case .probing = condition { condition = .backingOff(until: .zero) }
      return
    }
    queue.insert(batch, notBefore: nil)
    if isHeld { queue.noteProbe(batch.id) }
    start(batch, now: now)
  }

  /// The ledger could not be written: the batch waits, and was not sent.
  mutating func startFailed(_ id: Batch.ID, now: LaneTime) {
    queue.postpone(id, notBefore: now + settings.retryPolicy.firstDelay)
    probeLater(now: now)
  }

  /// The same for a batch that could not be formed.
  mutating func formingFailed(now: LaneTime) {
    isForming = false
    if condition == .open { condition = .backingOff(until: now) }
    probeLater(now: now)
  }

  /// A probe told nothing of the service: the next one is a moment away, and not before what was to be waited for.
  private mutating func probeLater(now: LaneTime) {
    let moment = now + settings.retryPolicy.firstDelay
    switch condition {
    case .open: break
    case .probing: condition = .backingOff(until: moment)
    case .backingOff(let until): condition = .backingOff(until: max(until, moment))
    case .held(let hold, let probeAt): condition = .held(hold, probeAt: probeAt.map { max($0, moment) })
    }
  }

  /// The settlement of a batch is committed; `parts` take its place if it was split.
  mutating func settled(_ settlement: Settlement, parts: [Batch]) {
    // The ledger has a later word now than that of the answers before this one.
    if let index = unsettled.firstIndex(where: { $0.batch == settlement.batch }) { unsettled.removeSubrange(...index) }
    switch settlement.change {
    case .delivered: queue.removeDelivered(settlement.batch)
    case .dead: queue.remove(settlement.batch)
    case .split:
      queue.remove(settlement.batch)
      for part in parts { queue.insert(part, notBefore: nil) }
    case .pending:
      queue.finishAttempt(settlement)
    }
  }

  /// The batch is not in the ledger any more: others take its place.
  mutating func abandoned(_ id: Batch.ID) {
    unsettled.removeAll { $0.batch == id }
    queue.remove(id)
    answered()
  }

  /// An operator's command changed the lane, or its batches.
  ///
  /// `sending` are those of the batches whose answer the ledger does not have.
  mutating func reload(
    _ record: LaneRecord, batches: [Batch], sending: Set<Batch.ID>, now: LaneTime, wallNow: WallTime
  ) {
    func moment(_ time: WallTime) -> LaneTime {
      now + min(max(.zero, time.duration(since: wallNow)), settings.retryPolicy.maximumDelay)
    }
    // An answer that the ledger has, and the lane was not told so yet, may have been overtaken by the command.
    if let last = unsettled.lastIndex(where: { !sending.contains($0.batch) }) { unsettled.removeSubrange(...last) }
    queue.synchronise(with: batches) { $0.nextAttemptAt.map(moment) }
    // What was appended since the record was read must not be forgotten; forming a batch finds out.
    mayHaveUnbatched = mayHaveUnbatched || record.hasUnbatched
    failures = record.failures
    if record.retryAt == nil, unsettled.isEmpty { pausedUntil = .zero }
    unacknowledgedInRow = 0
    isolationsInRow = 0
    if let hold = record.hold {
      condition = .held(hold, probeAt: probeMoment(hold, now: now))
    } else if let retryAt = record.retryAt {
      condition = .backingOff(until: moment(retryAt))
    } else {
      condition = failures == 0 ? .open : .backingOff(until: now)
    }
    for (_, change, moment) in unsettled { apply(change, at: moment) }
    refusalsInRow = 0
  }

  /// An answer that came before the record was read, and is written down after it, still counts.
  private mutating func apply(_ change: LaneChange, at moment: LaneTime) {
    switch change {
    case .none: break
    case .open:
      failures = 0
      if !isHeld(for: .byOperator) { condition = .open }
    case .backOff(let count, let delay):
      failures = count
      if !isHeld { condition = .backingOff(until: moment + delay) }
    case .hold(let kind, let status):
      if !isHeld { hold(kind, status, now: moment) }
    }
  }

  /// Token or base URL may be others now: a lane that the service made us hold is probed at once.
  mutating func credentialsChanged(now: LaneTime) {
    if case .held(let hold, .some) = condition { condition = .held(hold, probeAt: now) }
  }

  /// No new requests; those under way may end.
  mutating func stop() { isStopping = true }

  private func probeMoment(_ hold: LaneRecord.Hold, now: LaneTime) -> LaneTime? {
    hold.kind == .byOperator ? nil : now + settings.holdProbeInterval
  }
}

// MARK: - What an answer means

extension LaneStateMachine {
  /// The service said how many more requests it takes until its window ends.
  mutating func note(_ limit: RateLimitLeft, answerTo id: Batch.ID, now: LaneTime) {
    guard let number = queue.startNumber(id) else { return }
    pacer.note(
      remaining: limit.requests, until: now + min(limit.reset, settings.retryPolicy.maximumDelay), answerTo: number,
      now: now)
  }

  /// Turns a verdict on a batch that is under way into what the ledger is to record.
  ///
  /// `fraction` is random in 0..<1.
  mutating func judge(
    _ id: Batch.ID, _ verdict: Verdict, status: Int?, now: LaneTime, fraction: Double
  ) -> Settlement {
    var settlement = Settlement(
      batch: id, change: .pending(retryAfter: nil), lane: .none, inserted: verdict.inserted, isCounted: true)
    // An answer to nothing that was asked settles nothing; but rows that came so are there, and are sent once more.
    guard let batch = queue.underWay(id) else {
      if verdict.inserted == .yes { settlement.inserted = .maybe }
      return settlement
    }
    let wasHeld = isHeld
    switch verdict.kind {
    case .delivered(let counts):
      settlement.change = .delivered(counts)
      settlement.lane = succeed(now: now)
    case .retry(let after):
      fail(batch, status, after: after, now: now, fraction, &settlement)
    case .pause(let after):
      pause(after: after, now: now, fraction, &settlement)
    case .retryAtOnce:
      if queue.countImmediateRetry(id) <= settings.maximumImmediateRetries {
        settlement.isCounted = false
        answered()
        return settlement
      }
      fail(batch, status, after: nil, now: now, fraction, &settlement)
    case .unacknowledged:
      unacknowledgedInRow += 1
      if unacknowledgedInRow > settings.maximumUnacknowledged {
        hold(.waitNotHonoured, status, now: now, &settlement)
      } else {
        fail(batch, status, after: nil, now: now, fraction, &settlement)
      }
    case .isolate:
      isolate(batch, status, .refused, now: now, &settlement)
    case .split where isHeld && !isHeld(for: .everyEventRefused):
      // The probe of another hold: one at a time, and each says something of its own size alone.
      settlement.change = batch.eventCount > 1 ? .split : .dead(.tooLarge)
      answered()
    case .split:
      isolate(batch, status, .tooLarge, now: now, &settlement)
    case .deadLetter(.expired):
      // Nothing was asked: a probe of a hold is still due.
      settlement.change = .dead(.expired)
      answered()
      return settlement
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
      probeLater(now: now)
    }
    // Whatever else a probe of a hold is told, the next one is an interval away.
    if wasHeld, case .held(let hold, _) = condition {
      condition = .held(hold, probeAt: probeMoment(hold, now: now))
    }
    if settlement.lane != .none { unsettled.append((id, settlement.lane, now)) }
    return settlement
  }

  private mutating func succeed(now: LaneTime) -> LaneChange {
    if settings.retryPolicy.isOutage(failures: failures) { pacer.outageEnded(now: now) }
    failures = 0
    pausesInRow = 0
    unacknowledgedInRow = 0
    refusalsInRow = 0
    isolationsInRow = 0
    queue.noteSuccess()
    let wasHeld = isHeld
    if case .held(let hold, _) = condition, !isDisproved(hold) { return .none }
    let isPaused = pausedUntil > now
    condition = isPaused ? .backingOff(until: pausedUntil) : .open
    return isPaused && !wasHeld ? .backOff(failures: 0, delay: pausedUntil - now) : .open
  }

  /// Whether a delivery just now shows that the reason of a hold is gone.
  ///
  /// A request that was under way when the hold began says nothing about a token, a host or a redirect; but that not
  /// every event is refused, it does.
  private func isDisproved(_ hold: LaneRecord.Hold) -> Bool {
    switch hold.kind {
    case .byOperator: false
    case .everyEventRefused: true
    case .unauthorized, .workspaceNotFound, .redirected, .notTheEventsAPI, .waitNotHonoured, .unexpectedStatus:
      hasProbedHold
    }
  }

  /// The service is there and looks at what it gets, even though it did not take this.
  fileprivate mutating func answered() {
    if case .probing = condition { condition = failures == 0 ? .open : .backingOff(until: .zero) }
  }

  private mutating func fail(
    _ batch: Batch, _ status: Int?, after: Duration?, now: LaneTime, _ fraction: Double, _ settlement: inout Settlement
  ) {
    // The parts of a batch count their own attempts: those before were not the fault of all of them.
    let attempts = batch.isolation == .none ? batch.attempts : queue.attemptsHere(batch.id)
    let isLast = settings.maximumAttempts.map { attempts + 1 >= $0 } ?? false
    if isHeld {
      if isLast { settlement.change = .dead(.attemptsExhausted) }
      return
    }
    // Others were delivered since it last failed: this batch is to blame, not the service. It is parked, alone.
    let ownFailures = queue.noteFailure(batch.id, isServiceWell: failures == 0 && condition == .open)
    if batch.isolation == .onDemand, let status, 500..<600 ~= status, status != 503,
      isolateFailing(batch, ownFailures: ownFailures ?? 0, after: after, now: now, &settlement)
    {
      return
    }
    func change(_ delay: Duration) -> BatchChange {
      queue.delay(batch.id, until: now + delay)
      return isLast ? .dead(.attemptsExhausted) : .pending(retryAfter: delay)
    }
    if let ownFailures, !settings.isStrict {
      settlement.change = change(
        asked(after) ?? settings.retryPolicy.delay(failures: ownFailures, fraction: fraction))
      answered()
      return
    }
    if isLast { settlement.change = .dead(.attemptsExhausted) }
    // Requests that were under way together fail together: that is one failure of the lane.
    let isFirst = !isBackingOff
    if isFirst { failures += 1 }
    let own = isFirst ? settings.retryPolicy.delay(failures: failures, fraction: fraction) : nil
    guard let delay = asked(after) ?? own else { return }
    settlement.change = change(delay)
    backOff(for: delay, isAsked: asked(after) != nil, now: now, &settlement)
  }

  /// A batch that an operator wants isolated is halved by each failure of the service, a few times in a row.
  ///
  /// An event that is alone dies after three failures while others were delivered; under strict order, where nothing can
  /// pass it, after a whole burst. Returns false where it is a failure like any other.
  private mutating func isolateFailing(
    _ batch: Batch, ownFailures: Int, after: Duration?, now: LaneTime, _ settlement: inout Settlement
  ) -> Bool {
    // As far as can be told the service is away.
    guard isolationsInRow < settings.maximumRefusalsInRow else { return false }
    let isToBlame =
      settings.isStrict
      ? queue.attemptsHere(batch.id) + 1 >= settings.retryPolicy.burstAttempts : ownFailures >= Self.failuresToBlame
    guard batch.eventCount > 1 || isToBlame else { return false }
    isolationsInRow += 1
    settlement.change = batch.eventCount > 1 ? .split : .dead(.isolated)
    if let wait = asked(after) {
      backOff(for: wait, isAsked: true, now: now, &settlement)
    } else {
      answered()
    }
    return true
  }

  private static let failuresToBlame = 3

  /// 429: as a failure of the lane, but nobody's fault.
  private mutating func pause(
    after: Duration?, now: LaneTime, _ fraction: Double, _ settlement: inout Settlement
  ) {
    settlement.isCounted = false
    let isFirst = !isBackingOff
    if isFirst { pausesInRow += 1 }
    let own = isFirst ? settings.retryPolicy.delay(failures: pausesInRow, fraction: fraction) : nil
    guard let delay = asked(after) ?? own else { return }
    backOff(for: delay, isAsked: true, now: now, &settlement)
  }

  /// Of waits that overlap the longer one counts.
  ///
  /// A lane that is held stays held.
  private mutating func backOff(
    for delay: Duration, isAsked: Bool, now: LaneTime, _ settlement: inout Settlement
  ) {
    var until = now + delay
    if isAsked { pausedUntil = max(pausedUntil, until) }
    if isHeld { return }
    if case .backingOff(let other) = condition { until = max(until, other) }
    condition = .backingOff(until: until)
    settlement.lane = .backOff(failures: failures, delay: until - now)
  }

  private var isBackingOff: Bool {
    if case .backingOff = condition { true } else { false }
  }

  private mutating func isolate(
    _ batch: Batch, _ status: Int?, _ reason: DeadReason, now: LaneTime, _ settlement: inout Settlement
  ) {
    if batch.isolation != .none { refusalsInRow += 1 }
    let maximumInRow =
      batch.isolation == .refusedInPart
      ? settings.maximumRefusalsBesideDelivered : settings.maximumRefusalsInRow
    if refusalsInRow >= maximumInRow || isHeld(for: .everyEventRefused) {
      // A probe is halved too, so that others can find the events that are not refused; but nothing more is buried.
      if isHeld, batch.eventCount > 1 { settlement.change = .split }
      hold(.everyEventRefused, status, now: now, &settlement)
      return
    }
    settlement.change = batch.eventCount > 1 ? .split : .dead(reason)
    answered()
  }

  /// A lane that is held already stays held for its first reason.
  private mutating func hold(
    _ kind: HoldKind, _ status: Int?, now: LaneTime, _ settlement: inout Settlement
  ) {
    if isHeld { return }
    hold(kind, status, now: now)
    settlement.lane = .hold(kind, status: status)
  }

  fileprivate mutating func hold(_ kind: HoldKind, _ status: Int?, now: LaneTime) {
    let hold = LaneRecord.Hold(kind: kind, status: status)
    condition = .held(hold, probeAt: probeMoment(hold, now: now))
    hasProbedHold = false
  }

  /// The wait that an answer asks for.
  ///
  /// None may stop a lane for longer than the longest wait; and to ask for no wait at all is not to ask: a service that
  /// fails and says so would be sent one request after the other.
  private func asked(_ after: Duration?) -> Duration? {
    after.flatMap { $0 > .zero ? min($0, settings.retryPolicy.maximumDelay) : nil }
  }
}
