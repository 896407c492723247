import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct RatePacerTests {
  private struct Start {
    let at: LaneTime
    let byteCount: Int
  }

  /// Starts requests of random sizes as soon as they may, on a clock that ticks every `tick`; now and then nothing is to
  /// be sent for up to `idle`.
  private func starts(
    _ limits: RateLimits, for duration: Duration, tick: Duration?, idle: ClosedRange<Double>?, sizes: [Int],
    using random: inout SeededRandom
  ) -> [Start] {
    var pacer = RatePacer(limits: limits)
    var now = LaneTime.zero
    var clock = LaneTime.zero
    var starts: [Start] = []
    var next: Int?
    // A pacer that is broken fails a test; it does not hang it.
    while now < duration, starts.count < 200_000 {
      let byteCount = next ?? sizes.randomElement(using: &random) ?? 1
      next = byteCount
      if let later = pacer.nextStart(byteCount: byteCount, now: now) {
        guard later > now else {
          Issue.record("a wait that never ends")
          break
        }
        now = later
        // A clock that ticks wakes up late, never early.
        if let tick { while clock < now { clock += tick }; now = clock }
        continue
      }
      pacer.charge(byteCount: byteCount, now: now)
      next = nil
      starts.append(Start(at: now, byteCount: byteCount))
      if let idle, Int.random(in: 0..<50, using: &random) == 0 { now += .seconds(.random(in: idle, using: &random)) }
    }
    return starts
  }

  /// The most that is in any window of that length, wherever it begins.
  private func most(_ starts: [Start], in window: Duration, _ weight: (Start) -> Int) -> Int {
    var most = 0
    var sum = 0
    var end = 0
    for (index, first) in starts.enumerated() {
      while end < starts.count, starts[end].at < first.at + window {
        sum += weight(starts[end])
        end += 1
      }
      most = max(most, sum)
      sum -= weight(starts[index])
    }
    return most
  }

  @Test(arguments: [1, 2, 3, 5, 9, 10, 11, 25, 100, 1_000], 0..<4)
  func noSecondSeesMoreRequestsThanTheLimit(limit: Int, seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let starts = starts(
      RateLimits(requestsPerSecond: Double(limit), bytesPerSecond: .infinity), for: .seconds(20),
      tick: [nil, .microseconds(100), .milliseconds(1), .milliseconds(7)][Int(seed % 4)], idle: 0...3, sizes: [1],
      using: &random)
    #expect(most(starts, in: .seconds(1)) { _ in 1 } <= limit, "sliding")
    for second in 0..<20 {
      let inSecond = starts.count { $0.at >= .seconds(second) && $0.at < .seconds(second + 1) }
      #expect(inSecond <= limit, "second \(second)")
    }
  }

  @Test(arguments: [1, 2, 10, 100, 1_000], [nil, Duration.milliseconds(1)])
  func reachesNineTenthsOfTheRequestLimit(limit: Int, tick: Duration?) {
    var random = SeededRandom(seed: 0)
    let starts = starts(
      RateLimits(requestsPerSecond: Double(limit)), for: .seconds(100), tick: tick, idle: nil, sizes: [100],
      using: &random)
    #expect(starts.count >= limit * 89)
    #expect(starts.count <= limit * 91 + 1)
  }

  @Test(arguments: 0..<8) func noSecondSeesMoreBytesThanTheLimit(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let sizes = [[8_000_000], [7_000_000], [10_000_000, 1], [1, 500, 1_000_000, 8_000_000]][Int(seed % 4)]
    let starts = starts(
      RateLimits(requestsPerSecond: .infinity, bytesPerSecond: 20_000_000), for: .seconds(60), tick: .milliseconds(1),
      idle: seed < 4 ? nil : 0...2, sizes: sizes, using: &random)
    #expect(most(starts, in: .seconds(1), \.byteCount) <= 20_000_000)
    #expect(seed >= 4 || starts.reduce(0) { $0 + $1.byteCount } > 13_000_000 * 60)
  }

  /// Two of 8 MB, and one that fills up what they leave.
  @Test func aBatchThatFillsTheRoomReachesNineTenths() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: .infinity))
    var now = LaneTime.zero
    var total = 0
    while now < .seconds(60) {
      if let later = pacer.nextStart(byteCount: Int(pacer.leastRoom(now: now)), now: now) {
        now = later
        continue
      }
      let byteCount = min(8_000_000, Int(pacer.room(now: now)))
      pacer.charge(byteCount: byteCount, now: now)
      total += byteCount
    }
    #expect(total >= 18_000_000 * 60)
  }

  /// One that is larger than the limit counts for as long as its bytes take.
  @Test func aRequestAboveTheLimitIsPaidFor() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: .infinity, bytesPerSecond: 1_000_000))
    #expect(pacer.nextStart(byteCount: 8_000_000, now: .zero) == nil)
    pacer.charge(byteCount: 8_000_000, now: .zero)
    #expect(pacer.nextStart(byteCount: 1, now: .zero) == .milliseconds(8400))
    #expect(pacer.nextStart(byteCount: 1, now: .milliseconds(8400)) == nil)
  }

  // MARK: What the service says

  @Test func whatTheServiceHasLeftIsNotExceeded() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: 100))
    let numbers = (0..<5).map { _ in pacer.charge(byteCount: 1, now: .zero) }
    // Three of the five were started after that one.
    pacer.note(remaining: 4, until: .seconds(2), answerTo: numbers[1], now: .zero)
    #expect(pacer.nextStart(byteCount: 1, now: .zero) == nil)
    pacer.charge(byteCount: 1, now: .zero)
    #expect(pacer.nextStart(byteCount: 1, now: .zero) == .seconds(2))
    // An older answer that comes later changes nothing, a newer one does.
    pacer.note(remaining: 9, until: .seconds(2), answerTo: numbers[0], now: .seconds(1))
    #expect(pacer.nextStart(byteCount: 1, now: .seconds(1)) == .seconds(2))
    pacer.note(remaining: 9, until: .seconds(2), answerTo: numbers[4], now: .seconds(1))
    #expect(pacer.nextStart(byteCount: 1, now: .seconds(1)) == nil)
    let last = pacer.charge(byteCount: 1, now: .seconds(1))
    pacer.note(remaining: 0, until: .seconds(2), answerTo: last, now: .seconds(1))
    #expect(pacer.nextStart(byteCount: 1, now: .seconds(1)) == .seconds(2))
    // Its window is over, and an older request is answered in the next.
    pacer.note(remaining: 0, until: .seconds(4), answerTo: numbers[2], now: .seconds(3))
    #expect(pacer.nextStart(byteCount: 1, now: .seconds(3)) == .seconds(4))
    #expect(pacer.nextStart(byteCount: 1, now: .seconds(4)) == nil)
  }

  // MARK: After an outage

  /// So many in the first second, and so many in the one after ten.
  @Test func theRateRampsUpAfterAnOutage() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: 100))
    pacer.outageEnded(now: .seconds(100))
    var starts: [LaneTime] = []
    var now = LaneTime.seconds(100)
    while now < .seconds(112) {
      if let later = pacer.nextStart(byteCount: 100_000, now: now) {
        now = later
        continue
      }
      pacer.charge(byteCount: 100_000, now: now)
      starts.append(now)
    }
    let perSecond = (100..<112).map { second in starts.count { $0 >= .seconds(second) && $0 < .seconds(second + 1) } }
    #expect(perSecond[0] <= 20 && perSecond[0] >= 9, "\(perSecond)")
    #expect(zip(perSecond, perSecond.dropFirst(2)).allSatisfy { $0 < $1 || $1 >= 89 }, "\(perSecond)")
    #expect(perSecond[11] >= 89)
  }

  @Test func bytesRampUpToo() {
    var pacer = RatePacer(limits: RateLimits())
    #expect(pacer.room(now: .seconds(100)) == 20_000_000)
    pacer.outageEnded(now: .seconds(100))
    #expect(pacer.room(now: .seconds(100)) == 2_000_000)
    #expect(pacer.leastRoom(now: .seconds(100)) == 200_000)
    #expect(pacer.room(now: .seconds(105)) == 11_000_000)
    #expect(pacer.room(now: .seconds(110)) == 20_000_000)
  }

  // MARK: The bucket

  @Test func aBurstIsATenthOfTheLimit() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: 100))
    var burst = 0
    while burst < 1_000, pacer.nextStart(byteCount: 1, now: .seconds(5)) == nil {
      pacer.charge(byteCount: 1, now: .seconds(5))
      burst += 1
    }
    #expect(burst == 10)
  }

  /// Idle time is saved up to a tenth of a second's worth, not longer.
  @Test(arguments: [(Duration.zero, 0), (.milliseconds(50), 4), (.milliseconds(112), 10), (.seconds(3_600), 10)])
  func fillsUp(idle: Duration, starts: Int) {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: 100))
    for _ in 0..<1_000 where pacer.nextStart(byteCount: 1, now: .seconds(1)) == nil {
      pacer.charge(byteCount: 1, now: .seconds(1))
    }
    var count = 0
    while count < 1_000, pacer.nextStart(byteCount: 1, now: .seconds(1) + idle) == nil {
      pacer.charge(byteCount: 1, now: .seconds(1) + idle)
      count += 1
    }
    #expect(count == starts)
  }

  @Test func askingChargesNothing() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: 1))
    for _ in 0..<1_000 { #expect(pacer.nextStart(byteCount: 1, now: .zero) == nil) }
    pacer.charge(byteCount: 0, now: .zero)
    let next = pacer.nextStart(byteCount: 1, now: .zero)
    #expect(next != nil)
    for _ in 0..<1_000 { #expect(pacer.nextStart(byteCount: 1, now: .zero) == next) }
  }

  @Test func aClockThatStandsStillOrGoesBackChangesNothing() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: 1))
    #expect(pacer.nextStart(byteCount: 1, now: .seconds(10)) == nil)
    pacer.charge(byteCount: 0, now: .seconds(10))
    let next = pacer.nextStart(byteCount: 1, now: .seconds(10))
    _ = pacer.nextStart(byteCount: 1, now: .seconds(1))
    #expect(pacer.nextStart(byteCount: 1, now: .seconds(10)) == next)
  }

  @Test func infinityIsNoLimit() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: .infinity, bytesPerSecond: .infinity))
    for step in 0..<1_000 {
      #expect(pacer.nextStart(byteCount: 1, now: .seconds(step / 100)) == nil)
      pacer.charge(byteCount: 10_000_000, now: .seconds(step / 100))
    }
  }
}
