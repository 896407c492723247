@testable import TinybirdOutbox

/// What the service does with one request: every row of the verdict table, with rows inserted and without where an
/// answer leaves that open.
enum ServiceReply: String, Codable, CaseIterable {
  /// As the weather, the token and the events have it.
  case honest
  case okNoBody, okQuarantined, okMiscounted
  case page, pageInserted, cut, cutInserted, accepted, acceptedInserted, odd299, odd299Inserted
  case refused400, unauthorized401, forbidden403, notFound404, payment402, teapot418
  case timeout408, conflict409Inserted, early425, tooLarge413, partly422
  case limited429, limited429For2s, limited429For0s, limited429ForADay
  case moved301, found307
  case error500, error500Inserted, error500Partly, error500For3s, gateway502Inserted, unavailable503,
    unavailable503For5s
  case notSent, noToken, reset, resetInserted, resetPartly, timeOutLate, streamRefused
}

/// What the service does by itself for a while.
enum ServiceWeather: String, Codable, CaseIterable {
  case clear, down, unavailable, failing, slow, limiting, redirecting, placeholder
}

/// How a reply looks from both ends.
struct ServiceAnswer {
  enum Rows {
    case none, firstHalf, all
    /// After we gave the request up, perhaps.
    case later
  }

  var outcome: Outcome
  var rows: Rows

  static func status(_ status: Int, _ rows: Rows = .none, after: Duration? = nil, body: [UInt8] = Self.errorBody)
    -> Self
  {
    Self(
      outcome: .answered(Outcome.Answer(status: status, body: body, isBodyWhole: true, retryAfter: after)), rows: rows)
  }

  static func cut(_ rows: Rows) -> Self {
    Self(
      outcome: .answered(Outcome.Answer(status: 200, body: Array("{\"succ".utf8), isBodyWhole: false, retryAfter: nil)),
      rows: rows)
  }

  static func silence(_ kind: Outcome.NoAnswer, _ rows: Rows = .none) -> Self {
    Self(outcome: .noAnswer(kind), rows: rows)
  }

  /// 200 with counts.
  ///
  /// Written by hand in the one form that the service sends.
  static func delivered(successful: Int, quarantined: Int = 0) -> Self {
    .status(
      200, .all, body: Array("{\"successful_rows\":\(successful),\"quarantined_rows\":\(quarantined)}".utf8))
  }

  private static let errorBody = Array("{\"error\":\"no\"}".utf8)
  static let page = Array("<html>".utf8)
}

extension ServiceReply {
  /// Nil for ``honest``.
  func answer(eventCount: Int) -> ServiceAnswer? {
    switch self {
    case .honest: nil
    case .okNoBody: .status(200, .all, body: [])
    case .okQuarantined: .delivered(successful: eventCount - 1, quarantined: 1)
    case .okMiscounted: .delivered(successful: eventCount + 1)
    case .page: .status(200, body: ServiceAnswer.page)
    case .pageInserted: .status(200, .all, body: ServiceAnswer.page)
    case .cut: .cut(.none)
    case .cutInserted: .cut(.all)
    case .accepted: .status(202)
    case .acceptedInserted: .status(202, .all)
    case .odd299: .status(299)
    case .odd299Inserted: .status(299, .all)
    case .refused400: .status(400)
    case .unauthorized401: .status(401)
    case .forbidden403: .status(403)
    case .notFound404: .status(404)
    case .payment402: .status(402)
    case .teapot418: .status(418)
    case .timeout408: .status(408)
    case .conflict409Inserted: .status(409, .all)
    case .early425: .status(425)
    case .tooLarge413: .status(413)
    case .partly422: .status(422, .firstHalf)
    case .limited429: .status(429)
    case .limited429For2s: .status(429, after: .seconds(2))
    case .limited429For0s: .status(429, after: .zero)
    case .limited429ForADay: .status(429, after: .seconds(86_400))
    case .moved301: .status(301)
    case .found307: .status(307)
    case .error500: .status(500)
    case .error500Inserted: .status(500, .all)
    case .error500Partly: .status(500, .firstHalf)
    case .error500For3s: .status(500, after: .seconds(3))
    case .gateway502Inserted: .status(502, .all)
    case .unavailable503: .status(503)
    case .unavailable503For5s: .status(503, after: .seconds(5))
    case .notSent: .silence(.notSent(.connectionRefused))
    case .noToken: .silence(.notSent(.noToken))
    case .reset: .silence(.unknown(.connectionClosed))
    case .resetInserted: .silence(.unknown(.connectionClosed), .all)
    case .resetPartly: .silence(.unknown(.connectionClosed), .firstHalf)
    case .timeOutLate: .silence(.unknown(.timeout), .later)
    case .streamRefused: .silence(.notProcessed)
    }
  }
}

extension ServiceWeather {
  /// What an honest service answers to everything; nil while it looks at the events.
  var reply: ServiceReply? {
    switch self {
    case .clear: nil
    case .down: .notSent
    case .unavailable: .unavailable503
    case .failing: .error500Inserted
    case .slow: .timeOutLate
    case .limiting: .limited429For2s
    case .redirecting: .moved301
    case .placeholder: .page
    }
  }
}
