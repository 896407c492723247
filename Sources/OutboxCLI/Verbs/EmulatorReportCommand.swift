internal import ArgumentParser
internal import EventsAPIEmulator
internal import Foundation
internal import TinybirdOutbox

struct EmulatorReportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Count what an emulator's database holds, and compare it with what was sent.",
    usage: "outbox emulator report --database <file> [<options>]",
    discussion: """
      It may be asked while the emulator runs. With --compare, every line of the files must have arrived: exit code 1 if \
      lines are missing. A line that stands in the files twice must have arrived twice.

        outbox emulator report --database emulator.sqlite
        outbox emulator report --database emulator.sqlite --compare a.ndjson --json
      """)

  /// Only to refuse what would do nothing here: the command above has taken it.
  @OptionGroup(visibility: .hidden) var listening: ListeningOptions
  @OptionGroup var storage: EmulatorStorageOptions

  @Option(help: ArgumentHelp("Only this data source.", valueName: "name"))
  var dataSource: String?

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("Files of NDJSON, plain or gzip, that were sent.", valueName: "file"))
  var compare: [String] = []

  @Option(
    name: .customLong("event-id-field"),
    help: ArgumentHelp(
      "The member that 'outbox append --event-id-field' added: it is left out where lines are compared.",
      valueName: "name"))
  var eventIDField: String?

  @OptionGroup var format: FormatOptions

  func validate() throws {
    guard listening.isEmpty else { throw ValidationError("report takes no options of a running emulator") }
    guard storage.database != nil else { throw ValidationError("name the emulator's database with --database") }
  }

  func run() async throws {
    for name in compare + [storage.database ?? ""] { try InputPath.check(name) }
    var configuration = EventsAPIEmulator.Configuration()
    configuration.storage = storage.storage
    var report = try await EmulatorReport(try EventsAPIEmulator(configuration), only: dataSource)
    if !compare.isEmpty { report.comparison = try await report.compare(with: compare, eventIDField: eventIDField) }
    if format.json {
      try JSONOutput.print(report.asJSON)
    } else {
      let lines = report.lines(width: Terminal.output.width, paint: Terminal.output.paint)
      try Console.print(lines.joined(separator: "\n"))
    }
    if let comparison = report.comparison, comparison.missing > 0 { throw ExitCode.problemsFound }
  }
}

/// What an emulator has received.
struct EmulatorReport {
  struct Source {
    var name: String
    var requestsByStatus: [Int?: Int] = [:]
    var quarantinedRows = 0
    /// How often each row came.
    var deliveries: [String: Int] = [:]

    var requests: Int { requestsByStatus.values.reduce(0, +) }
    var rows: Int { deliveries.values.reduce(0, +) }
    var duplicates: Int { rows - deliveries.count }
  }

  /// What became of the lines that were sent.
  struct Comparison: Equatable {
    var lines = 0
    /// Lines that did not arrive.
    var missing = 0
    /// Arrivals of lines beyond their number.
    var duplicates = 0
    /// Rows that are no line.
    var unexpected = 0
  }

  var sources: [Source] = []
  var comparison: Comparison?

  init(_ emulator: EventsAPIEmulator, only dataSource: String?) async throws {
    var sources: [String: Source] = [:]
    for request in try await emulator.requests() {
      let name = request.dataSource ?? ""
      guard dataSource == nil || name == dataSource else { continue }
      sources[name, default: Source(name: name)].requestsByStatus[request.status, default: 0] += 1
      sources[name, default: Source(name: name)].quarantinedRows += request.quarantinedRowCount
    }
    for name in sources.keys { sources[name]?.deliveries = try await emulator.deliveries(of: name) }
    self.sources = sources.values.sorted { $0.name < $1.name }
  }

