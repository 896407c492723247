internal import ArgumentParser
internal import TinybirdOutbox

struct IsolateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "isolate",
    abstract: "Find the events that the service fails on, in batches that keep failing.",
    usage: "outbox isolate [<options>] <range> ...",
    discussion: """
      A batch that is answered with a 500 again and again, while others are delivered, waits by itself and is tried for \
      ever. Isolated, it is halved where it fails until the guilty events are alone. These become dead letters, which may \
      be in Tinybird all the same; everything else is delivered. To see what keeps failing: outbox list --state pending.

        outbox isolate --outbox app.outbox clicks/1001..2000
        outbox isolate --outbox app.outbox clicks --json
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
      for range in ranges { count += try await outbox.isolate(range) }
      if format.json {
        try JSONOutput.print(["batches": .integer(count)])
      } else {
        try Console.print(
          count == 0
            ? "no batch with any of these events waits"
            : "\(Humane.count(count, "batch", "batches")) to be isolated, by whoever delivers")
      }
    }
  }
}
