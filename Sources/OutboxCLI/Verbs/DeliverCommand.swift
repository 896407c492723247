internal import ArgumentParser
internal import Foundation
internal import Logging
internal import TinybirdOutbox

struct DeliverCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "deliver",
    abstract: "Deliver events to Tinybird: as a service, or until nothing is left.",
    usage: "outbox deliver [<options>]",
    discussion: """
      As a service it runs until SIGTERM or SIGINT, lets requests that are under way end, and exits with 0. One process \
      delivers at a time; others stand by and take over within a second of its end. A second signal ends it at once, \
      which loses nothing: what was under way is sent again, and counted as a possible duplicate.

      With --until-empty it ends when every event is settled, with exit code 0 if all were delivered, 2 if some went to the \
      dead-letter table, 69 if a data source is held, so that its events stay pending.

        outbox deliver --outbox app.outbox
        outbox deliver --outbox app.outbox --until-empty --json
      """)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var service: ServiceOptions

  @Flag(help: "End when nothing is pending in any data source that is not held.")
  var untilEmpty = false

  @OptionGroup(title: "Requests") var requests: RequestOptions
  @OptionGroup(title: "Waits") var waits: WaitOptions

  @Option(
    help: ArgumentHelp(
      "Log lines of at least this level, to standard error. Default: warning with --until-empty, else info.",
      valueName: "level"))
  var logLevel: Logger.Level?

  @OptionGroup var format: FormatOptions

  func run() async throws {
    if let file = requests.caFile { try InputPath.check(file) }
    var configuration = OutboxConfiguration()
    let delivery = try waits.applied(to: requests.applied(to: service.delivery()))
    configuration.delivery = delivery
    let path = try outbox.path
    let logger = ConsoleLogHandler.logger(level: logLevel ?? (untilEmpty ? .warning : .info))
    try await outbox.withOutbox(configuration: configuration, logger: logger) { outbox in
      let watch = try await DeliveryWatch(outbox)
      logger.info(
        "delivering", metadata: ["outbox.path": "\(path)", "outbox.base_url": "\(delivery.baseURL)"])
      let signal = try await Interruption.run { [untilEmpty] in
        try await watch.showingProgress {
          if untilEmpty {
            try await outbox.deliverUntilEmpty { watch.waits(for: $0) }
          } else {
            try await outbox.run()
          }
        }
      }
      Console.endProgress()
      let summary = try await watch.summary()
      if format.json {
        try JSONOutput.print(summary.asJSON)
      } else {
        try Console.print(summary.lines(options: self.outbox, now: Date()).joined(separator: "\n"))
      }
      guard untilEmpty else { return }
      if let signal { throw ExitCode.interrupted(by: signal) }
      if summary.isHeld { throw ExitCode.unavailable }
      if summary.newDeadLetters > 0 { throw ExitCode.deadLettersAppeared }
    }
  }
}

/// How requests are made.
struct RequestOptions: ParsableArguments {
  @Option(
    help: """
      strict: one request at a time for each data source, nothing overtakes. relaxed: several, and one that keeps failing \
      lets the others pass.
      """)
  var order = DeliveryConfiguration.Order.relaxed

  @Option(help: ArgumentHelp("Requests under way at once for each data source.", valueName: "count"))
  var maxInFlight = 4

  @Option(
    help: ArgumentHelp("NDJSON bytes of a request before compression, at most 10000000.", valueName: "bytes"))
  var batchBytes = 8_000_000

  @Flag(help: "Send requests without gzip.")
  var noCompression = false

  @Option(
    help: ArgumentHelp("A PEM file with certificates to trust besides the system's.", valueName: "file"))
  var caFile: String?

  func applied(to delivery: DeliveryConfiguration) -> DeliveryConfiguration {
    var delivery = delivery
    delivery.order = order
    delivery.maximumInFlight = maxInFlight
    delivery.maximumBatchBytes = batchBytes
    delivery.compresses = !noCompression
    delivery.http.trustedCertificatesPath = caFile
    return delivery
  }
}

/// How long it waits, as durations such as 500ms, 2s, 5m.
struct WaitOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("The longest wait after a first failure; it doubles with each.", valueName: "duration"))
  var firstDelay = DurationArgument(.milliseconds(500))

  @Option(
    help: ArgumentHelp(
      "The longest wait before the first probe of an outage, which begins with the fifth failure; it doubles with each.",
      valueName: "duration"))
  var firstProbeDelay = DurationArgument(.seconds(30))

  @Option(help: ArgumentHelp("No wait is longer, whatever the service asks for.", valueName: "duration"))
  var maxDelay = DurationArgument(.seconds(300))

  @Option(
    help: ArgumentHelp("How long requests under way may take after SIGTERM or SIGINT.", valueName: "duration"))
  var shutdownGrace = DurationArgument(.seconds(10))

  func applied(to delivery: DeliveryConfiguration) -> DeliveryConfiguration {
    var delivery = delivery
    delivery.retryPolicy.firstDelay = firstDelay.duration
    delivery.retryPolicy.firstProbeDelay = firstProbeDelay.duration
    delivery.retryPolicy.maximumDelay = maxDelay.duration
    delivery.shutdownGrace = shutdownGrace.duration
    return delivery
  }
}
