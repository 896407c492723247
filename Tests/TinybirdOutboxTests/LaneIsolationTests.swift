import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// 400: the batch is halved until the guilty events are alone.
@Suite struct LaneIsolationTests {
  /// Sends until nothing is left or may be sent, to a service that refuses every request with a guilty event in it.
  ///
  /// The answers come back in any order.
  private func run(_ lane: LaneDriver, guilty: Set<Int64>, using random: inout SeededRandom) {
    var underWay: [Batch] = []
    while true {
      underWay += lane.requests()
      guard let index = underWay.indices.randomElement(using: &random) else { return }
      let batch = underWay.remove(at: index)
      lane.answer(batch, guilty.contains(where: batch.sequences.contains) ? .status(400) : .delivered)
    }
  }

  /// Guilty events all over the batch: one at a random place of each of its `count` equal parts.
  private func scattered(_ count: Int64, in events: Int64, using random: inout SeededRandom) -> Set<Int64> {
    let count = min(count, events)
    return Set(
      (0..<count).map { part in
        .random(in: (part * events / count + 1)...((part + 1) * events / count), using: &random)
      })
  }

  /// How often a number can be halved until one is left: the depth of the bisection.
  private func halvings(_ events: Int64) -> Int { Int64.bitWidth - (events - 1).leadingZeroBitCount }

