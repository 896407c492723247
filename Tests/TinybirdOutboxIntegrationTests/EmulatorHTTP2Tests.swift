import AsyncHTTPClient
import EventsAPIEmulator
import Foundation
import NIOHTTP1
import NIOHTTP2
import Testing

@Suite("Emulator: TLS and HTTP/2", .timeLimit(.minutes(1)))
struct EmulatorHTTP2Tests {
  private static var configuration: EventsAPIEmulator.Configuration {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.usesTLS = true
    return configuration
  }

  @Test(
    "HTTP/2 by ALPN, HTTP/1.1 where the client asks for nothing else",
    arguments: [
      (HTTPClient.Configuration.HTTPVersion.automatic, HTTPVersion.http2, "2"), (.http1Only, .http1_1, "1.1"),
    ])
  func versions(asked: HTTPClient.Configuration.HTTPVersion, got: HTTPVersion, recorded: String) async throws {
    try await EventsAPIEmulator.withRunning(Self.configuration) { emulator in
      #expect(try await emulator.baseURL.scheme == "https")
      try await EmulatorClient.withTLS(emulator, httpVersion: asked) { client in
        let answer = try await client.postGzip("{\"a\":1}\n{\"a\":2}")
        #expect(answer.status == 200)
        #expect(answer.httpVersion == got)
        #expect(answer.body == #"{"successful_rows":2,"quarantined_rows":0}"#)
        #expect(answer.header("X-RateLimit-Limit") == "100")
      }
      #expect(try await emulator.requests().map(\.httpVersion) == [recorded])
    }
  }

  @Test("A body of many frames")
  func largeBody() async throws {
    try await EventsAPIEmulator.withRunning(Self.configuration) { emulator in
      let lines = (0..<20_000).map { "{\"number\":\($0),\"text\":\"0123456789012345678901234567890123456789\"}\n" }
      try await EmulatorClient.withTLS(emulator) { client in
        let answer = try await client.post(lines.joined())
        #expect(answer.status == 200)
      }
      #expect(try await emulator.rowCount() == 20_000)
    }
  }

  @Test("Many streams on one connection")
  func manyStreams() async throws {
    try await EventsAPIEmulator.withRunning(Self.configuration) { emulator in
      try await EmulatorClient.withTLS(emulator) { client in
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
          for number in 0..<40 { group.addTask { try await client.post("{\"a\":\(number)}").status } }
          return try await group.reduce(into: Set<Int>()) { $0.insert($1) }
        }
        #expect(statuses == [200])
      }
      #expect(try await emulator.deliveries(of: "clicks").count == 40)
    }
  }

  @Test(
    "Faults that close, refuse or go away leave no answer, and the next request is served",
    arguments: [
      (.close(at: .beforeBody), 0), (.close(at: .beforeCommit), 0), (.close(at: .afterCommit), 1),
      (.close(at: .midAnswer), 1), (.refuseStream, 0), (.goAway, 0),
    ] as [(Fault, Int)])
  func connectionFaults(fault: Fault, stored: Int) async throws {
    try await EventsAPIEmulator.withRunning(Self.configuration) { emulator in
      emulator.faults = [FaultRule(times: 1, do: fault)]
      try await EmulatorClient.withTLS(emulator) { client in
        let error = await #expect(throws: (any Error).self) { try await client.post("{\"a\":1}") }
        if fault == .refuseStream {
          #expect((error as? NIOHTTP2Errors.StreamClosed)?.errorCode == .refusedStream)
        } else if fault != .goAway {
          #expect(!(error is NIOHTTP2Errors.StreamClosed), "the connection is closed, not only the stream")
        }
      }
      #expect(try await emulator.rowCount() == stored)
      #expect(try await emulator.requests().map(\.fault) == [fault.name])
      // Another client: the first may not have noticed yet that its connection is gone.
      try await EmulatorClient.withTLS(emulator) { client in
        let answer = try await client.post("{\"a\":2}")
        #expect(answer.status == 200)
      }
    }
  }

  @Test("On HTTP/1.1 a refused stream and a GOAWAY are closed connections", arguments: [Fault.refuseStream, .goAway])
  func http1(fault: Fault) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(times: 1, do: fault)]
      let client = try await EmulatorClient(emulator)
      await #expect(throws: (any Error).self) { try await client.post("{}") }
      #expect(try await client.post("{}").status == 200)
      #expect(try await emulator.rowCount() == 1)
    }
  }

  @Test("Stopped and started on the same port, also with requests in flight")
  func stopAndStart() async throws {
    try await EventsAPIEmulator.withRunning(Self.configuration) { emulator in
      emulator.faults = [FaultRule(times: 1, delay: .untilReleased(at: .afterCommit))]
      try await EmulatorClient.withTLS(emulator) { client in
        let inFlight = Task { try await client.post("{\"a\":1}") }
        try await emulator.waitForHeldRequests(count: 1)
        try await emulator.stopListening()
        await #expect(throws: (any Error).self) { try await inFlight.value }
        try await emulator.startListening()
      }
      try await EmulatorClient.withTLS(emulator) { client in
        let answer = try await client.post("{\"a\":2}")
        #expect(answer.status == 200)
      }
      #expect(try await emulator.rowCount() == 2)
    }
  }
}
