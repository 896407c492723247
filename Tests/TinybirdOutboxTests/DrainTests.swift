import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// How fast a backlog drains against a service that keeps to its limits, on a simulated clock.
@Suite struct DrainTests {
  enum Window: Sendable, CaseIterable {
    case fixed
    case sliding
  }

  /// A service that takes so much in a second, of a fixed clock or of any.
  private struct Service {
    let window: Window
    let requestLimit: Int
    let byteLimit = 20_000_000
    private var taken: [(at: LaneTime, byteCount: Int)] = []

    init(_ window: Window, requestLimit: Int) {
      (self.window, self.requestLimit) = (window, requestLimit)
    }

    /// Returns what is left, and when the window ends; nil where the request is refused.
    mutating func take(_ byteCount: Int, at now: LaneTime) -> RateLimitLeft? {
      let second = LaneTime.seconds(now.components.seconds)
      taken.removeAll { window == .fixed ? $0.at < second : $0.at <= now - .seconds(1) }
      guard taken.count < requestLimit, taken.reduce(byteCount, { $0 + $1.byteCount }) <= byteLimit else { return nil }
      taken.append((now, byteCount))
      // As the service rounds it.
      return RateLimitLeft(requests: requestLimit - taken.count, reset: .seconds(1))
    }
  }

  struct Drained {
    var requests = 0
    var refused = 0
    var duration = LaneTime.zero
    /// When each request was started.
    var starts: [LaneTime] = []
  }

  private enum News {
    case arrives(Batch)
    case answered(Batch, RateLimitLeft?)
  }

  /// Drains `events` of 100 bytes each; each way takes `trip`, and up to 20 ms more.
  private func drain(
    _ events: Int64, _ settings: LaneSettings, _ window: Window, requestLimit: Int = 100, trip: Duration,
    tellsWhatIsLeft: Bool = true, seed: UInt64
  ) -> Drained {
    var random = SeededRandom(seed: seed)
    var service = Service(window, requestLimit: requestLimit)
    let driver = LaneDriver(unbatched: events, settings: settings)
    var drained = Drained()
    var coming: [(at: LaneTime, news: News)] = []
    while !driver.machine.isDrained, drained.requests < 20_000 {
      for batch in driver.requests() {
        drained.requests += 1
        drained.starts.append(driver.now)
        let way = trip + .milliseconds(Double.random(in: 0...20, using: &random))
        coming.append((driver.now + way, .arrives(batch)))
      }
      coming.sort { $0.at > $1.at }
      var machine = driver.machine
      var wake: LaneTime?
      if case .wait(let until) = machine.next(now: driver.now) { wake = until }
      guard let moment = [wake, coming.last?.at].compactMap({ $0 }).min() else { break }
      driver.now = max(driver.now, moment)
      while let (at, news) = coming.last, at <= driver.now {
        coming.removeLast()
        switch news {
        case .arrives(let batch):
          coming.append((at + trip, .answered(batch, service.take(batch.byteCount, at: at))))
          coming.sort { $0.at > $1.at }
        case .answered(let batch, let left):
          if tellsWhatIsLeft {
            driver.note(left ?? RateLimitLeft(requests: 0, reset: .seconds(1)), answerTo: batch)
          }
          if left == nil { drained.refused += 1 }
          driver.answer(batch, left == nil ? .status(429, retryAfter: .seconds(1)) : .delivered)
        }
      }
    }
    drained.duration = driver.now
    #expect(driver.delivered.reduce(0) { $0 + $1.count } == Int(events))
    return drained
  }

  private func settings(maximumEvents: Int, inFlight: Int = 8) -> LaneSettings {
    var settings = LaneSettings.sample(maximumInFlight: inFlight, maximumEvents: maximumEvents)
    settings.rateLimits = RateLimits()
    return settings
  }

  @Test(arguments: Window.allCases, 0..<2) func theRequestLimitIsUsed(window: Window, seed: UInt64) {
    let drained = drain(20_000, settings(maximumEvents: 10), window, trip: .milliseconds(20), seed: seed)
    let rate = Double(drained.requests - drained.refused) / drained.duration.seconds
    #expect(rate >= 90, "\(drained.requests), \(drained.refused) refused, \(drained.duration)")
    #expect(drained.refused * 100 <= drained.requests)
  }

  @Test(arguments: Window.allCases, 0..<3) func theByteLimitIsUsed(window: Window, seed: UInt64) {
    let drained = drain(10_000_000, settings(maximumEvents: .max), window, trip: .milliseconds(100), seed: seed)
    let rate = 1e9 / drained.duration.seconds
    #expect(rate >= 18_000_000, "\(drained.requests), \(drained.refused) refused, \(drained.duration)")
    #expect(drained.refused * 100 <= drained.requests)
  }

  /// Another program sends to the same data source: what the service says is left keeps us from being refused.
  @Test(arguments: Window.allCases) func aLimitThatIsLowerThanOursIsSeenInTime(window: Window) {
    let told = drain(
      20_000, settings(maximumEvents: 10), window, requestLimit: 50, trip: .milliseconds(20), seed: 1)
    let untold = drain(
      20_000, settings(maximumEvents: 10), window, requestLimit: 50, trip: .milliseconds(20), tellsWhatIsLeft: false,
      seed: 1)
    #expect(told.refused * 100 <= told.requests, "\(told.refused) of \(told.requests)")
    #expect(untold.refused * 100 > untold.requests, "\(untold.refused) of \(untold.requests)")
  }
}
