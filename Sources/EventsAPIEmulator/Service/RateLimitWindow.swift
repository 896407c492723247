/// Requests and bytes of one data source in one second.
///
/// Pure: time is a parameter.
struct RateLimitWindow {
  /// What a request is told: whether it may go on, and the numbers for the three `X-RateLimit` header fields.
  struct Decision: Equatable {
    var isAdmitted: Bool
    var limit: Int
    var remaining: Int
    /// Seconds until the window resets, rounded up.
    var resetSeconds: Int
  }

  static let length = Duration.seconds(1)

  let kind: EventsAPIEmulator.RateLimitKind
  let maximumRequests: Int
  let maximumBytes: Int
  private var admitted: [(time: Duration, bytes: Int)] = []
  private var bytes = 0

  init(kind: EventsAPIEmulator.RateLimitKind, maximumRequests: Int, maximumBytes: Int) {
    self.kind = kind
    self.maximumRequests = maximumRequests
    self.maximumBytes = maximumBytes
  }

  /// Admits a request, or refuses it; one that is refused uses nothing up.
  ///
  /// - Parameters:
  ///   - byteCount: the size of the request.
  ///   - now: a time that never goes back, from any fixed point.
  mutating func admit(byteCount: Int, at now: Duration) -> Decision {
    let windowStart =
      switch kind {
      case .fixed: Duration.seconds(now.components.seconds)
      case .sliding: now - Self.length
      }
    forget(before: windowStart)
    let isAdmitted = admitted.count < maximumRequests && bytes + byteCount <= maximumBytes
    if isAdmitted {
      admitted.append((now, byteCount))
      bytes += byteCount
    }
    let reset =
      switch kind {
      case .fixed: windowStart + Self.length
      case .sliding: (admitted.first?.time ?? now) + Self.length
      }
    return Decision(
      isAdmitted: isAdmitted, limit: maximumRequests, remaining: max(0, maximumRequests - admitted.count),
      resetSeconds: (reset - now).secondsRoundedUp)
  }

  private mutating func forget(before start: Duration) {
    // A sliding window is open at its start: what came exactly a second ago is over.
    let isOver: (Duration) -> Bool = kind == .fixed ? { $0 < start } : { $0 <= start }
    let over = admitted.prefix { isOver($0.time) }
    bytes -= over.reduce(0) { $0 + $1.bytes }
    admitted.removeFirst(over.count)
  }
}

extension Duration {
  fileprivate var secondsRoundedUp: Int {
    Int(components.seconds) + (components.attoseconds > 0 ? 1 : 0)
  }
}
