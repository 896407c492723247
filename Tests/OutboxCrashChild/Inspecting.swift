import TinybirdOutbox

/// What a person with the command line does all day: looks at everything, sends dead letters again, and ends holds.
///
/// Options: `rounds` (1), or `seconds` to go on for.
struct Inspecting: Sendable {
  private let outbox: Outbox
  private let rounds: Int
  private let end: ContinuousClock.Instant?

  init(_ outbox: Outbox, _ options: [String: String]) {
    self.outbox = outbox
    end = options["seconds"].flatMap(Int.init).map { .now + .seconds($0) }
    rounds = end == nil ? options["rounds"].flatMap(Int.init) ?? 1 : .max
  }

  func run() async throws {
    var round = 0
    var replayed = 0
    while round < rounds, end.map({ .now < $0 }) ?? true {
      round += 1
      replayed += try await outbox.replay(matching: DeadLetterFilter()).events
      for source in try await outbox.status().dataSources {
        // A lane that is told nothing but refusals holds, also where a replay is to blame.
        if case .held = source.lane { try await outbox.resume(source.dataSource) }
        let last = Int64(max(1, source.appendedEvents))
        _ = try await outbox.events(
          in: AddressRange(dataSource: source.dataSource, sequences: max(1, last - 100)...last))
      }
      _ = try await outbox.deadLetters()
      _ = try await outbox.possibleDuplicates()
      let report = try await outbox.verify()
      for problem in report.problems { OutboxCrashChild.say("problem \(problem)") }
    }
    OutboxCrashChild.say("inspected \(round) \(replayed)")
  }
}
