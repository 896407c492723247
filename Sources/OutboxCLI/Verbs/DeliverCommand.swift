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
      dead-letter table, 69 if a data source is held, so that its events stay pending, 74 if \
      some are damaged in the file, so that they were not sent.

      With --now data sources that back off, or are in outage, are tried at once, whichever process delivers. It then ends, \
      unless --until-empty is given too. A hold stays.

        outbox deliver --outbox app.outbox
        outbox deliver --outbox app.outbox --until-empty --json
        outbox deliver --outbox app.outbox --now
        outbox deliver --outbox app.outbox --max-bytes 2GiB --keep-delivered 1h --keep-bytes 500MB
      """)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var service: ServiceOptions

  @Flag(help: "End when nothing is pending in any data source that is not held.")
  var untilEmpty = false

  @Flag(help: "Cut the waits of all data sources short, whoever delivers; without --until-empty that is all.")
  var now = false

  @OptionGroup(title: "Requests") var requests: RequestOptions
  @OptionGroup(title: "Waits") var waits: WaitOptions
  @OptionGroup(title: "Space") var space: SpaceOptions

  @Option(
    help: ArgumentHelp(
      "Log lines of at least this level, to standard error. Default: warning with --until-empty, else info.",
      valueName: "level"))
  var logLevel: Logger.Level?

  @OptionGroup var format: FormatOptions

  func run() async throws {
    if now, !untilEmpty { return try await cutWaitsShort() }
    if let file = requests.caFile { try InputPath.check(file) }
    var configuration = space.applied(to: OutboxConfiguration())
    let delivery = try waits.applied(to: requests.applied(to: service.delivery()))
    configuration.delivery = delivery
    let path = try outbox.path
    let logger = ConsoleLogHandler.logger(level: logLevel ?? (untilEmpty ? .warning : .info))
    try await outbox.withOutbox(configuration: configuration, logger: logger) { outbox in
      let watch = try await DeliveryWatch(outbox)
      if now { _ = try await outbox.cutAllWaitsShort() }
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
      if summary.newDamagedEvents > 0 { throw ExitCode.inputOutput }
      if summary.isHeld { throw ExitCode.unavailable }
      if summary.newDeadLetters > 0 { throw ExitCode.deadLettersAppeared }
    }
  }
}

extension DeliverCommand {
  /// Needs neither base URL nor token: it tells the process that has them.
  private func cutWaitsShort() async throws {
    try await outbox.withOutbox { outbox in
      let names = try await outbox.cutAllWaitsShort()
      if format.json {
        try JSONOutput.print(["data_sources": .array(names.map { .describing($0) })])
      } else {
        let list = names.isEmpty ? "none" : names.map(\.description).joined(separator: ", ")
        try Console.print("waits cut short: \(list)")
      }
    }
  }
}

extension Outbox {
  /// Returns the data sources, which is all of them.
  fileprivate func cutAllWaitsShort() async throws -> [DataSourceName] {
    let names = try await status().dataSources.map(\.dataSource)
    for name in names { try await deliverNow(name) }
    return names
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
    help: ArgumentHelp("NDJSON bytes of a request before compression, at most 10MB. Default: 8MB.", valueName: "size"),
    transform: SizeArgument.parse)
  var batchBytes: Int64?

  @Option(
    help: ArgumentHelp("Requests a second that the service takes for each data source.", valueName: "number"))
  var requestsPerSecond = RateLimits().requestsPerSecond

  @Option(
    help: ArgumentHelp(
      "NDJSON bytes a second that the service takes for each data source. Default: 20MB.", valueName: "size"),
    transform: SizeArgument.parse)
  var bytesPerSecond: Int64?

  @Flag(help: "Send requests without gzip.")
  var noCompression = false

  @Option(
    help: ArgumentHelp("A PEM file with certificates to trust besides the system's.", valueName: "file"))
  var caFile: String?

  func applied(to delivery: DeliveryConfiguration) -> DeliveryConfiguration {
    var delivery = delivery
    delivery.order = order
    delivery.maximumInFlight = maxInFlight
    if let batchBytes { delivery.maximumBatchBytes = Int(batchBytes) }
    delivery.rateLimits.requestsPerSecond = requestsPerSecond
    if let bytesPerSecond { delivery.rateLimits.bytesPerSecond = Double(bytesPerSecond) }
    delivery.compresses = !noCompression
    delivery.http.trustedCertificatesPath = caFile
    return delivery
  }
}

/// What stays in the file.
struct SpaceOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("How long delivered events stay, to be looked at or sent once more.", valueName: "duration"))
  var keepDelivered = DurationArgument(.seconds(86_400))

  @Option(
    help: ArgumentHelp(
      "The most bytes of delivered events that stay, such as 500MB; the oldest go first. Default: 1GiB.",
      valueName: "size"),
    transform: SizeArgument.parse)
  var keepBytes: Int64?

  @OptionGroup var budget: BudgetOptions

  func applied(to configuration: OutboxConfiguration) -> OutboxConfiguration {
    var configuration = configuration
    configuration.keepsDeliveredFor = keepDelivered.duration
    if let keepBytes { configuration.keepsDeliveredBytes = keepBytes }
    configuration.maximumBytes = budget.maxBytes
    return configuration
  }
}

/// The most that the outbox may hold.
struct BudgetOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The most bytes that the outbox may hold on disk, such as 500MB or 2GiB, at least 16MiB. At the limit appends are refused, and delivered events are pruned before their time. Default: none.",
      valueName: "size"),
    transform: SizeArgument.parse)
  var maxBytes: Int64?
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
    help: ArgumentHelp(
      "After so many failed attempts the events of a batch become dead letters; without it, never.", valueName: "number"
    ))
  var maxAttempts: Int?

  @Option(
    help: ArgumentHelp(
      "Batches whose oldest event has waited for so long become dead letters instead of being sent; without it, never.",
      valueName: "duration"))
  var maxAge: DurationArgument?

  @Option(
    help: ArgumentHelp("How long requests under way may take after SIGTERM or SIGINT.", valueName: "duration"))
  var shutdownGrace = DurationArgument(.seconds(10))

  func applied(to delivery: DeliveryConfiguration) -> DeliveryConfiguration {
    var delivery = delivery
    delivery.retryPolicy.firstDelay = firstDelay.duration
    delivery.retryPolicy.firstProbeDelay = firstProbeDelay.duration
    delivery.retryPolicy.maximumDelay = maxDelay.duration
    delivery.maximumAttempts = maxAttempts
    delivery.maximumAge = maxAge?.duration
    delivery.shutdownGrace = shutdownGrace.duration
    return delivery
  }
}
