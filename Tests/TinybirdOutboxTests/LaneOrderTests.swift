import Testing

@testable import TinybirdOutbox

/// Strict order: one in flight, nothing overtakes.
@Suite struct LaneOrderTests {
  private static let strict = LaneSettings.sample(isStrict: true)

  @Test func oneAtATimeInOrder() throws {
    let lane = LaneDriver([.sample(1, 1...3), .sample(2, 4...6)], unbatched: 30, settings: Self.strict)
    while let batch = lane.request() {
      #expect(lane.next() == .wait(until: nil))
      lane.answer(batch, .delivered)
    }
    #expect(lane.delivered == [1...3, 4...6, 7...16, 17...26, 27...36])
  }

  /// A failing batch stops the lane: every probe is this batch, however long it fails.
  @Test func aFailingBatchIsNotOvertaken() throws {
    let lane = LaneDriver([.sample(1, 1...3), .sample(2, 4...6)], unbatched: 30, settings: Self.strict)
    for failures in 1...12 {
      let batch = try #require(lane.request())
      #expect(batch.id == 1)
      lane.answer(batch, .status(500))
      #expect(lane.machine.failures == failures, "the lane's failure, never only its own")
      _ = lane.sleep()
    }
  }

  /// Also not while its answer is still being written down: it is under way until it is settled.
  @Test func aFailingBatchIsNotOvertakenBeforeItIsSettled() throws {
    for reply in [.reset, .status(429), .streamRefused, .status(202), .notSent] as [Reply] {
      let lane = LaneDriver([.sample(1, 1...3)], unbatched: 30, settings: Self.strict)
      let settlement = lane.judge(try #require(lane.request()), reply)
      lane.now += .seconds(3_600)
      #expect(lane.next() == .wait(until: nil), "\(reply)")
      lane.commit(settlement)
      _ = lane.sleep()
      #expect(lane.request()?.id == 1, "\(reply)")
    }
  }

  @Test func aBatchThatWaitsForItsMomentIsNotOvertaken() {
    let lane = LaneDriver(
      [.sample(1, 1...3, nextAttemptAt: LaneDriver.wallStart + .seconds(20)), .sample(2, 4...6)], unbatched: 30,
      settings: Self.strict)
    #expect(lane.request() == nil)
    #expect(lane.sleep() == .seconds(20))
    #expect(lane.request()?.id == 1)
  }

  @Test func aBatchThatCouldNotBeMarkedIsNotOvertaken() throws {
    let lane = LaneDriver([.sample(1, 1...3), .sample(2, 4...6)], unbatched: 30, settings: Self.strict)
    lane.startFailed(try #require(lane.request()))
    #expect(lane.request() == nil)
    _ = lane.sleep()
    #expect(lane.request()?.id == 1)
  }

  /// A hold is probed with the first batch, though others are smaller.
  @Test func theProbeOfAHoldOvertakesNothing() throws {
    let lane = LaneDriver(
      [.sample(1, 1...30), .sample(2, 31...31)], unbatched: 30, settings: Self.strict,
      hold: LaneRecord.Hold(kind: .unauthorized, status: 403))
    for _ in 0..<3 {
      _ = lane.sleep()
      let probe = try #require(lane.request())
      #expect(probe.id == 1)
      lane.answer(probe, .status(403))
    }
  }

  @Test func theProbesOfAnOutageOvertakeNothing() throws {
    let lane = LaneDriver([.sample(1, 1...30, attempts: 9), .sample(2, 31...31)], unbatched: 30, settings: Self.strict)
    {
      $0.failures = 9
      $0.retryAt = LaneDriver.wallStart
    }
    for _ in 0..<6 {
      let probe = try #require(lane.request())
      #expect(probe.id == 1)
      lane.answer(probe, .status(500))
      _ = lane.sleep()
    }
  }

  /// The guilty event of a batch is isolated before anything behind the batch is sent; the rest arrives in order.
  @Test func aBisectionKeepsTheOrder() {
    let lane = LaneDriver([.sample(1, 1...100)], unbatched: 30, settings: Self.strict)
    while let batch = lane.request() {
      lane.answer(batch, batch.sequences.contains(50) ? .status(400) : .delivered)
    }
    #expect(lane.delivered.map(\.lowerBound) == lane.delivered.map(\.lowerBound).sorted())
    #expect(lane.deadSequences == [50])
    #expect(lane.deliveredSequences == Array(1...49) + Array(51...130))
  }

  /// Relaxed order starts in order too; only what fails falls behind.
  @Test func relaxedOrderStartsInOrder() throws {
    let lane = LaneDriver([.sample(3, 9...9), .sample(1, 1...3), .sample(2, 4...8)], unbatched: 10)
    #expect(lane.requests().map(\.sequences) == [1...3, 4...8, 9...9, 10...19])
  }
}
