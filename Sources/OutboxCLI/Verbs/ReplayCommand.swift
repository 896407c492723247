internal import ArgumentParser
internal import TinybirdOutbox

struct ReplayCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "Send dead letters again, or delivered events once more.",
    usage: "outbox replay [<options>] [<range> ...]",
    discussion: """
      Dead letters are named by ranges, by options, or all of them by --dead-letters. They are sent by whoever delivers: \
      delivered ones leave the dead-letter table, refused ones return. Those that may be in Tinybird already are counted \
      and left alone, unless --may-duplicate says otherwise.

      With --delivered, the ranges are delivered events, to be sent once more, for example after rows were lost in \
      Tinybird. That always can duplicate.

        outbox replay --outbox app.outbox --dead-letters --status 400
        outbox replay --outbox app.outbox clicks/17 clicks/20..30
        outbox replay --outbox app.outbox --delivered --may-duplicate clicks/1..99
      """)

  @OptionGroup var outbox: OutboxOptions

  @Flag(help: "All dead letters that the other options leave.")
  var deadLetters = false

  @OptionGroup var filter: DeadLetterOptions

  @Flag(help: "Send delivered events once more: those of the ranges.")
  var delivered = false

  @Flag(help: "Also send what may be, or is, in Tinybird already.")
  var mayDuplicate = false

  @Flag(help: "Only count what would be sent.")
  var dryRun = false

  @OptionGroup var format: FormatOptions

  @Argument(help: ArgumentHelp("Which events.", valueName: "range"), transform: AddressRange.argument)
  var ranges: [AddressRange] = []

  func validate() throws {
    if delivered {
      guard !ranges.isEmpty, filter.isEmpty, !deadLetters else {
        throw ValidationError("--delivered takes ranges, such as clicks/1000..2000, and no options for dead letters")
      }
      guard mayDuplicate || dryRun else {
        throw ValidationError("--delivered sends rows that are in Tinybird already; say --may-duplicate too")
      }
    } else if ranges.isEmpty, filter.isEmpty, !deadLetters {
      throw ValidationError("say what to replay: ranges, options such as --status 400, or --dead-letters for all")
    }
  }

  func run() async throws {
    let filters = delivered ? [] : try filter.filters(ranges)
    try await outbox.withOutbox { outbox in
      try await outbox.requireDataSources(filter.names(ranges))
      var report = ReplayReport()
      for range in delivered ? ranges.joined() : [] {
        report += dryRun ? try await outbox.resendable(range) : try await outbox.resend(range)
      }
      for filter in filters {
        report +=
          dryRun
          ? try await outbox.replayable(filter, mayDuplicate: mayDuplicate)
          : try await outbox.replay(matching: filter, mayDuplicate: mayDuplicate)
      }
      try show(report, isDelivered: try await outbox.status().delivererProcessID != nil)
    }
  }

  private func show(_ report: ReplayReport, isDelivered: Bool) throws {
    if format.json {
      try JSONOutput.print([
        "dry_run": .bool(dryRun),
        "events": .integer(report.events),
        "batches": .integer(dryRun ? nil : report.batches),
        "left_because_maybe_inserted": .integer(report.leftBecauseMaybeInserted),
      ])
      return
    }
    let events = Humane.count(report.events, "event")
    var lines =
      dryRun
      ? ["\(events) would be sent"]
      : ["\(events) queued in \(Humane.count(report.batches, "batch", "batches"))"]
    if report.leftBecauseMaybeInserted > 0 {
      lines.append(
        "\(Humane.count(report.leftBecauseMaybeInserted)) left alone, because they may be in Tinybird already: "
          + "look there, then say --may-duplicate")
    }
    if report.events > 0, !dryRun, !isDelivered {
      lines.append("nobody delivers: \(outbox.command("deliver", "--until-empty"))")
    }
    try Console.print(lines.joined(separator: "\n"))
  }
}

extension ReplayReport {
  static func += (left: inout Self, right: Self) {
    left.events += right.events
    left.batches += right.batches
    left.leftBecauseMaybeInserted += right.leftBecauseMaybeInserted
  }
}

extension Outbox {
  /// What `replay` would do.
  fileprivate func replayable(_ filter: DeadLetterFilter, mayDuplicate: Bool) async throws -> ReplayReport {
    var filter = filter
    filter.isReplaying = false
    let found = try await countDeadLetters(matching: filter)
    var report = ReplayReport()
    report.leftBecauseMaybeInserted = mayDuplicate ? 0 : found.maybeInserted
    report.events = found.count - report.leftBecauseMaybeInserted
    return report
  }

  /// What `resend` would do.
  fileprivate func resendable(_ range: AddressRange) async throws -> ReplayReport {
    var report = ReplayReport()
    var rest: AddressRange? = range
    while let current = rest {
      let page = try await events(in: current, states: [.delivered], limit: 10_000)
      report.events += page.count
      rest = page.last.flatMap { current.behind($0.address) }
    }
    return report
  }
}
