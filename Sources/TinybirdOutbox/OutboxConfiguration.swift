/// How an outbox behaves.
///
/// Every setting has a default that keeps the promise; none of them can weaken it.
public struct OutboxConfiguration: Sendable {
  /// Make the file where there is none.
  ///
  /// Default: true. Turn it off where a path that is not there is a mistake.
  public var createsFile = true
  /// Where the file cannot be opened as an outbox, because it is damaged or no database, rename it and begin a new one.
  ///
  /// For an app that must go on appending at any price. The old file and its log are kept beside the new one, under the
  /// name that ``Outbox/setAsidePath`` gives, and what was pending in them is delivered by nobody: a log line of level
  /// critical says so. It never happens for a newer format, another
  /// application's database, a file that is not writable or locked, or a fault of the disk; nor while another process has
  /// the file open. Default: false, the opening throws.
  public var setsAsideUnreadableFile = false
  /// The largest event, in bytes.
  ///
  /// Default: 10,000,000, the service's limit for a request.
  public var maximumEventBytes = 10_000_000
  /// The deepest nesting of an event's JSON.
  ///
  /// Default: 512.
  public var maximumEventDepth = 512
  /// Bytes of events that may wait for a commit before `append` suspends its callers.
  ///
  /// Default: 64 MiB.
  public var maximumWaitingBytes = 64 << 20
  /// The most bytes that the outbox may hold on disk: file, log and reserve.
  ///
  /// At the limit `append` throws ``OutboxError/Code/outboxFull``, and everything else goes on: delivery frees space, and
  /// appends work again by themselves. Delivered events are pruned before their time where that makes room; nothing that
  /// is not delivered is ever deleted. The least is 16 MiB. Some 72 MiB, or a quarter of a small budget, are for log,
  /// reserve and what settling adds. One call of more than a thirty-second of the budget, or 8 MiB, needs twice its bytes:
  /// an event of 10 MB a budget of 29 MB.
  ///
  /// Default: none, because an event that is refused while the disk has room would be lost for no reason.
  public var maximumBytes: Int64?
  /// How long delivered and discarded events stay in the file, to be looked at or sent once more.
  ///
  /// Older ones are pruned while this outbox delivers. Dead letters, damaged chunks, and batches with a warning that
  /// nobody has acknowledged stay. The wall clock measures it; where that has jumped since the last look, pruning by age
  /// waits for the next. Default: one day.
  public var keepsDeliveredFor = Duration.seconds(86_400)
  /// The most NDJSON bytes of delivered and discarded events that stay in the file; the oldest go first.
  ///
  /// Default: 1 GiB.
  public var keepsDeliveredBytes: Int64 = 1 << 30
  /// The member that gives each event a stable, unique id, so that the receiving side can remove duplicates, for
  /// example `event_id`.
  ///
  /// An event that has the member keeps its own. Default: none.
  public var eventIDField: String?
  /// Writes `Encodable` events.
  ///
  /// Default: JSON with dates as `2026-11-21T04:05:06.789Z`, the form that Tinybird parses.
  public var encoder = EventEncoder.default
  /// Where and how events are delivered; without it the outbox only collects.
  ///
  /// Default: none.
  public var delivery: DeliveryConfiguration?

  /// The operating system layer that SQLite opens the file through, by the name under which it was registered.
  ///
  /// For tests of power cuts and disk faults. Default: SQLite's own.
  var sqliteVFS: String?
  /// What is free on the disk below that layer.
  ///
  /// For tests of a full disk. Default: what the file system says.
  var freeDiskBytes: (@Sendable () -> Int64)?
  /// How long it is waited for a lock while nobody writes.
  ///
  /// For tests that do not want to wait long. Default: 30 s.
  var lockPatience = LockWait.patience
  /// How the bytes on disk are shared out.
  ///
  /// For tests that want checkpoints early, or a small reserve. Default: by ``maximumBytes`` and the size of the disk.
  var spaceLimits: SpaceLimits?

  /// A configuration of defaults.
  public init() {}

