internal import ArgumentParser
internal import TinybirdOutbox

struct HoldCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hold",
    abstract: "Stop sending to data sources; appends go on.",
    usage: "outbox hold [<options>] [<data-source> ...]",
    discussion: """
      What is under way may still be answered. The hold stays until 'outbox resume', whoever delivers.

        outbox hold --outbox app.outbox clicks
      """)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var format: FormatOptions
  @OptionGroup var names: DataSourceNames

  func run() async throws {
    try await outbox.withOutbox { outbox in
      let names = try await names.resolve(in: outbox)
      for name in names { try await outbox.hold(name) }
      if format.json {
        try JSONOutput.print(["data_sources": .array(names.map { .describing($0) })])
      } else {
        try Console.print(
          "held: \(names.map(\.description).joined(separator: ", ")); to go on: "
            + self.outbox.command("resume", self.names.asTyped))
      }
    }
  }
}

/// Which data sources of an outbox.
struct DataSourceNames: ParsableArguments {
  @Flag(help: "Every data source of the outbox.")
  var all = false

  @Argument(
    help: ArgumentHelp("Which data sources.", valueName: "data-source"), transform: { try DataSourceName($0) })
  var names: [DataSourceName] = []

  func validate() throws {
    guard all != !names.isEmpty else { throw ValidationError("name data sources, or say --all") }
  }

  var asTyped: String { all ? "--all" : names.map(\.description).joined(separator: " ") }

  /// The names, checked: a command for several either finds all of them or does nothing.
  func resolve(in outbox: Outbox) async throws -> [DataSourceName] {
    if all { return try await outbox.status().dataSources.map(\.dataSource) }
    try await outbox.requireDataSources(names)
    return names
  }
}
