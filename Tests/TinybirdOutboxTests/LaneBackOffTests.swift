import Testing

@testable import TinybirdOutbox

/// Failures of the service, of one batch, and pauses that the service asks for.
///
/// Waits last half their range.
@Suite struct LaneBackOffTests {
  private static let outage: @Sendable (inout LaneRecord) -> Void = {
    $0.failures = 9
    $0.retryAt = LaneDriver.wallStart
  }

  // MARK: The lane

  @Test func afterAFailureOneProbeFindsOut() throws {
    let lane = LaneDriver(unbatched: 100, settings: .sample(maximumInFlight: 2))
    let first = lane.requests()
    lane.answer(first[0], .reset)
    lane.answer(first[1], .reset)
    #expect(lane.sleep() == .milliseconds(250))
    let probe = try #require(lane.request())
    #expect(probe.id == first[0].id, "the oldest")
    #expect(lane.next() == .wait(until: nil), "one request at a time, however long it takes")
    lane.now += .seconds(60)
    #expect(lane.next() == .wait(until: nil))
    lane.answer(probe, .delivered)
    #expect(lane.requests().count == 2)
    #expect(lane.machine.failures == 0)
    #expect(lane.record.failures == 0 && lane.record.retryAt == nil)
  }

  /// Requests that were under way together fail together: one failure of the lane, an attempt of each batch.
  @Test func severalThatFailTogetherCountOnce() {
    let lane = LaneDriver(unbatched: 100)
    let underWay = lane.requests()
    for batch in underWay { lane.answer(batch, .reset) }
    #expect(lane.machine.failures == 1)
    #expect(lane.record.failures == 1)
    #expect(lane.batches.map(\.attempts) == [1, 1, 1, 1])
    #expect(lane.batches.map(\.inserted) == [.maybe, .maybe, .maybe, .maybe])
    #expect(lane.sleep() == .milliseconds(250))
    #expect(lane.requests().count == 1)
  }

  @Test func aSuccessOfARequestStillUnderWayEndsTheWait() {
    let lane = LaneDriver(unbatched: 100, settings: .sample(maximumInFlight: 2))
    let underWay = lane.requests()
    lane.answer(underWay[0], .reset)
    #expect(lane.requests().isEmpty)
    lane.answer(underWay[1], .delivered)
    #expect(lane.machine.condition == .open)
    #expect(lane.requests().map(\.sequences.lowerBound) == [21, 31], "the failed batch has a wait of its own")
  }

