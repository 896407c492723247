import Testing

@testable import TinybirdOutbox

/// Holds: by the service's answers, and by an operator.
@Suite struct LaneHoldTests {
  private static let unauthorized = LaneRecord.Hold(kind: .unauthorized, status: 403)

  // MARK: How a hold begins

  /// The first refused batch goes to the dead letters; those under way that are refused too stay pending.
  @Test(arguments: [[403, 403, 403, 403], [401, 403, 404, 402], [404, 403, 403, 401], [451, 403, 302, 404]])
  func oneBatchIsBurnt(statuses: [Int]) {
    let lane = LaneDriver(unbatched: 1_000)
    let underWay = lane.requests()
    for (batch, status) in zip(underWay, statuses) { lane.answer(batch, .status(status)) }
    #expect(lane.dead.map(\.sequences) == [underWay[0].sequences])
    #expect(lane.dead.map(\.reason) == [.requestRefused])
    #expect(lane.batches.map(\.id) == underWay.dropFirst().map(\.id))
    #expect(lane.record.hold?.status == statuses[0], "the first reason stays")
    #expect(lane.request() == nil)
  }

  /// A bad token, with successes of requests that were sent before: they must not make the lane burn another batch.
  @Test func successesUnderWayDoNotEndAHold() {
    let lane = LaneDriver(unbatched: 1_000)
    let underWay = lane.requests()
    lane.answer(underWay[1], .status(403))
    for index in [0, 2] { lane.answer(underWay[index], .delivered) }
    #expect(lane.request() == nil)
    lane.answer(underWay[3], .status(403))
    #expect(lane.dead.map(\.sequences) == [underWay[1].sequences])
    #expect(lane.record.hold == Self.unauthorized)
  }

  /// A redirect, or a page of somebody else, burns nothing.
  @Test(arguments: [.status(301), .status(307), .page] as [Reply]) func aFaultOfTheHostBurnsNothing(reply: Reply) {
    let lane = LaneDriver(unbatched: 1_000)
    for batch in lane.requests() { lane.answer(batch, reply) }
    #expect(lane.dead.isEmpty)
    #expect(lane.batches.map(\.attempts) == [1, 1, 1, 1])
    #expect(lane.request() == nil)
  }

