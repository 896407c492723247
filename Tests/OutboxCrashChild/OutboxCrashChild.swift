import Foundation
import TinybirdOutbox

/// A process that tests start to be killed, and to share an outbox with others.
///
/// It does only what any app can.
///
///     OutboxCrashChild <mode> <outbox> [name=value …]
///
/// - `append`: appends calls of one to four events, and with `url` delivers at the same time.
/// - `deliver`: delivers; with `until=empty` until nothing is pending.
/// - `inspect`: looks at everything and replays dead letters, round after round; with `url` delivers at the same time.
/// - `make`: opens `count` outboxes one after the other, each with one event: the path with `-0`, `-1` and so on added.
/// - `prune`: takes out all that is delivered, and gives the space back.
/// - `open`: opens the outbox, makes it where there is none, and closes it.
///
/// `kill` names the step at which it ends itself: see ``KillPlan``. What it has to say it prints line by line, each with
/// one write, so that whoever kills it knows exactly what was acknowledged.
@main
struct OutboxCrashChild {
  let mode: String
  let path: String
  let options: [String: String]

  static func main() async {
    let arguments = CommandLine.arguments
    guard arguments.count >= 3 else {
      say("usage: OutboxCrashChild append|deliver|inspect|make|prune|open <outbox> [name=value …]")
      exit(64)
    }
    let options = arguments.dropFirst(3).map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
    let child = OutboxCrashChild(
      mode: arguments[1], path: arguments[2],
      options: Dictionary(options.map { ($0[0], $0.count > 1 ? $0[1] : "") }) { $1 })
    do {
      try await child.run()
    } catch let error as OutboxError {
      say("error \(error.code) \(error.message)")
      exit(1)
    } catch {
      say("error \(error)")
      exit(1)
    }
  }

  private func run() async throws {
    if options["watch"] == "opens" { OpenCount.start() }
    let plan = try options["kill"].map { try KillPlan($0) }
    plan?.start()
    if mode == "make" { return try await make(options["count"].flatMap(Int.init) ?? 1) }
    let outbox = try await Outbox(at: path, configuration: try configuration(plan))
    Self.say("open")
    switch mode {
    case "append": try await delivering(outbox) { try await Appending(outbox, options).run() }
    case "inspect": try await delivering(outbox) { try await Inspecting(outbox, options).run() }
    case "deliver":
      if options["until"] == "empty" { try await outbox.deliverUntilEmpty() } else { try await outbox.run() }
    case "prune": try await outbox.prune()
    case "open": break
    default:
      Self.say("error no mode '\(mode)'")
      exit(64)
    }
    plan?.reached("closing")
    await outbox.close()
    if options["watch"] == "opens" { OpenCount.report() }
    Self.say("done")
  }

  private func make(_ count: Int) async throws {
    for number in 0..<count {
      let outbox = try await Outbox(at: "\(path)-\(number)")
      try await outbox.append("{}", to: "clicks")
      await outbox.close()
    }
  }

  private func configuration(_ plan: KillPlan?) throws -> OutboxConfiguration {
    var configuration = OutboxConfiguration()
    guard let url = options["url"] else { return configuration }
    var delivery = DeliveryConfiguration(
      baseURL: try BaseURL(url), tokens: WatchedToken(token: try Token("p.child"), plan: plan))
    delivery.retryPolicy.firstDelay = .milliseconds(5)
    delivery.retryPolicy.firstProbeDelay = .milliseconds(10)
    delivery.retryPolicy.maximumDelay = .milliseconds(20)
    delivery.rateLimits.requestsPerSecond = 100_000
    delivery.rateLimits.bytesPerSecond = 1_000_000_000
    configuration.delivery = delivery
    return configuration
  }

  /// Delivers while `body` runs, where the child knows a service.
  private func delivering(_ outbox: Outbox, _ body: @escaping @Sendable () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      if options["url"] != nil { group.addTask { try await outbox.run() } }
      try await body()
      group.cancelAll()
      try await group.waitForAll()
    }
  }

  /// One line, one write.
  static func say(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = write(STDOUT_FILENO, bytes, bytes.count)
  }
}

/// The last thing before a request: its token is asked for when batch and body are ready.
private struct WatchedToken: TokenProvider {
  let token: Token
  let plan: KillPlan?

  func token(for dataSource: DataSourceName) -> Token {
    plan?.reached("token")
    return token
  }
}