  /// Counts the lines of files against the rows of all data sources.
  func compare(with files: [String], eventIDField: String?) async throws -> Comparison {
    var arrived: [String: Int] = [:]
    for source in sources {
      for (row, count) in source.deliveries { arrived[Self.row(row, without: eventIDField), default: 0] += count }
    }
    var sent: [String: Int] = [:]
    let reader = try InputReader(files, maximumLineBytes: OutboxConfiguration().maximumEventBytes)
    try await reader.forEachBatch { batch in
      for line in batch.lines { sent[String(decoding: batch.bytes(of: line), as: UTF8.self), default: 0] += 1 }
    }
    var comparison = Comparison(lines: sent.values.reduce(0, +))
    for (line, count) in sent {
      let arrivals = arrived.removeValue(forKey: line) ?? 0
      comparison.missing += max(0, count - arrivals)
      comparison.duplicates += max(0, arrivals - count)
    }
    comparison.unexpected = arrived.values.reduce(0, +)
    return comparison
  }

  /// A row as it was before the outbox put an id in front: `{"event_id":"…",`.
  private static func row(_ row: String, without field: String?) -> String {
    guard let field, row.hasPrefix("{\"\(field)\":\"") else { return row }
    let id = row.dropFirst(field.count + 5).prefix { $0 != "\"" }
    let rest = row[id.endIndex...].dropFirst()
    return "{" + (rest.first == "," ? rest.dropFirst() : rest)
  }

  func lines(width: Int, paint: Paint) -> [String] {
    var table = TerminalTable([
      .left("DATA SOURCE"), .right("ROWS"), .right("DISTINCT"), .right("DUPLICATES"), .right("QUARANTINED"),
      .right("REQUESTS"), .left("BY STATUS"),
    ])
    for source in sources {
      let counts = [source.rows, source.deliveries.count, source.duplicates, source.quarantinedRows, source.requests]
      let statuses = source.requestsByStatus.byStatus.map { "\($0.name): \(Humane.count($0.count))" }
      table.add(
        [.init(source.name.isEmpty ? "(none)" : source.name)] + counts.map { .init(Humane.count($0)) }
          + [.init(statuses.joined(separator: ", "))])
    }
    let lines = sources.isEmpty ? ["no request has come"] : table.lines(width: width, paint: paint)
    guard let comparison else { return lines }
    return lines + [
      "",
      "\(Humane.count(comparison.lines, "line")) compared: \(Humane.count(comparison.missing)) missing, "
        + "\(Humane.count(comparison.duplicates, "duplicate")), \(Humane.count(comparison.unexpected, "unexpected row"))",
    ]
  }

  /// The JSON of `outbox emulator report --json`, where a request without an answer counts under the status `none`.
  var asJSON: JSONValue {
    func sum(_ count: (Source) -> Int) -> JSONValue { .integer(sources.reduce(0) { $0 + count($1) }) }
    let totals: JSONValue = [
      "requests": sum(\.requests), "rows": sum(\.rows), "distinct_rows": sum(\.deliveries.count),
      "duplicate_rows": sum(\.duplicates), "quarantined_rows": sum(\.quarantinedRows),
    ]
    let compared: JSONValue =
      comparison.map {
        [
          "compared_lines": .integer($0.lines), "missing_lines": .integer($0.missing),
          "duplicate_lines": .integer($0.duplicates), "unexpected_rows": .integer($0.unexpected),
        ]
      } ?? .object([])
    return totals.merging(compared).merging([
      "data_sources": .array(
        sources.map { source in
          [
            "name": .string(source.name),
            "requests": .integer(source.requests),
            "rows": .integer(source.rows),
            "distinct_rows": .integer(source.deliveries.count),
            "duplicate_rows": .integer(source.duplicates),
            "quarantined_rows": .integer(source.quarantinedRows),
            "requests_by_status": .object(
              source.requestsByStatus.byStatus.map { JSONValue.Member(name: $0.name, value: .integer($0.count)) }),
          ]
        })
    ])
  }
}

extension [Int?: Int] {
  /// By number, those without an answer last.
  fileprivate var byStatus: [(name: String, count: Int)] {
    sorted { ($0.key ?? .max) < ($1.key ?? .max) }.map { ($0.key.map(String.init) ?? "none", $0.value) }
  }
}