  /// The events 1 to `count` are delivered, but for the guilty, which are dead, alone.
  private func expectOnlyTheGuiltyAreDead(_ lane: LaneDriver, _ count: Int64, _ guilty: Set<Int64>, _ comment: Comment)
  {
    #expect(
      lane.dead.map(\.sequences).sorted { $0.lowerBound < $1.lowerBound } == guilty.sorted().map { $0...$0 }, comment)
    #expect(lane.dead.allSatisfy { $0.reason == .refused }, comment)
    let settled = (lane.delivered + lane.dead.map(\.sequences)).sorted { $0.lowerBound < $1.lowerBound }
    var next: Int64 = 1
    for sequences in settled {
      #expect(sequences.lowerBound == next, comment)
      next = sequences.upperBound + 1
    }
    #expect(next == count + 1, comment)
    #expect(lane.machine.isDrained && lane.machine.condition == .open, comment)
  }

  // MARK: On demand

  /// The service fails on every request with a guilty event in it, until nothing is left, or for `limit` requests.
  private func fail(_ lane: LaneDriver, guilty: Set<Int64>, limit: Int = 1_000) {
    while lane.requestCount < limit {
      let batches = lane.requests()
      for batch in batches {
        lane.answer(batch, guilty.contains(where: batch.sequences.contains) ? .status(500) : .delivered)
      }
      if batches.isEmpty, lane.sleep() == nil { return }
    }
  }

  @Test(arguments: [false, true]) func whatKeepsFailingIsHalvedOnDemand(isStrict: Bool) {
    let asked = LaneDriver(
      [.sample(1, 1...1_000, isolation: .onDemand), .sample(2, 1_001...1_010)], settings: .sample(isStrict: isStrict))
    fail(asked, guilty: [7, 800])
    #expect(asked.deadSequences == [7, 800] && asked.dead.allSatisfy { $0.reason == .isolated })
    #expect(asked.deliveredSequences.count == 1_008 && asked.machine.isDrained)
    #expect(asked.requestCount <= 6 * 2 * halvings(1_000))
    let unasked = LaneDriver(
      [.sample(1, 1...1_000), .sample(2, 1_001...1_010)], settings: .sample(isStrict: isStrict))
    fail(unasked, guilty: [7], limit: 50)
    #expect(unasked.dead.isEmpty && unasked.batches.contains { $0.sequences == 1...1_000 })
  }

  /// A service that fails on everything is away: no event is to blame.
  @Test(arguments: [false, true]) func anOutageBuriesNothingOnDemand(isStrict: Bool) {
    let lane = LaneDriver([.sample(1, 1...8_192, isolation: .onDemand)], settings: .sample(isStrict: isStrict))
    fail(lane, guilty: Set(1...8_192), limit: 200)
    #expect(lane.dead.count <= (isStrict ? 7 : 0), "\(lane.dead.count)")
    guard case .held = lane.machine.condition else { return }
    Issue.record("held, though it is well as soon as the service is")
  }

  /// 503 is nobody's fault.
  @Test(arguments: [false, true]) func aServiceThatSaysItIsAwayBuriesNothingOnDemand(isStrict: Bool) {
    let lane = LaneDriver([.sample(1, 1...64, isolation: .onDemand)], settings: .sample(isStrict: isStrict))
    while lane.requestCount < 60 {
      for batch in lane.requests() { lane.answer(batch, .status(503)) }
      _ = lane.sleep()
    }
    #expect(lane.dead.isEmpty && lane.batches.count == 1)
  }

  /// Where little comes a batch that was found to be to blame does not bring the lane down again and again.
  @Test func aParkedBatchStaysParked() throws {
    let lane = LaneDriver([.sample(1, 1...10), .sample(2, 11...20)])
    for batch in lane.requests() { lane.answer(batch, batch.id == 1 ? .status(500) : .delivered) }
    for _ in 0..<20 {
      while lane.sleep() != nil {}
      let batch = try #require(lane.request())
      lane.answer(batch, .status(500))
    }
    #expect(lane.machine.condition == .open && lane.machine.failures <= 1, "\(lane.machine.condition)")
  }

  /// The command may come while the request is under way.
  @Test func whatIsUnderWayIsIsolatedToo() throws {
    let lane = LaneDriver([.sample(1, 1...2), .sample(2, 3...4)])
    let requests = lane.requests()
    lane.isolate(requests[0].id)
    lane.answer(requests[0], .status(500))
    lane.answer(requests[1], .delivered)
    fail(lane, guilty: [2])
    #expect(lane.deadSequences == [2])
  }

  // MARK: By the service

  /// As a proxy answers that takes no body at all.
  @Test func whereEverythingIsTooLargeTheLaneIsHeld() {
    let lane = LaneDriver([.sample(1, 1...8_192)], unbatched: 100)
    while lane.requestCount < 500 {
      let batches = lane.requests()
      for batch in batches { lane.answer(batch, .status(413)) }
      if batches.isEmpty { break }
    }
    #expect(lane.dead.count < 20 && lane.requestCount < 60, "\(lane.dead.count) dead of \(lane.requestCount) requests")
    guard case .held(let hold, _) = lane.machine.condition else {
      Issue.record("not held")
      return
    }
    #expect(hold.kind == .everyEventRefused)
  }

  @Test(arguments: [1, 2, 1_000, 20_000] as [Int64], [1, 2, 5, 50] as [Int64])
  func exactlyTheGuiltyEventsDie(events: Int64, guiltyCount: Int64) {
    for seed in 0..<12 as Range<UInt64> {
      for settings in [LaneSettings.sample(isStrict: true), .sample(maximumInFlight: 4), .sample(maximumInFlight: 32)] {
        var random = SeededRandom(seed: seed)
        let guilty = scattered(guiltyCount, in: events, using: &random)
        let lane = LaneDriver([.sample(1, 1...events)], settings: settings)
        run(lane, guilty: guilty, using: &random)
        let comment: Comment = "seed \(seed), \(settings.maximumInFlight) in flight"
        expectOnlyTheGuiltyAreDead(lane, events, guilty, comment)
        // A tree of halves: at most all the ancestors of each guilty event are refused, and each has two children.
        #expect(lane.requestCount <= 1 + 2 * guilty.count * halvings(events), comment)
      }
    }
  }

  /// The first event, the last, those in the middle, neighbours: the longest ways down.
  @Test(
    arguments: [[1], [50_000], [25_000], [25_001], [25_000, 25_001], [1, 2], [49_999, 50_000], [1, 50_000]]
      as [Set<Int64>])
  func theLargestBatchIsBisectedToItsEnds(guilty: Set<Int64>) {
    var random = SeededRandom(seed: 1)
    for settings in [LaneSettings.sample(isStrict: true), .sample()] {
      let lane = LaneDriver([.sample(1, 1...50_000)], settings: settings)
      run(lane, guilty: guilty, using: &random)
      expectOnlyTheGuiltyAreDead(lane, 50_000, guilty, "strict: \(settings.isStrict)")
    }
  }

  /// Several batches under way at once, each with guilty events all over it.
  @Test(arguments: 0..<20) func manyBatchesAtOnce(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let batches = (0..<8).map { Batch.sample($0 + 1, ($0 * 5_000 + 1)...($0 * 5_000 + 5_000)) }
    let guilty = scattered(100, in: 40_000, using: &random)
    let lane = LaneDriver(batches)
    run(lane, guilty: guilty, using: &random)
    expectOnlyTheGuiltyAreDead(lane, 40_000, guilty, "")
  }

  /// The bisection of one batch takes one request; the others go on beside it.
  @Test func aBisectionDoesNotHoldUpTheOthers() throws {
    let lane = LaneDriver([.sample(1, 1...1_000)], unbatched: 100, settings: .sample(maximumInFlight: 4))
    lane.answer(try #require(lane.request()), .status(400))
    let underWay = lane.requests()
    #expect(underWay.count == 4)
    #expect(underWay.map { $0.isolation != .none } == [true, false, false, false])
    #expect(underWay[0].sequences == 1...500)
  }

  // MARK: Every event is refused

  /// After 20 refused parts in a row the lane is held, and the parts that were not sent stay.
  @Test(arguments: [true, false]) func whenEveryEventIsRefusedTheLaneIsHeld(isStrict: Bool) {
    var random = SeededRandom(seed: 1)
    let lane = LaneDriver([.sample(1, 1...1_000)], settings: .sample(isStrict: isStrict))
    run(lane, guilty: Set(1...1_000), using: &random)
    let hold = LaneRecord.Hold(kind: .everyEventRefused, status: 400)
    #expect(lane.machine.condition == .held(hold, probeAt: .seconds(900)))
    #expect(lane.record.hold == hold)
    #expect(lane.requestCount == 21, "the batch and 20 of its parts")
    #expect(lane.deadSequences.count < 10)
    #expect(lane.batches.reduce(0) { $0 + $1.eventCount } + lane.deadSequences.count == 1_000)
    if isStrict {
      #expect(lane.batches.filter { $0.attempts == 2 }.count == 1, "the 20th that was refused stays too")
    }
  }

  /// A 200 to another batch starts the count anew.
  @Test func aDeliveryBetweenStartsTheCountAnew() throws {
    let lane = LaneDriver(
      [.sample(1, 1...1_000_000), .sample(2, 1_000_001...1_000_004)], settings: .sample(maximumInFlight: 2))
    let large = try #require(lane.request())
    let other = try #require(lane.request())
    lane.answer(large, .status(400))
    for _ in 0..<19 { lane.answer(try #require(lane.request()), .status(400)) }
    #expect(lane.machine.condition == .open)
    lane.answer(other, .delivered)
    for _ in 0..<19 { lane.answer(try #require(lane.request()), .status(400)) }
    #expect(lane.machine.condition == .open)
    lane.answer(try #require(lane.request()), .status(400))
    #expect(lane.machine.condition == .held(.init(kind: .everyEventRefused, status: 400), probeAt: .seconds(900)))
  }

  /// Where a part was delivered single events are to blame, and not the request: but there is an end to that too.
  @Test(arguments: [false, true]) func besideADeliveredPartMoreMayBeRefused(restarts: Bool) throws {
    let lane = LaneDriver([.sample(1, 1...1_000_000)], settings: .sample(isStrict: true))
    lane.answer(try #require(lane.request()), .status(400))
    for _ in 0..<19 { lane.answer(try #require(lane.request()), .status(400)) }
    lane.answer(try #require(lane.request()), .delivered)
    if restarts { lane.restart() }
    for _ in 0..<127 { lane.answer(try #require(lane.request()), .status(400)) }
    #expect(lane.machine.condition == .open)
    lane.answer(try #require(lane.request()), .status(400))
    #expect(lane.machine.condition == .held(.init(kind: .everyEventRefused, status: 400), probeAt: .seconds(900)))
  }

  /// An application that was broken for a while has many guilty events next to each other.
  ///
  /// Under strict order nothing may be tried out of turn: there a good event has to come before them.
  @Test(arguments: [100, 1_000, 20_000, 50_000] as [Int64], [1, 2, 5, 20, 50] as [Int64])
  func neighboursThatAreGuiltyDieAlone(events: Int64, guiltyCount: Int64) {
    for seed in 0..<20 as Range<UInt64> {
      var random = SeededRandom(seed: seed)
      let isStrict = seed % 3 == 0
      let last = events - guiltyCount + 1
      let first = seed < 5 ? 1 : seed < 10 ? last : .random(in: 1...last, using: &random)
      guard !isStrict || first > events / 2 || guiltyCount < 5 else { continue }
      let guilty = Set(first..<first + guiltyCount)
      let lane = LaneDriver([.sample(1, 1...events)], settings: .sample(isStrict: isStrict))
      run(lane, guilty: guilty, using: &random)
      expectOnlyTheGuiltyAreDead(lane, events, guilty, "seed \(seed), from \(first), strict: \(isStrict)")
      #expect(lane.requestCount <= 1 + 2 * guilty.count * halvings(events))
    }
  }

  /// Wherever they stand: places that were chosen against an earlier way of looking, and places by chance.
  @Test func scatteredGuiltyEventsDoNotLookAsIfEveryEventWas() {
    var random = SeededRandom(seed: 11)
    var sets: [Set<Int64>] = [[1, 314, 470, 548, 587, 607, 20_000]]
    for _ in 0..<150 { sets.append(Set((0..<50).map { _ in Int64.random(in: 1...20_000, using: &random) })) }
    for guilty in sets {
      let lane = LaneDriver([.sample(1, 1...20_000)])
      run(lane, guilty: guilty, using: &random)
      expectOnlyTheGuiltyAreDead(lane, 20_000, guilty, "\(guilty.sorted())")
    }
  }

  /// What is no part of a bisection does not count: a lane of small batches with a bad event each goes on.
  @Test func wholeBatchesAreNotCounted() {
    var random = SeededRandom(seed: 1)
    let batches = (1...60).map { Batch.sample($0, $0...$0) }
    let lane = LaneDriver(batches)
    run(lane, guilty: Set(1...60), using: &random)
    #expect(lane.machine.condition == .open)
    #expect(lane.deadSequences.count == 60)
  }

  /// The hold is probed with one small part an interval.
  ///
  /// A refused one is halved, and nothing more is buried.
  @Test func theHoldIsProbedWithPartAfterPart() throws {
    var random = SeededRandom(seed: 1)
    let lane = LaneDriver([.sample(1, 1...1_000)])
    run(lane, guilty: Set(1...1_000), using: &random)
    let dead = lane.deadSequences
    var probed = Set<Batch.ID>()
    for _ in 0..<20 {
      #expect(lane.request() == nil)
      #expect(lane.sleep() == .seconds(900))
      let probe = try #require(lane.request())
      #expect(probed.insert(probe.id).inserted, "each part once before one is probed again")
      #expect(lane.request() == nil)
      lane.answer(probe, .status(400))
      #expect(lane.batches.contains { $0.id == probe.id } == (probe.eventCount == 1))
      #expect(lane.batches.reduce(dead.count) { $0 + $1.eventCount } == 1_000)
    }
    for _ in 0..<20 {
      lane.restart()
      lane.answer(try #require(lane.request()), .status(400))
    }
    #expect(lane.deadSequences == dead, "nor when the process is started again and again")
    // The schema is mended.
    _ = lane.sleep()
    run(lane, guilty: [], using: &random)
    #expect(lane.machine.condition == .open)
    #expect(lane.deadSequences == dead)
    #expect(lane.deliveredSequences.count + dead.count == 1_000)
  }

  /// Many guilty neighbours look as if every event was refused.
  ///
  /// Probes find the others, and the rest is isolated.
  @Test func aClusterOfGuiltyEventsDoesNotHoldTheLaneForEver() {
    var random = SeededRandom(seed: 1)
    let guilty = Set<Int64>(1...60)
    let lane = LaneDriver([.sample(1, 1...1_000)])
    var holds = 0
    run(lane, guilty: guilty, using: &random)
    while lane.machine.condition != .open, holds < 1_000 {
      holds += 1
      _ = lane.sleep()
      run(lane, guilty: guilty, using: &random)
    }
    expectOnlyTheGuiltyAreDead(lane, 1_000, guilty, "after \(holds) probes")
  }

  /// A 200 to a request that was under way when the 20th refusal came shows that the hold is wrong.
  @Test func aDeliveryUnderWayEndsTheHold() throws {
    let lane = LaneDriver([.sample(1, 1...1_000_000), .sample(2, 1_000_001...1_000_004)])
    let large = try #require(lane.request())
    let other = try #require(lane.request())
    lane.answer(large, .status(400))
    for _ in 0..<20 { lane.answer(try #require(lane.request()), .status(400)) }
    #expect(lane.request() == nil)
    lane.answer(other, .delivered)
    #expect(lane.machine.condition == .open)
    #expect(lane.record.hold == nil)
    #expect(lane.request() != nil)
  }

  /// After `resume` another 20 may be refused.
  @Test func resumeStartsTheCountAnew() throws {
    var random = SeededRandom(seed: 1)
    let lane = LaneDriver([.sample(1, 1...1_000)])
    run(lane, guilty: Set(1...1_000), using: &random)
    let before = lane.requestCount
    lane.resume()
    run(lane, guilty: Set(1...1_000), using: &random)
    #expect(lane.requestCount == before + 20)
    #expect(lane.record.hold?.kind == .everyEventRefused)
  }
}
