import EventsAPIEmulator
import Foundation

@testable import TinybirdOutbox

/// Holds an outbox, and the emulator's own count, to what its processes were told is durable.
struct Reckoning {
  let acknowledged: [CrashChild.Acknowledgement]
  /// An emulator that counts by the member `id`.
  let emulator: EventsAPIEmulator

  private struct Stored {
    let address: Address
    let state: RangeState
    let inserted: Inserted
    let mayBeDuplicated: Bool
  }

  /// What is wrong when everything has been delivered; nothing, where the promise holds.
  func problems(_ outbox: Outbox) async throws -> [String] {
    var problems = try await outbox.verify().problems
    var stored: [String: Stored] = [:]
    var sizes: [String: Int] = [:]
    for source in try await outbox.status().dataSources {
      for event in try await everyEvent(of: source.dataSource, outbox) {
        guard let (id, size) = Self.identity(event.json) else {
          problems.append("\(event.address) cannot be read")
          continue
        }
        if let other = stored[id] { problems.append("\(id) is at \(other.address) and at \(event.address)") }
        stored[id] = Stored(
          address: event.address, state: event.state, inserted: event.inserted, mayBeDuplicated: event.mayBeDuplicated)
        sizes[Self.call(id)] = size
      }
    }
    problems += lost(stored) + torn(stored, sizes)
    return problems + (try await settledWrongly(stored, outbox))
  }

  /// Every acknowledged event is there, at an address of its receipt; no two receipts share an address.
  private func lost(_ stored: [String: Stored]) -> [String] {
    var problems: [String] = []
    for acknowledgement in acknowledged {
      for index in 0..<acknowledgement.count {
        let id = "\(acknowledgement.call).\(index)"
        guard let address = stored[id]?.address else {
          problems.append("lost: \(id)")
          continue
        }
        if !acknowledgement.ranges.contains(where: { $0.contains(address) }) {
          problems.append("\(id) is at \(address), its receipt says \(acknowledgement.ranges)")
        }
      }
    }
    let ranges = acknowledged.flatMap(\.ranges).sorted()
    for (one, next) in zip(ranges, ranges.dropFirst())
    where one.dataSource == next.dataSource && one.sequences.upperBound >= next.sequences.lowerBound {
      problems.append("given out twice: \(one) and \(next)")
    }
    return problems
  }

  /// Also a call that was not acknowledged is there as a whole, or not at all.
  private func torn(_ stored: [String: Stored], _ sizes: [String: Int]) -> [String] {
    let counts = Dictionary(stored.keys.map { (Self.call($0), 1) }, uniquingKeysWith: +)
    return sizes.filter { counts[$0.key] != $0.value }
      .map { "torn: \(counts[$0.key] ?? 0) of \($0.value) events of the call \($0.key)" }
  }

  /// What is delivered did arrive, what is not is dead, and whatever arrived twice is named as a possible duplicate.
  private func settledWrongly(_ stored: [String: Stored], _ outbox: Outbox) async throws -> [String] {
    var problems: [String] = []
    let arrivals = try await arrivals()
    let named = try await everyPossibleDuplicate(outbox)
    for (id, event) in stored {
      let count = arrivals[id] ?? 0
      switch event.state {
      case .delivered where count == 0: problems.append("\(id) counts as delivered and never arrived")
      case .dead where count > 0 && event.inserted == .no: problems.append("\(id) is dead, and arrived all the same")
      case .delivered, .dead: break
      case .pending, .discarded, .damaged: problems.append("\(id) is \(event.state)")
      }
      if event.state == .delivered, count > 1,
        !named.contains(where: { $0.contains(event.address) }) || !event.mayBeDuplicated
      {
        problems.append("\(id) arrived \(count) times, and \(event.address) is not named as a possible duplicate")
      }
    }
    for id in arrivals.keys where stored[id] == nil { problems.append("\(id) arrived and is not in the outbox") }
    return problems
  }

  /// How often each event arrived, by its identity.
  func arrivals() async throws -> [String: Int] {
    try await emulator.deliveries(of: "clicks", byMember: "id")
      .merging(emulator.deliveries(of: "orders", byMember: "id"), uniquingKeysWith: +)
  }

  private func everyPossibleDuplicate(_ outbox: Outbox) async throws -> [AddressRange] {
    var ranges = try await outbox.possibleDuplicates()
    while let last = ranges.last {
      let page = try await outbox.possibleDuplicates(after: last)
      if page.isEmpty { break }
      ranges += page
    }
    return ranges
  }

  private func everyEvent(of dataSource: DataSourceName, _ outbox: Outbox) async throws -> [EventRecord] {
    try await outbox.events(
      in: AddressRange(dataSource: dataSource, sequences: 1...SequenceKey.maximumSequence), limit: .max)
  }

  /// The identity of an event that a child appended, and how many its call had: `{"id":"3.0.17.2","of":4,…`.
  private static func identity(_ json: String?) -> (id: String, callSize: Int)? {
    guard let parts = json?.split(separator: "\"", maxSplits: 6), parts.count == 7 else { return nil }
    let size = parts[6].drop { !$0.isNumber }.prefix { $0.isNumber }
    return Int(size).map { (String(parts[3]), $0) }
  }

  private static func call(_ id: String) -> String { String(id[..<(id.lastIndex(of: ".") ?? id.endIndex)]) }
}

extension AddressRange {
  func contains(_ address: Address) -> Bool {
    dataSource == address.dataSource && sequences.contains(address.sequence)
  }
}
