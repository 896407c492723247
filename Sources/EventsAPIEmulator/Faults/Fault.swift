/// What goes wrong with a request that a ``FaultRule`` picked.
///
/// In a script each fault is an object with one member, the fault's name: `{"close": {"at": "afterCommit"}}`.
public enum Fault: Sendable, Equatable {
  /// Gives this answer in place of the service's own. See ``CannedAnswer`` for what is committed.
  case answer(CannedAnswer)
  /// Closes the connection without a (whole) answer.
  ///
  /// At ``FaultMoment/beforeBody`` and ``FaultMoment/beforeCommit`` nothing is stored, at the other two everything is.
  case close(at: FaultMoment)
  /// Processes the request, then answers with a body that never ends, until the client closes the connection.
  case endlessAnswer
  /// Processes the request, then sends the answer's body one byte at a time, with this pause between two bytes.
  case slowAnswer(pauseAfterEachByte: Duration)
  /// Processes the request, but answers 202 although `wait=true` was asked for.
  case acceptWithoutWaiting
  /// Processes the request, and quarantines its first `rows` rows whatever they hold.
  case quarantine(rows: Int)
  /// Processes the request, and answers 200 with counts that are off by these numbers.
  case miscount(successfulRows: Int, quarantinedRows: Int)
  /// HTTP/2: refuses the stream (RST_STREAM with REFUSED_STREAM, 0x07). Nothing is stored.
  ///
  /// HTTP/1.1 has no such thing: there it closes the connection before the body is read.
  case refuseStream
  /// HTTP/2: sends GOAWAY that says this request was not processed, then closes the connection. Nothing is stored.
  ///
  /// HTTP/1.1 has no such thing: there it closes the connection before the body is read.
  case goAway

  /// The member that names the fault in a script.
  public var name: String {
    switch self {
    case .answer: "answer"
    case .close: "close"
    case .endlessAnswer: "endlessAnswer"
    case .slowAnswer: "slowAnswer"
    case .acceptWithoutWaiting: "acceptWithoutWaiting"
    case .quarantine: "quarantine"
    case .miscount: "miscount"
    case .refuseStream: "refuseStream"
    case .goAway: "goAway"
    }
  }
}

extension Fault {
  /// Answers `status` in place of the service's own answer.
  ///
  /// - Parameters:
  ///   - status: the HTTP status.
  ///   - body: the answer's body; by default the service's JSON for an error, or an empty body below 400.
  ///   - headers: further header fields.
  ///   - retryAfter: the `Retry-After` header field; none by default.
  ///   - commit: how many of the request's rows are stored before the answer; none by default.
  public static func answer(
    _ status: Int, body: String? = nil, headers: [String: String] = [:], retryAfter: RetryAfter? = nil,
    commit: CommittedPart = .nothing
  ) -> Fault {
    .answer(CannedAnswer(status: status, body: body, headers: headers, retryAfter: retryAfter, commit: commit))
  }

  /// 422 after half of the rows were stored: an error in a materialized view.
  public static let partialFailure = answer(
    422, body: #"{"error":"The data was ingested, but a materialized view failed: some rows are missing from it."}"#,
    commit: .half)

  /// 200 with a page of HTML, as a proxy, a placeholder or a wrong host gives.
  ///
  /// Nothing is stored.
  public static let placeholderPage = answer(
    200, body: "<!DOCTYPE html>\n<html><body><h1>It works!</h1></body></html>\n", headers: ["Content-Type": "text/html"]
  )

  /// 200 with no body at all, after everything was stored.
  public static let emptyAnswer = answer(200, body: "", commit: .all)
}

/// How far a request has come when a fault strikes.
public enum FaultMoment: String, Sendable, Equatable, Codable, CaseIterable {
  /// The header fields are read, the body is not.
  case beforeBody
  /// The body is read, nothing is checked or stored yet.
  case beforeCommit
  /// Everything is stored, the answer has not begun.
  case afterCommit
  /// The head and half of the body of the answer are sent; `Content-Length` promised the whole.
  case midAnswer
}

/// How many of a request's rows are stored before an answer that a fault gives.
public enum CommittedPart: String, Sendable, Equatable, Codable, CaseIterable {
  /// Nothing: the request is not even checked.
  case nothing = "none"
  /// The first half, rounded down.
  case half
  /// Everything.
  case all
}

/// An answer that a fault gives in place of the service's own.
///
/// With ``CommittedPart/nothing`` it stands in front of the service, as a proxy does: neither token nor body is checked.
/// With the other two the request is checked first, and one that the service refuses gets that refusal.
public struct CannedAnswer: Sendable, Equatable {
  /// The HTTP status.
  public var status: Int
  /// The body; nil gives the service's JSON for an error, or no body below 400.
  public var body: String?
  /// Further header fields; what is not the name of one is left out.
  ///
  /// `Content-Type` is `application/json` unless it is given here.
  public var headers: [String: String]
  /// The `Retry-After` header field.
  public var retryAfter: RetryAfter?
  /// How many of the request's rows are stored first.
  public var commit: CommittedPart

  /// Makes an answer.
  public init(
    status: Int, body: String? = nil, headers: [String: String] = [:], retryAfter: RetryAfter? = nil,
    commit: CommittedPart = .nothing
  ) {
    self.status = status
    self.body = body
    self.headers = headers
    self.retryAfter = retryAfter
    self.commit = commit
  }
}

/// A `Retry-After` header field, in one of its two forms.
public enum RetryAfter: Sendable, Equatable {
  /// Whole seconds: `Retry-After: 3`.
  case seconds(Int)
  /// An HTTP date that lies this many seconds ahead: `Retry-After: Wed, 21 Oct 2026 07:28:00 GMT`.
  case date(secondsFromNow: Int)
}
