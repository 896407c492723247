import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Synchronization
import Testing

@testable import TinybirdOutbox

/// A token that the test can change while the outbox delivers.
private final class SharedToken: TokenProvider {
  private let current: Mutex<Token>

  init(_ token: Token) { current = Mutex(token) }

  func token(for dataSource: DataSourceName) -> Token { current.withLock { $0 } }

  func rotate(to token: Token) { current.withLock { $0 = token } }
}

@Suite struct ReplayTests {
  /// Ten events, of which 3, 4 and 8 are refused with 400.
  private func withRefusals(_ body: (Outbox, EventsAPIEmulator) async throws -> Void) async throws {
    try await withDelivery { outbox, emulator in
      emulator.dataSources = ["clicks": DataSourceRules(rejects: .member("bad", equals: true))]
      let bad: Set = [3, 4, 8]
      try await outbox.append(
        contentsOf: (1...10).map { bad.contains($0) ? #"{"n":\#($0),"bad":true}"# : #"{"n":\#($0)}"# }, to: "clicks")
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.deadLetters().map(\.address.sequence) == [3, 4, 8])
      try await body(outbox, emulator)
      try await expectSound(outbox)
    }
  }

  @Test func aReplayThatIsDeliveredEmptiesTheTable() async throws {
    try await withRefusals { outbox, emulator in
      emulator.dataSources = [:]
      let report = try await outbox.replay(matching: DeadLetterFilter())
      #expect(report == ReplayReport(events: 3, batches: 1, leftBecauseMaybeInserted: 0))
      #expect(try await outbox.status().dataSources[0].replayingEvents == 3)
      try await expectSound(outbox)
      try await outbox.deliverUntilEmpty()
      let status = try await outbox.status()
      #expect(status.deadEvents == 0 && status.deliveredEvents == 10 && status.possibleDuplicates == 0)
      #expect(try await emulator.deliveries(of: "clicks").values.allSatisfy { $0 == 1 })
      let events = try await outbox.events(in: AddressRange("clicks"))
      #expect(events.count == 10 && events.allSatisfy { $0.state == .delivered && $0.inserted == .yes })
    }
  }

  @Test func aReplayThatIsRefusedComesBackWithOneAttemptMore() async throws {
    try await withRefusals { outbox, emulator in
      let before = try await outbox.deadLetters()
      _ = try await outbox.replay(matching: DeadLetterFilter())
      try await outbox.deliverUntilEmpty()
      let after = try await outbox.deadLetters()
      #expect(after.map(\.address) == before.map(\.address))
      #expect(zip(before, after).allSatisfy { $1.attempts > $0.attempts && $1.deadAt >= $0.deadAt && !$1.isReplaying })
      #expect(after.map(\.json) == before.map(\.json))
    }
  }

  @Test func aMixedReplayIsIsolated() async throws {
    try await withRefusals { outbox, emulator in
      emulator.dataSources = ["clicks": DataSourceRules(rejects: .member("n", equals: 4))]
      _ = try await outbox.replay(matching: DeadLetterFilter())
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.deadLetters().map(\.address.sequence) == [4])
      #expect(try await outbox.status().deliveredEvents == 9)
      #expect(try await emulator.rowCount() == 9)
    }
  }

  @Test func aRepairedEventIsSentAsRepaired() async throws {
    try await withRefusals { outbox, emulator in
      let address = Address(dataSource: "clicks", sequence: 8)
      let refused = await #expect(throws: OutboxError.self) { try await outbox.repair(address, with: "{oops}") }
      #expect(refused?.code == .invalidEvent)
      let absent = await #expect(throws: OutboxError.self) {
        try await outbox.repair(Address(dataSource: "clicks", sequence: 1), with: "{}")
      }
      #expect(absent?.code == .notFound)
      try await outbox.repair(address, with: #"{"n":8,"repaired":true}"#)
      #expect(try await outbox.deadLetters().map { $0.repairedAt != nil } == [false, false, true])
      _ = try await outbox.replay(matching: DeadLetterFilter(AddressRange("clicks/8")))
      try await outbox.deliverUntilEmpty()
      #expect(try await emulator.deliveries(of: "clicks")[#"{"n":8,"repaired":true}"#] == 1)
      #expect(try await outbox.deadLetters().map(\.address.sequence) == [3, 4])
    }
  }

  @Test func discardedEventsAreCountedAndGone() async throws {
    try await withRefusals { outbox, _ in
      #expect(try await outbox.discard(matching: DeadLetterFilter(AddressRange("clicks/1..7"))) == 2)
      let status = try await outbox.status().dataSources[0]
      #expect(status.discardedEvents == 2 && status.deadEvents == 1)
      #expect(try await outbox.discard(matching: DeadLetterFilter()) == 1)
      #expect(try await outbox.discard(matching: DeadLetterFilter()) == 0)
    }
  }

