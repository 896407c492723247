internal import ArgumentParser
internal import TinybirdOutbox

struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Examine an outbox and explain: file, SQLite, schema, ledger, chunks; or salvage it.",
    discussion: """
      Safe while others append and deliver; nothing is changed. It works on a file that no other command can open. Exit \
      code 0 if all is sound, 1 if not.

      With --salvage it builds a new outbox from all that can be read, under the same addresses, and reports what cannot. \
      Nothing may deliver from the damaged one meanwhile, nor afterwards. Exit code 0 if all could be read, 1 if not.

        outbox doctor --outbox app.outbox
        outbox doctor --outbox app.outbox --json
        outbox doctor --outbox app.outbox --salvage new.outbox
      """)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var format: FormatOptions

  @Option(help: ArgumentHelp("Build a new outbox there from all that can be read.", valueName: "new-file"))
  var salvage: String?

  func run() async throws {
    if let salvage { try await run(salvagingTo: salvage) } else { try await examine() }
  }

  private func run(salvagingTo path: String) async throws {
    let damaged = try outbox.path
    let report = try await Interruption.cancelling {
      try await Outbox.salvage(from: damaged, to: path) { done, total in
        Console.progress { "\(Humane.count(done)) of \(Humane.count(total, "event")) looked at" }
      }
    }
    Console.endProgress()
    if format.json {
      try JSONOutput.print(report.asJSON)
    } else {
      try Console.print(report.lines(paint: Terminal.output.paint).joined(separator: "\n"))
    }
    guard report.isWhole else { throw ExitCode.problemsFound }
  }

  private func examine() async throws {
    let report = await Outbox.doctor(at: try outbox.path, progress: Console.progressOfChecking)
    Console.endProgress()
    if format.json {
      try JSONOutput.print(report.asJSON)
    } else {
      try Console.print(report.lines(paint: Terminal.output.paint).joined(separator: "\n"))
    }
    guard report.isSound else { throw ExitCode.problemsFound }
  }
}

extension DoctorReport {
  func lines(paint: Paint) -> [String] {
    findings.flatMap { finding in
      let word =
        switch finding.severity {
        case .ok: paint("ok     ", .green)
        case .note: "note   "
        case .problem: paint("PROBLEM", .red)
        }
      let lines = ["\(word)  \(finding.subject.rawValue): \(DisplayWidth.harmless(finding.text))"]
      return lines + (finding.advice.map { ["         \(DisplayWidth.harmless($0))"] } ?? [])
    } + [isSound ? paint("sound", .green) : paint("not sound", .red)]
  }

  /// The JSON of `outbox doctor --json`.
  var asJSON: JSONValue {
    [
      "sound": .bool(isSound),
      "findings": .array(
        findings.map { finding in
          [
            "severity": .string(finding.severity.rawValue),
            "subject": .string(finding.subject.rawValue),
            "text": .string(finding.text),
            "advice": finding.advice.map { .string($0) } ?? .null,
          ]
        }),
    ]
  }
}

extension SalvageReport {
  func lines(paint: Paint) -> [String] {
    let counts = dataSources.map { sums in
      "\(sums.dataSource): \(Humane.count(sums.appended, "event")): \(sums.delivered) delivered, \(sums.pending) pending, "
        + "\(sums.dead) dead, \(sums.discarded) discarded, \(sums.damaged) damaged"
    }
    let unread = lost.map { "\(paint("LOST", .red))  \($0)" }
    let more = lostEvents - lost.reduce(0) { $0 + $1.count }
    return counts + unread + (more > 0 ? ["and \(Humane.count(more, "event")) more"] : [])
      + problems.map { "\(paint("PROBLEM", .red))  \(DisplayWidth.harmless($0))" }
      + notes.map { "note  \(DisplayWidth.harmless($0))" }
      + [
        "salvaged to \(DisplayWidth.harmless(path)), under a new outbox id, without the log of requests",
        isWhole
          ? paint("all of it could be read", .green)
          : paint("not all of it could be read", .red) + ": keep the damaged file, and do not deliver from it",
      ]
  }

  /// The JSON of `outbox doctor --salvage --json`.
  var asJSON: JSONValue {
    [
      "whole": .bool(isWhole),
      "path": .string(path),
      "lost_events": .integer(lostEvents),
      "lost": .array(lost.map { .string($0.description) }),
      "problems": .array(problems.map { .string($0) }),
      "notes": .array(notes.map { .string($0) }),
      "data_sources": .array(
        dataSources.map { sums in
          [
            "name": .string(sums.dataSource.rawValue),
            "appended_events": .integer(sums.appended),
            "delivered_events": .integer(sums.delivered),
            "pending_events": .integer(sums.pending),
            "dead_events": .integer(sums.dead),
            "discarded_events": .integer(sums.discarded),
            "damaged_events": .integer(sums.damaged),
          ]
        }),
    ]
  }
}
