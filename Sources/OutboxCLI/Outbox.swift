internal import ArgumentParser

/// `outbox`: events in, through an outage, to Tinybird.
@main
struct OutboxCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "outbox",
    abstract: "A durable buffer in front of Tinybird's Events API: one file, from which events are delivered.",
    discussion: """
      An event that `outbox append` has reported as durable survives a crash of the process, of the machine and a power \
      cut. It reaches Tinybird at least once, or is in the dead-letter table with the reason.

        outbox append --outbox app.outbox --data-source clicks events.ndjson
        outbox deliver --outbox app.outbox --until-empty
        outbox status --outbox app.outbox

      ENVIRONMENT:
        OUTBOX_PATH        the outbox, where --outbox does not name it
        TINYBIRD_BASE_URL  such as https://api.us-east.tinybird.co
        TINYBIRD_TOKEN     a token that may append; it is never an argument
        HTTPS_PROXY        a proxy on the way there, such as http://proxy.example.com:3128; NO_PROXY names hosts without
        NO_COLOR           no colours, also on a terminal

      \(ExitCode.table)
      """,
    version: "0.1.0",
    subcommands: [
      AppendCommand.self, DeliverCommand.self, StatusCommand.self, ListCommand.self, ShowCommand.self,
      DeadLettersCommand.self, ReplayCommand.self, DiscardCommand.self, EraseCommand.self, HoldCommand.self,
      ResumeCommand.self, IsolateCommand.self, AcknowledgeCommand.self, PruneCommand.self, VerifyCommand.self,
      DoctorCommand.self, BackupCommand.self, EmulatorCommand.self,
    ])

  /// Parses, runs, and turns what was thrown into a line on standard error and an exit code.
  static func main() async {
    Console.prepare()
    do {
      var command = try await asyncParseAsRoot()
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch {
      Failure.end(with: error, of: Self.self)
    }
  }
}
