import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Commands of operators while the lane is at work, restarts, and clocks that jump.
@Suite struct LaneReloadTests {
  // MARK: Commands

  @Test func whatIsUnderWayStaysUnderWay() throws {
    let lane = LaneDriver([.sample(1, 1...4), .sample(2, 5...8)], settings: .sample(maximumInFlight: 2))
    let underWay = lane.requests()
    lane.command()
    #expect(lane.request() == nil, "nothing is sent twice")
    lane.answer(underWay[0], .delivered)
    lane.command()
    lane.answer(underWay[1], .delivered)
    #expect(lane.machine.isDrained)
  }

  /// Under way here, gone in the ledger: it stays until its answer finds that out.
  @Test func whatIsUnderWayAndNotInTheLedgerIsWaitedFor() throws {
    let lane = LaneDriver([.sample(1, 1...4)])
    let batch = try #require(lane.request())
    lane.abandonInLedger(batch)
    lane.command()
    #expect(lane.next() == .wait(until: nil))
    #expect(!lane.machine.isDrained)
    lane.abandon(batch)
    #expect(lane.machine.isDrained)
  }

  @Test func whatTheLedgerDoesNotHaveIsForgottenAndWhatIsNewIsSent() {
    let lane = LaneDriver([.sample(1, 1...4), .sample(2, 5...8)], settings: .sample(maximumInFlight: 1))
    let first = lane.request()
    #expect(first?.id == 1)
    lane.abandonInLedger(.sample(2, 5...8))
    lane.addToLedger(.sample(7, 1...2, kind: .replay))
    lane.command()
    if let first { lane.answer(first, .delivered) }
    #expect(lane.request()?.id == 7)
    #expect(lane.request() == nil)
  }

  // MARK: A command between a commit of the lane and the news of it

  /// The reading has the new batch already: it must not be there twice, or it is sent again and again.
  @Test func whatWasFormedIsSentOnce() throws {
    let lane = LaneDriver(unbatched: 10, settings: .sample(maximumEvents: 5))
    lane.beforeNews = { lane.command() }
    #expect(lane.requests().map(\.sequences) == [1...5, 6...10])
  }

  /// The hold is written down, then it is resumed, and then the lane is told of both.
  @Test func aResumeIsNotUndoneByTheHoldBeforeIt() throws {
    let lane = LaneDriver([.sample(1, 1...4), .sample(2, 5...8)], settings: .sample(maximumInFlight: 1))
    let first = try #require(lane.request())
    lane.beforeNews = { lane.resume() }
    lane.answer(first, .status(401))
    #expect(lane.machine.condition == .open)
    #expect(lane.request()?.id == 2)
  }

  /// What came for a request that the lane knows nothing of is there, and pending: it is named.
  @Test func anAnswerToNothingIsAPossibleDuplicate() {
    let lane = LaneDriver([.sample(1, 1...4)])
    #expect(lane.judge(.sample(1, 1...4), .delivered).inserted == .maybe)
  }

  // MARK: What is cut short

