/// What came back for one request.
enum Outcome: Equatable, Sendable {
  case answered(Answer)
  case noAnswer(NoAnswer)

  struct Answer: Equatable, Sendable {
    var status: Int
    /// What was read of the body, up to a small limit.
    var body: [UInt8]
    /// Whether the body came to its end as announced.
    var isBodyWhole: Bool
    /// `Retry-After`, else `X-RateLimit-Reset`.
    var retryAfter: Duration?
    var rateLimitLeft: RateLimitLeft?
  }

  enum NoAnswer: Equatable, Sendable {
    /// No connection: refused, DNS, TLS; or it broke before any byte of the events was handed over.
    case notSent(TransportFault)
    /// It broke, or timed out, when events may have arrived.
    case unknown(TransportFault)
    /// The service said that it has not looked at the request (HTTP/2 stream refused).
    case notProcessed
    /// Our own shutdown cut it short.
    case cancelled
  }
}

/// What kind of fault kept an answer away: shown in status.
public enum TransportFault: String, Sendable, Codable, CaseIterable {
  /// The name of the host was not found.
  case nameResolution = "name_resolution"
  /// Nobody listens, or the way there is blocked.
  case connectionRefused = "connection_refused"
  /// The connection could not be made in time.
  case connectTimeout = "connect_timeout"
  /// The certificate, or the handshake, was not accepted.
  case tls
  /// The connection was reset or closed.
  case connectionClosed = "connection_closed"
  /// The answer did not come in time.
  case timeout
  /// The proxy refused, or could not be reached.
  case proxy
  /// The answer was not HTTP.
  case invalidAnswer = "invalid_answer"
  /// The application's token provider threw.
  case noToken = "no_token"
  /// Anything else.
  case other
}

/// What an application can make of an HTTP status in place of the verdict table's own word.
public enum StatusVerdict: String, Sendable, Codable, CaseIterable {
  /// The rows are taken as inserted.
  case delivered
  /// The batch stays pending and is sent again, for ever if need be.
  case retry
  /// The batch is halved until the guilty events are alone; these become dead letters.
  case isolate
  /// Every event of the batch becomes a dead letter.
  case deadLetter = "dead_letter"
  /// The same, and the lane is held.
  case deadLetterAndHold = "dead_letter_and_hold"
  /// The batch stays pending and the lane is held.
  case hold
}

/// What an answer means: one row of the verdict table.
struct Verdict: Equatable, Sendable {
  /// What to do with the rows and the lane.
  enum Kind: Equatable, Sendable {
    case delivered(RowCounts)
    /// The batch stays pending and the lane backs off, for as long as the answer asks if it does.
    case retry(Duration?)
    /// As retry, but the batch is not to blame: 429.
    case pause(Duration?)
    /// As retry, at once, a bounded number of times.
    case retryAtOnce
    /// Twice a retry, then a hold: 202.
    case unacknowledged
    /// Find the guilty events.
    case isolate
    /// Send halves.
    case split
    case deadLetter(DeadReason)
    case deadLetterAndHold(HoldKind)
    case hold(HoldKind)
    /// Nothing: the shutdown is ours.
    case none
  }

  var kind: Kind
  var inserted: Inserted

  /// A name for the log of attempts.
  var name: String {
    switch kind {
    case .delivered: "delivered"
    case .retry: "retry"
    case .pause: "pause"
    case .retryAtOnce: "retry_at_once"
    case .unacknowledged: "unacknowledged"
    case .isolate: "isolate"
    case .split: "split"
    case .deadLetter: "dead_letter"
    case .deadLetterAndHold: "dead_letter_and_hold"
    case .hold: "hold"
    case .none: "none"
    }
  }

  /// No request was made: the application wants no event sent that is so old.
  static let expired = Verdict(.deadLetter(.expired), .no)

  /// The verdict table with the application's own word on some statuses.
  ///
  /// What an answer says of the rows stays the table's, but that *delivered* says they are there.
  init(_ outcome: Outcome, overrides: [Int: StatusVerdict]) {
    self.init(outcome)
    guard case .answered(let answer) = outcome, let override = overrides[answer.status] else { return }
    switch override {
    case .delivered:
      kind = .delivered(SuccessBody(answer.body)?.rows ?? RowCounts(successful: nil, quarantined: nil))
      inserted = .yes
    case .retry: kind = .retry(answer.retryAfter)
    case .isolate: kind = .isolate
    case .deadLetter: kind = .deadLetter(.refused)
    case .deadLetterAndHold: kind = .deadLetterAndHold(.unexpectedStatus)
    case .hold: kind = .hold(.unexpectedStatus)
    }
  }

  /// The verdict table: every answer that the Events API can give, and every way of giving none.
  init(_ outcome: Outcome) {
    switch outcome {
    case .noAnswer(.notSent): self.init(.retry(nil), .no)
    case .noAnswer(.unknown): self.init(.retry(nil), .maybe)
    case .noAnswer(.notProcessed): self.init(.retryAtOnce, .no)
    case .noAnswer(.cancelled): self.init(.none, .maybe)
    case .answered(let answer): self.init(answer)
    }
  }

  private init(_ answer: Outcome.Answer) {
    switch answer.status {
    case 200: self.init(success: answer)
    case 202: self.init(.unacknowledged, .maybe)
    case 400: self.init(.isolate, .no)
    case 401, 403: self.init(.deadLetterAndHold(.unauthorized), .no)
    case 404: self.init(.deadLetterAndHold(.workspaceNotFound), .no)
    case 408, 409, 425: self.init(.retry(answer.retryAfter), .maybe)
    case 413: self.init(.split, .no)
    case 422: self.init(.deadLetter(.partlyInserted), .maybe)
    case 429: self.init(.pause(answer.retryAfter), .no)
    case 400..<500: self.init(.deadLetterAndHold(.unexpectedStatus), .no)
    case 300..<400: self.init(.hold(.redirected), .no)
    case 503: self.init(.retry(answer.retryAfter), .no)
    case 500..<600: self.init(.retry(answer.retryAfter), .maybe)
    // 1xx, another 2xx, or a number that is none: something other than the Events API answers.
    default: self.init(.hold(.notTheEventsAPI), .maybe)
    }
  }

  private init(success answer: Outcome.Answer) {
    guard answer.isBodyWhole else {
      self.init(.retry(nil), .maybe)
      return
    }
    guard let counts = SuccessBody(answer.body) else {
      self.init(.hold(.notTheEventsAPI), .maybe)
      return
    }
    self.init(.delivered(counts.rows), .yes)
  }

  private init(_ kind: Kind, _ inserted: Inserted) {
    self.kind = kind
    self.inserted = inserted
  }
}
