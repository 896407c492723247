@testable import TinybirdOutbox

/// What a lane may do now, told from the answers and the settlements alone: the pauses, holds and limits that
/// `LaneStateMachine` must keep.
struct LaneWatch {
  private(set) var hold: HoldKind?
  /// A hold by the service is not probed before.
  private var probeFrom = LaneTime.zero
  private var notBefore = LaneTime.zero
  /// The service asked for it: a success does not end it.
  private var pausedUntil = LaneTime.zero
  private var batchNotBefore: [Batch.ID: LaneTime] = [:]
  private var isBackingOff = false
  private var failures = 0
  private var isProbeOut = false
  private var startedAt = LaneTime.zero
  private var starts: [LaneTime] = []
  private var sentCount = 0
  /// What the answer to the latest of the requests said is left.
  private var allowance: (answered: Int, requests: Int, until: LaneTime)?

  init(hold: HoldKind?) { self.hold = hold }

  /// Nil where a request may start.
  func reasonNotToStart(_ batch: Batch?, isAlone: Bool, _ settings: LaneSettings, now: LaneTime) -> String? {
    if hold == .byOperator { return "an operator holds the lane" }
    if let hold {
      if !isAlone { return "the lane is held, \(hold), and another request is under way" }
      if probeFrom > now { return "the lane is held, \(hold), and is probed at \(probeFrom), not at \(now)" }
    }
    // The file keeps whole milliseconds: what was read from it may be two too early.
    let soon = now + .milliseconds(2)
    if hold == nil, notBefore > soon { return "the lane backs off until \(notBefore), now \(now)" }
    if pausedUntil > soon { return "the service asked for a pause until \(pausedUntil), now \(now)" }
    if let batch, let moment = batchNotBefore[batch.id], moment > soon { return "it waits until \(moment), now \(now)" }
    if isBackingOff, isProbeOut { return "a probe is out" }
    let inLastSecond = starts.count { $0 > now - .seconds(1) }
    if Double(inLastSecond) >= settings.rateLimits.requestsPerSecond { return "\(inLastSecond) did in this second" }
    if let allowance, allowance.until > now, sentCount - allowance.answered >= allowance.requests {
      return "the service said that \(allowance.requests) were left until \(allowance.until), now \(now)"
    }
    return nil
  }

  mutating func noted(_ left: RateLimitLeft, answerTo number: Int, _ settings: LaneSettings, now: LaneTime) {
    if let allowance, allowance.until > now, allowance.answered > number { return }
    allowance = (number, left.requests, now + min(left.reset, settings.retryPolicy.maximumDelay))
  }

  mutating func started(at now: LaneTime) {
    isProbeOut = true
    startedAt = now
  }

  /// What was started is on its way: for the rate that counts at the moment when the lane chose to.
  ///
  /// Returns its number.
  mutating func sent() -> Int {
    starts.removeAll { $0 <= startedAt - .seconds(1) }
    starts.append(startedAt)
    sentCount += 1
    return sentCount
  }

  /// A probe that told nothing, or that is not needed any more.
  mutating func probeEnded() { isProbeOut = false }

  mutating func credentialsChanged() { probeFrom = .zero }

  /// `outcome` is nil where nothing was asked.
  mutating func judged(_ settlement: Settlement, _ outcome: Outcome?, _ settings: LaneSettings, now: LaneTime) {
    isProbeOut = false
    batchNotBefore[settlement.batch] = nil
    if case .pending(let delay?) = settlement.change { batchNotBefore[settlement.batch] = now + delay }
    take(settlement.lane, at: now, settings)
    if settlement.lane == .none, failures == 0 { isBackingOff = false }
    // A refused stream is no answer: the probe may be repeated at once, as any request.
    let isAnswer = outcome != nil && (outcome != .noAnswer(.notProcessed) || settlement.isCounted)
    if hold != nil, isAnswer { probeFrom = now + settings.holdProbeInterval }
    if case .answered(let answer) = outcome, answer.status == 429, let asked = answer.retryAfter, asked > .zero {
      pausedUntil = max(pausedUntil, now + min(asked, settings.retryPolicy.maximumDelay))
    }
  }

  private mutating func take(_ change: LaneChange, at moment: LaneTime, _ settings: LaneSettings) {
    switch change {
    case .none: break
    case .open:
      hold = hold == .byOperator ? hold : nil
      notBefore = .zero
      isBackingOff = false
      failures = 0
    case .backOff(let failures, let delay):
      // It takes a hold away only where a probe was delivered while the service asked for a pause.
      notBefore = moment + delay
      isBackingOff = true
      self.failures = failures
    case .hold(let kind, _):
      hold = hold ?? kind
      probeFrom = moment + settings.holdProbeInterval
    }
  }

  /// The lane has read what the file says; answers that are judged and not settled yet are news to the file.
  mutating func reloaded(
    _ reading: SimulatedLane.Reading, unsettled: [SimulatedRequest], lastSettled: Int, _ settings: LaneSettings,
    now: LaneTime, wallJumped: Bool
  ) {
    let wasHeld = hold
    hold = reading.record.hold?.kind
    if hold != nil, hold != wasHeld { probeFrom = now + settings.holdProbeInterval }
    isProbeOut = false
    failures = reading.record.failures
    isBackingOff = false
    if reading.record.retryAt == nil || wallJumped {
      notBefore = .zero
      pausedUntil = .zero
    }
    for request in unsettled.sorted(by: { $0.judgeNumber < $1.judgeNumber })
    where request.judgeNumber > lastSettled && reading.sending.contains(request.batch.id) {
      if let settlement = request.settlement { take(settlement.lane, at: request.judgedAt, settings) }
    }
    let underWay = Set(unsettled.map(\.batch.id))
    for batch in reading.batches where !underWay.contains(batch.id) {
      if batch.nextAttemptAt == nil || wallJumped { batchNotBefore[batch.id] = nil }
    }
  }
}
