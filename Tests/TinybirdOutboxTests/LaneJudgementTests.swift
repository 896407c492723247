import Testing

@testable import TinybirdOutbox

/// Every kind of answer in every condition of a lane: what the ledger is to record, and the condition afterwards.
@Suite struct LaneJudgementTests {
  /// What the refusals of a bisection have cost is not the fault of what is left.
  @Test func thePartsOfABatchCountTheirOwnAttempts() throws {
    var settings = LaneSettings.sample(isStrict: true)
    settings.maximumAttempts = 3
    let lane = LaneDriver([.sample(1, 1...64)], settings: settings)
    for _ in 0..<5 { lane.answer(try #require(lane.request()), .status(400)) }
    lane.answer(try #require(lane.request()), .status(503))
    #expect(lane.dead.isEmpty)
  }

  /// It asks nothing, so that the probe that a new token was to have is still due.
  @Test func anEventThatIsTooOldIsNoProbe() throws {
    let lane = LaneDriver(
      [.sample(1, 1...2), .sample(2, 3...4)], hold: LaneRecord.Hold(kind: .unauthorized, status: 403))
    lane.credentialsChanged()
    let old = try #require(lane.request())
    lane.commit(lane.machineJudges(old, .expired))
    #expect(lane.dead.map(\.reason) == [.expired])
    let probe = try #require(lane.request())
    lane.answer(probe, .delivered)
    #expect(lane.machine.condition == .open)
  }

  /// Neither a pause that the service asks for nor a request that was cut short by ourselves is an attempt.
  @Test func attemptsAreCappedWhereTheApplicationAsksForIt() throws {
    var settings = LaneSettings.sample()
    settings.maximumAttempts = 3
    let lane = LaneDriver([.sample(1, 1...4)], settings: settings)
    for (reply, isLast) in [
      (Reply.status(500), false), (.status(429), false), (.notSent, false), (.cancelled, false), (.status(503), true),
    ] {
      #expect(lane.dead.isEmpty)
      while lane.sleep() != nil {}
      lane.answer(try #require(lane.request()), reply)
      #expect(lane.dead.isEmpty != isLast)
    }
    #expect(lane.dead.map(\.reason) == [.attemptsExhausted])
    #expect(lane.machine.failures == 3, "the lane backs off all the same")
  }

  private typealias Condition = LaneStateMachine.Condition

  /// What the lane was doing when the answer came.
  enum Situation: String, Sendable {
    case open
    /// Another request failed just before: the lane waits 250 ms.
    case backingOff
    /// The one request that finds out whether the service is back.
    case probing
    /// Another request was refused with 403 just before.
    case held
    /// The one request that finds out whether the token is good again, 900 s after the hold.
    case probingHold
    case heldByOperator
  }

  struct Row: Sendable, CustomTestStringConvertible {
    let situation: Situation
    let reply: Reply
    let change: BatchChange
    let lane: LaneChange
    let isCounted: Bool
    let after: LaneStateMachine.Condition

    init(
      _ situation: Situation, _ reply: Reply, _ change: BatchChange, _ lane: LaneChange, counted: Bool = true,
      _ after: LaneStateMachine.Condition
    ) {
      self.situation = situation
      self.reply = reply
      self.change = change
      self.lane = lane
      isCounted = counted
      self.after = after
    }

    var testDescription: String { "\(situation): \(reply)" }
  }

  /// The lane in that situation, and the batch of four events whose answer comes now.
  ///
  /// Waits last half their range.
  private static func lane(_ situation: Situation) throws -> (LaneDriver, Batch) {
    let others = [Batch.sample(1, 1...4), .sample(2, 5...8)]
    let lane: LaneDriver
    switch situation {
    case .open: lane = LaneDriver([.sample(1, 1...4)])
    case .backingOff, .held:
      lane = LaneDriver(others)
      let first = try #require(lane.request())
      let second = try #require(lane.request())
      lane.answer(first, situation == .held ? .status(403) : .reset)
      return (lane, second)
    case .probing:
      lane = LaneDriver([.sample(1, 1...4)]) {
        $0.failures = 1
        $0.retryAt = LaneDriver.wallStart
      }
    case .probingHold:
      lane = LaneDriver([.sample(1, 1...4)], hold: unauthorized)
      #expect(lane.sleep() == .seconds(900))
    case .heldByOperator:
      lane = LaneDriver([.sample(1, 1...4)])
      let batch = try #require(lane.request())
      lane.hold()
      return (lane, batch)
    }
    return (lane, try #require(lane.request()))
  }

  private static let unauthorized = LaneRecord.Hold(kind: .unauthorized, status: 403)
  private static let byOperator = Condition.held(LaneRecord.Hold(kind: .byOperator, status: nil), probeAt: nil)
  private static let all = RowCounts(successful: 4, quarantined: 0)
  private static let seven = Duration.seconds(7)

  private static func waiting(_ milliseconds: Int) -> Condition { .backingOff(until: .milliseconds(milliseconds)) }
  private static func held(_ kind: HoldKind, _ status: Int?, probe: Int = 900) -> Condition {
    .held(LaneRecord.Hold(kind: kind, status: status), probeAt: .seconds(probe))
  }

  @Test(arguments: whenOpen + whenBackingOff + whenProbing + whenHeld + whenHoldIsProbed + whenHeldByOperator)
  func row(_ row: Row) throws {
    let (lane, batch) = try Self.lane(row.situation)
    let settlement = lane.judge(batch, row.reply)
    #expect(settlement.batch == batch.id)
    #expect(settlement.change == row.change)
    #expect(settlement.lane == row.lane)
    #expect(settlement.isCounted == row.isCounted)
    #expect(settlement.inserted == Verdict(row.reply.outcome(batch)).inserted)
    #expect(lane.machine.condition == row.after)
  }

  static let whenOpen = [
    Row(.open, .delivered, .delivered(all), .open, .open),
    Row(.open, .reset, pending(250), backOff(1, 250), waiting(250)),
    Row(.open, .notSent, pending(250), backOff(1, 250), waiting(250)),
    Row(.open, .status(500), pending(250), backOff(1, 250), waiting(250)),
    Row(.open, .status(503, retryAfter: seven), pending(7_000), backOff(1, 7_000), waiting(7_000)),
    // To ask for no wait is not to ask; and nobody can ask for longer than the longest wait.
    Row(.open, .status(503, retryAfter: .zero), pending(250), backOff(1, 250), waiting(250)),
    Row(.open, .status(503, retryAfter: .seconds(-1)), pending(250), backOff(1, 250), waiting(250)),
    Row(.open, .status(503, retryAfter: .seconds(86_400)), pending(300_000), backOff(1, 300_000), waiting(300_000)),
    Row(.open, .status(429, retryAfter: seven), pending(), backOff(0, 7_000), counted: false, waiting(7_000)),
    Row(.open, .status(429), pending(), backOff(0, 250), counted: false, waiting(250)),
    Row(.open, .status(429, retryAfter: .zero), pending(), backOff(0, 250), counted: false, waiting(250)),
    Row(.open, .status(202), pending(250), backOff(1, 250), waiting(250)),
    Row(.open, .streamRefused, pending(), .none, counted: false, .open),
    Row(.open, .status(400), .split, .none, .open),
    Row(.open, .status(413), .split, .none, .open),
    Row(.open, .status(422), .dead(.partlyInserted), .none, .open),
    Row(.open, .status(401), .dead(.requestRefused), .hold(.unauthorized, status: 401), held(.unauthorized, 401)),
    Row(.open, .status(403), .dead(.requestRefused), .hold(.unauthorized, status: 403), held(.unauthorized, 403)),
    Row(
      .open, .status(404), .dead(.requestRefused), .hold(.workspaceNotFound, status: 404),
      held(.workspaceNotFound, 404)),
    Row(
      .open, .status(451), .dead(.requestRefused), .hold(.unexpectedStatus, status: 451), held(.unexpectedStatus, 451)),
    Row(.open, .status(307), pending(), .hold(.redirected, status: 307), held(.redirected, 307)),
    Row(.open, .page, pending(), .hold(.notTheEventsAPI, status: 200), held(.notTheEventsAPI, 200)),
    Row(.open, .cancelled, pending(), .none, counted: false, .open),
  ]

  static let whenBackingOff = [
    // A success shows that the service is there.
    Row(.backingOff, .delivered, .delivered(all), .open, .open),
    // Requests that were under way together fail together.
    Row(.backingOff, .reset, pending(), .none, waiting(250)),
    Row(.backingOff, .status(503), pending(), .none, waiting(250)),
    Row(.backingOff, .status(202), pending(), .none, waiting(250)),
    Row(.backingOff, .status(429), pending(), .none, counted: false, waiting(250)),
    // But what the service asks for counts, if it is the longer wait.
    Row(.backingOff, .status(503, retryAfter: seven), pending(7_000), backOff(1, 7_000), waiting(7_000)),
    Row(.backingOff, .status(503, retryAfter: .milliseconds(9)), pending(9), backOff(1, 250), waiting(250)),
    Row(.backingOff, .status(429, retryAfter: seven), pending(), backOff(1, 7_000), counted: false, waiting(7_000)),
    Row(
      .backingOff, .status(429, retryAfter: .milliseconds(9)), pending(), backOff(1, 250), counted: false, waiting(250)),
    Row(.backingOff, .streamRefused, pending(), .none, counted: false, waiting(250)),
    Row(.backingOff, .status(400), .split, .none, waiting(250)),
    Row(.backingOff, .status(422), .dead(.partlyInserted), .none, waiting(250)),
    Row(.backingOff, .status(403), .dead(.requestRefused), .hold(.unauthorized, status: 403), held(.unauthorized, 403)),
    Row(.backingOff, .page, pending(), .hold(.notTheEventsAPI, status: 200), held(.notTheEventsAPI, 200)),
    Row(.backingOff, .cancelled, pending(), .none, counted: false, waiting(500)),
  ]

  static let whenProbing = [
    Row(.probing, .delivered, .delivered(all), .open, .open),
    Row(.probing, .reset, pending(500), backOff(2, 500), waiting(500)),
    Row(.probing, .status(503, retryAfter: seven), pending(7_000), backOff(2, 7_000), waiting(7_000)),
    Row(.probing, .status(429), pending(), backOff(1, 250), counted: false, waiting(250)),
    Row(.probing, .status(202), pending(500), backOff(2, 500), waiting(500)),
    // The service looked at it: the next probe goes out at once.
    Row(.probing, .status(400), .split, .none, waiting(0)),
    Row(.probing, .status(413), .split, .none, waiting(0)),
    Row(.probing, .status(422), .dead(.partlyInserted), .none, waiting(0)),
    Row(.probing, .streamRefused, pending(), .none, counted: false, waiting(0)),
    Row(.probing, .status(403), .dead(.requestRefused), .hold(.unauthorized, status: 403), held(.unauthorized, 403)),
    Row(.probing, .status(301), pending(), .hold(.redirected, status: 301), held(.redirected, 301)),
    // Impossible but at a shutdown: and if it is none, the lane must not wait for this answer for ever.
    Row(.probing, .cancelled, pending(), .none, counted: false, waiting(500)),
  ]

  /// The request was sent before the hold: its answer changes nothing of it, and no second batch is burnt.
  static let whenHeld = [
    Row(.held, .delivered, .delivered(all), .none, held(.unauthorized, 403)),
    Row(.held, .status(403), pending(), .none, held(.unauthorized, 403)),
    Row(.held, .status(401), pending(), .none, held(.unauthorized, 403)),
    Row(.held, .status(404), pending(), .none, held(.unauthorized, 403)),
    Row(.held, .status(402), pending(), .none, held(.unauthorized, 403)),
    Row(.held, .page, pending(), .none, held(.unauthorized, 403)),
    Row(.held, .status(302), pending(), .none, held(.unauthorized, 403)),
    Row(.held, .reset, pending(), .none, held(.unauthorized, 403)),
    Row(.held, .status(503, retryAfter: seven), pending(), .none, held(.unauthorized, 403)),
    Row(.held, .status(429, retryAfter: seven), pending(), .none, counted: false, held(.unauthorized, 403)),
    Row(.held, .status(202), pending(), .none, held(.unauthorized, 403)),
    Row(.held, .status(400), .split, .none, held(.unauthorized, 403)),
    Row(.held, .status(413), .split, .none, held(.unauthorized, 403)),
    Row(.held, .status(422), .dead(.partlyInserted), .none, held(.unauthorized, 403)),
    Row(.held, .streamRefused, pending(), .none, counted: false, held(.unauthorized, 403)),
    Row(.held, .cancelled, pending(), .none, counted: false, held(.unauthorized, 403)),
  ]

  /// Only a delivery ends the hold; after anything else the next probe is an interval away.
  static let whenHoldIsProbed = [
    Row(.probingHold, .delivered, .delivered(all), .open, .open),
    Row(.probingHold, .status(403), pending(), .none, held(.unauthorized, 403, probe: 1_800)),
    Row(.probingHold, .status(404), pending(), .none, held(.unauthorized, 403, probe: 1_800)),
    Row(.probingHold, .page, pending(), .none, held(.unauthorized, 403, probe: 1_800)),
    Row(.probingHold, .reset, pending(), .none, held(.unauthorized, 403, probe: 1_800)),
    Row(
      .probingHold, .status(429, retryAfter: seven), pending(), .none, counted: false,
      held(.unauthorized, 403, probe: 1_800)),
    Row(.probingHold, .status(429), pending(), .none, counted: false, held(.unauthorized, 403, probe: 1_800)),
    Row(.probingHold, .status(202), pending(), .none, held(.unauthorized, 403, probe: 1_800)),
    Row(.probingHold, .status(400), .split, .none, held(.unauthorized, 403, probe: 1_800)),
    Row(.probingHold, .status(422), .dead(.partlyInserted), .none, held(.unauthorized, 403, probe: 1_800)),
    Row(.probingHold, .cancelled, pending(), .none, counted: false, held(.unauthorized, 403, probe: 1_800)),
    Row(.probingHold, .streamRefused, pending(), .none, counted: false, held(.unauthorized, 403)),
  ]

  static let whenHeldByOperator = [
    Row(.heldByOperator, .delivered, .delivered(all), .none, byOperator),
    Row(.heldByOperator, .status(403), pending(), .none, byOperator),
    Row(.heldByOperator, .page, pending(), .none, byOperator),
    Row(.heldByOperator, .reset, pending(), .none, byOperator),
    Row(.heldByOperator, .status(429, retryAfter: seven), pending(), .none, counted: false, byOperator),
    Row(.heldByOperator, .status(400), .split, .none, byOperator),
    Row(.heldByOperator, .status(422), .dead(.partlyInserted), .none, byOperator),
    Row(.heldByOperator, .streamRefused, pending(), .none, counted: false, byOperator),
  ]

  private static func pending(_ milliseconds: Int? = nil) -> BatchChange {
    .pending(retryAfter: milliseconds.map { .milliseconds($0) })
  }

  private static func backOff(_ failures: Int, _ milliseconds: Int) -> LaneChange {
    .backOff(failures: failures, delay: .milliseconds(milliseconds))
  }

  // MARK: Single events and impossible pairs

  /// What is split when it has two events is dead when it has one.
  @Test(arguments: [(400, DeadReason.refused), (413, .tooLarge)]) func aSingleEventCannotBeSplit(
    status: Int, reason: DeadReason
  ) throws {
    for (last, change) in [(Int64(2), BatchChange.split), (1, .dead(reason))] {
      let lane = LaneDriver([.sample(1, 1...last)])
      let batch = try #require(lane.request())
      #expect(lane.judge(batch, .status(status)).change == change)
    }
  }

  /// Impossible: an answer to a batch that is not under way.
  ///
  /// It must not bury what it does not know.
  @Test(
    arguments: [.delivered, .status(400), .status(413), .status(422), .status(403), .page, .reset, .status(429)]
      as [Reply])
  func anAnswerToNothingSettlesNothing(reply: Reply) {
    let lane = LaneDriver([.sample(1, 1...4)])
    for stranger in [Batch.sample(1, 1...4), .sample(99, 1...4)] {
      let settlement = lane.judge(stranger, reply)
      #expect(settlement.change == .pending(retryAfter: nil))
      #expect(settlement.lane == .none)
      #expect(lane.machine.condition == .open)
    }
    #expect(lane.request()?.id == 1)
  }
}