  /// `deliver-now`: every wait is cut short, of the lane, of its batches, and one that the service asked for.
  @Test(
    arguments: [.status(503), .status(503, retryAfter: .seconds(100)), .status(429, retryAfter: .seconds(100))]
      as [Reply])
  func deliverNowCutsWaitsShort(reply: Reply) throws {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 100)
    let underWay = lane.requests()
    for batch in underWay { lane.answer(batch, reply) }
    #expect(lane.request() == nil)
    lane.deliverNow()
    let probe = try #require(lane.request())
    lane.answer(probe, .delivered)
    #expect(lane.requests().count == 4, "the pause is over")
  }

  /// Another command, a replay for example, leaves the waits as they are.
  @Test func otherCommandsCutNoWaitShort() {
    let lane = LaneDriver(unbatched: 100)
    let underWay = lane.requests()
    lane.answer(underWay[0], .status(429, retryAfter: .seconds(100)))
    lane.command()
    lane.answer(underWay[1], .delivered)
    #expect(lane.sleep() == .seconds(100))
  }

  @Test func anAppendWhileTheLaneIsReadIsNotForgotten() {
    let lane = LaneDriver()
    lane.reloadStale { lane.append(3) }
    #expect(lane.request()?.sequences == 1...3)
  }

  @Test func aCommandDuringAnOutageKeepsTheCount() throws {
    let lane = LaneDriver([.sample(1, 1...4)])
    for _ in 0..<3 {
      lane.answer(try #require(lane.request()), .reset)
      _ = lane.sleep()
    }
    lane.command()
    #expect(lane.machine.failures == 3)
    lane.answer(try #require(lane.request()), .reset)
    #expect(lane.machine.failures == 4)
  }

  @Test func resumeForgetsThe202() throws {
    let lane = LaneDriver([.sample(1, 1...4)])
    for _ in 0..<3 {
      lane.answer(try #require(lane.request()), .status(202))
      _ = lane.sleep()
    }
    #expect(lane.record.hold?.kind == .waitNotHonoured)
    lane.resume()
    lane.answer(try #require(lane.request()), .status(202))
    #expect(lane.record.hold == nil)
  }

  // MARK: Between an answer and its settlement

  /// A command is read before the answer is written down: the answer still counts.
  @Test func aHoldIsNotLostBeforeItIsSettled() throws {
    let lane = LaneDriver(unbatched: 1_000)
    let underWay = lane.requests()
    let settlement = lane.judge(underWay[0], .status(403))
    lane.command()
    #expect(lane.request() == nil)
    lane.answer(underWay[1], .status(403))
    lane.command()
    lane.commit(settlement)
    lane.command()
    #expect(lane.dead.map(\.sequences) == [underWay[0].sequences], "one batch is burnt")
    #expect(lane.request() == nil)
  }

  @Test func aWaitIsNotLostBeforeItIsSettled() throws {
    for (reply, wait) in [(Reply.reset, 250), (.status(503, retryAfter: .seconds(9)), 9_000), (.status(429), 250)] {
      let lane = LaneDriver(unbatched: 1_000)
      let settlement = lane.judge(try #require(lane.request()), reply)
      lane.command()
      lane.deliverNow()
      #expect(lane.sleep() == .milliseconds(wait), "\(reply)")
      lane.commit(settlement)
      #expect(lane.requests().count == 1, "\(reply)")
    }
  }

  @Test func anEndIsNotLostBeforeItIsSettled() throws {
    let outage = LaneDriver([.sample(1, 1...4)], unbatched: 1_000) {
      $0.failures = 7
      $0.retryAt = LaneDriver.wallStart
    }
    let hold = LaneDriver([.sample(1, 1...4)], unbatched: 1_000) {
      $0.hold = LaneRecord.Hold(kind: .unauthorized, status: 403)
    }
    for lane in [outage, hold] {
      let settlement = lane.judge(try #require(lane.request()), .delivered)
      lane.command()
      #expect(lane.machine.condition == .open && lane.machine.failures == 0)
      lane.commit(settlement)
      lane.command()
      #expect(lane.requests().count == 4)
    }
  }

  @Test func anOperatorsHoldStaysWhateverIsNotSettled() throws {
    for reply in [Reply.delivered, .reset, .status(403)] {
      let lane = LaneDriver([.sample(1, 1...4)], unbatched: 1_000)
      let settlement = lane.judge(try #require(lane.request()), reply)
      lane.hold()
      lane.now += .seconds(1_000_000)
      #expect(lane.next() == .wait(until: nil), "\(reply)")
      lane.commit(settlement)
      lane.command()
      #expect(lane.next() == .wait(until: nil), "\(reply)")
      #expect(lane.record.hold?.kind == .byOperator)
    }
  }

  /// The settlement was refused: what the ledger says counts again.
  @Test func anAnswerThatIsNeverSettledIsForgotten() throws {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 1_000)
    let batch = try #require(lane.request())
    _ = lane.judge(batch, .status(403))
    lane.abandon(batch)
    lane.command()
    #expect(lane.machine.condition == .open)
    #expect(lane.requests().count == 4)
  }

  @Test func noProbeIsBuriedWhereEveryEventWasRefused() throws {
    let lane = LaneDriver([.sample(1, 1...1_000_000)])
    for _ in 0..<20 { lane.answer(try #require(lane.request()), .status(400)) }
    let settlement = lane.judge(try #require(lane.request()), .status(400))
    #expect(settlement.lane == .hold(.everyEventRefused, status: 400))
    lane.command()
    lane.commit(settlement)
    for _ in 0..<5 {
      _ = lane.sleep()
      lane.answer(try #require(lane.request()), .status(400))
    }
    #expect(lane.dead.count <= 1)
  }

  // MARK: Restarts

  @Test func anOutageOutlivesTheProcess() throws {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 100)
    for _ in 0..<6 {
      lane.answer(try #require(lane.request()), .reset)
      if lane.machine.failures < 6 { _ = lane.sleep() }
    }
    lane.now += .seconds(5)
    lane.restart()
    #expect(lane.machine.failures == 6)
    #expect(lane.sleep() == .seconds(40), "45 s less the 5 that have passed")
    #expect(lane.request() != nil)
    #expect(lane.request() == nil, "one probe")
  }

  @Test func aHoldOutlivesTheProcess() throws {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 100)
    lane.answer(try #require(lane.request()), .status(403))
    lane.restart()
    lane.answer(try #require(lane.request()), .status(403))
    #expect(lane.dead.map(\.sequences) == [1...4], "the batch that made the hold, and no other")
    #expect(lane.sleep() == .seconds(900))
    lane.answer(try #require(lane.request()), .delivered)
    #expect(lane.record.hold == nil)
  }

  @Test func aPauseOutlivesTheProcess() throws {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 100)
    lane.answer(try #require(lane.request()), .status(429, retryAfter: .seconds(30)))
    lane.now += .seconds(10)
    lane.restart()
    #expect(lane.machine.failures == 0)
    #expect(lane.sleep() == .seconds(20))
    #expect(lane.requests().count == 1)
  }

  @Test func failuresWithoutAMomentAreProbedAtOnce() {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 100) { $0.failures = 7 }
    #expect(lane.requests().count == 1)
  }

  // MARK: Clocks

  /// Stored moments, in seconds from now, and how long the lane or the batch waits.
  @Test(
    arguments: [
      (0, 0), (-1, 0), (-1_000_000_000, 0), (1, 1), (299, 299), (300, 300), (301, 300), (86_400, 300),
      (10 * 365 * 86_400, 300),
    ] as [(Int64, Int)])
  func storedWaitsAreCapped(seconds: Int64, waited: Int) {
    let moment = WallTime(milliseconds: LaneDriver.wallStart.milliseconds + seconds * 1_000)
    let lanes = [
      LaneDriver([.sample(1, 1...4)]) { $0.retryAt = moment },
      LaneDriver([.sample(1, 1...4, nextAttemptAt: moment)]),
      LaneDriver([.sample(1, 1...4, nextAttemptAt: moment)], settings: .sample(isStrict: true)),
    ]
    for lane in lanes {
      if waited > 0 { #expect(lane.sleep() == .seconds(waited)) }
      #expect(lane.request()?.id == 1)
    }
  }

  /// What no clock shows, but a damaged file can hold.
  @Test(arguments: [(.min, 0), (-1, 0), (0, 0), (.max, 300)] as [(Int64, Int)])
  func absurdStoredWaitsAreCapped(milliseconds: Int64, waited: Int) {
    let moment = WallTime(milliseconds: milliseconds)
    for lane in [
      LaneDriver([.sample(1, 1...4)]) { $0.retryAt = moment }, LaneDriver([.sample(1, 1...4, nextAttemptAt: moment)]),
    ] {
      if waited > 0 { #expect(lane.sleep() == .seconds(waited)) }
      #expect(lane.request()?.id == 1)
    }
  }

  /// Hours back and forth in the middle of an outage, also over restarts: neither a lost wait nor a hot loop.
  @Test(arguments: [Int64](1...20)) func aClockThatJumpsMakesNoHotLoop(seed: Int64) {
    var random = SeededRandom(seed: UInt64(seed))
    let lane = LaneDriver([.sample(1, 1...4)])
    var (requests, waited) = (0, Duration.zero)
    while waited < .seconds(6 * 3600), requests < 1000, let batch = lane.request() {
      requests += 1
      lane.answer(batch, .status(503))
      lane.wallSkew = .seconds(Int64.random(in: -36_000...36_000, using: &random))
      if requests.isMultiple(of: 5) { lane.restart() }
      while let wait = lane.sleep() {
        #expect(wait <= .seconds(300))
        waited += wait
      }
    }
    #expect(waited >= .seconds(6 * 3600))
    // A restart after a jump forward cuts one wait short; every other is an outage's, of 150 s at least in the end.
    #expect(requests < 300)
  }

  /// The wall clock is set back by ten years while the lane waits: a running lane does not notice, one that starts waits
  /// no longer than the longest wait.
  @Test func aClockThatIsSetBackStopsNothing() throws {
    let lane = LaneDriver([.sample(1, 1...4)])
    for _ in 0..<2 {
      lane.answer(try #require(lane.request()), .status(503, retryAfter: .seconds(60)))
      lane.wallSkew -= .seconds(10 * 365 * 86_400)
      #expect(lane.sleep() == .seconds(60))
    }
    lane.answer(try #require(lane.request()), .status(503, retryAfter: .seconds(60)))
    lane.wallSkew -= .seconds(10 * 365 * 86_400)
    lane.restart()
    #expect(lane.sleep() == .seconds(300))
    #expect(lane.request() != nil)
  }

  @Test func aClockThatIsSetForwardSendsAtOnce() throws {
    let lane = LaneDriver([.sample(1, 1...4)])
    lane.answer(try #require(lane.request()), .status(503, retryAfter: .seconds(60)))
    lane.wallSkew += .seconds(86_400)
    lane.restart()
    #expect(lane.request() != nil)
  }
}
