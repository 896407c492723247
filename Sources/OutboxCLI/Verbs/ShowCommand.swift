internal import ArgumentParser
internal import Foundation
internal import TinybirdOutbox

struct ShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Show one event in full: its JSON, its state, the requests that carried it.",
    discussion: """
        outbox show --outbox app.outbox clicks/1042
      """)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var format: FormatOptions

  @Argument(
    help: ArgumentHelp("The event, such as clicks/1042.", valueName: "address"), transform: AddressRange.argument)
  var address: AddressRange

  func validate() throws {
    guard address.count == 1 else {
      throw ValidationError("show takes one event, such as \(address.first); 'list' takes ranges")
    }
  }

  func run() async throws {
    try await outbox.withOutbox { outbox in
      try await outbox.requireDataSources([address.dataSource])
      guard let event = try await outbox.events(in: address, limit: 1).first else {
        throw Failure(.notFound, "there is no event \(address): it was never appended, or it was pruned")
      }
      let letter = try await outbox.deadLetters(matching: DeadLetterFilter(address), limit: 1).first
      let attempts = try await outbox.attempts(for: address)
      if format.json {
        try JSONOutput.print(
          event.asJSON.merging([
            "dead_letter": letter?.asJSON ?? .null, "request_log": .array(attempts.map(\.asJSON)),
          ]))
      } else {
        let page = EventPage(event: event, letter: letter, attempts: attempts, options: self.outbox, now: Date())
        let lines = page.lines(width: Terminal.output.width, paint: Terminal.output.paint)
        try Console.print(lines.joined(separator: "\n"))
      }
    }
  }
}

/// An event as a person reads it.
struct EventPage {
  let event: EventRecord
  let letter: DeadLetter?
  let attempts: [AttemptRecord]
  let options: OutboxOptions
  let now: Date

  func lines(width: Int, paint: Paint) -> [String] {
    var lines = [
      "\(paint(event.address.description, .bold))  \(paint(event.state.rawValue, event.state.colour)), "
        + "\(event.mayBeDuplicated ? "may be in Tinybird more than once" : event.inserted.words), "
        + Humane.count(event.attempts, "attempt")
    ]
    lines += ["committed", "settled", "next attempt"].lines(
      [event.committedAt, event.settledAt, event.nextAttemptAt], now)
    lines += ["", event.json.map(DisplayWidth.harmless) ?? event.absence]
    if let letter {
      lines += ["", paint("DEAD LETTER", .bold)] + letter.explanation(now: now)
      if letter.repairedAt != nil { lines += ["repaired as:", DisplayWidth.harmless(letter.json)] }
      lines += [""] + letter.advice(options)
    }
    guard !attempts.isEmpty else { return lines }
    var table = TerminalTable([
      .left("REQUEST"), .left("EVENTS"), .right("TOOK"), .right("STATUS"), .left("VERDICT"), .left("ANSWER"),
    ])
    for attempt in attempts {
      table.add(
        .init(Humane.time(attempt.startedAt)), .init(attempt.range.description),
        .init(Humane.duration(attempt.latency)),
        .init(attempt.status.map { "\($0)" } ?? "none"), .init(attempt.verdict), .init(attempt.answer ?? ""))
    }
    return lines + [""] + table.lines(width: width, paint: paint)
  }
}

extension EventRecord {
  /// Why there is nothing to show.
  fileprivate var absence: String {
    isErased ? "The event was erased." : "The event cannot be read: its chunk is damaged."
  }
}

extension [String] {
  /// A line for each time that is known.
  fileprivate func lines(_ dates: [Date?], _ now: Date) -> [String] {
    zip(self, dates).compactMap { name, date in
      date.map { "\(name) \(Humane.time($0)) (\(Humane.relative($0, to: now)))" }
    }
  }
}

extension Inserted {
  var words: String {
    switch self {
    case .no: "not in Tinybird"
    case .maybe: "may be in Tinybird"
    case .yes: "in Tinybird"
    }
  }
}

extension AttemptRecord {
  fileprivate var asJSON: JSONValue {
    [
      "range": .describing(range),
      "events": .integer(eventCount),
      "sent_bytes": .integer(sentBytes),
      "started_at": .time(startedAt),
      "milliseconds": .milliseconds(latency),
      "status": .integer(status),
      "verdict": .string(verdict),
      "inserted": .string(inserted.rawValue),
      "answer": .string(answer),
    ]
  }
}
