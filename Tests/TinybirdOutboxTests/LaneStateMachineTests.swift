import Testing

@testable import TinybirdOutbox

/// The life of a lane that nothing goes wrong for.
@Suite struct LaneStateMachineTests {
  @Test func eventsAreFormedSentJudgedAndSettled() throws {
    let lane = LaneDriver()
    #expect(lane.next() == .wait(until: nil))
    #expect(lane.machine.isDrained)

    lane.append(3)
    #expect(!lane.machine.isDrained)
    #expect(lane.next() == .form(lane.machine.settings.limits))
    #expect(lane.next() == .wait(until: nil), "one batch is formed at a time")
    #expect(!lane.machine.isDrained)
    let batch = try #require(lane.form(lane.machine.settings.limits))
    #expect(batch.sequences == 1...3)

    // There may be more; there is not.
    #expect(lane.next() == .form(lane.machine.settings.limits))
    #expect(lane.form(lane.machine.settings.limits) == nil)
    #expect(lane.next() == .wait(until: nil))
    #expect(!lane.machine.isDrained, "one is under way")

    let settlement = lane.judge(batch, .delivered)
    #expect(settlement.change == .delivered(RowCounts(successful: 3, quarantined: 0)))
    #expect(settlement.inserted == .yes)
    #expect(!lane.machine.isDrained, "the settlement is not committed yet")
    lane.commit(settlement)
    #expect(lane.machine.isDrained)
    #expect(lane.next() == .wait(until: nil))
  }

  @Test(arguments: [1, 2, 4, 7]) func noMoreThanTheLimitAreUnderWay(limit: Int) throws {
    let lane = LaneDriver(unbatched: 100, settings: .sample(maximumInFlight: limit))
    var underWay = lane.requests()
    #expect(underWay.count == limit)
    #expect(underWay.map(\.sequences.lowerBound) == (0..<limit).map { Int64($0 * 10 + 1) }, "they start in order")
    while let batch = underWay.popLast() {
      let settlement = lane.judge(batch, .delivered)
      #expect(lane.next() == .wait(until: nil), "its place is free when it is settled, not before")
      lane.commit(settlement)
      underWay += lane.requests()
      #expect(underWay.count <= limit)
    }
    #expect(lane.deliveredSequences == Array(1...100))
    #expect(lane.requestCount == 10)
  }

  @Test func whileABatchIsFormedItCountsAsUnderWay() {
    let lane = LaneDriver([.sample(1, 1...1)], unbatched: 50, settings: .sample(maximumInFlight: 2))
    #expect(lane.request()?.id == 1)
    #expect(lane.next() == .form(lane.machine.settings.limits))
    #expect(lane.next() == .wait(until: nil))
  }

  @Test func whatWaitsGoesBeforeWhatIsNotFormed() {
    // Replays and what a crash left behind come first: their events are older.
    let lane = LaneDriver([.sample(7, 5...9), .sample(9, 1...4, kind: .replay)], unbatched: 10)
    #expect(lane.requests().map(\.sequences) == [1...4, 5...9, 10...19])
  }

  /// Events that are appended while a batch is being formed must not be forgotten when there was nothing to form.
  @Test func anAppendWhileFormingIsNotForgotten() throws {
    let lane = LaneDriver()
    lane.append(0)
    #expect(lane.next() == .form(lane.machine.settings.limits))
    var machine = lane.machine
    let mark = machine.formingMark
    machine.appended()
    machine.formed(nil, mark: mark, now: .zero)
    #expect(machine.next(now: .zero) == .form(lane.machine.settings.limits))
    machine.formed(nil, mark: machine.formingMark, now: .zero)
    #expect(machine.next(now: .zero) == .wait(until: nil))
    #expect(machine.isDrained)
  }