  @Test func whatIsBeingFormedWhenTheHoldBeginsIsStillSentAndNothingAfterIt() throws {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 1_000)
    let first = try #require(lane.request())
    #expect(lane.next() == .form(lane.machine.settings.limits))
    lane.answer(first, .status(403))
    let formed = try #require(lane.form(lane.machine.settings.limits))
    #expect(lane.request() == nil)
    lane.answer(formed, .status(403))
    #expect(lane.dead.map(\.sequences) == [1...4])
  }

  // MARK: Probes

  /// The smallest batch first, then the others in turn, with new ones between: one that is poisoned cannot keep the lane
  /// held.
  @Test func aHoldIsProbedWithASmallBatchOnceAnInterval() throws {
    let lane = LaneDriver(
      [.sample(1, 1...40), .sample(2, 41...50), .sample(3, 51...70)], unbatched: 1_000, hold: Self.unauthorized)
    #expect(lane.machine.isHeldAndIdle(now: lane.now))
    for id in [2, 4, 3, 5, 1, 6, 4] as [Batch.ID] {
      #expect(lane.request() == nil)
      #expect(lane.sleep() == .seconds(900))
      #expect(!lane.machine.isHeldAndIdle(now: lane.now), "a probe is due")
      let probe = try #require(lane.request())
      #expect(probe.id == id)
      lane.now += .seconds(3_000)
      #expect(lane.next() == .wait(until: nil), "one at a time")
      lane.answer(probe, .status(403))
      #expect(lane.machine.isHeldAndIdle(now: lane.now))
    }
    #expect(lane.dead.isEmpty, "probes burn nothing")
    _ = lane.sleep()
    lane.answer(try #require(lane.request()), .delivered)
    #expect(lane.machine.condition == .open)
    #expect(lane.record.hold == nil)
    #expect(lane.requests().count == 4)
  }

  @Test func aProbeIsFormedSmallWhereNothingWaits() throws {
    let lane = LaneDriver(unbatched: 1_000, hold: .init(kind: .workspaceNotFound, status: 404))
    _ = lane.sleep()
    #expect(lane.next() == .form(lane.machine.settings.probeLimits))
    #expect(lane.next() == .wait(until: nil))
    let probe = try #require(lane.form(lane.machine.settings.probeLimits))
    #expect(probe.eventCount == 3)
    lane.answer(probe, .status(404))
    #expect(lane.sleep() == .seconds(900))
    #expect(lane.request() == probe.tried(1), "the same again")
  }

  /// What waits may be refused whatever becomes of the service: new events find out as well.
  @Test func whatWaitsAndANewBatchAreProbedInTurn() throws {
    let hold = LaneRecord.Hold(kind: .everyEventRefused, status: 400)
    let lane = LaneDriver([.sample(1, 1...1, isolation: .refused)], unbatched: 1_000, hold: hold)
    for id in [1, 2, 1, 3] as [Batch.ID] {
      _ = lane.sleep()
      let probe = try #require(lane.request())
      #expect(probe.id == id)
      lane.answer(probe, .status(403))
    }
    _ = lane.sleep()
    lane.answer(try #require(lane.request()), .delivered)
    #expect(lane.machine.condition == .open && lane.record.hold == nil)
  }

  /// Each start of a process probes a hold once: not the same batch every time.
  @Test func restartsProbeOneAfterTheOther() throws {
    let lane = LaneDriver(
      [.sample(1, 1...1), .sample(2, 2...3), .sample(3, 4...6)], hold: .init(kind: .unauthorized, status: 403))
    for id in [1, 2, 3, 1, 2, 3] as [Batch.ID] {
      lane.restart()
      let probe = try #require(lane.request())
      #expect(probe.id == id)
      lane.answer(probe, .status(500))
    }
    lane.append(10)
    lane.restart()
    #expect(lane.request()?.sequences == 7...9, "all of these were tried: a new one")
  }

  /// The application's cap counts the probes of a hold too.
  @Test func aCapOnAttemptsEndsWhatFailsInAHeldLane() throws {
    var settings = LaneSettings.sample(isStrict: true)
    settings.maximumAttempts = 2
    let lane = LaneDriver(
      [.sample(1, 1...1), .sample(2, 2...2)], settings: settings, hold: .init(kind: .unauthorized, status: 401))
    for _ in 0..<2 {
      _ = lane.sleep()
      lane.answer(try #require(lane.request()), .status(500))
    }
    #expect(lane.dead.map(\.reason) == [.attemptsExhausted] && lane.deadSequences == [1])
    _ = lane.sleep()
    lane.answer(try #require(lane.request()), .delivered)
    #expect(lane.machine.condition == .open)
  }

  /// A program that is started anew may have another token: it finds out at once, and burns nothing.
  @Test(arguments: [
    HoldKind.unauthorized, .workspaceNotFound, .redirected, .notTheEventsAPI, .waitNotHonoured, .unexpectedStatus,
    .everyEventRefused,
  ])
  func aStartProbesAHoldAtOnce(kind: HoldKind) throws {
    let lane = LaneDriver([.sample(1, 1...1, isolation: .refused)], unbatched: 1_000) {
      $0.hold = LaneRecord.Hold(kind: kind, status: nil)
    }
    #expect(lane.machine.isHeldByService)
    for status in [403, 404, 400, 202, 500] {
      if kind != .everyEventRefused, status == 400 { continue }
      #expect(!lane.machine.isHeldAndIdle(now: lane.now))
      lane.answer(try #require(lane.request()), .status(status))
      #expect(lane.request() == nil)
      #expect(lane.machine.isHeldAndIdle(now: lane.now))
      lane.restart()
    }
    #expect(lane.dead.isEmpty && lane.batches.first?.sequences == 1...1)
    lane.answer(try #require(lane.request()), .delivered)
    #expect(lane.machine.condition == .open && lane.record.hold == nil)
  }

  /// A new token is tried at once; one under way was sent with the old one, and is waited for.
  @Test func anotherTokenProbesAHoldAtOnce() throws {
    let lane = LaneDriver(unbatched: 1_000, settings: .sample(maximumInFlight: 2))
    let underWay = lane.requests()
    lane.answer(underWay[0], .status(401))
    lane.credentialsChanged()
    #expect(lane.next() == .wait(until: nil))
    lane.answer(underWay[1], .status(401))
    lane.credentialsChanged()
    let probe = try #require(lane.request())
    #expect(lane.request() == nil)
    lane.answer(probe, .delivered)
    #expect(lane.machine.condition == .open)
  }

  @Test func anotherTokenChangesNothingElse() throws {
    let lanes = [
      LaneDriver(unbatched: 10, hold: LaneRecord.Hold(kind: .byOperator, status: nil)),
      LaneDriver(unbatched: 10) {
        $0.failures = 6
        $0.retryAt = LaneDriver.wallStart + .seconds(40)
      },
    ]
    for lane in lanes {
      #expect(!lane.machine.isHeldByService)
      let condition = lane.machine.condition
      lane.credentialsChanged()
      #expect(lane.machine.condition == condition)
      #expect(lane.request() == nil)
    }
  }

  @Test func aHoldWithNothingToSendWaitsForEvents() {
    let lane = LaneDriver(hold: .init(kind: .unauthorized, status: 401))
    #expect(lane.next() == .wait(until: nil))
    lane.append(5)
    #expect(lane.sleep() == .seconds(900))
    #expect(lane.request() != nil)
  }

  @Test func aHoldWaitsForTheAnswersUnderWayBeforeItIsProbed() throws {
    let lane = LaneDriver(unbatched: 1_000, settings: .sample(maximumInFlight: 2))
    let underWay = lane.requests()
    lane.answer(underWay[0], .status(403))
    lane.now += .seconds(5_000)
    #expect(lane.next() == .wait(until: nil))
    lane.answer(underWay[1], .reset)
    #expect(lane.sleep() == .seconds(900))
  }

  /// However the service answers a probe, the lane sends one request an interval until one is delivered.
  @Test(arguments: [400, 413, 422, 429, 403, 404, 307, 202, 500, 503]) func aProbeThatIsNotDeliveredIsNotFollowedAtOnce(
    status: Int
  ) throws {
    let lane = LaneDriver([.sample(1, 1...1_000)], unbatched: 1_000, hold: Self.unauthorized)
    for _ in 0..<6 {
      #expect(lane.sleep() == .seconds(900))
      lane.answer(try #require(lane.request()), .status(status))
      #expect(lane.request() == nil)
      #expect(lane.record.hold == Self.unauthorized)
    }
  }

  @Test func aPauseThatAProbeIsAskedForIsKept() throws {
    var settings = LaneSettings.sample()
    settings.holdProbeInterval = .seconds(10)
    let lane = LaneDriver([.sample(1, 1...4)], settings: settings, hold: Self.unauthorized)
    #expect(lane.sleep() == .seconds(10))
    lane.answer(try #require(lane.request()), .status(429, retryAfter: .seconds(60)))
    #expect(lane.sleep() == .seconds(60))
    lane.answer(try #require(lane.request()), .delivered)
    #expect(lane.machine.isDrained)
  }

  @Test func aBatchThatWaitsForItsOwnMomentIsNoProbe() throws {
    let later = LaneDriver.wallStart + .seconds(100)
    for (interval, id) in [(10, Batch.ID(2)), (900, 1)] {
      var settings = LaneSettings.sample()
      settings.holdProbeInterval = .seconds(interval)
      let lane = LaneDriver(
        [.sample(1, 1...1, nextAttemptAt: later), .sample(2, 2...9)], settings: settings, hold: Self.unauthorized)
      #expect(lane.sleep() == .seconds(interval))
      #expect(lane.request()?.id == id)
    }
  }

  // MARK: Faults of our own

  @Test func aProbeThatCouldNotBeFormedOrMarkedEndsNoHold() throws {
    for batches in [[], [Batch.sample(1, 1...4)]] {
      let lane = LaneDriver(batches, unbatched: 100, hold: Self.unauthorized)
      _ = lane.sleep()
      switch lane.next() {
      case .send(let batch): lane.startFailed(batch)
      case .form: lane.formingFailed()
      case .wait, .finish: Issue.record("there is a probe to be sent")
      }
      #expect(lane.request() == nil)
      #expect(lane.sleep() == .milliseconds(500), "a moment later")
      let probe = try #require(lane.request())
      #expect(lane.request() == nil)
      lane.answer(probe, .status(403))
      #expect(lane.dead.isEmpty)
    }
  }

  // MARK: Operators

  @Test func onlyAnOperatorEndsAnOperatorsHold() throws {
    let lane = LaneDriver(unbatched: 1_000, settings: .sample(maximumInFlight: 2))
    let underWay = lane.requests()
    lane.hold()
    lane.answer(underWay[0], .delivered)
    lane.answer(underWay[1], .reset)
    lane.now += .seconds(1_000_000)
    #expect(lane.next() == .wait(until: nil))
    lane.append(5)
    #expect(lane.next() == .wait(until: nil))
    #expect(lane.machine.isHeldAndIdle(now: lane.now))
    lane.restart()
    lane.now += .seconds(1_000_000)
    #expect(lane.next() == .wait(until: nil))
    lane.resume()
    #expect(lane.requests().count == 2)
  }

  @Test func anOperatorsHoldIsNotLostWhenFormingFails() {
    let lane = LaneDriver(unbatched: 1_000)
    #expect(lane.next() == .form(lane.machine.settings.limits))
    lane.hold()
    lane.formingFailed()
    lane.now += .seconds(10)
    #expect(lane.next() == .wait(until: nil))
  }

  @Test func aRefusalUnderAnOperatorsHoldBurnsNothingAndChangesNothing() throws {
    let lane = LaneDriver([.sample(1, 1...4)])
    let batch = try #require(lane.request())
    lane.hold()
    lane.answer(batch, .status(403))
    #expect(lane.dead.isEmpty)
    #expect(lane.record.hold?.kind == .byOperator)
  }

  @Test func resumeSendsAtOnceAndTheNextRefusalHoldsAgain() throws {
    let lane = LaneDriver(unbatched: 1_000)
    for batch in lane.requests() { lane.answer(batch, .status(403)) }
    #expect(lane.dead.count == 1)
    lane.resume()
    let underWay = lane.requests()
    #expect(underWay.count == 4)
    for batch in underWay { lane.answer(batch, .status(403)) }
    #expect(lane.dead.count == 2, "the first of each hold")
    lane.resume()
    while let batch = lane.request() { lane.answer(batch, .delivered) }
    #expect(lane.machine.isDrained)
  }

  /// What is under way when the operator resumes belongs to no hold any more: a 403 begins another one.
  @Test func aProbeUnderWayWhenTheOperatorResumes() throws {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 20, hold: Self.unauthorized)
    _ = lane.sleep()
    let probe = try #require(lane.request())
    lane.resume()
    let others = lane.requests()
    #expect(!others.contains { $0.id == probe.id }, "sent twice")
    lane.answer(probe, .status(403))
    for batch in others { lane.answer(batch, .delivered) }
    #expect(lane.dead.map(\.sequences) == [1...4])
    #expect(lane.record.hold == Self.unauthorized, "and no success under way ends it")
  }
}

extension Batch {
  /// The same after so many more attempts that inserted nothing.
  fileprivate func tried(_ times: Int) -> Batch {
    var batch = self
    batch.attempts += times
    return batch
  }
}