  /// The table of the retry policy, as a lane walks through it; half of each range.
  @Test func aBurstThenAnOutageThatIsProbedForEver() throws {
    let lane = LaneDriver([.sample(1, 1...4)])
    let waits = [250, 500, 1_000, 2_000, 22_500, 45_000, 90_000, 180_000, 225_000, 225_000, 225_000]
    for (index, wait) in waits.enumerated() {
      let failures = index + 1
      lane.answer(try #require(lane.request()), .status(502))
      #expect(lane.machine.failures == failures)
      #expect(lane.record.failures == failures)
      #expect(lane.machine.settings.retryPolicy.isOutage(failures: lane.machine.failures) == (failures >= 5))
      #expect(lane.request() == nil)
      #expect(lane.sleep() == .milliseconds(wait))
    }
    for _ in 0..<1_000 {
      lane.answer(try #require(lane.request()), .notSent)
      #expect(lane.sleep() == .seconds(225))
    }
    #expect(lane.batches.map(\.attempts) == [1_011], "never given up")
    lane.answer(try #require(lane.request()), .delivered)
    #expect(lane.machine.isDrained)
  }

  @Test func whenTheServiceIsBackTheBacklogDrainsInOrder() throws {
    let lane = LaneDriver([.sample(1, 1...10)], unbatched: 200, change: Self.outage)
    lane.answer(try #require(lane.request()), .delivered)
    var starts: [Int64] = []
    while true {
      let batches = lane.requests()
      if batches.isEmpty { break }
      starts += batches.map(\.sequences.lowerBound)
      for batch in batches { lane.answer(batch, .delivered) }
    }
    #expect(starts == starts.sorted())
    #expect(lane.deliveredSequences == Array(1...210))
  }

  /// In turn the oldest batch and the next not yet tried.
  @Test func probesAlternate() throws {
    let lane = LaneDriver(
      [.sample(1, 1...10, attempts: 9), .sample(2, 11...20, attempts: 3), .sample(3, 21...30)], unbatched: 100,
      change: Self.outage)
    var probes: [ClosedRange<Int64>] = []
    for _ in 0..<8 {
      let probe = try #require(lane.request())
      probes.append(probe.sequences)
      #expect(lane.request() == nil)
      lane.answer(probe, .reset)
      _ = lane.sleep()
    }
    // 3 had never been tried; then small batches are formed: 300 bytes.
    #expect(probes == [1...10, 21...30, 1...10, 31...33, 1...10, 34...36, 1...10, 37...39])
  }

  @Test func onePoisonedBatchCannotHideAHealthyService() throws {
    let lane = LaneDriver([.sample(1, 1...10, attempts: 9)], unbatched: 100, change: Self.outage)
    var requests = 0
    for _ in 0..<100 where !lane.delivered.contains(where: { $0.upperBound == 110 }) {
      for batch in lane.requests() {
        lane.answer(batch, batch.id == 1 ? .status(500) : .delivered)
        requests += 1
      }
      _ = lane.sleep()
    }
    #expect(lane.deliveredSequences == Array(11...110))
    #expect(requests < 20)
    #expect(lane.machine.condition == .open && lane.machine.failures == 0)
  }

  /// All were tried before, and nothing new comes: the first must not be the only one that is ever sent.
  @Test func aPoisonedBatchHidesNoneThatWasTried() {
    let batches = (0..<4).map { Batch.sample(Batch.ID($0) + 1, Int64($0) * 10 + 1...Int64($0) * 10 + 10, attempts: 5) }
    let lane = LaneDriver(batches, change: Self.outage)
    while lane.requestCount < 30 {
      for batch in lane.requests() { lane.answer(batch, batch.id == 1 ? .status(500) : .delivered) }
      _ = lane.sleep()
    }
    #expect(lane.deliveredSequences == Array(11...40))
  }

  /// So many requests start in the second after the success that ends an outage.
  @Test func aServiceThatIsBackIsNotFlooded() throws {
    func started(after change: @escaping @Sendable (inout LaneRecord) -> Void) throws -> Int {
      var settings = LaneSettings.sample()
      settings.rateLimits = RateLimits()
      let lane = LaneDriver(unbatched: 10_000, settings: settings, change: change)
      lane.answer(try #require(lane.request()), .delivered)
      let end = lane.now + .seconds(1)
      var count = 0
      while lane.now < end {
        let batches = lane.requests()
        for batch in batches { lane.answer(batch, .delivered) }
        count += batches.count
        guard lane.sleep() != nil || !batches.isEmpty else { break }
      }
      return count
    }
    let (usual, afterOutage) = (try started { _ in }, try started(after: Self.outage))
    #expect(usual >= 90 && usual <= 100, "\(usual)")
    #expect(afterOutage >= 5 && afterOutage <= 20, "\(afterOutage)")
  }

  @Test func whenThereIsNothingToProbeWithTheLaneWaitsForEvents() throws {
    let lane = LaneDriver(change: Self.outage)
    #expect(lane.next() == .wait(until: nil))
    lane.append(20)
    let probe = try #require(lane.request())
    #expect(probe.sequences == 1...3, "small")
    #expect(lane.request() == nil)
    lane.answer(probe, .delivered)
    #expect(lane.request()?.sequences == 4...13)
  }

  @Test func aProbeThatFindsNothingToFormDoesNotBlockTheLane() throws {
    let lane = LaneDriver(change: Self.outage)
    lane.append(0)
    #expect(lane.next() == .form(lane.machine.settings.probeLimits))
    #expect(lane.next() == .wait(until: nil))
    #expect(lane.form(lane.machine.settings.probeLimits) == nil)
    #expect(lane.next() == .wait(until: nil))
    lane.append(1)
    #expect(lane.request() != nil)
  }

  /// Answers that refuse the batch alone: the next probe goes out at once, alone, until one is delivered.
  @Test func aRefusedProbeIsFollowedAtOnce() throws {
    let lane = LaneDriver([.sample(1, 1...8)], unbatched: 100, change: Self.outage)
    lane.answer(try #require(lane.request()), .status(400))
    let second = try #require(lane.request())
    #expect(lane.request() == nil)
    lane.answer(second, .status(422))
    lane.answer(try #require(lane.request()), .delivered)
    #expect(lane.requests().count == 4)
  }

  // MARK: One batch

  @Test func aBatchThatKeepsFailingIsParkedAlone() throws {
    let lane = LaneDriver(unbatched: 10_000)
    var waits: [Duration] = []
    var failedAt: LaneTime?
    for _ in 0..<20_000 where waits.count < 8 {
      for batch in lane.requests() {
        if batch.id == 1 {
          if let failedAt { waits.append(lane.now - failedAt) }
          failedAt = lane.now
          lane.answer(batch, .status(500))
        } else {
          lane.answer(batch, .delivered)
        }
      }
      // The others go on: an append now and then, and each is sent at once.
      lane.append(1)
      lane.now += .milliseconds(10)
    }
    // The first failure is the lane's: nobody knows yet whose it is. Then its own, on a grid of the 10 ms of this test.
    #expect(waits == [250, 250, 500, 1_000, 2_000, 22_500, 45_000, 90_000].map { Duration.milliseconds($0) })
    #expect(lane.machine.failures == 0)
    #expect(lane.machine.condition == .open)
    #expect(lane.batches.map(\.id) == [1])
    lane.now += .seconds(300)
    while let batch = lane.request() { lane.answer(batch, .delivered) }
    #expect(lane.machine.isDrained)
  }

  /// With nothing delivered since it last failed, it may as well be the service.
  @Test func aLoneBatchThatFailsIsAFailureOfTheLane() throws {
    let lane = LaneDriver([.sample(1, 1...4), .sample(2, 5...8)], settings: .sample(maximumInFlight: 1))
    lane.answer(try #require(lane.request()), .status(500))
    _ = lane.sleep()
    lane.answer(try #require(lane.request()), .status(500))
    #expect(lane.machine.failures == 2)
    _ = lane.sleep()
    let other = try #require(lane.request())
    #expect(other.id == 2, "in turn")
    lane.answer(other, .delivered)
    _ = lane.sleep()
    let settlement = lane.answer(try #require(lane.request()), .status(500))
    #expect(settlement.lane == .none && lane.machine.failures == 0, "now it is its own")
    _ = lane.sleep()
    let again = lane.answer(try #require(lane.request()), .status(500))
    #expect(again.lane == .none, "it stays so while nothing else fails")
    lane.append(10)
    lane.answer(try #require(lane.request()), .status(500))
    #expect(lane.machine.failures == 1)
    while lane.sleep() != nil {}
    let last = lane.answer(try #require(lane.request()), .status(500))
    #expect(last.lane != .none, "now that another has failed, and nothing was delivered since, it may be the service")
  }

  @Test func aParkedBatchWaitsAsLongAsItsAnswerAsks() throws {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 100, settings: .sample(maximumInFlight: 2))
    let underWay = lane.requests()
    lane.answer(underWay[0], .reset)
    lane.answer(underWay[1], .delivered)
    lane.now += .seconds(1)
    let again = try #require(lane.request())
    #expect(again.id == 1)
    let settlement = lane.answer(again, .status(503, retryAfter: .seconds(40)))
    #expect(settlement.change == .pending(retryAfter: .seconds(40)))
    #expect(settlement.lane == .none)
    while let batch = lane.request() { lane.answer(batch, .delivered) }
    #expect(lane.sleep() == .seconds(40))
    #expect(lane.request()?.id == 1)
  }

  // MARK: Pauses

  /// 429: one pause for all requests of the lane.
  ///
  /// It is no failure, and no success of a request under way ends it.
  @Test func aPauseIsSharedAndKept() throws {
    let lane = LaneDriver(unbatched: 1_000)
    let underWay = lane.requests()
    lane.answer(underWay[0], .status(429, retryAfter: .seconds(10)))
    lane.answer(underWay[1], .delivered)
    #expect(lane.request() == nil, "a success under way does not end it")
    #expect(lane.record.retryAt == lane.wallNow + .seconds(10), "nor after a crash")
    lane.answer(underWay[2], .status(429, retryAfter: .seconds(4)))
    lane.answer(underWay[3], .status(429))
    #expect(lane.sleep() == .seconds(10), "the longest counts")
    #expect(lane.machine.failures == 0)
    #expect(lane.batches.map(\.attempts) == [0, 0, 0], "not their fault")
    let probe = try #require(lane.request())
    #expect(lane.request() == nil)
    lane.answer(probe, .delivered)
    #expect(lane.requests().count == 4)
  }

  @Test func ofTwoPausesTheLongerCounts() {
    for (first, second) in [(10, 4), (4, 10)] {
      let lane = LaneDriver(unbatched: 1_000)
      let underWay = lane.requests()
      lane.answer(underWay[0], .status(429, retryAfter: .seconds(first)))
      lane.answer(underWay[1], .status(503, retryAfter: .seconds(second)))
      #expect(lane.sleep() == .seconds(10))
    }
  }

  @Test func pausesWithoutAHeaderGrowAndAreForgottenAfterADelivery() throws {
    let lane = LaneDriver(unbatched: 1_000)
    for wait in [250, 500, 1_000, 2_000, 22_500] {
      for batch in lane.requests() { lane.answer(batch, .status(429)) }
      #expect(lane.sleep() == .milliseconds(wait))
    }
    #expect(lane.machine.failures == 0)
    lane.answer(try #require(lane.request()), .delivered)
    for batch in lane.requests() { lane.answer(batch, .status(429)) }
    #expect(lane.sleep() == .milliseconds(250))
  }

  @Test func aServiceThatFailsAndAsksForNoWaitIsNotFlooded() {
    let lane = LaneDriver(unbatched: 1_000)
    for status in [503, 429, 500] {
      let before = lane.requestCount
      let begin = lane.now
      for _ in 0..<100 where lane.now - begin < .seconds(600) {
        for batch in lane.requests() { lane.answer(batch, .status(status, retryAfter: .zero)) }
        _ = lane.sleep()
      }
      #expect(lane.requestCount - before < 40)
    }
  }

  // MARK: At once, a bounded number of times

  @Test func aRefusedStreamIsSentAgainAtOnceThreeTimes() throws {
    let lane = LaneDriver([.sample(1, 1...4)])
    for _ in 0..<3 {
      let settlement = lane.answer(try #require(lane.request()), .streamRefused)
      #expect(
        settlement
          == Settlement(
            batch: 1, change: .pending(retryAfter: nil), lane: .none, inserted: .no, isCounted: false))
    }
    #expect(lane.batches.map(\.attempts) == [0])
    let settlement = lane.answer(try #require(lane.request()), .streamRefused)
    #expect(settlement.isCounted && settlement.lane == .backOff(failures: 1, delay: .milliseconds(250)))
    #expect(lane.sleep() == .milliseconds(250))
    lane.answer(try #require(lane.request()), .delivered)
    #expect(lane.machine.isDrained)
  }

  // MARK: 202

  @Test func afterTwo202TheThirdHolds() throws {
    let lane = LaneDriver([.sample(1, 1...4)])
    for _ in 0..<2 {
      let settlement = lane.answer(try #require(lane.request()), .status(202))
      #expect(settlement.inserted == .maybe)
      _ = lane.sleep()
    }
    let settlement = lane.answer(try #require(lane.request()), .status(202))
    #expect(settlement.change == .pending(retryAfter: nil))
    #expect(settlement.lane == .hold(.waitNotHonoured, status: 202))
    #expect(lane.batches.map(\.attempts) == [3])
  }

  @Test func aDeliveryForgetsThe202() throws {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 10)
    for reply in [.status(202), .status(202), .delivered, .status(202), .status(202), .delivered] as [Reply] {
      lane.answer(try #require(lane.request()), reply)
      _ = lane.sleep()
    }
    #expect(lane.record.hold == nil)
  }

  // MARK: Faults of our own

  @Test func aFaultOfOursShortensNoWait() throws {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 100)
    let batch = try #require(lane.request())
    #expect(lane.next() == .form(lane.machine.settings.limits))
    lane.answer(batch, .status(503, retryAfter: .seconds(60)))
    lane.formingFailed()
    #expect(lane.sleep() == .seconds(60))
  }

  @Test func aProbeThatCouldNotBeMarkedIsSentAMomentLater() throws {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 100, change: Self.outage)
    lane.startFailed(try #require(lane.request()))
    #expect(lane.sleep() == .milliseconds(500))
    #expect(lane.request() != nil)
    #expect(lane.request() == nil)
    #expect(lane.machine.failures == 9)
  }

  @Test func aProbeThatCouldNotBeFormedIsFormedAMomentLater() {
    let lane = LaneDriver(unbatched: 100, change: Self.outage)
    #expect(lane.next() == .form(lane.machine.settings.probeLimits))
    lane.formingFailed()
    #expect(lane.sleep() == .milliseconds(500))
    #expect(lane.next() == .form(lane.machine.settings.probeLimits))
  }

  @Test func aProbeThatIsGoneIsFollowedByAnother() throws {
    let lane = LaneDriver([.sample(1, 1...4), .sample(2, 5...8)], change: Self.outage)
    lane.abandon(try #require(lane.request()))
    #expect(lane.request()?.id == 2)
  }
}
