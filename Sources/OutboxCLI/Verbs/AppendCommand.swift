internal import ArgumentParser
internal import Foundation
internal import ServiceLifecycle
internal import TinybirdOutbox

/// What is done about lines that are not events.
enum BadLines: String, ExpressibleByArgument, CaseIterable {
  case skip
  case stop
  case refuseAll = "refuse-all"
}

struct AppendCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "append",
    abstract: "Append events from NDJSON files, or from standard input.",
    usage: "outbox append --data-source <name> [<options>] [<file> ...]",
    discussion: """
      Each line is one JSON object; blank lines are passed over. Files may be compressed with gzip, which is seen by their \
      content, not by their names. The outbox is made where there is none.

      Events are stored in order, in batches; each batch is synced to disk before the next. A program's lines are stored as \
      they come, without waiting for more. What the last line of output names is durable.

      A line that is not one JSON object, or is too large, is reported as file:line. By default every other line is stored \
      (skip); 'stop' stores the lines before it and nothing after; 'refuse-all' reads all input first, and stores nothing \
      of it if any line is bad. In each case the exit code is 65.

        outbox append --outbox app.outbox --data-source clicks a.ndjson b.ndjson.gz
        some-program | outbox append --outbox app.outbox --data-source clicks --max-bytes 2GiB
      """)

  @OptionGroup var outbox: OutboxOptions

  @Option(
    help: ArgumentHelp("The data source that the events go to.", valueName: "name"),
    transform: { try DataSourceName($0) })
  var dataSource: DataSourceName

  @Option(help: "What is done about lines that are not events: skip, stop or refuse-all.")
  var badLines = BadLines.skip

  @Option(
    name: .customLong("event-id-field"),
    help: ArgumentHelp(
      "Give each event a stable unique id in this member, unless it has one, so that duplicates can be removed.",
      valueName: "name"))
  var eventIDField: String?

  @Flag(
    help: """
      Where the outbox is damaged or no database, rename it and begin a new one. What was pending in the old one is \
      delivered by nobody.
      """)
  var setAsideUnreadable = false

  @OptionGroup var budget: BudgetOptions

  @OptionGroup var format: FormatOptions

  @Argument(help: ArgumentHelp("Files of NDJSON, plain or gzip; '-' or none is standard input.", valueName: "file"))
  var files: [String] = []

  func run() async throws {
    let names = files.isEmpty ? [InputPath.standardInput] : files
    for name in names { try InputPath.check(name) }
    if names.contains(InputPath.standardInput), Terminal.input.isInteractive {
      Console.note("outbox: reading events from the terminal; end with Ctrl-D")
    }
    var configuration = OutboxConfiguration()
    configuration.eventIDField = eventIDField
    configuration.maximumBytes = budget.maxBytes
    configuration.setsAsideUnreadableFile = setAsideUnreadable
    let reader = try InputReader(names, maximumLineBytes: configuration.maximumEventBytes)
    try await outbox.withOutbox(creates: true, configuration: configuration) { outbox in
      if let aside = outbox.setAsidePath {
        Console.note(
          "outbox: the outbox could not be opened; it is now \(aside), and what was pending in it is delivered by nobody"
        )
        Console.note("  to see what can be saved: outbox doctor --outbox \(aside)")
      }
      let run = AppendRun(outbox: outbox, dataSource: dataSource, badLines: badLines, names: names)
      let result: Result<Int32?, any Error>
      do {
        result = .success(
          try await Interruption.run {
            try await withGracefulShutdownHandler {
              try await run.storeAll(of: reader)
            } onGracefulShutdown: {
              reader.stop()
            }
          })
      } catch {
        result = .failure(error)
      }
      Console.endProgress()
      try await report(run.summary, result)
    }
  }

  private func report(_ summary: AppendSummary, _ result: Result<Int32?, any Error>) throws {
    if format.json {
      try JSONOutput.print(summary.asJSON)
    } else if summary.events > 0 {
      try Console.print(summary.line)
    }
    let signal: Int32?
    do {
      signal = try result.get()
    } catch {
      Console.note("outbox: \(summary.place)")
      throw error
    }
    if let signal {
      Console.note("outbox: interrupted; \(summary.place)")
      throw ExitCode.interrupted(by: signal)
    }
    guard summary.badLines > 0 else {
      if summary.events == 0, !format.json { try Console.print("no events: the input is empty") }
      return
    }
    let what = Humane.count(summary.badLines, "bad line")
    switch badLines {
    case .skip: throw Failure(.badInput, "\(what) not stored, every other is")
    case .stop: throw Failure(.badInput, "stopped at a bad line; \(summary.place)")
    case .refuseAll where summary.events > 0:
      throw Failure(.badInput, "the input has changed while it was read; \(summary.place)")
    case .refuseAll: throw Failure(.badInput, "\(what); nothing was stored")
    }
  }
}
