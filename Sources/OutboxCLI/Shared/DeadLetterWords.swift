internal import Foundation
internal import TinybirdOutbox

/// A dead letter in words.
extension DeadLetter {
  /// A line such as `clicks/17  400 refused, not in Tinybird, 1 attempt, 3 min ago`.
  func headline(now: Date, paint: Paint) -> String {
    let status = status.map { "\($0) " } ?? ""
    let replaying = isReplaying ? ", being replayed" : ""
    let repaired = repairedAt == nil ? "" : ", repaired"
    return "\(paint(address.description, .bold))  \(paint("\(status)\(reason.words)", .red)), \(inserted.words), "
      + "\(Humane.count(attempts, "attempt")), \(Humane.relative(deadAt, to: now))\(replaying)\(repaired)"
  }

  /// Why it is here.
  func explanation(now: Date) -> [String] {
    var lines = ["\(status.map { "\($0): " } ?? "")\(reason.explanation)"]
    if let answer { lines.append("answer: \(DisplayWidth.harmless(answer))") }
    lines.append("\(inserted.words), \(Humane.count(attempts, "attempt")), \(Humane.relative(deadAt, to: now))")
    if isReplaying { lines.append("it is being replayed") }
    return lines
  }

  /// What can be done about it.
  func advice(_ options: OutboxOptions) -> [String] {
    guard !isReplaying else { return [] }
    let duplicate = inserted == .no ? "" : "--may-duplicate "
    return [
      "to repair it: \(options.command("dead-letters repair", "\(address) < fixed.json"))",
      "to send it:   \(options.command("replay", "\(duplicate)\(address)"))",
      "to give up:   \(options.command("discard", "\(address)"))",
    ]
  }

  /// The JSON of `outbox dead-letters --json`.
  var asJSON: JSONValue {
    [
      "address": .describing(address),
      "data_source": .describing(address.dataSource),
      "sequence": .integer(address.sequence),
      "reason": .string(reason.rawValue),
      "status": .integer(status),
      "answer": .string(answer),
      "inserted": .string(inserted.rawValue),
      "attempts": .integer(attempts),
      "replaying": .bool(isReplaying),
      "committed_at": .time(committedAt),
      "dead_at": .time(deadAt),
      "repaired_at": .time(repairedAt),
      "event": .raw(json),
    ]
  }
}

extension DeadReason {
  var words: String {
    switch self {
    case .refused: "refused"
    case .tooLarge: "too large"
    case .partlyInserted: "partly inserted"
    case .requestRefused: "request refused"
    case .isolated: "isolated"
    case .attemptsExhausted: "attempts exhausted"
    case .expired: "expired"
    }
  }

  var explanation: String {
    switch self {
    case .refused: "the service refused the event itself"
    case .tooLarge: "the event is larger than the service takes"
    case .partlyInserted: "the service failed half-way: sending again can duplicate, so look in Tinybird first"
    case .requestRefused: "the request was refused for a fault of the path, not of the event; the data source was held"
    case .isolated: "the service failed on it while it took others, and an operator had it isolated"
    case .attemptsExhausted: "it failed as often as the application allows (--max-attempts)"
    case .expired: "it waited for longer than the application allows (--max-age)"
    }
  }
}
