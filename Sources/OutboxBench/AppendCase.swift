internal import Foundation
internal import Synchronization

/// So many callers, each with so many events a call.
struct AppendCase: Sendable {
  var name: String
  var callers: Int
  var eventsPerCall: Int
  var contenders: [any Contender.Type]

  static let all = [
    AppendCase(
      name: "one caller, one event a call", callers: 1, eventsPerCall: 1,
      contenders: [OutboxContender.self, SQLiteContender.self, FileContender.self]),
    AppendCase(
      name: "64 callers, one event a call", callers: 64, eventsPerCall: 1,
      contenders: [OutboxContender.self, SQLiteContender.self, FileContender.self]),
    AppendCase(
      name: "bulk, 1,000 events a call", callers: 1, eventsPerCall: 1000,
      contenders: [OutboxContender.self, SQLiteContender.self, FileContender.self]),
  ]

  /// Each contender's events a second, round by round.
  func run(
    _ events: [String], rounds: Int, duration: Duration, directory: String
  ) async throws -> [(name: String, rates: [Double])] {
    var results = contenders.map { (name: $0.name, rates: [Double]()) }
    for _ in 0..<rounds {
      for (index, contender) in contenders.enumerated() {
        results[index].rates.append(try await rate(of: contender, events, duration, directory))
      }
    }
    return results
  }

  private func rate(
    of type: any Contender.Type, _ events: [String], _ duration: Duration, _ directory: String
  ) async throws -> Double {
    let file = directory + "/outbox-bench-\(UUID().uuidString)"
    defer {
      for suffix in ["", "-wal", "-shm", "-lock"] { try? FileManager.default.removeItem(atPath: file + suffix) }
    }
    let contender = try await type.init(file: file)
    let start = ContinuousClock.now
    let end = start + duration
    let total = try await withThrowingTaskGroup(of: Int.self) { group in
      for caller in 0..<callers {
        group.addTask { try await call(contender, events, from: caller * 17, until: end) }
      }
      return try await group.reduce(0, +)
    }
    let elapsed = start.duration(to: .now)
    await contender.close()
    return Double(total) / (Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18)
  }

  private func call(
    _ contender: any Contender, _ events: [String], from start: Int, until end: ContinuousClock.Instant
  ) async throws -> Int {
    var position = start
    var count = 0
    while ContinuousClock.now < end {
      let first = position % (events.count - eventsPerCall + 1)
      try await contender.store(events[first..<(first + eventsPerCall)])
      position += eventsPerCall
      count += eventsPerCall
    }
    return count
  }
}
