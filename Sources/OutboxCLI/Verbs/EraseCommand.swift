internal import ArgumentParser
internal import TinybirdOutbox

struct EraseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "erase",
    abstract: "Erase events for good, as when a person asks to be forgotten.",
    usage: "outbox erase [--where <member=value> ...] [<options>] [<range> ...]",
    discussion: """
      Whether they wait, are delivered or dead, and also what is left in the file of events that were deleted before. Their \
      addresses stay; events that waited, or were dead, count as discarded. With --where, only events whose member says \
      that: user_id=4711, or user.email=… for a member of a member. Answers of the service may quote an event: what is kept \
      of them is erased for every data source that was searched. May run while an app appends and delivers; at the end \
      the file is written anew, which holds up appends for as long as it takes to copy it.

      It does not reach Tinybird, backups, exports, or files that were set aside. On a terminal it asks first; elsewhere it \
      needs --yes.

        outbox erase --outbox app.outbox --where user_id=4711 --dry-run
        outbox erase --outbox app.outbox clicks/1042 --yes
      """)

  @OptionGroup var outbox: OutboxOptions

  @Option(
    name: .customLong("where"),
    help: ArgumentHelp(
      "Only events with this member: a string with this text, a number or truth value written so. More than one: all.",
      valueName: "member=value"),
    transform: { try MemberMatch($0) })
  var members: [MemberMatch] = []

  @Flag(name: .shortAndLong, help: "Do not ask.")
  var yes = false

  @Flag(help: "Only list what would be erased.")
  var dryRun = false

  @OptionGroup var format: FormatOptions

  @Argument(help: ArgumentHelp("Which events.", valueName: "range"), transform: AddressRange.argument)
  var ranges: [AddressRange] = []

  func validate() throws {
    guard !ranges.isEmpty || !members.isEmpty else {
      throw ValidationError("say what to erase: ranges, or --where member=value")
    }
    guard yes || dryRun || Terminal.input.isInteractive else {
      throw ValidationError("without a terminal to ask on, erasing needs --yes; --dry-run only lists")
    }
  }

  func run() async throws {
    let selection = EventSelection(ranges: ranges, members: members)
    try await outbox.withOutbox { outbox in
      try await outbox.requireDataSources(ranges.map(\.dataSource))
      var report = EraseReport()
      if dryRun || !yes { report = try await find(selection, in: outbox, isDryRun: true) }
      if !dryRun {
        // Also where nothing is found: what was deleted before may still be in the file.
        guard yes || confirms(report.events) else { throw Failure(.failure, "nothing was erased") }
        report = try await find(selection, in: outbox, isDryRun: false)
      }
      if format.json {
        try JSONOutput.print(report.asJSON(isDryRun: dryRun))
      } else {
        try Console.print(report.lines(isDryRun: dryRun).joined(separator: "\n"))
      }
      guard dryRun || report.isComplete else { throw ExitCode.problemsFound }
    }
  }

  private func find(
    _ selection: EventSelection, in outbox: TinybirdOutbox.Outbox, isDryRun: Bool
  ) async throws -> EraseReport {
    defer { Console.endProgress() }
    return try await outbox.erase(selection, isDryRun: isDryRun) { searched, total in
      Console.progress {
        searched < total || isDryRun
          ? "\(Humane.count(searched)) of \(Humane.count(total, "event")) searched"
          : "writing the file anew"
      }
    }
  }

  private func confirms(_ count: Int) -> Bool {
    Console.note("outbox: \(Humane.count(count, "event")) will be erased for good. Erase? Type yes:")
    return readLine()?.lowercased() == "yes"
  }
}

extension EraseReport {
  fileprivate func lines(isDryRun: Bool) -> [String] {
    var lines = ranges.map(\.description)
    lines.append("\(Humane.count(events, "event")) \(isDryRun ? "would be erased" : "erased")")
    if eventsInTinybird > 0 {
      lines.append("\(Humane.count(eventsInTinybird)) of them are, or may be, in Tinybird: delete them there too")
    }
    lines += unreadable.map { "not searched, because the chunk is damaged: \($0)" }
    if !isDryRun {
      lines += remainders.map(\.words)
      lines.append(
        "not reached: Tinybird, backups, exports, files set aside, and what the disk keeps of blocks it has overwritten"
      )
    }
    return lines
  }

  /// The JSON of `outbox erase --json`.
  fileprivate func asJSON(isDryRun: Bool) -> JSONValue {
    [
      "dry_run": .bool(isDryRun),
      "events": .integer(events),
      "addresses": .array(ranges.map { .describing($0) }),
      "events_in_tinybird": .integer(eventsInTinybird),
      "complete": .bool(!isDryRun && isComplete),
      "unreadable": .array(unreadable.map { .describing($0) }),
      "remainders": .array(remainders.map { .string($0.rawValue) }),
    ]
  }
}

extension EraseReport.Remainder {
  fileprivate var words: String {
    switch self {
    case .log:
      "the log may still hold what was erased: another program reads an old state; end it and give the command again"
    case .freePages:
      "free pages of the file still hold what was erased, also when the log is gone: give the command again"
    case .sharedDatabase:
      "the file is another application's too, and its free pages were left: let that application run VACUUM"
    }
  }
}
