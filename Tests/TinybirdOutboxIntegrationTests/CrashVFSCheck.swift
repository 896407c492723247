import Foundation

@testable import TinybirdOutbox

extension CrashWorkload {
  /// Opens the outbox on a machine that was started again, and holds it to what was acknowledged.
  ///
  /// Returns what is wrong; nothing, where the promise holds.
  func problems(on machine: CrashMachine) async -> [String] {
    let outbox: Outbox
    do {
      outbox = try await machine.open(path)
    } catch {
      return ["lost: it cannot be opened: \(error)"]
    }
    var problems: [String] = []
    do {
      problems = try await check(outbox)
      if problems.isEmpty { problems = try await checkThatItGoesOn(outbox, on: machine) }
    } catch {
      problems.append("lost: it cannot be read: \(error)")
    }
    await outbox.close()
    return problems
  }

  /// Every acknowledged event is there as it was accepted, in a state that was acknowledged, or has arrived and was
  /// pruned; nothing came from nowhere; `verify` and SQLite's own check find nothing.
  func check(_ outbox: Outbox) async throws -> [String] {
    var problems: [String] = []
    var found: [Address: EventRecord] = [:]
    let sources = try await outbox.status().dataSources
    for source in sources {
      let range = AddressRange(dataSource: source.dataSource, sequences: 1...SequenceKey.maximumSequence)
      for event in try await outbox.events(in: range, limit: 1000) { found[event.address] = event }
    }
    for (address, expected) in acknowledged.events {
      let event = found[address]
      if event == nil, isPruned(address, expected, sources) { continue }
      if event?.json != expected.json {
        problems.append("lost: \(address) is \(event?.json?.prefix(40) ?? "gone")")
      } else if let event, !expected.states.contains(event.state) {
        problems.append("\(address) is \(event.state), not \(expected.states)")
      }
    }
    let submitted = acknowledged.submitted
    for (address, event) in found where event.json.map({ !submitted.contains($0) }) ?? true {
      problems.append("\(address) was never appended")
    }
    problems += try await outbox.verify().problems
    let integrity = try await outbox.inspector.read { snapshot in
      try snapshot.connection.rows("PRAGMA integrity_check") { $0.text(0) }
    }
    return problems + integrity.filter { $0 != "ok" }
  }

  private func isPruned(
    _ address: Address, _ expected: Acknowledged.Event, _ sources: [DataSourceStatus]
  ) -> Bool {
    let isKnown = sources.contains {
      $0.dataSource == address.dataSource && $0.appendedEvents >= Int(address.sequence)
    }
    return isKnown && expected.states.contains(.delivered) && service.arrivals(of: expected.json) > 0
  }

  /// Appending goes on behind what is there, and all that waits is delivered: what is delivered did arrive.
  private func checkThatItGoesOn(_ outbox: Outbox, on machine: CrashMachine) async throws -> [String] {
    let known = acknowledged.events
    let receipt = try await outbox.append(event(99), to: "clicks")
    var problems: [String] = []
    for range in receipt.ranges {
      let address = Address(dataSource: range.dataSource, sequence: range.sequences.lowerBound)
      if known[address] != nil { problems.append("the address \(address) was given away twice") }
    }
    try await outbox.deliver(to: service, on: machine)
    for (address, expected) in known {
      let range = AddressRange(dataSource: address.dataSource, sequences: address.sequence...address.sequence)
      let state = try await outbox.events(in: range).first?.state
      let arrivals = service.arrivals(of: expected.json)
      if state != .dead, (state ?? .delivered) != .delivered || arrivals == 0 {
        problems.append("\(address) is \(state.map { "\($0)" } ?? "gone") and arrived \(arrivals) times")
      }
    }
    return problems + (try await outbox.verify().problems)
  }
}
