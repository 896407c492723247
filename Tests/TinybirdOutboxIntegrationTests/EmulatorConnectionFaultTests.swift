import AsyncHTTPClient
import EventsAPIEmulator
import Foundation
import NIOCore
import NIOHTTP1
import Testing

@Suite("Emulator: faults of the connection", .timeLimit(.minutes(1)))
struct EmulatorConnectionFaultTests {
  @Test(
    "A closed connection, and what is stored by then",
    arguments: [
      (FaultMoment.beforeBody, 0), (.beforeCommit, 0), (.afterCommit, 1), (.midAnswer, 1),
    ])
  func close(moment: FaultMoment, stored: Int) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(times: 1, do: .close(at: moment))]
      let client = try await EmulatorClient(emulator)
      await #expect(throws: (any Error).self) { try await client.post("{\"a\":1}") }
      #expect(try await emulator.rowCount() == stored)
      let request = try #require(try await emulator.requests().first)
      #expect(request.status == (moment == .midAnswer ? 200 : nil))
      #expect(request.isCommitted == (stored == 1))
      #expect(request.byteCount == (moment == .beforeBody ? 0 : 7))
      #expect(request.fault == "close")
      #expect(try await client.post("{\"a\":2}").status == 200)
    }
  }

  @Test("A body that never ends goes on for longer than a client should read")
  func endlessAnswer() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(do: .endlessAnswer)]
      let body = try await EmulatorClient(emulator).answerBody("{}")
      var count = 0
      for try await piece in body {
        count += piece.readableBytes
        if count > 1_000_000 { break }
      }
      #expect(count > 1_000_000)
      #expect(try await emulator.rowCount() == 1)
    }
  }

  @Test("A slow answer comes whole in the end; a byte at a time")
  func slowAnswer() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let client = try await EmulatorClient(emulator)
      emulator.faults = [FaultRule(do: .slowAnswer(pauseAfterEachByte: .microseconds(10)))]
      let answer = try await client.post("{}")
      #expect(answer.body == #"{"successful_rows":1,"quarantined_rows":0}"#)
      emulator.faults = [FaultRule(do: .slowAnswer(pauseAfterEachByte: .seconds(3600)))]
      var body = try await client.answerBody("{}").makeAsyncIterator()
      #expect(try await body.next()?.readableBytes == 1)
      #expect(try await emulator.rowCount() == 2)
    }
  }

  @Test(
    "A request is held until it is released, at each moment",
    arguments: [(FaultMoment.beforeBody, 0), (.beforeCommit, 0), (.afterCommit, 1), (.midAnswer, 1)])
  func held(moment: FaultMoment, storedMeanwhile: Int) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(delay: .untilReleased(at: moment))]
      let client = try await EmulatorClient(emulator)
      async let answer = client.post("{}")
      try await emulator.waitForHeldRequests(count: 1)
      #expect(try await emulator.rowCount() == storedMeanwhile)
      emulator.releaseHeldRequests()
      #expect(try await answer.status == 200)
      #expect(try await answer.body == #"{"successful_rows":1,"quarantined_rows":0}"#)
      #expect(try await emulator.rowCount() == 1)
      #expect(try await emulator.requests().map(\.fault) == ["delay"])
    }
  }

  @Test("A delay ends by itself, and a fault strikes after it")
  func delay() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(delay: .pause(.milliseconds(50), at: .beforeCommit), do: .answer(503))]
      let client = try await EmulatorClient(emulator)
      let start = ContinuousClock.now
      #expect(try await client.post("{}").status == 503)
      #expect(ContinuousClock.now - start >= .milliseconds(50))
    }
  }

  @Test("A client that gives up while its request is held has its rows stored all the same")
  func clientGivesUp() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(delay: .untilReleased(at: .beforeCommit))]
      let client = try await EmulatorClient(emulator)
      let request = Task { try await client.post("{}") }
      try await emulator.waitForHeldRequests(count: 1)
      request.cancel()
      await #expect(throws: (any Error).self) { try await request.value }
      emulator.releaseHeldRequests()
      try await emulator.waitForRows(count: 1, of: "clicks")
    }
  }

  @Test(
    "A request that the client cuts short is not stored, with Content-Length and with chunks", arguments: [false, true])
  func cutShort(isChunked: Bool) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let length = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: 100"
      let body = isChunked ? "10\r\n{\"a\":1}\n{\"a\":2}\n\r\n" : "{\"a\":1}\n{\"a\":2}\n"
      let head = "POST /v0/events?name=clicks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\(length)\r\n\r\n"
      try await RawConnection.with(emulator) { connection in try await connection.send(head + body) }
      try await emulator.waitForRequests(count: 1)
      let request = try #require(try await emulator.requests().first)
      #expect(request.status == nil)
      #expect(!request.isCommitted)
      #expect(try await emulator.rowCount() == 0)
    }
  }

  @Test("A request that is cut short by an outage is not stored", arguments: [false, true], [false, true])
  func cutShortByOutage(isChunked: Bool, stops: Bool) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let length = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: 100"
      let body = isChunked ? "10\r\n{\"a\":1}\n{\"a\":2}\n\r\n" : "{\"a\":1}\n{\"a\":2}\n"
      let head = "POST /v0/events?name=clicks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\(length)\r\n\r\n"
      try await RawConnection.with(emulator) { connection in
        try await connection.send(head + body)
        try await emulator.waitForArrivals(count: 1)
        if stops { try await emulator.stopListening() } else { emulator.goDown() }
        try await emulator.waitForRequests(count: 1)
      }
      #expect(try await emulator.requests().map(\.status) == [nil])
      #expect(try await emulator.rowCount() == 0)
    }
  }

  @Test("A client that expects 100 Continue gets it before it sends the body")
  func expectContinue() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      try await RawConnection.with(emulator) { connection in
        try await connection.send(
          """
          POST /v0/events?name=clicks HTTP/1.1\r
          Host: x\r
          Authorization: Bearer good\r
          Expect: 100-continue\r
          Content-Length: 2\r
          \r\n
          """)
        #expect(try await connection.receive(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100 Continue"))
        try await connection.send("{}")
        #expect(try await connection.receive(until: "}").hasPrefix("HTTP/1.1 202 Accepted"))
      }
    }
  }

  @Test("Down: open connections are closed, new ones too, until the service comes back")
  func down() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(times: 1, delay: .untilReleased(at: .beforeCommit))]
      let client = try await EmulatorClient(emulator)
      let inFlight = Task { try await client.post("{}") }
      try await emulator.waitForHeldRequests(count: 1)
      emulator.goDown()
      let error = await #expect(throws: (any Error).self) { try await inFlight.value }
      #expect(error as? HTTPClientError != .deadlineExceeded)
      await #expect(throws: (any Error).self) { try await client.post("{}", deadline: .seconds(2)) }
      emulator.comeBack()
      #expect(try await client.post("{}").status == 200)
      #expect(try await emulator.requests().last?.status == 200)
    }
  }

  @Test("Stopped: connections are refused by the system; started again on the same port")
  func stopAndStart() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let url = try await emulator.baseURL
      for _ in 0..<3 {
        try await EmulatorClient.withNewClient(emulator) { client in
          let answer = try await client.post("{\"a\":1}")
          #expect(answer.status == 200)
        }
        try await emulator.stopListening()
        await #expect(throws: (any Error).self) {
          try await RawConnection.with(emulator) { _ in }
        }
        try await emulator.startListening()
        #expect(try await emulator.baseURL == url)
      }
      #expect(try await emulator.deliveries(of: "clicks") == ["{\"a\":1}": 3])
    }
  }

  @Test("Stopping cuts off what is in flight, whatever it hangs on")
  func stopWhileInFlight() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(delay: .pause(.seconds(3600), at: .afterCommit))]
      let client = try await EmulatorClient(emulator)
      let inFlight = Task { try await client.post("{}", deadline: .seconds(60)) }
      try await emulator.waitForRows(count: 1)
      try await emulator.stopListening()
      let error = await #expect(throws: (any Error).self) { try await inFlight.value }
      #expect(error as? HTTPClientError != .deadlineExceeded)
    }
  }
}
