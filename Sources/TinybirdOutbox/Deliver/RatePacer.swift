/// Time as the pure parts of delivery see it: since the engine started, by a clock that only goes forward.
typealias LaneTime = Duration

/// The service's limits for one data source.
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

/// Says when the next request of a lane may start: two token buckets.
///
/// They fill at 90 % of the limit and hold 10 % of it, so that in no second, wherever it begins, more requests start than
/// the limit allows. A request may start while the bytes bucket is not in debt; its own bytes may put it there.
struct RatePacer {
  private struct Bucket {
    let fillPerSecond: Double
    let capacity: Double
    var level: Double
    var updatedAt = LaneTime.zero

    init(limit: Double) {
      fillPerSecond = limit * 0.9
      capacity = max(1, limit * 0.1)
      level = capacity
    }

    mutating func fill(now: LaneTime) {
      // In this order: an infinite rate times no seconds is no number, which is not below the capacity.
      level = min(capacity, level + (now - updatedAt).seconds * fillPerSecond)
      updatedAt = now
    }

    /// How long until the level is `wanted`.
    func wait(for wanted: Double) -> Duration {
      level >= wanted ? .zero : .seconds((wanted - level) / fillPerSecond)
    }
  }

  private var requests: Bucket
  private var bytes: Bucket

  init(limits: RateLimits) {
    requests = Bucket(limit: limits.requestsPerSecond)
    bytes = Bucket(limit: limits.bytesPerSecond)
  }

  /// Nil where a request may start now, else when.
  mutating func nextStart(now: LaneTime) -> LaneTime? {
    requests.fill(now: now)
    bytes.fill(now: now)
    let wait = max(requests.wait(for: 1), bytes.wait(for: 0))
    return wait == .zero ? nil : now + wait
  }

  /// A request of so many bytes started.
  mutating func charge(byteCount: Int) {
    requests.level -= 1
    bytes.level -= Double(byteCount)
  }
}