  /// Throws ``OutboxError/Code/invalidConfiguration`` for a value that cannot work.
  func validate() throws(OutboxError) {
    try Self.require(maximumEventBytes >= 2, "maximumEventBytes", "at least 2, the size of {}")
    try Self.require(maximumEventDepth >= 1, "maximumEventDepth", "at least 1")
    try Self.require(maximumWaitingBytes >= 1, "maximumWaitingBytes", "at least 1")
    try Self.require(
      (maximumBytes ?? .max) >= SpaceLimits.leastMaximumBytes, "maximumBytes", "at least 16 MiB (16,777,216), or nil")
    try Self.require(
      keepsDeliveredFor >= .zero && keepsDeliveredFor <= .seconds(36_500 * 86_400), "keepsDeliveredFor",
      "0 to 36,500 days")
    try Self.require(keepsDeliveredBytes >= 0, "keepsDeliveredBytes", "at least 0")
    try Self.require(eventIDField != "", "eventIDField", "a name, or nil")
    try delivery?.validate()
  }

  static func require(_ isTrue: Bool, _ name: String, _ range: String) throws(OutboxError) {
    guard isTrue else { throw OutboxError(.invalidConfiguration, "the setting \(name) must be \(range)") }
  }
}

/// Where and how events are delivered.
public struct DeliveryConfiguration: Sendable {
  /// Whether batches of one data source may overtake one another.
  public enum Order: String, Sendable, CaseIterable {
    /// Batches start in order, several are in flight, and one that keeps failing lets the others pass.
    case relaxed
    /// One in flight; nothing overtakes.
    ///
    /// A failing batch stops its data source until it is isolated.
    case strict
  }

  /// The workspace's host.
  public var baseURL: BaseURL
  /// Gives the token of each request.
  public var tokens: any TokenProvider
  /// Default: relaxed.
  public var order = Order.relaxed
  /// Requests under way at once for each data source; strict order always has one.
  ///
  /// Default: 4.
  public var maximumInFlight = 4
  /// NDJSON bytes of a batch before compression.
  ///
  /// A batch is made of whole chunks, what a commit has stored together, and holds one at least, whatever its size: up to
  /// 1 MiB, or one larger event. Default: 8,000,000, inside every documented figure for 10 MB.
  public var maximumBatchBytes = 8_000_000
  /// Events of a batch; a single chunk of very small ones may hold more.
  ///
  /// Default: 50,000.
  public var maximumBatchEvents = 50_000
  /// Bytes of request bodies that all data sources together may hold, compressed where they are sent so.
  ///
  /// One request of each data source has room beyond it, so that a slow one holds up no other. Default: 64 MiB.
  public var maximumBodyBytes = 64 << 20
  /// Compress request bodies.
  ///
  /// Default: true.
  public var compresses = true
  /// zlib's level, 1 to 9.
  ///
  /// Default: 1. On web logs it compresses 9.6 times at about 300 MB/s a core, level 6 12.3 times at 160.
  public var compressionLevel = GzipCompressor.defaultLevel
  /// The service's limits for each data source.
  public var rateLimits = RateLimits()
  /// The waits between attempts.
  public var retryPolicy = RetryPolicy()
  /// Verdicts by HTTP status, in place of the table's own.
  ///
  /// Default: none. For a service, or a proxy before it, that uses a status in its own way.
  public var verdictOverrides: [Int: StatusVerdict] = [:]
  /// After so many failed attempts the events of a batch become dead letters, with the reason
  /// ``DeadReason/attemptsExhausted``.
  ///
  /// A pause that the service asks for (429) is none, and of a batch that was halved each part counts its own, from the
  /// start of the process. Default: nil, for ever: no event is given up.
  public var maximumAttempts: Int?
  /// Events that were appended so long ago are not sent any more when their turn comes, but become dead letters with the
  /// reason ``DeadReason/expired``: with the batch that they are in, whose oldest event counts.
  ///
  /// By the wall clock. What an operator replays is sent at any age. Default: nil, for ever.
  public var maximumAge: Duration?
  /// How often a lane that the service made us hold is probed with one small batch.
  ///
  /// Default: 15 minutes.
  public var holdProbeInterval = Duration.seconds(900)
  /// How often, while such a hold lasts, the token is asked for again: a new one is probed at once.
  ///
  /// Default: 5 s.
  public var tokenCheckInterval = Duration.seconds(5)
  /// How long requests that are under way may take when delivery is stopped.
  ///
  /// Default: 10 s.
  public var shutdownGrace = Duration.seconds(10)
  /// Time-outs and trust of HTTP.
  public var http = HTTPSettings()

