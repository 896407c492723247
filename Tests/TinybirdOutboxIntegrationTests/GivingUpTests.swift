import Foundation
import NIOCore
import OutboxTestSupport
import Synchronization
import Testing

@testable import TinybirdOutbox

/// What an operator, or the application, may ask for in place of sending for ever.
@Suite(.timeLimit(.minutes(2))) struct GivingUpTests {
  /// Answers 500 to every request that holds a poisoned event, and 200 to all others.
  private final class PoisonedService: EventsTransport {
    private let state = Mutex((taken: [String](), requests: 0))

    var taken: [String] { state.withLock { $0.taken } }
    var requests: Int { state.withLock { $0.requests } }

    func send(_ request: EventsRequest) async -> Outcome {
      let lines = String(buffer: request.body).split(separator: "\n").map(String.init)
      let isPoisoned = lines.contains { $0.contains("poison") }
      state.withLock {
        $0.requests += 1
        if !isPoisoned { $0.taken += lines }
      }
      let body = isPoisoned ? #"{"error":"no"}"# : #"{"successful_rows":\#(lines.count),"quarantined_rows":0}"#
      return .answered(
        Outcome.Answer(status: isPoisoned ? 500 : 200, body: Array(body.utf8), isBodyWhole: true, retryAfter: nil))
    }
  }

  private func events(_ numbers: ClosedRange<Int>, poisoned: Int? = nil) -> [String] {
    numbers.map { $0 == poisoned ? #"{"n":\#($0),"poison":true}"# : #"{"n":\#($0)}"# }
  }

  @Test(arguments: DeliveryConfiguration.Order.allCases)
  func aBatchThatKeepsFailingIsIsolatedOnDemand(order: DeliveryConfiguration.Order) async throws {
    try await withOutbox { outbox in
      try await outbox.append(contentsOf: events(1...500, poisoned: 137), to: "clicks")
      try await outbox.append(contentsOf: events(501...1000), to: "clicks")
      let service = PoisonedService()
      let delivery = Task {
        try await outbox.deliver(to: service) {
          $0.order = order
          $0.maximumBatchEvents = 500
        }
      }
      try await waitUntil(outbox) { $0.dataSources.first?.lastAnswer?.status == 500 }
      #expect(try await outbox.deadLetters().isEmpty, "nothing is given up by itself")
      #expect(try await outbox.isolate(AddressRange("clicks/137")) == 1)
      try await delivery.value
      let letters = try await outbox.deadLetters()
      #expect(letters.map(\.address.description) == ["clicks/137"])
      #expect(letters.first?.reason == .isolated && letters.first?.inserted == .maybe && letters.first?.status == 500)
      #expect(service.taken.sorted() == (events(1...136) + events(138...1000)).sorted())
      #expect(try await outbox.status().deliveredEvents == 999)
      try await expectSound(outbox)
    }
  }

  @Test func whatDoesNotWaitIsNotIsolated() async throws {
    try await withOutbox { outbox in
      try await outbox.append(contentsOf: events(1...10), to: "clicks")
      #expect(try await outbox.isolate(AddressRange("clicks")) == 0, "in no batch yet")
      try await outbox.deliver(to: PoisonedService())
      #expect(try await outbox.isolate(AddressRange("clicks")) == 0)
      await #expect(throws: OutboxError.self) { try await outbox.isolate(AddressRange("none")) }
    }
  }

  @Test func attemptsAreCappedWhereTheApplicationAsksForIt() async throws {
    try await withOutbox { outbox in
      try await outbox.append(contentsOf: events(1...5, poisoned: 3), to: "clicks")
      let service = PoisonedService()
      try await outbox.deliver(to: service) { $0.maximumAttempts = 3 }
      let letters = try await outbox.deadLetters()
      #expect(letters.count == 5 && letters.allSatisfy { $0.reason == .attemptsExhausted && $0.attempts == 3 })
      #expect(service.requests == 3)
      try await expectSound(outbox)
    }
  }

  /// Also where the batch was formed before this start; what an operator replays is sent at any age.
  @Test func ageIsCappedWhereTheApplicationAsksForIt() async throws {
    try await withOutbox { outbox in
      try await outbox.append(contentsOf: events(1...5), to: "clicks")
      try await outbox.committer.perform { transaction in
        let plan = BatchBuilder.Plan(sequences: 1...5, eventCount: 5, byteCount: 40)
        _ = try Ledger(transaction: transaction).form([plan], of: 1, isSending: false)
      }
      try await outbox.append(contentsOf: events(6...10), to: "clicks")
      let service = PoisonedService()
      try await outbox.deliver(to: service) { $0.maximumAge = .milliseconds(1) }
      #expect(service.requests == 0)
      let letters = try await outbox.deadLetters()
      #expect(letters.count == 10 && letters.allSatisfy { $0.reason == .expired && $0.attempts == 0 })
      #expect(letters.first?.inserted == .no)
      _ = try await outbox.replay(matching: DeadLetterFilter(AddressRange("clicks/1..5")), mayDuplicate: true)
      try await outbox.append(contentsOf: events(11...15), to: "clicks")
      try await outbox.deliver(to: service) { $0.maximumAge = .seconds(3600) }
      #expect(service.taken.sorted() == (events(1...5) + events(11...15)).sorted())
      try await expectSound(outbox)
    }
  }
}
