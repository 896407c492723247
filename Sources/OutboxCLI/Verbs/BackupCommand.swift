internal import ArgumentParser
internal import TinybirdOutbox

struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup",
    abstract: "Copy the outbox to a new file, while others append and deliver.",
    discussion: """
      The copy shows one moment, and is synced before this ends. What a killed backup left is cleared away by the next one \
      of the same name.

      To restore it, put it in the outbox's place while no program uses that, after -wal and -shm beside it were removed: \
      SQLite would take an old log for the backup's own. What was pending when it was taken may have been delivered since, \
      and is sent again.

        outbox backup --outbox app.outbox /backups/app.outbox
      """)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var format: FormatOptions

  @Argument(help: ArgumentHelp("The new file; nothing may be there.", valueName: "destination"))
  var destination: String

  func run() async throws {
    let report = try await outbox.withOutbox { [destination] outbox in
      try await Interruption.cancelling {
        try await outbox.backup(to: destination) { copied, total in
          Console.progress { "\(Humane.count(copied)) of \(Humane.count(total, "page")) copied" }
        }
      }
    }
    Console.endProgress()
    if format.json {
      try JSONOutput.print(report.asJSON)
    } else {
      try Console.print(
        """
        \(DisplayWidth.harmless(report.path)): \(Humane.bytes(report.bytes)), synced
        if it is ever restored, what was pending when it was taken is sent again: \(Humane.count(report.pendingEvents, "event"))
        """)
    }
  }
}

extension BackupReport {
  /// The JSON of `outbox backup --json`.
  var asJSON: JSONValue {
    [
      "path": .string(path),
      "bytes": .integer(bytes),
      "taken_at": .time(takenAt),
      "pending_events": .integer(pendingEvents),
    ]
  }
}