  @Test func theSettlementOfASplitPutsItsPartsInItsPlace() throws {
    let lane = LaneDriver([.sample(1, 1...5), .sample(2, 6...9)], settings: .sample(maximumInFlight: 1))
    lane.answer(try #require(lane.request()), .status(413))
    #expect(lane.batches.map(\.sequences) == [1...2, 3...5, 6...9])
    for sequences in [1...2, 3...5, 6...9] as [ClosedRange<Int64>] {
      let batch = try #require(lane.request())
      #expect(batch.sequences == sequences)
      lane.answer(batch, .delivered)
    }
    #expect(lane.machine.isDrained)
  }

  @Test func aBatchThatIsTooLargeIsHalvedDownToTheEventThatIs() throws {
    let lane = LaneDriver([.sample(1, 1...8)], settings: .sample(maximumInFlight: 2))
    while let batch = lane.request() {
      lane.answer(batch, batch.sequences.contains(3) ? .status(413) : .delivered)
    }
    #expect(lane.deadSequences == [3])
    #expect(lane.dead.map(\.reason) == [.tooLarge])
    #expect(lane.deliveredSequences == [1, 2, 4, 5, 6, 7, 8])
    #expect(lane.requestCount == 7)
  }

  @Test func whatIsPartlyInsertedIsDeadAndTheLaneGoesOn() throws {
    let lane = LaneDriver([.sample(1, 1...4), .sample(2, 5...6)], settings: .sample(maximumInFlight: 1))
    let settlement = lane.answer(try #require(lane.request()), .status(422))
    #expect(settlement.inserted == .maybe)
    #expect(lane.dead.map(\.sequences) == [1...4], "as a whole: to send half of it again could duplicate")
    #expect(lane.request()?.id == 2)
  }

  // MARK: Pace

  @Test func requestsKeepTheRateLimit() throws {
    var settings = LaneSettings.sample(maximumInFlight: 100)
    settings.rateLimits = RateLimits(requestsPerSecond: 10)
    let lane = LaneDriver(unbatched: 100, settings: settings)
    let first = try #require(lane.request())
    #expect(lane.next() == .wait(until: .seconds(1.0 / 9)), "a ninth: 90 % of ten a second")
    lane.answer(first, .delivered)
    #expect(lane.next() == .wait(until: .seconds(1.0 / 9)), "an answer makes no room")
    _ = lane.sleep()
    #expect(lane.request() != nil)
    #expect(lane.request() == nil)
  }

  @Test func requestsKeepTheByteLimit() throws {
    var settings = LaneSettings.sample()
    settings.rateLimits = RateLimits(requestsPerSecond: .infinity, bytesPerSecond: 1_000)
    // 1,000 bytes a batch, which count for a second and what requests may gain on one another.
    let lane = LaneDriver(unbatched: 100, settings: settings)
    #expect(lane.request() != nil)
    #expect(lane.sleep() == .milliseconds(1050))
    #expect(lane.request() != nil)
    #expect(lane.request() == nil)
  }

  @Test func aBatchTakesTheRoomThatIsLeft() throws {
    var settings = LaneSettings.sample()
    settings.rateLimits = RateLimits(requestsPerSecond: .infinity, bytesPerSecond: 2_500)
    let lane = LaneDriver(unbatched: 100, settings: settings)
    #expect(lane.requests().map(\.byteCount) == [1_000, 1_000, 500])
    #expect(lane.sleep() == .milliseconds(1050))
  }

  @Test func whatTheServiceHasLeftIsWaitedFor() throws {
    let lane = LaneDriver(unbatched: 100)
    let requests = lane.requests()
    lane.note(RateLimitLeft(requests: 4, reset: .seconds(3)), answerTo: requests[0])
    lane.answer(requests[0], .delivered)
    #expect(lane.requests().count == 1, "three were under way already")
    lane.answer(requests[1], .delivered)
    #expect(lane.requests().isEmpty)
    #expect(lane.sleep() == .seconds(3))
    #expect(lane.requests().count == 1)
    // No answer may stop a lane for longer than the longest wait.
    lane.note(RateLimitLeft(requests: 0, reset: .seconds(1e6)), answerTo: requests[2])
    lane.answer(requests[2], .delivered)
    lane.answer(requests[3], .delivered)
    #expect(lane.sleep() == .seconds(300))
  }

  // MARK: Faults of our own

  @Test func aBatchThatCouldNotBeMarkedWaitsAMomentAndOthersGoOn() throws {
    let lane = LaneDriver([.sample(1, 1...1), .sample(2, 2...2)], settings: .sample(maximumInFlight: 1))
    let first = try #require(lane.request())
    lane.startFailed(first)
    #expect(lane.machine.condition == .open)
    let second = try #require(lane.request())
    #expect(second.id == 2)
    lane.answer(second, .delivered)
    #expect(lane.sleep() == .milliseconds(500))
    #expect(lane.request()?.id == 1)
  }

  @Test func aBatchThatCouldNotBeFormedIsFormedAMomentLater() throws {
    let lane = LaneDriver(unbatched: 5)
    #expect(lane.next() == .form(lane.machine.settings.limits))
    lane.formingFailed()
    #expect(lane.sleep() == .milliseconds(500))
    #expect(lane.request()?.sequences.lowerBound == 1)
  }

  @Test func aBatchThatIsGoneMakesRoom() throws {
    let lane = LaneDriver([.sample(1, 1...1), .sample(2, 2...2)], settings: .sample(maximumInFlight: 1))
    lane.abandon(try #require(lane.request()))
    #expect(lane.request()?.id == 2)
    // Impossible: one that was never there.
    lane.abandon(.sample(99, 1...1))
    #expect(lane.next() == .wait(until: nil))
  }

  // MARK: Stopping

  @Test func aStoppedLaneWaitsForItsAnswersAndFinishes() throws {
    let lane = LaneDriver(unbatched: 100, settings: .sample(maximumInFlight: 2))
    let underWay = lane.requests()
    lane.stop()
    #expect(lane.next() == .wait(until: nil))
    lane.answer(underWay[0], .delivered)
    #expect(lane.next() == .wait(until: nil))
    let settlement = lane.answer(underWay[1], .cancelled)
    #expect(!settlement.isCounted && settlement.inserted == .maybe, "it may have arrived, and was no attempt")
    #expect(settlement.change == .pending(retryAfter: nil))
    #expect(lane.next() == .finish)
    lane.append(5)
    #expect(lane.next() == .finish)
    #expect(lane.batches.map(\.attempts) == [0])
  }

  @Test func aBatchThatIsBeingFormedWhenTheLaneStopsIsWaitedFor() throws {
    let lane = LaneDriver(unbatched: 5)
    #expect(lane.next() == .form(lane.machine.settings.limits))
    lane.stop()
    #expect(lane.next() == .wait(until: nil))
    let batch = try #require(lane.form(lane.machine.settings.limits))
    #expect(lane.next() == .wait(until: nil))
    lane.answer(batch, .delivered)
    #expect(lane.next() == .finish)
  }

  /// Wherever the lane is: it finishes at once where nothing is under way.
  @Test(arguments: [HoldKind?.none, .unauthorized, .byOperator], [0, 1, 9]) func anIdleLaneFinishesAtOnce(
    hold: HoldKind?, failures: Int
  ) {
    let lane = LaneDriver([.sample(1, 1...4)], unbatched: 4) {
      $0.hold = hold.map { LaneRecord.Hold(kind: $0, status: nil) }
      $0.failures = failures
    }
    lane.stop()
    #expect(lane.next() == .finish)
  }
}
