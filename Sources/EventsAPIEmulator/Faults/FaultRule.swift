/// One line of a ``FaultScript``: when it applies, how often, how long it waits and what it does.
///
/// Rules are tried in order; the first that matches a request, and is not used up, is applied and the others are not
/// looked at. A rule without a fault only delays.
public struct FaultRule: Sendable, Equatable {
  /// Which requests it applies to.
  public var condition: FaultCondition
  /// How often it applies at most; nil: always.
  public var maximumUses: Int?
  /// A pause while the request is processed.
  public var delay: FaultDelay?
  /// What goes wrong; nil: nothing, the request is processed as usual.
  public var fault: Fault?

  /// Makes a rule.
  ///
  /// - Parameters:
  ///   - condition: which requests it applies to; all by default.
  ///   - times: how often it applies at most; always by default.
  ///   - delay: a pause while the request is processed; none by default.
  ///   - fault: what goes wrong; nothing by default.
  public init(
    when condition: FaultCondition = FaultCondition(), times: Int? = nil, delay: FaultDelay? = nil,
    do fault: Fault? = nil
  ) {
    self.condition = condition
    self.maximumUses = times
    self.delay = delay
    self.fault = fault
  }

  /// Closes every connection on which a request comes in, in a window of time.
  public static func outage(during time: Range<Duration>) -> FaultRule {
    FaultRule(when: FaultCondition(time: time), do: .close(at: .beforeBody))
  }

  /// Answers every request in a window of time with `status`.
  public static func outage(during time: Range<Duration>, status: Int) -> FaultRule {
    FaultRule(when: FaultCondition(time: time), do: .answer(status))
  }
}

/// Which requests a ``FaultRule`` applies to: those for which everything that is given here holds.
public struct FaultCondition: Sendable, Equatable {
  /// The `name` of the request; nil: any.
  public var dataSource: String?
  /// The request's number, from 1 and since the script was set: among the requests for ``dataSource``, or among all of
  /// them when that is nil.
  public var requests: ClosedRange<Int>?
  /// When the request came, since the script was set.
  public var time: Range<Duration>?
  /// A text that the body holds, after decompression.
  ///
  /// The body is read before the rule is decided, so that a fault at ``FaultMoment/beforeBody`` then strikes after the
  /// body.
  public var contains: String?

  /// Makes a condition; what is left out holds for every request.
  public init(
    dataSource: String? = nil, requests: ClosedRange<Int>? = nil, time: Range<Duration>? = nil, contains: String? = nil
  ) {
    self.dataSource = dataSource
    self.requests = requests
    self.time = time
    self.contains = contains
  }

  /// The n-th request.
  public init(dataSource: String? = nil, request number: Int) {
    self.init(dataSource: dataSource, requests: number...number)
  }
}

/// A pause while a request is processed.
public struct FaultDelay: Sendable, Equatable {
  /// When a pause is over.
  public enum End: Sendable, Equatable {
    /// After this long.
    case after(Duration)
    /// When ``EventsAPIEmulator/releaseHeldRequests()`` is called.
    case released
  }

  /// How far the request has come when the pause begins.
  public var moment: FaultMoment
  /// When the pause is over.
  public var end: End

  /// A pause of this length.
  public static func pause(_ duration: Duration, at moment: FaultMoment) -> FaultDelay {
    FaultDelay(moment: moment, end: .after(duration))
  }

  /// A pause until ``EventsAPIEmulator/releaseHeldRequests()`` is called: a test decides when the request goes on.
  public static func untilReleased(at moment: FaultMoment) -> FaultDelay {
    FaultDelay(moment: moment, end: .released)
  }
}
