internal import ArgumentParser
internal import Foundation
internal import TinybirdOutbox

/// The options are declared here too, so that `outbox dead-letters --help` shows them; the verbs below do the work.
struct DeadLettersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dead-letters",
    abstract: "Show events that the service refused, with reason and answer, or repair one.",
    usage: """
      outbox dead-letters [<options>] [<range> ...]
      outbox dead-letters repair <address> < fixed.json
      """,
    discussion: """
      A dead letter stays until it is replayed or discarded. A range is a data source (clicks), one event (clicks/1042) or \
      a run of events (clicks/1000..2000); options narrow it down.

        outbox dead-letters --outbox app.outbox --status 400 --since 2h
        outbox dead-letters --outbox app.outbox --json clicks
        outbox dead-letters repair --outbox app.outbox clicks/17 < fixed.json
        outbox replay --outbox app.outbox clicks/17
      """,
    subcommands: [ListDeadLettersCommand.self, RepairCommand.self],
    defaultSubcommand: ListDeadLettersCommand.self)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var filter: DeadLetterOptions
  @OptionGroup var page: PageOptions
  @OptionGroup var format: FormatOptions
}

/// How many are shown.
struct PageOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Show at most so many; 0 for all. Default: 20, or all with --json.", valueName: "count"))
  var limit: Int?

  func validate() throws {
    if let limit, limit < 0 { throw ValidationError("--limit is 0 or more") }
  }
}

struct ListDeadLettersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Show dead letters.", shouldDisplay: false)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var filter: DeadLetterOptions
  @OptionGroup var page: PageOptions
  @OptionGroup var format: FormatOptions

  @Argument(help: ArgumentHelp("Which events.", valueName: "range"), transform: AddressRange.argument)
  var ranges: [AddressRange] = []

  /// Dead letters that are read, and printed, at a time.
  private static let pageCount = 500

  func run() async throws {
    let filters = try filter.filters(ranges)
    let limit = page.limit ?? (format.json ? 0 : 20)
    try await outbox.withOutbox { outbox in
      try await outbox.requireDataSources(filter.names(ranges))
      var room = limit == 0 ? Int.max : limit
      for filter in filters {
        var after: Address?
        while room > 0 {
          let letters = try await outbox.deadLetters(
            matching: filter, after: after, limit: min(Self.pageCount, room))
          guard !letters.isEmpty, try show(letters) else { break }
          room -= letters.count
          after = letters.last?.address
        }
      }
      guard !format.json else { return }
      var total = 0
      for filter in filters { total += try await outbox.countDeadLetters(matching: filter).count }
      let shown = (limit == 0 ? Int.max : limit) - room
      try Console.print(summary(total: total, shown: shown))
    }
  }

  /// Returns false once nobody reads any more.
  private func show(_ letters: [DeadLetter]) throws -> Bool {
    if format.json { return try Console.print(letters.map { JSONOutput.line($0.asJSON) }.joined(separator: "\n")) }
    let terminal = Terminal.output
    let now = Date()
    let lines = letters.flatMap { letter in
      let answer = letter.answer.map { "  answer  \(DisplayWidth.harmless($0))" }
      let event = "  event   \(DisplayWidth.harmless(letter.json))"
      return [letter.headline(now: now, paint: terminal.paint)]
        + ([answer, event].compactMap { $0 }).map { DisplayWidth.cut($0, to: terminal.width) }
    }
    return try Console.print(lines.joined(separator: "\n"))
  }

  private func summary(total: Int, shown: Int) -> String {
    guard total > 0 else { return "no dead letters" }
    let more = total > shown ? ", \(Humane.count(shown)) shown: see --limit" : ""
    return """

      \(Humane.count(total, "dead letter"))\(more)
      to look at one:  \(outbox.command("show", "ADDRESS"))
      to repair one:   \(outbox.command("dead-letters repair", "ADDRESS < fixed.json"))
      to send again:   \(outbox.command("replay", "--dead-letters"))
      to give up:      \(outbox.command("discard", "ADDRESS"))
      """
  }
}

struct RepairCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "repair",
    abstract: "Give a dead letter another JSON; replay it afterwards.",
    usage: "outbox dead-letters repair [<options>] <address> < fixed.json",
    discussion: """
      The new event is read from standard input, and checked as an append checks it; the old one is gone.

        outbox dead-letters repair --outbox app.outbox clicks/17 < fixed.json
        outbox replay --outbox app.outbox clicks/17
      """)

  @OptionGroup var outbox: OutboxOptions
  /// Only to refuse what would do nothing here: the command above has taken it.
  @OptionGroup(visibility: .hidden) var filter: DeadLetterOptions
  @OptionGroup(visibility: .hidden) var page: PageOptions
  @OptionGroup var format: FormatOptions

  @Argument(
    help: ArgumentHelp("The dead letter, such as clicks/17.", valueName: "address"), transform: AddressRange.argument)
  var address: AddressRange

  func validate() throws {
    guard address.count == 1 else { throw ValidationError("repair takes one event, such as \(address.first)") }
    guard filter.isEmpty, page.limit == nil else { throw ValidationError("repair takes an address, and no filter") }
  }

  func run() async throws {
    let limit = OutboxConfiguration().maximumEventBytes
    if Terminal.input.isInteractive { Console.note("outbox: reading the event from the terminal; end with Ctrl-D") }
    // One byte more tells what is too large.
    let input = try FileHandle.standardInput.read(upToCount: limit + 1) ?? Data()
    // The newline of a file is no part of its event.
    let isSpace = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
    guard let first = input.firstIndex(where: { !isSpace($0) }), let last = input.lastIndex(where: { !isSpace($0) })
    else { throw Failure(.badInput, "standard input is empty; give the repaired event there") }
    try await outbox.withOutbox { try await $0.repair(address.first, with: input[first...last]) }
    if format.json {
      try JSONOutput.print(["address": .describing(address.first), "repaired": .bool(true)])
    } else {
      try Console.print("\(address) is repaired; to send it: \(outbox.command("replay", "\(address)"))")
    }
  }
}
