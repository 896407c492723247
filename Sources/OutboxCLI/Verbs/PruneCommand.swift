internal import ArgumentParser
internal import Foundation
internal import TinybirdOutbox

struct PruneCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prune",
    abstract: "Take delivered and discarded events out of the file, and give space back.",
    discussion: """
      Delivering does this on its own, a day after an event was delivered. What is pruned stays in the counts, and can no \
      longer be listed or sent once more. Pending events, dead letters, damaged events, and delivered batches with a \
      warning that nobody has acknowledged are never pruned. Appends and delivery go on meanwhile.

        outbox prune --outbox app.outbox --settled-before 1h
        outbox prune --outbox app.outbox --settled-before 2026-11-21T00:00:00Z --json
      """)

  @OptionGroup var outbox: OutboxOptions

  @Option(
    help: ArgumentHelp(
      "Only events settled before this moment: a time, or how long ago, such as 0s for everything.",
      valueName: "moment"))
  var settledBefore: MomentArgument

  @OptionGroup var format: FormatOptions

  func run() async throws {
    try await outbox.withOutbox { outbox in
      let before = try await outbox.status().fileBytes
      let report = try await outbox.prune(settledBefore: settledBefore.date) { events in
        Console.progress { "\(Humane.count(events, "event")) pruned" }
      }
      Console.endProgress()
      let after = try await outbox.status()
      if format.json {
        try JSONOutput.print([
          "events": .integer(report.events), "bytes": .integer(report.bytes), "file_bytes_before": .integer(before),
          "file_bytes": .integer(after.fileBytes), "free_bytes": .integer(after.space.freeBytes),
        ])
      } else {
        try Console.print(
          "\(Humane.count(report.events, "event")) pruned, \(Humane.bytes(report.bytes)); the file has \(Humane.bytes(after.fileBytes)), of which \(Humane.bytes(after.space.freeBytes)) are free"
        )
      }
    }
  }
}
