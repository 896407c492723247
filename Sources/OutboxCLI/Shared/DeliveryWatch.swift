internal import Foundation
internal import TinybirdOutbox

/// Watches a delivery from outside: shows how it goes, and sums up what it did.
final class DeliveryWatch: Sendable {
  /// How often the progress line is drawn.
  private static let interval = Duration.milliseconds(250)

  private let outbox: Outbox
  private let before: OutboxStatus
  private let startDate = Date()
  private let start = ContinuousClock.now

  init(_ outbox: Outbox) async throws {
    self.outbox = outbox
    before = try await outbox.status()
  }

  /// Another process delivers, and this one waits for it.
  func waits(for holder: Int64?) {
    Console.note("outbox: \(holder.map { "process \($0)" } ?? "another process") delivers; waiting for it to end")
  }

  /// Runs `body`, on a terminal with a progress line.
  func showingProgress(_ body: @escaping @Sendable () async throws -> Void) async throws {
    guard Console.showsProgress else { return try await body() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.draw() }
      try await body()
      group.cancelAll()
    }
  }

  private func draw() async throws {
    while !Task.isCancelled {
      let status = try await outbox.status()
      Console.progress { progressLine(status) }
      // Cancelled when delivery has ended.
      do { try await Task.sleep(for: Self.interval) } catch { return }
    }
  }

  private func progressLine(_ status: OutboxStatus) -> String {
    let delivered = status.deliveredEvents - before.deliveredEvents
    let seconds = max(0.001, start.duration(to: .now) / .seconds(1))
    let rate = Humane.count(Int(Double(delivered) / seconds))
    let struggling = status.dataSources.compactMap { source -> String? in
      switch source.lane {
      case .open: nil
      case .backingOff(_, let until): "\(source.dataSource): again \(Humane.relative(until, to: Date()))"
      case .outage(_, let until): "\(source.dataSource): outage, probe \(Humane.relative(until, to: Date()))"
      case .held(_, let status, _, _): "\(source.dataSource): held" + (status.map { " (\($0))" } ?? "")
      }
    }
    return
      (["\(Humane.count(status.pendingEvents)) pending, \(Humane.count(delivered)) delivered (\(rate)/s)"] + struggling)
      .joined(separator: "; ")
  }

  func summary() async throws -> DeliverySummary {
    var filter = DeadLetterFilter()
    filter.since = startDate
    filter.isReplaying = false
    return DeliverySummary(
      before: before, after: try await outbox.status(),
      newDeadLetters: try await outbox.countDeadLetters(matching: filter).count,
      duration: start.duration(to: .now))
  }
}

/// What one run of `deliver` did.
struct DeliverySummary {
  let before: OutboxStatus
  let after: OutboxStatus
  let newDeadLetters: Int
  let duration: Duration

  private var deliveredEvents: Int { after.deliveredEvents - before.deliveredEvents }

  /// The data sources whose events stay.
  private var held: [DataSourceStatus] {
    after.dataSources.filter { source in
      switch source.lane {
      case .held(.byOperator, _, _, _): source.pendingEvents > 0
      case .held: true
      case .open, .backingOff, .outage: false
      }
    }
  }

  var isHeld: Bool { !held.isEmpty }

  func lines(options: OutboxOptions, now: Date) -> [String] {
    var what = ["\(Humane.count(deliveredEvents, "event")) delivered in \(Humane.duration(duration))"]
    if newDeadLetters > 0 { what.append("\(Humane.count(newDeadLetters)) went to the dead-letter table") }
    what.append(after.pendingEvents == 0 ? "nothing is pending" : "\(Humane.count(after.pendingEvents)) still pending")
    let advice = held.flatMap { LaneWords($0, now: now, options: options).advice }
    return [what.joined(separator: ", ")] + advice
      + (newDeadLetters > 0 ? ["to see why: \(options.command("dead-letters"))"] : [])
  }

  /// The JSON of `outbox deliver --json`.
  var asJSON: JSONValue {
    [
      "delivered_events": .integer(deliveredEvents),
      "new_dead_letters": .integer(newDeadLetters),
      "pending_events": .integer(after.pendingEvents),
      "possible_duplicates": .integer(after.possibleDuplicates - before.possibleDuplicates),
      "held_data_sources": .array(held.map { .describing($0.dataSource) }),
      "milliseconds": .milliseconds(duration),
    ]
  }
}
