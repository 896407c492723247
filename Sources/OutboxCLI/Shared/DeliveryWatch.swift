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
    var rate = RecentRate()
    while !Task.isCancelled {
      let status = try await outbox.status()
      let delivered = status.deliveredEvents - before.deliveredEvents
      rate.note(delivered, at: start.duration(to: .now))
      Console.progress { progressLine(status, delivered: delivered, perSecond: rate.perSecond) }
      // Cancelled when delivery has ended.
      do { try await Task.sleep(for: Self.interval) } catch { return }
    }
  }

  private func progressLine(_ status: OutboxStatus, delivered: Int, perSecond: Int) -> String {
    let struggling = status.dataSources.compactMap { source -> String? in
      switch source.lane {
      case .open: nil
      case .backingOff(_, let until): "\(source.dataSource): again \(Humane.relative(until, to: Date()))"
      case .outage(_, let until): "\(source.dataSource): outage, probe \(Humane.relative(until, to: Date()))"
      case .held(_, let status, _, _): "\(source.dataSource): held" + (status.map { " (\($0))" } ?? "")
      }
    }
    let counts = [
      "\(Humane.count(status.pendingEvents)) pending, \(Humane.count(delivered)) delivered (\(Humane.count(perSecond))/s)"
    ]
    let other = status.delivererProcessID.flatMap { holder in
      holder == Int(ProcessInfo.processInfo.processIdentifier) ? nil : "waiting for process \(holder)"
    }
    return ([other].compactMap { $0 } + counts + struggling).joined(separator: "; ")
  }

  func summary() async throws -> DeliverySummary {
    var filter = DeadLetterFilter()
    filter.since = startDate
    filter.isReplaying = false
    let after = try await outbox.status()
    // By their times, since some may have been dead before and were replayed meanwhile; and by the counts, since the clock
    // may have been set back meanwhile.
    let sinceStart = try await outbox.countDeadLetters(matching: filter).count
    return DeliverySummary(
      before: before, after: after, newDeadLetters: max(sinceStart, after.deadEvents - before.deadEvents),
      duration: start.duration(to: .now))
  }
}

/// How fast a count has grown of late; an average since the start would say nothing after an hour.
struct RecentRate {
  static let window = Duration.seconds(5)

  private var samples: [(count: Int, time: Duration)] = [(0, .zero)]

  mutating func note(_ count: Int, at time: Duration) {
    samples.append((count, time))
    // The last sample from before the window is where it begins.
    while samples.count > 2, samples[1].time <= time - Self.window { samples.removeFirst() }
  }

  var perSecond: Int {
    guard let first = samples.first, let last = samples.last, last.time > first.time else { return 0 }
    return Int((Double(last.count - first.count) / ((last.time - first.time) / .seconds(1))).rounded())
  }
}

/// What one run of `deliver` did.
struct DeliverySummary {
  let before: OutboxStatus
  let after: OutboxStatus
  let newDeadLetters: Int
  let duration: Duration

  private var deliveredEvents: Int { after.deliveredEvents - before.deliveredEvents }

  /// Events that were to be sent, and whose bytes on disk are not what was appended.
  var newDamagedEvents: Int { Self.damagedEvents(after) - Self.damagedEvents(before) }

  private static func damagedEvents(_ status: OutboxStatus) -> Int {
    status.dataSources.reduce(0) { $0 + $1.damagedEvents }
  }

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
    if newDamagedEvents > 0 { what.append("\(Humane.count(newDamagedEvents)) are damaged and were not sent") }
    what.append(after.pendingEvents == 0 ? "nothing is pending" : "\(Humane.count(after.pendingEvents)) still pending")
    let advice = held.flatMap { LaneWords($0, now: now, options: options).advice }
    return [what.joined(separator: ", ")] + advice
      + (newDeadLetters > 0 ? ["to see why: \(options.command("dead-letters"))"] : [])
      + (newDamagedEvents > 0 ? ["their bytes are kept; to see what is wrong: \(options.command("doctor"))"] : [])
  }

  /// The JSON of `outbox deliver --json`.
  var asJSON: JSONValue {
    [
      "delivered_events": .integer(deliveredEvents),
      "new_dead_letters": .integer(newDeadLetters),
      "new_damaged_events": .integer(newDamagedEvents),
      "pending_events": .integer(after.pendingEvents),
      "possible_duplicates": .integer(after.possibleDuplicates - before.possibleDuplicates),
      "held_data_sources": .array(held.map { .describing($0.dataSource) }),
      "milliseconds": .milliseconds(duration),
    ]
  }
}
