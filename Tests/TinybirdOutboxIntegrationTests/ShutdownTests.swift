import EventsAPIEmulator
import Foundation
import Logging
import OutboxTestSupport
import ServiceLifecycle
import Testing

@testable import TinybirdOutbox

@Suite struct ShutdownTests {
  @Test func aGracefulShutdownWaitsForTheAnswerAndSettlesIt() async throws {
    try await withDelivery {
      $0.delivery?.shutdownGrace = .seconds(60)
    } run: { outbox, emulator in
      emulator.faults = [FaultRule(times: 1, delay: .untilReleased(at: .beforeCommit))]
      try await outbox.append("{\"n\":1}", to: "clicks")
      let stopping = StopSignal()
      let running = Task { try await outbox.deliver(until: .shutdown, stopping: stopping) { _ in } }
      try await emulator.waitForHeldRequests(count: 1)
      stopping.set()
      try await outbox.append("{\"n\":2}", to: "clicks")
      emulator.releaseHeldRequests()
      try await running.value
      let status = try await outbox.status().dataSources[0]
      #expect(status.deliveredEvents == 1, "what was under way is settled")
      #expect(status.pendingEvents == 1, "nothing new is sent")
      #expect(status.batchesInFlight == 0 && status.possibleDuplicates == 0)
      try await expectSound(outbox)
    }
  }

  @Test func whatIsNotAnsweredInTheGraceTimeIsMaybeInserted() async throws {
    try await withDelivery {
      $0.delivery?.shutdownGrace = .milliseconds(20)
    } run: { outbox, emulator in
      emulator.faults = [FaultRule(times: 1, delay: .untilReleased(at: .beforeCommit))]
      try await outbox.append("{\"n\":1}", to: "clicks")
      let group = ServiceGroup(services: [outbox], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
      let running = Task { try await group.run() }
      try await emulator.waitForHeldRequests(count: 1)
      await group.triggerGracefulShutdown()
      try await running.value
      let event = try #require(try await outbox.events(in: AddressRange("clicks")).first)
      #expect(event.state == .pending && event.inserted == .maybe)
      #expect(event.attempts == 0, "an attempt that we cut short does not count")
      #expect(try await outbox.attempts(for: AddressRange("clicks")).map(\.verdict) == ["none"])
      emulator.releaseHeldRequests()
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.status().possibleDuplicates == 1)
      try await expectSound(outbox)
    }
  }

  @Test func appendingWorksWithoutRunAndAfterIt() async throws {
    try await withDelivery { outbox, emulator in
      try await outbox.append("{\"n\":1}", to: "clicks")
      let running = Task { try await outbox.run() }
      try await waitUntil(outbox) { $0.deliveredEvents == 1 }
      running.cancel()
      try await running.value
      try await outbox.append("{\"n\":2}", to: "clicks")
      #expect(try await outbox.status().pendingEvents == 1)
      try await outbox.deliverUntilEmpty()
      #expect(try await emulator.rowCount() == 2)
    }
  }
}
