internal import ArgumentParser
internal import TinybirdOutbox

struct ResumeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume",
    abstract: "Go on sending to data sources that are held, or that wait.",
    usage: "outbox resume [<options>] [<data-source> ...]",
    discussion: """
      It ends a hold, whoever made it, and cuts waits short: a data source that backs off, or is in outage, is tried at once.

      When the service refused a request for a fault of the path, such as a bad token, the batch is in the dead-letter \
      table and the data source is held. Once the fault is mended, --replay-cause sends that batch again.

        outbox resume --outbox app.outbox clicks
        outbox resume --outbox app.outbox --replay-cause clicks
      """)

  @OptionGroup var outbox: OutboxOptions

  @Flag(help: "Also replay the batch whose refusal made the hold.")
  var replayCause = false

  @OptionGroup var format: FormatOptions
  @OptionGroup var names: DataSourceNames

  func run() async throws {
    try await outbox.withOutbox { outbox in
      let names = try await names.resolve(in: outbox)
      var report = ReplayReport()
      for name in names { report += try await outbox.resume(name, replayingCause: replayCause) }
      if format.json {
        try JSONOutput.print([
          "data_sources": .array(names.map { .describing($0) }), "replayed_events": .integer(report.events),
          "left_because_maybe_inserted": .integer(report.leftBecauseMaybeInserted),
        ])
        return
      }
      var line = "resumed: \(names.map(\.description).joined(separator: ", "))"
      if replayCause { line += "; \(Humane.count(report.events, "event")) queued to be sent again" }
      try Console.print(line)
    }
  }
}
