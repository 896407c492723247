internal import Synchronization

/// What the service knows from one request to the next: tokens, data sources, rate limits, and the faults to come.
final class ServiceState: Sendable {
  private struct Inner {
    var tokens: EventsAPIEmulator.TokenPolicy
    var script: FaultScript
    var schedule: FaultSchedule
    var windows: [String: RateLimitWindow] = [:]
    /// The status that every request is answered with while the service is down that way.
    var outageStatus: Int?
  }

  let limits: EventsAPIEmulator.Limits
  let openFacts: EventsAPIEmulator.OpenFacts
  private let start = ContinuousClock.now
  private let inner: Mutex<Inner>

  init(_ configuration: EventsAPIEmulator.Configuration) {
    limits = configuration.limits
    openFacts = configuration.openFacts
    let schedule = FaultSchedule(rules: configuration.script.rules, start: .zero)
    inner = Mutex(Inner(tokens: configuration.tokens, script: configuration.script, schedule: schedule))
  }

  /// The time since the emulator was made.
  private var now: Duration { ContinuousClock.now - start }

  // MARK: What can be changed while it runs

  /// The faults and the data sources.
  ///
  /// Setting them starts the clock and the counts of the faults again.
  var script: FaultScript {
    get { inner.withLock { $0.script } }
    set { changeScript { $0 = newValue } }
  }

  /// Changes the script, and starts the clock and the counts of the faults again.
  func changeScript(_ change: (inout FaultScript) -> Void) {
    let now = now
    inner.withLock { inner in
      change(&inner.script)
      inner.schedule = FaultSchedule(rules: inner.script.rules, start: now)
    }
  }

  var dataSources: [String: DataSourceRules] {
    get { inner.withLock { $0.script.dataSources } }
    set { inner.withLock { $0.script.dataSources = newValue } }
  }

  var tokens: EventsAPIEmulator.TokenPolicy {
    get { inner.withLock { $0.tokens } }
    set { inner.withLock { $0.tokens = newValue } }
  }

  var outageStatus: Int? {
    get { inner.withLock { $0.outageStatus } }
    set { inner.withLock { $0.outageStatus = newValue } }
  }

  // MARK: One request

  /// Numbers a request.
  func arrive(dataSource: String?) -> FaultSchedule.Arrival {
    let now = now
    return inner.withLock { $0.schedule.arrive(dataSource: dataSource, at: now) }
  }

  /// Picks the rule for a request.
  ///
  /// While the service is down with a status, that comes before the script.
  func chooseFault(for arrival: FaultSchedule.Arrival, body: FaultSchedule.Body) -> FaultSchedule.Choice {
    inner.withLock { inner in
      if let status = inner.outageStatus { return .rule(FaultRule(do: .answer(status))) }
      return inner.schedule.choose(for: arrival, body: body)
    }
  }

  /// What a data source takes; nil: there is no such data source, and it cannot be created.
  func rules(of dataSource: String) -> DataSourceRules? {
    if let rules = inner.withLock({ $0.script.dataSources[dataSource] }) { return rules }
    return openFacts.unknownDataSource == .create && Self.isName(dataSource) ? DataSourceRules() : nil
  }

  /// Counts a request in the rate limits of its data source; nil where there are none.
  func admit(byteCount: Int, to dataSource: String) -> RateLimitWindow.Decision? {
    guard limits.hasRateLimits else { return nil }
    let now = now
    let newWindow = RateLimitWindow(
      kind: limits.rateLimitKind, maximumRequests: limits.requestsPerSecond, maximumBytes: limits.bytesPerSecond)
    return inner.withLock { $0.windows[dataSource, default: newWindow].admit(byteCount: byteCount, at: now) }
  }

  /// Letters, digits and underscores, not beginning with a digit: the names that Tinybird takes.
  private static func isName(_ name: String) -> Bool {
    guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else { return false }
    return name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
        true
      default: false
      }
    }
  }
}
