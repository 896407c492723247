import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct DeliveryTests {
  @Test func everyEventArrivesOnceAndTheLedgerSaysSo() async throws {
    try await withDelivery { outbox, emulator in
      let events = (1...5000).map { #"{"n":\#($0),"text":"\#(String(repeating: "x", count: 100))"}"# }
      for start in stride(from: 0, to: 5000, by: 500) {
        try await outbox.append(
          contentsOf: Array(events[start..<(start + 500)]), to: start < 2500 ? "clicks" : "orders")
      }
      try await outbox.deliverUntilEmpty()
      let clicks = try await emulator.deliveries(of: "clicks")
      let orders = try await emulator.deliveries(of: "orders")
      #expect(Set(clicks.keys).union(orders.keys) == Set(events))
      #expect(clicks.values.allSatisfy { $0 == 1 } && orders.values.allSatisfy { $0 == 1 })
      let status = try await outbox.status()
      #expect(status.pendingEvents == 0)
      #expect(status.deliveredEvents == 5000)
      #expect(status.possibleDuplicates == 0)
      #expect(status.dataSources.map(\.successfulRows) == [2500, 2500])
      let requests = try await emulator.requests()
      #expect(requests.allSatisfy { $0.isGzip && $0.waits })
      try await expectSound(outbox)
    }
  }

  @Test func identityBodiesAndSmallBatches() async throws {
    try await withDelivery { configuration in
      configuration.delivery?.compresses = false
      configuration.delivery?.maximumBatchBytes = 1000
    } run: { outbox, emulator in
      for n in 0..<50 { try await outbox.append(#"{"n":\#(n),"x":"................................"}"#, to: "clicks") }
      try await outbox.deliverUntilEmpty()
      #expect(try await emulator.deliveries(of: "clicks").count == 50)
      let requests = try await emulator.requests()
      #expect(requests.allSatisfy { !$0.isGzip && $0.byteCount <= 1000 })
      #expect(requests.count >= 3)
    }
  }

  @Test func eventsOfAnotherProcessAreFoundWhileDelivering() async throws {
    try await withDelivery { outbox, emulator in
      let delivering = Task { try await outbox.run() }
      // A second connection of its own: what another process is, to SQLite.
      let other = try await Outbox(at: outbox.file.path)
      try await other.append(#"{"from":"other"}"#, to: "clicks")
      try await waitUntil(outbox) { $0.deliveredEvents == 1 }
      delivering.cancel()
      try await delivering.value
      await other.close()
      #expect(try await emulator.rowCount() == 1)
    }
  }

  @Test func aSecondDelivererStandsByAndTakesOver() async throws {
    try await withDelivery { outbox, emulator in
      let other = try await Outbox(at: outbox.file.path, configuration: outbox.configuration)
      emulator.faults = [FaultRule(times: 1, delay: .untilReleased(at: .beforeCommit))]
      try await outbox.append(#"{"n":1}"#, to: "clicks")
      let first = Task { try await outbox.run() }
      try await emulator.waitForHeldRequests(count: 1)
      let (waits, signal) = AsyncStream.makeStream(of: Int?.self)
      let second = Task { try await other.deliverUntilEmpty { signal.yield($0.map(Int.init)) } }
      var iterator = waits.makeAsyncIterator()
      #expect(await iterator.next() == Int(currentProcessID()))
      try await outbox.append(#"{"n":2}"#, to: "clicks")
      emulator.releaseHeldRequests()
      try await emulator.waitForRows(count: 2)
      first.cancel()
      try await first.value
      try await second.value
      #expect(try await other.status().pendingEvents == 0)
      await other.close()
    }
  }

  @Test func withoutADeliveryConfigurationRunSaysSo() async throws {
    try await withOutbox { outbox in
      let error = await #expect(throws: OutboxError.self) { try await outbox.run() }
      #expect(error?.code == .invalidConfiguration)
    }
  }

  @Test func whatIsInFlightAtACrashIsSentAgainAndNamed() async throws {
    try await withDelivery { outbox, emulator in
      try await outbox.append(contentsOf: ["{\"n\":1}", "{\"n\":2}"], to: "clicks")
      // The ledger as a process leaves it that was killed between send and settle: the rows are there, nobody noted it.
      emulator.faults = [FaultRule(times: 1, delay: .untilReleased(at: .afterCommit))]
      let doomed = Task { try await outbox.run() }
      try await emulator.waitForHeldRequests(count: 1)
      let copy = outbox.file.path + "-crashed"
      try SQLiteShell(outbox.file.path).run("VACUUM INTO '\(copy)'")
      emulator.releaseHeldRequests()
      doomed.cancel()
      try await doomed.value
      let restarted = try await Outbox(at: copy, configuration: outbox.configuration)
      #expect(try await restarted.status().dataSources[0].batchesInFlight == 1)
      try await restarted.deliverUntilEmpty()
      let status = try await restarted.status()
      #expect(status.deliveredEvents == 2)
      #expect(status.possibleDuplicates == 2, "the batch that was in flight is named")
      #expect(try await emulator.deliveries(of: "clicks").values.allSatisfy { $0 == 2 })
      try await expectSound(restarted)
      await restarted.close()
    }
  }

  @Test func twoOutagesAndNothingIsLost() async throws {
    try await withDelivery { outbox, emulator in
      let delivering = Task { try await outbox.run() }
      try await outbox.append(#"{"n":1}"#, to: "clicks")
      try await emulator.waitForRows(count: 1)
      for outage in 0..<2 {
        if outage == 0 { try await emulator.stopListening() } else { emulator.goDown(answering: 503) }
        for n in 0..<20 { try await outbox.append(#"{"outage":\#(outage),"n":\#(n)}"#, to: "clicks") }
        if outage == 1 { try await emulator.waitForRequests(count: 3) }
        if outage == 0 { try await emulator.startListening() } else { emulator.comeBack() }
        try await emulator.waitForRows(count: 1 + (outage + 1) * 20)
      }
      delivering.cancel()
      try await delivering.value
      try await outbox.deliverUntilEmpty()
      #expect(try await emulator.deliveries(of: "clicks").count == 41)
      #expect(try await outbox.status().deliveredEvents == 41)
      try await expectSound(outbox)
    }
  }

  /// One data source has bodies under way up to the bound, and none of them is answered.
  @Test(.timeLimit(.minutes(1))) func aSlowDataSourceDoesNotSlowTheOthers() async throws {
    try await withDelivery({
      $0.delivery?.compresses = false
      $0.delivery?.maximumBatchBytes = 1_000
      $0.delivery?.maximumBodyBytes = 2_000
    }) { outbox, emulator in
      emulator.faults = [FaultRule(when: FaultCondition(dataSource: "slow"), delay: .untilReleased(at: .beforeCommit))]
      for number in 1...5 {
        try await outbox.append("{\"n\":\(number),\"pad\":\"\(String(repeating: "x", count: 900))\"}", to: "slow")
      }
      let running = Task { try await outbox.run() }
      try await emulator.waitForHeldRequests(count: 3)
      for number in 1...3 {
        try await outbox.append(event(number), to: "fast")
        try await waitUntil(outbox) { $0.dataSources.first { $0.dataSource == "fast" }?.deliveredEvents == number }
      }
      let slow = try await outbox.status().dataSources.first { $0.dataSource == "slow" }
      #expect(slow?.batchesInFlight == 3, "the bound holds for one")
      running.cancel()
      try? await running.value
      #expect(try await outbox.attempts(for: AddressRange("slow")).count == 3, "none is sent at the end")
    }
  }

  /// The service takes fewer requests than we would send, and says so with each answer: none is refused.
  @Test func whatTheServiceHasLeftIsKeptTo() async throws {
    var emulator = EventsAPIEmulator.Configuration()
    emulator.limits.requestsPerSecond = 3
    try await withDelivery(
      {
        $0.delivery?.maximumBatchEvents = 1
        $0.delivery?.maximumInFlight = 1
        $0.delivery?.retryPolicy.maximumDelay = .seconds(5)
      }, emulator: emulator
    ) { outbox, _ in
      for number in 1...8 { try await outbox.append("{\"n\":\(number)}", to: "clicks") }
      try await outbox.deliverUntilEmpty()
      let answers = try SQLiteShell(outbox.file.path).run(
        "SELECT status, count(*) FROM outbox_attempts GROUP BY status")
      #expect(answers == [["200", "8"]])
    }
  }
}

/// Runs `body` with an emulator and an outbox that delivers to it, with waits short enough for tests.
func withDelivery(
  _ change: (inout OutboxConfiguration) throws -> Void = { _ in },
  emulator emulatorConfiguration: EventsAPIEmulator.Configuration = .init(),
  run body: (Outbox, EventsAPIEmulator) async throws -> Void
) async throws {
  try await EventsAPIEmulator.withRunning(emulatorConfiguration) { emulator in
    var configuration = OutboxConfiguration()
    configuration.delivery = try DeliveryConfiguration(
      baseURL: try await emulator.baseURL.absoluteString, token: testToken)
    configuration.delivery?.retryPolicy = RetryPolicy(
      firstDelay: .milliseconds(5), firstProbeDelay: .milliseconds(20), maximumDelay: .milliseconds(50))
    configuration.delivery?.shutdownGrace = .milliseconds(100)
    try change(&configuration)
    try await withOutbox(configuration) { try await body($0, emulator) }
  }
}

let testToken = "p.eyJ1IjogInRlc3QtdG9rZW4tb2YtdGhlLXN1aXRlIn0.c2VjcmV0"

/// The whole outbox holds together.
func expectSound(_ outbox: Outbox, sourceLocation: SourceLocation = #_sourceLocation) async throws {
  let report = try await outbox.verify()
  #expect(report.problems.isEmpty, sourceLocation: sourceLocation)
  #expect(report.dataSources.allSatisfy { $0.isWhole }, sourceLocation: sourceLocation)
}
