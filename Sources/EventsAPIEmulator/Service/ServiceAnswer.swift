internal import Foundation
internal import HTTPTypes

/// An answer, before it is written to a connection: status, header fields and body as the Events API words them.
struct ServiceAnswer: Equatable {
  var status: Int
  var headers: HTTPFields = [:]
  var body: String

  var isSuccess: Bool { (200..<300).contains(status) }

  /// What the service says of a request that it took, but for the counts.
  static func accepted(status: Int) -> ServiceAnswer {
    json(status: status, "")
  }

  /// The body of the answer to a request that the service took.
  static func counts(successfulRows: Int, quarantinedRows: Int) -> String {
    #"{"successful_rows":\#(successfulRows),"quarantined_rows":\#(quarantinedRows)}"#
  }

  /// What the service says of a request that it refused.
  static func refused(_ status: Int, _ error: String) -> ServiceAnswer {
    // A string always encodes; were it not so, an answer without its text is still an answer.
    let text = (try? JSONEncoder.service.encode(error)).map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
    return json(
      status: status, #"{"error":\#(text),"documentation":"https://www.tinybird.co/docs/api-reference/events-api"}"#)
  }

  /// A 403, which repeats the token that it refused, as the service's does.
  static func forbidden(token: String?) -> ServiceAnswer {
    refused(403, token.map { "Invalid token: \($0)" } ?? "No token: give one as 'Authorization: Bearer' or 'token='")
  }

  /// A 429.
  static func tooManyRequests(_ decision: RateLimitWindow.Decision) -> ServiceAnswer {
    var answer = refused(429, "Too many requests: the rate limit of this data source is exceeded")
    answer.headers[.retryAfter] = String(max(1, decision.resetSeconds))
    return answer
  }

  private static func json(status: Int, _ body: String) -> ServiceAnswer {
    ServiceAnswer(status: status, headers: [.contentType: "application/json"], body: body)
  }

  /// Adds the three header fields that tell a client how much of the rate limit is left.
  mutating func add(_ decision: RateLimitWindow.Decision) {
    headers[.rateLimitLimit] = String(decision.limit)
    headers[.rateLimitRemaining] = String(decision.remaining)
    headers[.rateLimitReset] = String(decision.resetSeconds)
  }
}

extension ServiceAnswer {
  /// The answer that a fault gives.
  init(_ canned: CannedAnswer, at now: Date) {
    self =
      canned.status < 400
      ? ServiceAnswer(status: canned.status, body: "")
      : .refused(canned.status, Self.errorTexts[canned.status] ?? "Error \(canned.status)")
    if let body = canned.body {
      self.body = body
      headers[.contentType] = "application/json"
    }
    for (name, value) in canned.headers {
      if let name = HTTPField.Name(name) { headers[name] = value }
    }
    switch canned.retryAfter {
    case nil: break
    case .seconds(let seconds): headers[.retryAfter] = String(seconds)
    case .date(let seconds): headers[.retryAfter] = HTTPDate.text(now + Double(seconds))
    }
  }

  private static let errorTexts = [
    400: "Bad request",
    401: "Authentication is required",
    403: "Invalid token",
    404: "Workspace not found in this cluster",
    408: "The request timed out",
    413: "The request is too large",
    422: "The data was ingested in part",
    429: "Too many requests",
    500: "Internal error",
    502: "Bad gateway",
    503: "The service is temporarily unavailable, try again",
    504: "The gateway timed out",
  ]
}

extension JSONEncoder {
  fileprivate static var service: JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    return encoder
  }
}

extension HTTPField.Name {
  static let rateLimitLimit = known("X-RateLimit-Limit")
  static let rateLimitRemaining = known("X-RateLimit-Remaining")
  static let rateLimitReset = known("X-RateLimit-Reset")

  /// One of the names above, each of which is made of letters and hyphens.
  private static func known(_ name: String) -> HTTPField.Name {
    guard let name = HTTPField.Name(name) else { preconditionFailure("'\(name)' is not a header field's name") }
    return name
  }
}
