import EventsAPIEmulator
import Testing

@Suite("Emulator: limits")
struct EmulatorLimitTests {
  private static let line = "{\"a\":\"" + String(repeating: "x", count: 93) + "\"}\n"  // 102 bytes

  @Test(
    "A request over the size limit is answered 413, counted as the switch says",
    arguments: [
      (.decompressed, false, 10, 200), (.decompressed, false, 11, 413), (.decompressed, true, 11, 413),
      (.compressed, false, 11, 413), (.compressed, true, 11, 200),
    ] as [(EventsAPIEmulator.CountedBytes, Bool, Int, Int)])
  func size(counted: EventsAPIEmulator.CountedBytes, isGzip: Bool, lines: Int, status: Int) async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.limits.requestBytes = 1020
    configuration.openFacts.countedBytes = counted
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      let client = try await EmulatorClient(emulator)
      let body = String(repeating: Self.line, count: lines)
      let answer = isGzip ? try await client.postGzip(body) : try await client.post(body)
      #expect(answer.status == status)
      #expect(try await emulator.rowCount() == (status == 200 ? lines : 0))
      #expect(status == 200 || answer.body.contains("1020 bytes"))
    }
  }

  @Test("The default limit is 10,000,000 bytes, and the connection is good for another request after a 413")
  func defaultSize() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let client = try await EmulatorClient(emulator)
      let frame = "{\"a\":\"\"}".utf8.count
      let largest = "{\"a\":\"" + String(repeating: "x", count: 10_000_000 - frame) + "\"}"
      #expect(try await client.post(largest).status == 200)
      #expect(try await client.post(largest + " ").status == 413)
      #expect(try await client.post("{}").status == 200)
      #expect(try await emulator.requests().map(\.byteCount) == [10_000_000, 10_000_001, 2])
    }
  }

  @Test("A small body that decompresses to very much is answered 413")
  func decompressionLimit() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.openFacts.countedBytes = .compressed
    configuration.limits.decompressedBytes = 1_000_000
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      let answer = try await EmulatorClient(emulator).postGzip(String(repeating: Self.line, count: 10_000))
      #expect(answer.status == 413)
      #expect(answer.body.contains("larger than 1000000 bytes"))
    }
  }

  @Test("More requests than the limit are answered 429 with Retry-After, and nothing is stored")
  func requestRate() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    // None at all, so that the test does not depend on how fast the machine is.
    configuration.limits.requestsPerSecond = 0
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      let answer = try await EmulatorClient(emulator).post("{}")
      #expect(answer.status == 429)
      #expect(answer.header("Retry-After") == "1")
      #expect(answer.header("X-RateLimit-Limit") == "0")
      #expect(answer.header("X-RateLimit-Remaining") == "0")
      #expect(answer.header("X-RateLimit-Reset") == "1")
      #expect(answer.body.contains("rate limit"))
      #expect(try await emulator.rowCount() == 0)
    }
  }

  @Test("More bytes than the limit are answered 429")
  func byteRate() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.limits.bytesPerSecond = 10
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      let client = try await EmulatorClient(emulator)
      #expect(try await client.post("{\"a\":12}").status == 200, "8 bytes")
      #expect(try await client.post("{\"a\":1234}", query: "name=views").status == 202, "10 bytes, another data source")
      #expect(try await client.post("{\"a\":12345}").status == 429, "11 bytes")
    }
  }

  @Test("Without rate limits nothing is refused and no header field tells of them")
  func noRateLimits() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.limits = .withoutRateLimits
    configuration.limits.requestsPerSecond = 1
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      let client = try await EmulatorClient(emulator)
      for _ in 0..<3 {
        let answer = try await client.post("{}")
        #expect(answer.status == 200)
        #expect(answer.header("X-RateLimit-Limit") == nil)
      }
    }
  }
}
