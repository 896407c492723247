internal import ArgumentParser
internal import TinybirdOutbox

struct ListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "List events by address.",
    usage: "outbox list [<options>] [<range> ...]",
    discussion: """
      A range is a data source (clicks), one event (clicks/1042), or a run of events (clicks/1000..2000). Without one, \
      events of every data source are listed.

        outbox list --outbox app.outbox clicks/1000..2000
        outbox list --outbox app.outbox --state pending --limit 0 --json
      """)

  @OptionGroup var outbox: OutboxOptions

  @Option(help: ArgumentHelp("Only events in this state; may be given more than once.", valueName: "state"))
  var state: [RangeState] = []

  @Flag(help: "Only delivered events that may be in Tinybird more than once.")
  var possibleDuplicates = false

  @Option(help: ArgumentHelp("At most so many events; 0 for all.", valueName: "count"))
  var limit = 100

  @OptionGroup var format: FormatOptions

  @Argument(help: ArgumentHelp("Which events.", valueName: "range"), transform: AddressRange.argument)
  var ranges: [AddressRange] = []

  /// Events that are read, and printed, at a time.
  private static let pageCount = 500

  func validate() throws {
    guard limit >= 0 else { throw ValidationError("--limit is 0 or more") }
  }

  func run() async throws {
    try await outbox.withOutbox { outbox in
      try await outbox.requireDataSources(ranges.map(\.dataSource))
      let ranges = try await rangesToList(in: outbox)
      let states = state.isEmpty ? Set(RangeState.allCases) : Set(state)
      var printer = EventPrinter(isJSON: format.json)
      var room = limit == 0 ? Int.max - 1 : limit
      for range in ranges {
        var rest: AddressRange? = range
        while let current = rest {
          // One more than is printed tells whether there are more.
          let page = try await outbox.events(
            in: current, states: states, limit: min(Self.pageCount, room + 1))
          guard try printer.print(page.prefix(room)) else { return }
          if page.count > room { return Console.note("outbox: there are more; see --limit") }
          room -= page.count
          rest = page.last.flatMap { current.behind($0.address) }
        }
      }
    }
  }
}

extension ListCommand {
  private func rangesToList(in outbox: Outbox) async throws -> [AddressRange] {
    let wanted =
      ranges.isEmpty
      ? try await outbox.status().dataSources.map { try AddressRange($0.dataSource.rawValue) } : ranges.joined()
    guard possibleDuplicates else { return wanted }
    var found: [AddressRange] = []
    var page = try await outbox.possibleDuplicates()
    while let last = page.last {
      found += page
      page = try await outbox.possibleDuplicates(after: last)
    }
    return wanted.flatMap { wanted in found.compactMap { wanted.intersection($0) } }
  }
}

extension AddressRange {
  /// The addresses that are in both ranges.
  fileprivate func intersection(_ other: AddressRange) -> AddressRange? {
    guard dataSource == other.dataSource, sequences.overlaps(other.sequences) else { return nil }
    return AddressRange(dataSource: dataSource, sequences: sequences.clamped(to: other.sequences))
  }

  /// What is left of the range behind `address`.
  func behind(_ address: Address) -> AddressRange? {
    guard address.sequence < sequences.upperBound else { return nil }
    return AddressRange(dataSource: dataSource, sequences: (address.sequence + 1)...sequences.upperBound)
  }
}

/// Prints pages of events: a table under one head, or NDJSON.
private struct EventPrinter {
  let isJSON: Bool
  private var hasPrinted = false

  init(isJSON: Bool) {
    self.isJSON = isJSON
  }

  /// Returns false once nobody reads any more.
  mutating func print(_ events: some Sequence<EventRecord>) throws -> Bool {
    let lines = isJSON ? events.map { JSONOutput.line($0.asJSON) } : table(events)
    guard !lines.isEmpty else { return true }
    hasPrinted = true
    return try Console.print(lines.joined(separator: "\n"))
  }

  private func table(_ events: some Sequence<EventRecord>) -> [String] {
    var table = TerminalTable([.left("ADDRESS"), .left("STATE"), .left("COMMITTED"), .left("EVENT")])
    for event in events {
      table.add(
        .init(event.address.description), .init(event.state.rawValue, event.state.colour),
        .init(event.committedAt.map { Humane.time($0) } ?? "-"),
        .init(event.json ?? (event.isErased ? "erased" : "cannot be read"), .dim))
    }
    guard !table.rows.isEmpty else { return [] }
    let lines = table.lines(width: Terminal.output.width, paint: Terminal.output.paint)
    return hasPrinted ? Array(lines.dropFirst()) : lines
  }
}

extension RangeState {
  var colour: Paint.Colour? {
    switch self {
    case .pending, .discarded: nil
    case .delivered: .green
    case .dead, .damaged: .red
    }
  }
}

extension EventRecord {
  /// The JSON of `outbox list --json` and `outbox show --json`.
  var asJSON: JSONValue {
    [
      "address": .describing(address),
      "data_source": .describing(address.dataSource),
      "sequence": .integer(address.sequence),
      "state": .string(state.rawValue),
      "inserted": .string(inserted.rawValue),
      "attempts": .integer(attempts),
      "may_be_duplicated": .bool(mayBeDuplicated),
      "committed_at": .time(committedAt),
      "settled_at": .time(settledAt),
      "next_attempt_at": .time(nextAttemptAt),
      "erased": .bool(isErased),
      "event": .raw(json),
    ]
  }
}
