internal import DequeModule

/// Time as the pure parts of delivery see it: since the engine started, by a clock that only goes forward.
typealias LaneTime = Duration

/// The service's limits for one data source, which delivery keeps to.
///
/// At most nine tenths of the requests start in a second, and no second, wherever it begins, holds more bytes. What the
/// service says is left of its own limit (`X-RateLimit-Remaining`, `X-RateLimit-Reset`) is kept to as well. After an outage
/// a lane begins with a tenth of both, and reaches them within ten seconds.
public struct RateLimits: Sendable, Equatable {
  /// Requests a second.
  ///
  /// Default: 100, the lower of the two figures in the service's documentation.
  public var requestsPerSecond: Double
  /// Bytes a second, before compression.
  ///
  /// Default: 20,000,000.
  public var bytesPerSecond: Double

  /// Every parameter has the default that its property names.
  public init(requestsPerSecond: Double = 100, bytesPerSecond: Double = 20_000_000) {
    self.requestsPerSecond = requestsPerSecond
    self.bytesPerSecond = bytesPerSecond
  }
}

/// Says when the next request of a lane may start, so that no second, wherever it begins, holds more than the limits.
///
/// Requests are a token bucket, which fills at 90 % of the limit and holds 10 % of it. Bytes are counted over a second:
/// what a bucket lets by in one is what it holds, what flows in and one request more, and requests are large; with those
/// of 8 MB that would be 28 of 20 MB. After an outage both limits begin at a tenth.
struct RatePacer {
  /// After an outage the limits are reached again in so long, in a straight line from a tenth.
  ///
  /// Our own figure: the least time-out that the service asks for, so that what is slow under all who come back shows
  /// before the full rate is there.
  static let rampUp = Duration.seconds(10)

  /// A start counts for a second, and for what requests may gain on one another on their way.
  private static let window = Duration.milliseconds(1050)

  private let limits: RateLimits
  /// Starts that the bucket allows now.
  private var level: Double
  private var updatedAt = LaneTime.zero
  /// The bytes of starts that still count, the first to end first, and their sum.
  private var counted = Deque<(byteCount: Double, until: LaneTime)>()
  private var countedBytes = 0.0
  private var outageEndedAt: LaneTime?

  /// Requests that were ever started.
  private(set) var startCount = 0
  /// What the service said is left until its own window ends.
  private var allowance: (answered: Int, startCount: Int, until: LaneTime)?

  init(limits: RateLimits) {
    self.limits = limits
    level = Self.capacity(limits.requestsPerSecond)
  }

  private static func capacity(_ limit: Double) -> Double { max(1, limit * 0.1) }

  /// Nil where a request of so many bytes may start now, else when.
  ///
  /// One that is larger than the limit may start where no other counts, and counts for as long as its bytes take.
  mutating func nextStart(byteCount: Int, now: LaneTime) -> LaneTime? {
    update(now: now)
    var start = now
    if level < 1 { start += .seconds((1 - level) / (limits.requestsPerSecond * 0.9 * share(now))) }
    var left = countedBytes
    for other in counted {
      guard left + Double(byteCount) > byteLimit(now) else { break }
      left -= other.byteCount
      start = max(start, other.until)
    }
    if let allowance, startCount >= allowance.startCount { start = max(start, allowance.until) }
    return start > now ? start : nil
  }

  /// The bytes that may start now.
  mutating func room(now: LaneTime) -> Double {
    update(now: now)
    return byteLimit(now) - countedBytes
  }

  /// The least room that a new batch is worth: less would send many small ones.
  func leastRoom(now: LaneTime) -> Double { byteLimit(now) / 10 }

  /// A request of so many bytes started; returns its number.
  @discardableResult
  mutating func charge(byteCount: Int, now: LaneTime) -> Int {
    update(now: now)
    level -= 1
    startCount += 1
    if limits.bytesPerSecond.isFinite {
      let length = Self.window * max(1, Double(byteCount) / byteLimit(now))
      let place = counted.lastIndex { $0.until <= now + length }.map { $0 + 1 } ?? 0
      counted.insert((Double(byteCount), now + length), at: place)
      countedBytes += Double(byteCount)
    }
    return startCount
  }

  /// An answer to the request of that number said how many more may start until the service's window ends.
  ///
  /// Those that were started since are among them.
  mutating func note(remaining: Int, until moment: LaneTime, answerTo number: Int, now: LaneTime) {
    // What was said of a window that is over says nothing of the next.
    update(now: now)
    // Answers may overtake one another.
    if let allowance, allowance.answered > number { return }
    allowance = (number, number + remaining, moment)
  }

  mutating func outageEnded(now: LaneTime) {
    update(now: now)
    outageEndedAt = now
    level = min(level, 1)
  }

  private mutating func update(now: LaneTime) {
    // In this order: an infinite rate times no seconds is no number, which is not below the capacity.
    level = min(
      Self.capacity(limits.requestsPerSecond * share(now)),
      level + (now - updatedAt).seconds * limits.requestsPerSecond * 0.9 * share(now))
    updatedAt = now
    while let first = counted.first, first.until <= now {
      counted.removeFirst()
      countedBytes -= first.byteCount
    }
    if let allowance, allowance.until <= now { self.allowance = nil }
  }

  private func byteLimit(_ now: LaneTime) -> Double { limits.bytesPerSecond * share(now) }

  /// The part of the limits that may be used.
  private func share(_ now: LaneTime) -> Double {
    guard let outageEndedAt else { return 1 }
    return min(1, 0.1 + 0.9 * ((now - outageEndedAt) / Self.rampUp))
  }
}
