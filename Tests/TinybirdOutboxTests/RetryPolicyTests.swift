import Testing

@testable import TinybirdOutbox

@Suite struct RetryPolicyTests {
  /// The table of the documentation: failures in a row, the shortest and the longest wait in milliseconds.
  @Test(
    arguments: [
      (1, 0, 500), (2, 0, 1_000), (3, 0, 2_000), (4, 0, 4_000),
      (5, 15_000, 30_000), (6, 30_000, 60_000), (7, 60_000, 120_000), (8, 120_000, 240_000),
      (9, 150_000, 300_000), (10, 150_000, 300_000), (1_000, 150_000, 300_000), (1_000_000, 150_000, 300_000),
      (.max, 150_000, 300_000),
      // Impossible, and no longer than the first wait.
      (0, 0, 500), (-1, 0, 500), (-.max, 0, 500),
    ])
  func documentedTable(failures: Int, shortest: Int, longest: Int) {
    let policy = RetryPolicy()
    #expect(policy.delay(failures: failures, fraction: 0) == .milliseconds(shortest))
    #expect(policy.delay(failures: failures, fraction: 0.5) == .milliseconds((shortest + longest) / 2))
    let almost = policy.delay(failures: failures, fraction: 1.0.nextDown)
    #expect(almost <= .milliseconds(longest) && almost > .milliseconds(longest) - .microseconds(1))
  }

  @Test(arguments: [(-1, false), (0, false), (1, false), (4, false), (5, true), (6, true), (.max, true)])
  func outageBeginsAfterTheBurst(failures: Int, isOutage: Bool) {
    #expect(RetryPolicy().isOutage(failures: failures) == isOutage)
  }

  /// first delay, burst, first probe, maximum → the longest waits after 1, 2, 3, … failures, in milliseconds.
  @Test(
    arguments: [
      (100, 3, 1_000, 5_000, [100, 200, 1_000, 2_000, 4_000, 5_000, 5_000]),
      (1_000, 5, 500, 3_000, [1_000, 2_000, 3_000, 3_000, 500, 1_000, 2_000, 3_000, 3_000]),
      // The burst is one attempt: an outage at once.
      (100, 1, 1_000, 5_000, [1_000, 2_000, 4_000, 5_000]),
      // No wait is longer than the maximum, the first included.
      (10_000, 2, 10_000, 700, [700, 700, 700]),
    ])
  func otherPolicies(first: Int, burst: Int, probe: Int, maximum: Int, longest: [Int]) {
    let policy = RetryPolicy(
      firstDelay: .milliseconds(first), burstAttempts: burst, firstProbeDelay: .milliseconds(probe),
      maximumDelay: .milliseconds(maximum))
    for (index, bound) in longest.enumerated() {
      let failures = index + 1
      let shortest = policy.isOutage(failures: failures) ? bound / 2 : 0
      #expect(policy.delay(failures: failures, fraction: 0) == .milliseconds(shortest), "\(failures)")
      #expect(policy.delay(failures: failures, fraction: 1.0.nextDown) <= .milliseconds(bound), "\(failures)")
      #expect(policy.delay(failures: failures, fraction: 0.5) == .milliseconds((shortest + bound) / 2), "\(failures)")
    }
  }

  /// More failures never mean a shorter wait, luck being equal; more luck never a longer one.
  @Test func boundsGrow() {
    let policy = RetryPolicy()
    let fractions = stride(from: 0.0, to: 1.0, by: 0.125)
    for failures in 1...80 {
      for fraction in fractions {
        let delay = policy.delay(failures: failures, fraction: fraction)
        #expect(delay <= policy.delay(failures: failures + 1, fraction: fraction))
        #expect(delay <= policy.delay(failures: failures, fraction: fraction + 0.12))
        #expect(delay >= .zero && delay <= policy.maximumDelay)
      }
    }
  }

  @Test func settingsOfCenturiesDoNotOverflow() {
    let century = Duration.seconds(3_000_000_000)
    let policy = RetryPolicy(firstDelay: century * 1_000_000, burstAttempts: 3, firstProbeDelay: century * 1_000_000)
    for failures in [1, 2, 3, 40, 1_000_000] {
      #expect(policy.delay(failures: failures, fraction: 0.999) <= .seconds(300))
    }
  }
}