  /// Everything else has the default that its property names.
  public init(baseURL: BaseURL, tokens: any TokenProvider) {
    self.baseURL = baseURL
    self.tokens = tokens
  }

  /// The common case: one token.
  ///
  /// Throws ``OutboxError/Code/invalidConfiguration``.
  public init(baseURL: String, token: String) throws(OutboxError) {
    self.init(baseURL: try BaseURL(baseURL), tokens: StaticToken(try Token(token)))
  }

  func validate() throws(OutboxError) {
    let require = OutboxConfiguration.require
    try require(maximumInFlight >= 1, "maximumInFlight", "at least 1")
    try require((1...10_000_000).contains(maximumBatchBytes), "maximumBatchBytes", "1 to 10,000,000")
    try require(maximumBatchEvents >= 1, "maximumBatchEvents", "at least 1")
    try require(maximumBodyBytes >= 1, "maximumBodyBytes", "at least 1")
    try require((1...9).contains(compressionLevel), "compressionLevel", "1 to 9")
    // Smaller rates and longer waits would only be typing errors, and overflow the arithmetic.
    try require(rateLimits.requestsPerSecond >= 0.001, "rateLimits.requestsPerSecond", "at least 0.001")
    try require(rateLimits.bytesPerSecond >= 1, "rateLimits.bytesPerSecond", "at least 1")
    let waits: [(Duration, String)] = [
      (retryPolicy.firstDelay, "retryPolicy.firstDelay"), (retryPolicy.firstProbeDelay, "retryPolicy.firstProbeDelay"),
      (retryPolicy.maximumDelay, "retryPolicy.maximumDelay"), (holdProbeInterval, "holdProbeInterval"),
      (tokenCheckInterval, "tokenCheckInterval"),
    ]
    for (wait, name) in waits {
      try require(wait >= .milliseconds(1) && wait <= .seconds(7 * 86_400), name, "1 ms to 7 days")
    }
    try require(retryPolicy.burstAttempts >= 1, "retryPolicy.burstAttempts", "at least 1")
    try require(maximumAttempts ?? 1 >= 1, "maximumAttempts", "at least 1, or nil")
    try require(maximumAge ?? .seconds(1) >= .milliseconds(1), "maximumAge", "at least 1 ms, or nil")
    try require(
      http.requestTimeout >= .seconds(10), "http.requestTimeout",
      "at least 10 s: with wait=true the service asks for that")
    try require(
      http.connectTimeout > .zero && http.readTimeout > .zero, "http.connectTimeout and readTimeout", "above 0")
  }

  var laneSettings: LaneSettings {
    LaneSettings(
      limits: BatchLimits(maximumBytes: maximumBatchBytes, maximumEvents: maximumBatchEvents),
      probeLimits: BatchLimits(maximumBytes: min(maximumBatchBytes, 64 << 10), maximumEvents: maximumBatchEvents),
      rateLimits: rateLimits, retryPolicy: retryPolicy, isStrict: order == .strict,
      maximumInFlight: order == .strict ? 1 : maximumInFlight, holdProbeInterval: holdProbeInterval,
      tokenCheckInterval: tokenCheckInterval, verdictOverrides: verdictOverrides, maximumAttempts: maximumAttempts,
      maximumAge: maximumAge)
  }
}

/// Time-outs and trust of HTTP.
public struct HTTPSettings: Sendable, Equatable {
  /// For a connection and its TLS handshake.
  ///
  /// Default: 10 s.
  public var connectTimeout = Duration.seconds(10)
  /// Between two parts of an answer, and until its head.
  ///
  /// Default: 30 s.
  public var readTimeout = Duration.seconds(30)
  /// For a request with its answer.
  ///
  /// Default: 60 s; at least 10 s, which the service asks for with `wait=true`.
  public var requestTimeout = Duration.seconds(60)
  /// A PEM file with certificates that are trusted besides the system's.
  ///
  /// Default: none.
  public var trustedCertificatesPath: String?
  /// The proxy on the way to the service.
  ///
  /// Default: what `HTTPS_PROXY` and `NO_PROXY` say when delivery begins.
  public var proxy = HTTPProxy.Choice.environment

  /// Settings of defaults.
  public init() {}
}
