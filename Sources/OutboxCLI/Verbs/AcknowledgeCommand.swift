internal import ArgumentParser
internal import TinybirdOutbox

struct AcknowledgeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "acknowledge",
    abstract: "Note that warnings about delivered batches were looked at.",
    usage: "outbox acknowledge [<options>] <range> ...",
    discussion: """
      A delivered batch has a warning where the service's counts do not match what was sent, or where rows went to \
      quarantine. It is kept until it is acknowledged; then it is pruned when its time comes.

        outbox acknowledge --outbox app.outbox clicks
        outbox acknowledge --outbox app.outbox clicks/1000..2000 --json
      """)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var format: FormatOptions

  @Argument(
    help: ArgumentHelp("Which events; a data source's name is all of its own.", valueName: "range"),
    transform: AddressRange.argument)
  var ranges: [AddressRange]

  func run() async throws {
    try await outbox.withOutbox { outbox in
      try await outbox.requireDataSources(ranges.map(\.dataSource))
      var count = 0
      for range in ranges { count += try await outbox.acknowledgeWarnings(in: range) }
      if format.json {
        try JSONOutput.print(["batches": .integer(count)])
      } else {
        try Console.print("\(Humane.count(count, "batch", "batches")) acknowledged")
      }
    }
  }
}