  @Test func filtersChoose() async throws {
    try await withRefusals { outbox, _ in
      var filter = DeadLetterFilter()
      filter.status = 422
      let none = try await outbox.countDeadLetters(matching: filter)
      #expect(none.count == 0 && none.maybeInserted == 0)
      filter.status = 400
      filter.reason = .refused
      filter.inserted = .no
      filter.since = Date(timeIntervalSinceNow: -60)
      filter.before = Date(timeIntervalSinceNow: 60)
      filter.dataSource = "clicks"
      filter.sequences = 4...100
      #expect(try await outbox.deadLetters(matching: filter).map(\.address.sequence) == [4, 8])
      #expect(
        try await outbox.deadLetters(matching: filter, after: Address(dataSource: "clicks", sequence: 4))
          .map(\.address.sequence) == [8])
      filter.since = Date(timeIntervalSinceNow: 60)
      #expect(try await outbox.deadLetters(matching: filter).isEmpty)
    }
  }

  @Test func whatMayBeInsertedIsReplayedOnlyOnTheOperatorsWord() async throws {
    try await withDelivery { outbox, emulator in
      emulator.faults = [FaultRule(times: 1, do: .partialFailure)]
      try await outbox.append(contentsOf: ["{\"n\":1}", "{\"n\":2}"], to: "clicks")
      try await outbox.deliverUntilEmpty()
      #expect(
        try await outbox.replay(matching: DeadLetterFilter())
          == ReplayReport(events: 0, batches: 0, leftBecauseMaybeInserted: 2))
      #expect(try await outbox.replay(matching: DeadLetterFilter(), mayDuplicate: true).events == 2)
      try await outbox.deliverUntilEmpty()
      let status = try await outbox.status()
      #expect(status.deliveredEvents == 2 && status.possibleDuplicates == 2)
      #expect(try await emulator.deliveries(of: "clicks").values.sorted() == [1, 2])
      try await expectSound(outbox)
    }
  }

  @Test(arguments: [500, 422])
  func theDoubtOfAReplayIsKept(status: Int) async throws {
    try await withRefusals { outbox, emulator in
      emulator.dataSources = [:]
      emulator.faults = [FaultRule(times: 1, do: .answer(status, commit: .all))]
      _ = try await outbox.replay(matching: DeadLetterFilter(AddressRange("clicks/4")))
      try await outbox.deliverUntilEmpty()
      // 422 brings it back as maybe inserted; 500 is retried.
      _ = try await outbox.replay(matching: DeadLetterFilter(AddressRange("clicks/4")), mayDuplicate: true)
      try await outbox.deliverUntilEmpty()
      #expect(try await emulator.deliveries(of: "clicks").values.sorted().last == 2)
      #expect(try await outbox.possibleDuplicates().map(\.description) == ["clicks/4"])
    }
  }

  @Test func deliveredEventsCanBeSentOnceMore() async throws {
    try await withDelivery { outbox, emulator in
      try await outbox.append(contentsOf: (1...10).map { "{\"n\":\($0)}" }, to: "clicks")
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.resend(AddressRange("clicks/3..5")).events == 3)
      try await outbox.deliverUntilEmpty()
      let counts = try await emulator.deliveries(of: "clicks")
      #expect(counts.filter { $0.value == 2 }.keys.sorted() == ["{\"n\":3}", "{\"n\":4}", "{\"n\":5}"])
      let status = try await outbox.status()
      #expect(status.deliveredEvents == 10, "counted once")
      #expect(status.possibleDuplicates == 3)
      #expect(try await outbox.possibleDuplicates().map(\.description) == ["clicks/3..5"])
      let marked = try await outbox.events(in: AddressRange("clicks")).filter(\.mayBeDuplicated)
      #expect(marked.map(\.address.sequence) == [3, 4, 5])
      try await expectSound(outbox)
    }
  }

  @Test func anOperatorsHoldStopsALaneAndNoOther() async throws {
    try await withDelivery { outbox, emulator in
      try await outbox.append("{}", to: "clicks")
      try await outbox.append("{}", to: "orders")
      try await outbox.hold("clicks")
      try await outbox.deliverUntilEmpty()
      #expect(try await emulator.rowCount(of: "clicks") == 0)
      #expect(try await emulator.rowCount(of: "orders") == 1)
      guard case .held(.byOperator, nil, _, nil) = try await outbox.status().dataSources[0].lane else {
        Issue.record("the lane is not held")
        return
      }
      let delivering = Task { try await outbox.run() }
      try await outbox.resume("clicks")
      try await waitUntil(outbox) { $0.deliveredEvents == 2 }
      delivering.cancel()
      try await delivering.value
      let unknown = await #expect(throws: OutboxError.self) { try await outbox.hold("nobody") }
      #expect(unknown?.code == .notFound)
    }
  }

  @Test func resumeCanReplayTheBatchThatCausedTheHold() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.tokens = .only("another")
    try await withDelivery(emulator: configuration) { outbox, emulator in
      try await outbox.append(contentsOf: ["{\"n\":1}", "{\"n\":2}"], to: "clicks")
      try await outbox.deliverUntilEmpty()
      guard case .held(.unauthorized, 403, _, let batch?) = try await outbox.status().dataSources[0].lane else {
        Issue.record("the lane is not held")
        return
      }
      #expect(batch.description == "clicks/1..2")
      try await outbox.append("{\"n\":3}", to: "clicks")
      emulator.tokens = .any
      #expect(try await outbox.resume("clicks", replayingCause: true).events == 2)
      try await outbox.deliverUntilEmpty()
      #expect(try await emulator.deliveries(of: "clicks").count == 3)
      #expect(try await outbox.status().deadEvents == 0)
      try await expectSound(outbox)
    }
  }

  @Test func aNewTokenEndsAHoldThatTheOldOneCaused() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.tokens = .only("new-token")
    let tokens = SharedToken(try Token(testToken))
    try await withDelivery(
      {
        $0.delivery?.tokens = tokens
        $0.delivery?.tokenCheckInterval = .milliseconds(1)
      }, emulator: configuration
    ) { outbox, emulator in
      try await outbox.append("{\"n\":1}", to: "clicks")
      let delivering = Task { try await outbox.run() }
      try await waitUntil(outbox) { if case .held? = $0.dataSources.first?.lane { true } else { false } }
      try await outbox.append("{\"n\":2}", to: "clicks")
      tokens.rotate(to: try Token("new-token"))
      try await waitUntil(outbox) { $0.deliveredEvents == 1 }
      #expect(try await outbox.status().dataSources[0].lane == .open)
      delivering.cancel()
      try await delivering.value
      #expect(try await outbox.deadLetters().map(\.address.sequence) == [1], "one batch was burnt, no more")
    }
  }

  @Test func aRestartProbesAHoldWithOneSmallBatchAndBurnsNothing() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.tokens = .only("another")
    try await withDelivery(emulator: configuration) { outbox, emulator in
      try await outbox.append("{\"n\":1}", to: "clicks")
      try await outbox.deliverUntilEmpty()
      try await outbox.append("{\"n\":2}", to: "clicks")
      try await outbox.deliverUntilEmpty()
      try await outbox.deliverUntilEmpty()
      #expect(try await emulator.requests().count == 3)
      #expect(try await outbox.status().deadEvents == 1)
      emulator.tokens = .any
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.status().deliveredEvents == 1)
    }
  }

  @Test func deliverNowCutsAnOutageShort() async throws {
    try await withDelivery { configuration in
      configuration.delivery?.retryPolicy = RetryPolicy(
        firstDelay: .milliseconds(1), burstAttempts: 2, firstProbeDelay: .seconds(3600), maximumDelay: .seconds(3600))
    } run: { outbox, emulator in
      emulator.goDown(answering: 503)
      try await outbox.append("{}", to: "clicks")
      let delivering = Task { try await outbox.deliverUntilEmpty() }
      try await waitUntil(outbox) {
        if case .outage(failures: 2, _)? = $0.dataSources.first?.lane { true } else { false }
      }
      emulator.comeBack()
      try await outbox.deliverNow("clicks")
      try await delivering.value
      #expect(try await outbox.status().deliveredEvents == 1)
    }
  }

  @Test func theLogOfAttemptsTellsTheStory() async throws {
    try await withDelivery { outbox, emulator in
      emulator.faults = [FaultRule(times: 1, do: .answer(500)), FaultRule(times: 1, do: .answer(429))]
      try await outbox.append("{}", to: "clicks")
      try await outbox.deliverUntilEmpty()
      let attempts = try await outbox.attempts(for: AddressRange("clicks/1"))
      #expect(attempts.map(\.status) == [200, 429, 500])
      #expect(attempts.map(\.verdict) == ["delivered", "pause", "retry"])
      #expect(attempts.map(\.inserted) == [.yes, .no, .maybe])
      #expect(attempts.allSatisfy { $0.sentBytes > 0 && $0.eventCount == 1 && $0.latency >= .zero })
    }
  }
}
