internal import Foundation
internal import TinybirdOutbox

/// What a lane does, in words, and what an operator can do about it.
struct LaneWords: Equatable {
  /// For a cell of a table.
  var state: String
  var colour: Paint.Colour?
  /// What is wrong and what to do; empty where nothing is to be done.
  var advice: [String] = []

  init(_ source: DataSourceStatus, now: Date, options: OutboxOptions) {
    let name = source.dataSource.description
    switch source.lane {
    case .open:
      state = source.batchesInFlight > 0 ? "sending (\(source.batchesInFlight) in flight)" : "open"
      colour = .green
    case .backingOff(let failures, let until):
      state = "backing off (\(Self.failures(failures)), again \(Humane.relative(until, to: now)))"
      colour = .yellow
    case .outage(let failures, let until):
      state = "outage (\(Self.failures(failures)), probe \(Humane.relative(until, to: now)))"
      colour = .yellow
      advice = [
        "\(name): the service does not take events; nothing is lost, and it is probed until it is back",
        "  to try at once: \(options.command("resume", name))",
      ]
    case .held(let kind, let status, let since, let cause):
      state = "held (\(Self.reason(kind, status)))"
      colour = .red
      advice = ["\(name): held since \(Humane.relative(since, to: now)): \(Self.explanation(kind, status))"]
      if let cause, source.deadEvents > 0, kind.buriesItsCause {
        advice += [
          "  the batch that was refused, \(cause), is in the dead-letter table; to resume and send it again:",
          "    \(options.command("resume", "--replay-cause \(name)"))",
        ]
      } else {
        advice += ["  then: \(options.command("resume", name))"]
      }
    }
  }

  private static func failures(_ count: Int) -> String { Humane.count(count, "failure") }

  private static func reason(_ kind: HoldKind, _ status: Int?) -> String {
    let status = status.map { "\($0)" }
    return switch kind {
    case .byOperator: "by an operator"
    case .unauthorized: "\(status ?? "403"): token refused"
    case .workspaceNotFound: "\(status ?? "404"): workspace not found"
    case .redirected: "\(status ?? "3xx"): redirected"
    case .notTheEventsAPI: "not the Events API"
    case .waitNotHonoured: "202: not acknowledged"
    case .everyEventRefused: "\(status ?? "400"): every event refused"
    case .unexpectedStatus: "\(status ?? "unexpected status")"
    }
  }

  private static func explanation(_ kind: HoldKind, _ status: Int?) -> String {
    switch kind {
    case .byOperator: "an operator asked for it"
    case .unauthorized:
      "the token was refused; check that TINYBIRD_TOKEN, or its line in the token file, is right and may append"
    case .workspaceNotFound:
      "the workspace is not at this base URL; check that TINYBIRD_BASE_URL names its region"
    case .redirected: "the base URL redirects, which is never followed; check TINYBIRD_BASE_URL, and proxies on the way"
    case .notTheEventsAPI:
      "what answers at the base URL is not the Events API; check TINYBIRD_BASE_URL, and proxies on the way"
    case .waitNotHonoured:
      "the service answers 202 where wait=true was asked for, so that nothing is acknowledged; ask Tinybird's support"
    case .everyEventRefused:
      "the service refuses every event; compare the data source's schema with the dead letters"
    case .unexpectedStatus:
      "the service answered \(status.map(String.init) ?? "something") that it does not document; check proxies on the way"
    }
  }
}

extension HoldKind {
  /// Whether the batch that was refused went to the dead-letter table; after the others it waits.
  fileprivate var buriesItsCause: Bool { [.unauthorized, .workspaceNotFound, .unexpectedStatus].contains(self) }
}
