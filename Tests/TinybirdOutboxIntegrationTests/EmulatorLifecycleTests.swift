import EventsAPIEmulator
import Foundation
import Logging
import ServiceLifecycle
import Testing

@Suite("Emulator: running and ending", .timeLimit(.minutes(1)))
struct EmulatorLifecycleTests {
  private struct Failure: Error {}

  @Test("It runs in a service group, and ends with its graceful shutdown, also while it holds a request")
  func serviceGroup() async throws {
    let emulator = try EventsAPIEmulator()
    emulator.faults = [FaultRule(when: FaultCondition(request: 2), delay: .untilReleased(at: .beforeCommit))]
    let group = ServiceGroup(services: [emulator], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    async let running: Void = group.run()
    let client = try await EmulatorClient(emulator)
    #expect(try await client.post("{}").status == 200)
    let held = Task { try await client.post("{}") }
    try await emulator.waitForHeldRequests(count: 1)
    await group.triggerGracefulShutdown()
    try await running
    await #expect(throws: (any Error).self) { try await held.value }
    #expect(try await emulator.requests().map(\.status) == [200, nil], "what was cut off is in the log")
    await #expect(throws: EmulatorError.self) { try await emulator.startListening() }
  }

  @Test("A port that is taken is an error, of run() and of whoever waits for the port")
  func portTaken() async throws {
    try await EventsAPIEmulator.withRunning { first in
      var configuration = EventsAPIEmulator.Configuration()
      configuration.port = try #require(try await first.baseURL.port)
      let second = try EventsAPIEmulator(configuration)
      async let url = second.baseURL
      await #expect(throws: (any Error).self) { try await second.run() }
      do {
        _ = try await url
        Issue.record("a port was found")
      } catch {}
      await #expect(throws: (any Error).self) {
        try await EventsAPIEmulator.withRunning(configuration) { _ in Issue.record("it listens") }
      }
    }
  }

  @Test("A body that throws ends the emulator, and its error comes out")
  func bodyThrows() async throws {
    var url: URL?
    do {
      try await EventsAPIEmulator.withRunning { emulator in
        url = try await emulator.baseURL
        throw Failure()
      }
    } catch is Failure {}
    var configuration = EventsAPIEmulator.Configuration()
    configuration.port = try #require(url?.port)
    // The port is free again.
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      let again = try await emulator.baseURL
      #expect(again == url)
    }
  }

  @Test("IPv6, and a certificate that names it")
  func ipv6() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.host = "::1"
    configuration.usesTLS = true
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      let url = try await emulator.baseURL
      #expect(url.absoluteString.hasPrefix("https://[::1]:"))
      try await EmulatorClient.withTLS(emulator) { client in
        let answer = try await client.post("{}")
        #expect(answer.status == 200)
      }
    }
  }

  @Test("A client that does not trust the certificate gets no answer")
  func untrusted() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.usesTLS = true
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      let client = try await EmulatorClient(emulator)
      await #expect(throws: (any Error).self) { try await client.post("{}") }
      #expect(try await emulator.requests().isEmpty)
    }
  }
}
