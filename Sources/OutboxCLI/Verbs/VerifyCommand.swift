internal import ArgumentParser
internal import TinybirdOutbox

struct VerifyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check the whole outbox: structure, checksums, and that no event is missing.",
    discussion: """
      Reads everything in small steps, while others append and deliver. Exit code 0 if all is sound, 1 if not.

        outbox verify --outbox app.outbox
        outbox verify --outbox app.outbox --json
      """)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var format: FormatOptions

  func run() async throws {
    let report = try await outbox.withOutbox { outbox in
      do {
        return try await outbox.verify(progress: Console.progressOfChecking)
      } catch let error as OutboxError where error.code == .damaged {
        // Damage that SQLite cannot read past is what was looked for.
        var report = VerifyReport()
        report.problems = [error.message]
        return report
      }
    }
    Console.endProgress()
    if format.json {
      try JSONOutput.print(report.asJSON)
    } else {
      try Console.print(
        report.lines(width: Terminal.output.width, paint: Terminal.output.paint).joined(separator: "\n"))
    }
    guard report.isSound else { throw ExitCode.problemsFound }
  }
}

extension Console {
  /// Events that were checked, of those there are.
  static func progressOfChecking(_ checked: Int, _ total: Int) {
    progress {
      let percent = total > 0 ? Int(Double(checked) / Double(total) * 100) : 100
      return "\(Humane.count(checked)) of \(Humane.count(total, "event")) checked (\(percent) %)"
    }
  }
}

extension VerifyReport {
  func lines(width: Int, paint: Paint) -> [String] {
    var table = TerminalTable([
      .left("DATA SOURCE"), .right("APPENDED"), .right("DELIVERED"), .right("PENDING"), .right("DEAD"),
      .right("DISCARDED"), .right("DAMAGED"), .left("SUM"),
    ])
    for sums in dataSources {
      table.add(
        [.init(sums.dataSource.description)]
          + [sums.appended, sums.delivered, sums.pending, sums.dead, sums.discarded, sums.damaged].map {
            .init(Humane.count($0))
          } + [.init(sums.isWhole ? "whole" : "WRONG", sums.isWhole ? .green : .red)])
    }
    let checked =
      "\(Humane.count(checkedEvents, "event")) in \(Humane.count(checkedChunks, "chunk")) read and checked, "
      + Humane.bytes(checkedBytes)
    let verdict =
      isSound ? paint("sound", .green) : paint("\(Humane.count(problems.count, "problem")) found", .red) + ":"
    return (dataSources.isEmpty ? [] : table.lines(width: width, paint: paint) + [""])
      + [checked, verdict] + problems.map { "  \(DisplayWidth.harmless($0))" }
  }

  /// The JSON of `outbox verify --json`.
  var asJSON: JSONValue {
    [
      "sound": .bool(isSound),
      "checked_events": .integer(checkedEvents),
      "checked_chunks": .integer(checkedChunks),
      "checked_bytes": .integer(checkedBytes),
      "problems": .array(problems.map { .string($0) }),
      "data_sources": .array(
        dataSources.map { sums in
          [
            "name": .describing(sums.dataSource),
            "whole": .bool(sums.isWhole),
            "appended_events": .integer(sums.appended),
            "delivered_events": .integer(sums.delivered),
            "pending_events": .integer(sums.pending),
            "dead_events": .integer(sums.dead),
            "discarded_events": .integer(sums.discarded),
            "damaged_events": .integer(sums.damaged),
            "pruned_events": .integer(sums.pruned),
            "dead_letters": .integer(sums.deadLetters),
          ]
        }),
    ]
  }
}
