import Foundation
import Synchronization

@testable import TinybirdOutbox

/// What the library has acknowledged to its caller: the promise that a test holds it to.
final class Acknowledged: Sendable {
  struct Event: Sendable {
    var json: String
    /// What its range may be after a reopening.
    var states: Set<RangeState>
  }

  private struct State {
    var submitted: Set<String> = []
    var events: [Address: Event] = [:]
  }

  private let state = Mutex(State())

  var events: [Address: Event] { state.withLock { $0.events } }
  var submitted: Set<String> { state.withLock { $0.submitted } }

  /// Appends, and takes down what was acknowledged.
  func append(_ jsons: [String], to dataSource: DataSourceName, of outbox: Outbox) async throws {
    state.withLock { $0.submitted.formUnion(jsons) }
    let receipt = try await outbox.append(contentsOf: jsons, to: dataSource)
    let addresses = receipt.ranges.flatMap { range in
      range.sequences.map { Address(dataSource: range.dataSource, sequence: $0) }
    }
    state.withLock { state in
      for (address, json) in zip(addresses, jsons) {
        state.events[address] = Event(json: json, states: [.pending, .delivered, .dead])
      }
    }
  }

  /// From now on events may only be in the states that `body` gives.
  func expect(_ body: (Address, Event) -> Set<RangeState>) {
    state.withLock { state in
      for (address, event) in state.events { state.events[address]?.states = body(address, event) }
    }
  }
}

/// All that an outbox does in its life, in a few dozen syncs.
struct CrashWorkload: Sendable {
  let machine: CrashMachine
  let path: String
  let service = ScriptedService()
  let acknowledged = Acknowledged()
  /// Of the connection that commits; the library's own is FULL.
  var synchronous: String?
  /// Tries of each step before its error ends the workload.
  var tries = 1
  /// Takes every error that a caller saw.
  var didFail: @Sendable (any Error) -> Void = { _ in }

  /// Runs all steps, whatever happens, then closes the outbox, or leaves it to be killed.
  ///
  /// The first step that throws ends it. Returns the outbox where it stays open.
  @discardableResult
  func run(closes: Bool = true) async throws -> Outbox? {
    let outbox = try await trying { try await machine.open(path) }
    do {
      try await steps(outbox)
    } catch {
      await outbox.close()
      throw error
    }
    guard closes else { return outbox }
    await outbox.close()
    return nil
  }

  private func steps(_ outbox: Outbox) async throws {
    if let synchronous { try await set(synchronous, on: outbox) }
    try await append([event(1)], to: "clicks", outbox)
    try await append([event(2), event(3, isBad: true)], to: "clicks", outbox)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 10..<16 {
        group.addTask { try await append([event(number)], to: number.isMultiple(of: 2) ? "clicks" : "views", outbox) }
      }
      try await group.waitForAll()
    }
    try await settleByHand(outbox)
    try await trying { try await outbox.deliver(to: service, on: machine) }
    guard !machine.isOff else { return }
    acknowledged.expect { $1.json.contains("bad") ? [.dead] : [.delivered] }
    _ = try await trying { try await outbox.prune() }
    service.acceptEverything()
    acknowledged.expect { _, event in event.states == [.dead] ? [.dead, .delivered] : event.states }
    _ = try await trying { try await outbox.replay(matching: DeadLetterFilter()) }
    try await append([event(20, padding: 20_000), event(21)], to: "views", outbox)
    try await append([event(22, padding: 60_000)], to: "clicks", outbox)
    try await trying { try await outbox.deliver(to: service, on: machine) }
    guard !machine.isOff else { return }
    acknowledged.expect { _, _ in [.delivered] }
    for number in 30..<33 { try await append([event(number, padding: 30_000)], to: "views", outbox) }
    // Small ones last, so that the end is in the log and not yet in the database.
    for number in 33..<35 { try await append([event(number)], to: "views", outbox) }
    _ = try await trying { try await outbox.verify() }
  }

  /// Forms and settles a batch in two commits of its own, so that the moment of each acknowledgement is known.
  private func settleByHand(_ outbox: Outbox) async throws {
    try await append([event(4), event(5)], to: "direct", outbox)
    let batch = try await trying {
      let (lane, plan) = try await outbox.inspector.read { snapshot in
        let lane = try snapshot.lane("direct")?.id ?? 0
        return (lane, try snapshot.planBatch(of: lane, limits: BatchLimits(maximumBytes: 1 << 20, maximumEvents: 2)))
      }
      return try await outbox.committer.perform { transaction in
        try Ledger(transaction: transaction).form(plan.map { [$0] } ?? [], of: lane).first
      }
    }
    guard let batch else { return }
    service.accept([event(4), event(5)])
    let settlement = Settlement(
      batch: batch.id, change: .delivered(RowCounts(successful: 2, quarantined: 0)), lane: .open, inserted: .yes,
      isCounted: true)
    let attempt = Ledger.Attempt(
      sentBytes: 1, startedAt: .now, latency: .zero, status: 200, verdict: "delivered", answer: nil)
    try await trying {
      do {
        _ = try await outbox.committer.perform { try Ledger(transaction: $0).settle(settlement, attempt: attempt) }
      } catch let error as OutboxError where error.code == .conflict {
        // A commit that failed may be there all the same.
      }
    }
    acknowledged.expect { address, event in address.dataSource == "direct" ? [.delivered] : event.states }
  }

  func append(_ jsons: [String], to dataSource: DataSourceName, _ outbox: Outbox) async throws {
    try await trying { try await acknowledged.append(jsons, to: dataSource, of: outbox) }
  }

  /// Runs a step up to ``tries`` times: the same outbox must work again when the fault is gone.
  private func trying<Value: Sendable>(_ step: () async throws -> Value) async throws -> Value {
    for _ in 1..<tries {
      do {
        return try await step()
      } catch {
        didFail(error)
      }
    }
    return try await step()
  }

  /// The setting that the library never makes; a transaction must be closed for it.
  private func set(_ synchronous: String, on outbox: Outbox) async throws {
    try await outbox.committer.perform { transaction in
      for statement in ["ROLLBACK", "PRAGMA synchronous = \(synchronous)", "BEGIN IMMEDIATE", "SAVEPOINT outbox_job"] {
        try transaction.connection.execute(statement)
      }
    }
  }
}

func event(_ number: Int, isBad: Bool = false, padding: Int = 0) -> String {
  let pad = padding == 0 ? "" : #","pad":"\#(String(repeating: "x", count: padding))""#
  return #"{"n":\#(number)\#(isBad ? #","bad":true"# : "")\#(pad)}"#
}
