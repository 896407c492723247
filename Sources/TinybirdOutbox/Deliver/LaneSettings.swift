/// The limits that one lane keeps to.
struct LaneSettings: Equatable, Sendable {
  var limits: BatchLimits
  /// A batch that finds out whether the service, or a token, works again: small, so that little is at stake.
  var probeLimits: BatchLimits
  var rateLimits: RateLimits
  var retryPolicy: RetryPolicy
  var isStrict: Bool
  var maximumInFlight: Int
  /// A hold by the service is probed this often.
  var holdProbeInterval: Duration
  /// While it is held, the token is asked for this often: a new one is probed at once.
  var tokenCheckInterval = Duration.seconds(5)
  /// The application's own word on some statuses.
  var verdictOverrides: [Int: StatusVerdict] = [:]
  /// The application's own limits for a batch; nil for none.
  var maximumAttempts: Int?
  var maximumAge: Duration?
  /// The verdict table's bounds: retries at once, 202 answers, refusals in a row before the lane is held or backs off.
  var maximumImmediateRetries = 3
  var maximumUnacknowledged = 2
  var maximumRefusalsInRow = 20
  /// The same where another part of the batch was delivered, so that single events are to blame.
  ///
  /// Fifty neighbours at the worst place of the largest batch are 2·50 + 2·log2(50,000/50) = 120 refusals in a row.
  var maximumRefusalsBesideDelivered = 128
}
