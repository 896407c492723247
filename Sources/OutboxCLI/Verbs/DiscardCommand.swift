internal import ArgumentParser
internal import TinybirdOutbox

struct DiscardCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "discard",
    abstract: "Give dead letters up, for good.",
    usage: "outbox discard [<options>] [<range> ...]",
    discussion: """
      They leave the dead-letter table and are counted as discarded. On a terminal it asks first; elsewhere it needs --yes.

        outbox discard --outbox app.outbox clicks/17
        outbox discard --outbox app.outbox --status 400 --dry-run
      """)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var filter: DeadLetterOptions

  @Flag(help: "Every dead letter of the outbox.")
  var all = false

  @Flag(name: .shortAndLong, help: "Do not ask.")
  var yes = false

  @Flag(help: "Only count what would be discarded.")
  var dryRun = false

  @OptionGroup var format: FormatOptions

  @Argument(help: ArgumentHelp("Which events.", valueName: "range"), transform: AddressRange.argument)
  var ranges: [AddressRange] = []

  func validate() throws {
    if all {
      guard ranges.isEmpty, filter.isEmpty else {
        throw ValidationError("--all takes neither ranges nor other options")
      }
    } else if ranges.isEmpty, filter.isEmpty {
      throw ValidationError("say what to discard: ranges, options such as --status 400, or --all")
    }
    guard yes || dryRun || Terminal.input.isInteractive else {
      throw ValidationError("without a terminal to ask on, discarding needs --yes; --dry-run only counts")
    }
  }

  func run() async throws {
    let filters = try filter.filters(ranges).map { filter in
      var filter = filter
      filter.isReplaying = false
      return filter
    }
    try await outbox.withOutbox { outbox in
      try await outbox.requireDataSources(filter.names(ranges))
      var count = 0
      if dryRun || !yes {
        for filter in filters { count += try await outbox.countDeadLetters(matching: filter).count }
      }
      if !dryRun {
        guard yes || count == 0 || confirms(count) else { throw Failure(.failure, "nothing was discarded") }
        count = 0
        for filter in filters { count += try await outbox.discard(matching: filter) }
      }
      if format.json {
        try JSONOutput.print(["dry_run": .bool(dryRun), "events": .integer(count)])
      } else {
        try Console.print("\(Humane.count(count, "event")) \(dryRun ? "would be discarded" : "discarded")")
      }
    }
  }

  private func confirms(_ count: Int) -> Bool {
    Console.note("outbox: \(Humane.count(count, "event")) will be gone for good. Discard? Type yes:")
    return readLine()?.lowercased() == "yes"
  }
}
