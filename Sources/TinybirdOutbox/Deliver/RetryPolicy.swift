/// How long to wait before the next attempt: pure, with randomness as a parameter.
///
/// | failures in a row | wait, by default |
/// |---|---|
/// | 1 | 0 to 0.5 s |
/// | 2 | 0 to 1 s |
/// | 3 | 0 to 2 s |
/// | 4 | 0 to 4 s |
/// | 5 and more: outage | 15 to 30 s, then 30 to 60 s, … at most 150 to 300 s |
///
/// The first rows are the service's advice, three to five times with exponential backoff, with full jitter so that many
/// apps do not come back at the same moment. Then the lane is in *outage*: it asks rarely, and never gives up.
public struct RetryPolicy: Sendable, Equatable {
  /// The longest wait after the first failure; it doubles with each.
  ///
  /// Default: 0.5 s.
  public var firstDelay: Duration
  /// The attempts of a burst; with as many failures in a row the lane is in outage.
  ///
  /// Default: 5, the upper end of what the service advises.
  public var burstAttempts: Int
  /// The longest wait before the first probe of an outage; it doubles with each.
  ///
  /// Default: 30 s.
  public var firstProbeDelay: Duration
  /// No wait is longer, whatever an answer's `Retry-After` says.
  ///
  /// Default: 5 minutes.
  public var maximumDelay: Duration

  /// Every parameter has the default that its property names.
  public init(
    firstDelay: Duration = .milliseconds(500), burstAttempts: Int = 5, firstProbeDelay: Duration = .seconds(30),
    maximumDelay: Duration = .seconds(300)
  ) {
    self.firstDelay = firstDelay
    self.burstAttempts = burstAttempts
    self.firstProbeDelay = firstProbeDelay
    self.maximumDelay = maximumDelay
  }

  /// Whether a lane with so many failures in a row is in outage.
  func isOutage(failures: Int) -> Bool { failures >= burstAttempts }

  /// The wait after `failures` failures in a row, counted from 1; `fraction` is random in 0..<1.
  func delay(failures: Int, fraction: Double) -> Duration {
    guard isOutage(failures: failures) else {
      return longest(firstDelay, doublings: failures - 1) * fraction
    }
    return longest(firstProbeDelay, doublings: failures - burstAttempts) * (0.5 + fraction / 2)
  }

  private func longest(_ first: Duration, doublings: Int) -> Duration {
    // 2^30 of any first delay is above every maximum that makes sense; more would overflow.
    min(maximumDelay, min(maximumDelay, first) * (1 << min(30, max(0, doublings))))
  }
}
