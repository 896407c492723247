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
    // A pacer that is broken fails a test; it does not hang it.
    while now < duration, starts.count < 200_000 {
      if let later = pacer.nextStart(now: now) {
        guard later > now else {
          Issue.record("a wait that never ends")
          break
        }
        now = later
        // A clock that ticks wakes up late, never early.
        if let tick { while clock < now { clock += tick }; now = clock }
        continue
      }
      let byteCount = sizes.randomElement(using: &random) ?? 1
      pacer.charge(byteCount: byteCount)
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

  /// Over any stretch of time: what the bucket holds, what flows in, and one request, whose bytes may put it in debt.
  @Test(arguments: 0..<6) func bytesKeepToTheLimitButForOneRequest(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let sizes = [[8_000_000], [10_000_000, 1], [1, 500, 1_000_000, 8_000_000]][Int(seed % 3)]
    let starts = starts(
      RateLimits(requestsPerSecond: .infinity, bytesPerSecond: 20_000_000), for: .seconds(60), tick: .milliseconds(1),
      idle: seed < 3 ? nil : 0...2, sizes: sizes, using: &random)
    let largest = sizes.max() ?? 0
    for seconds in [1, 2, 10] {
      #expect(most(starts, in: .seconds(seconds), \.byteCount) <= 2_000_000 + 18_000_000 * seconds + largest)
    }
    let total = starts.reduce(0) { $0 + $1.byteCount }
    #expect(total <= 18_000_000 * 60 + 2_000_000 + largest)
    if seed < 3 { #expect(total >= 20_000_000 * 60 / 100 * 89) }
  }

  @Test func aBurstIsATenthOfTheLimit() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: 100))
    var burst = 0
    while burst < 1_000, pacer.nextStart(now: .seconds(5)) == nil {
      pacer.charge(byteCount: 1)
      burst += 1
    }
    #expect(burst == 10)
  }

  /// Idle time is saved up to a tenth of a second's worth, not longer.
  @Test(arguments: [(Duration.zero, 0), (.milliseconds(50), 4), (.milliseconds(112), 10), (.seconds(3_600), 10)])
  func fillsUp(idle: Duration, starts: Int) {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: 100))
    for _ in 0..<1_000 where pacer.nextStart(now: .seconds(1)) == nil { pacer.charge(byteCount: 1) }
    var count = 0
    while count < 1_000, pacer.nextStart(now: .seconds(1) + idle) == nil {
      pacer.charge(byteCount: 1)
      count += 1
    }
    #expect(count == starts)
  }

  @Test func saysWhenTheDebtIsPaid() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: 1_000, bytesPerSecond: 20_000_000))
    #expect(pacer.nextStart(now: .zero) == nil)
    // 2 MB are in the bucket: 18 MB of debt are a second.
    pacer.charge(byteCount: 20_000_000)
    #expect(pacer.nextStart(now: .zero) == .seconds(1))
    #expect(pacer.nextStart(now: .milliseconds(500)) == .seconds(1))
    #expect(pacer.nextStart(now: .seconds(1)) == nil)
  }

  @Test func askingChargesNothing() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: 1))
    for _ in 0..<1_000 { #expect(pacer.nextStart(now: .zero) == nil) }
    pacer.charge(byteCount: 0)
    let next = pacer.nextStart(now: .zero)
    #expect(next != nil)
    for _ in 0..<1_000 { #expect(pacer.nextStart(now: .zero) == next) }
  }

  @Test func aClockThatStandsStillOrGoesBackChangesNothing() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: 1))
    #expect(pacer.nextStart(now: .seconds(10)) == nil)
    pacer.charge(byteCount: 0)
    let next = pacer.nextStart(now: .seconds(10))
    _ = pacer.nextStart(now: .seconds(1))
    #expect(pacer.nextStart(now: .seconds(10)) == next)
  }

  @Test func infinityIsNoLimit() {
    var pacer = RatePacer(limits: RateLimits(requestsPerSecond: .infinity, bytesPerSecond: .infinity))
    for step in 0..<1_000 {
      #expect(pacer.nextStart(now: .seconds(step / 100)) == nil)
      pacer.charge(byteCount: 10_000_000)
    }
  }
}
