@testable import EventsAPIEmulator
import Foundation
import NIOSSL
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// What a connection can do to a request and its answer, byte by byte: nothing is lost, and what may be there twice is
/// named.
@Suite(.timeLimit(.minutes(1))) struct HTTPFaultTests {
  /// Strikes the first connection; the next ones are served.
  struct Fault: Sendable, CustomTestStringConvertible {
    var name: String
    /// Bytes of each of the three events.
    var eventBytes = 10
    /// Whether the service had stored the rows.
    var stores = false
    /// Whether the request arrived, as far as can be known.
    var inserted = Inserted.maybe
    /// What the log keeps of the attempt.
    var answer: String?
    var verdict = "retry"
    var script: RawService.Script
    var testDescription: String { name }
  }

  static let faults: [Fault] = [
    Fault(name: "reset before the body", eventBytes: 1_000_000, answer: "no answer: connection_closed") {
      _ = try await $0.readHead()
      try await $0.reset()
    },
    Fault(name: "reset in the body", eventBytes: 1_000_000, answer: "no answer: connection_closed") {
      _ = try await $0.readHead()
      _ = try await $0.read(500_000)
      try await $0.reset()
    },
    Fault(name: "reset after the body", answer: "no answer: connection_closed") {
      _ = try await $0.readRequest()
      try await $0.reset()
    },
    Fault(name: "reset after the commit", stores: true, answer: "no answer: connection_closed") {
      $0.store(try await $0.readRequest())
      try await $0.reset()
    },
    Fault(name: "closed without an answer", stores: true, answer: "no answer: connection_closed") {
      $0.store(try await $0.readRequest())
    },
    Fault(name: "half a status line", stores: true) {
      $0.store(try await $0.readRequest())
      try await $0.send("HTTP/1.1 2")
    },
    Fault(name: "half a head", stores: true) {
      $0.store(try await $0.readRequest())
      try await $0.send("HTTP/1.1 200 OK\r\nContent-Type: applic")
    },
    Fault(name: "a head and no body", stores: true) {
      $0.store(try await $0.readRequest())
      try await $0.send(ServedConnection.answer(length: ServedConnection.length, ""))
    },
    // Whole JSON, which the length says is not the whole body.
    Fault(name: "Content-Length too long", stores: true, answer: ServedConnection.counts(3)) {
      $0.store(try await $0.readRequest())
      try await $0.send(ServedConnection.answer(length: 1000, ServedConnection.counts(3)))
    },
    Fault(name: "reset in the answer", stores: true) {
      $0.store(try await $0.readRequest())
      try await $0.send(ServedConnection.answer(length: ServedConnection.length, #"{"succ"#))
      try await $0.reset()
    },
    Fault(name: "chunks without the last one", stores: true, answer: ServedConnection.counts(3)) {
      $0.store(try await $0.readRequest())
      let counts = ServedConnection.counts(3)
      try await $0.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\(String(counts.utf8.count, radix: 16))\r\n\(counts)\r\n")
    },
    Fault(name: "two lengths", stores: true, answer: "no answer: invalid_answer") {
      $0.store(try await $0.readRequest())
      try await $0.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 42\r\n\r\n")
    },
    Fault(name: "not HTTP", stores: true, answer: "no answer: invalid_answer") {
      $0.store(try await $0.readRequest())
      try await $0.send("SSH-2.0-OpenSSH_9.2\r\n")
    },
    Fault(name: "a head without end", stores: true, answer: "no answer: invalid_answer") {
      $0.store(try await $0.readRequest())
      try await $0.send("HTTP/1.1 200 OK\r\n")
      while true { try await $0.send("X-More: \(String(repeating: "x", count: 1000))\r\n") }
    },
    Fault(name: "a refusal before the body", eventBytes: 1_000_000, inserted: .no) {
      let head = try await $0.readHead()
      try await $0.send("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
      _ = try await $0.readBody(head)
    },
    Fault(
      name: "an answer before the answer", stores: true, inserted: .yes, answer: ServedConnection.counts(3),
      verdict: "delivered"
    ) {
      $0.store(try await $0.readRequest())
      try await $0.send("HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n\(ServedConnection.answer(3))")
    },
  ]

  @Test(arguments: faults)
  func nothingIsLostAndEveryPossibleDuplicateIsNamed(fault: Fault) async throws {
    let script: RawService.Script = { connection in
      try await connection.number == 1 ? fault.script(connection) : connection.serve()
    }
    try await withRawDelivery(script) { outbox, service in
      let padding = String(repeating: "x", count: fault.eventBytes)
      let events = (1...3).map { #"{"n":\#($0),"padding":"\#(padding)"}"# }
      try await outbox.append(contentsOf: events, to: "clicks")
      try await outbox.deliverUntilEmpty()
      let isRetried = fault.verdict == "retry"
      #expect(service.seen.connections == (isRetried ? 2 : 1))
      let copies = fault.stores && isRetried ? 2 : 1
      #expect(service.seen.rows.sorted() == events.flatMap { Array(repeating: $0, count: copies) })
      let status = try await outbox.status().dataSources[0]
      #expect(status.deliveredEvents == 3 && status.pendingEvents == 0 && status.deadEvents == 0)
      #expect(status.possibleDuplicates == (fault.inserted == .maybe ? 3 : 0))
      #expect(status.successfulRows == 3)
      let log = try await outbox.attempts(for: AddressRange("clicks"))
      #expect(log.map(\.verdict) == (isRetried ? ["delivered", "retry"] : ["delivered"]))
      let attempt = try #require(log.last)
      #expect(attempt.inserted == fault.inserted)
      if let answer = fault.answer { #expect(attempt.answer == answer) }
      try await expectSound(outbox)
    }
  }

  /// The ten bytes are not JSON; the other 32 are not the next request's answer.
  @Test func anAnswerThatIsLongerThanItSaysHoldsTheLane() async throws {
    let script: RawService.Script = { connection in
      guard connection.number == 1 else { return try await connection.serve() }
      connection.store(try await connection.readRequest())
      try await connection.send(ServedConnection.answer(length: 10, ServedConnection.counts(3)))
      try await connection.serve()
    }
    try await withRawDelivery(script) { outbox, service in
      try await outbox.append(contentsOf: ["{}", "{}", "{}"], to: "clicks")
      try await outbox.deliverUntilEmpty()
      var status = try await outbox.status().dataSources[0]
      guard case .held(.notTheEventsAPI, status: 200, _, _) = status.lane else {
        Issue.record("the lane is \(status.lane)")
        return
      }
      #expect(status.pendingEvents == 3)
      #expect(try await outbox.events(in: AddressRange("clicks")).allSatisfy { $0.inserted == .maybe })
      try await outbox.resume("clicks")
      try await outbox.deliverUntilEmpty()
      status = try await outbox.status().dataSources[0]
      #expect(status.deliveredEvents == 3 && status.possibleDuplicates == 3)
      #expect(service.seen.rows.count == 6)
      try await expectSound(outbox)
    }
  }

  /// Bytes that nobody asked for end the connection; taken for an answer, they would acknowledge events that never came.
  @Test func aSecondAnswerIsNotTheNextRequests() async throws {
    let script: RawService.Script = { connection in
      guard connection.number == 1 else { return try await connection.serve() }
      connection.store(try await connection.readRequest())
      try await connection.send(ServedConnection.answer(1) + ServedConnection.answer(99))
      try await connection.readToTheEnd()
    }
    try await withRawDelivery(script) { outbox, service in
      let delivering = Task { try await outbox.run() }
      try await outbox.append(#"{"n":1}"#, to: "clicks")
      try await service.wait { $0.ended == 1 }
      try await outbox.append(#"{"n":2}"#, to: "clicks")
      try await waitUntil(outbox) { $0.deliveredEvents == 2 }
      delivering.cancel()
      try await delivering.value
      #expect(service.seen.rows == [#"{"n":1}"#, #"{"n":2}"#])
      let status = try await outbox.status().dataSources[0]
      #expect(status.successfulRows == 2 && status.batchesWithWarnings == 0 && status.possibleDuplicates == 0)
      #expect(service.seen.connections == 2)
      try await expectSound(outbox)
    }
  }

  @Test(arguments: [301, 302, 303, 307, 308])
  func noRedirectIsFollowed(status: Int) async throws {
    let serve: RawService.Script = { try await $0.serve() }
    try await RawService.withRunning(script: serve) { other in
      let target = "http://127.0.0.1:\(other.port)/v0/events?name=clicks&wait=true"
      let redirect: RawService.Script = { connection in
        while true {
          _ = try await connection.readRequest()
          try await connection.send("HTTP/1.1 \(status) Elsewhere\r\nLocation: \(target)\r\nContent-Length: 0\r\n\r\n")
        }
      }
      try await withRawDelivery(redirect) { outbox, service in
        try await outbox.append("{}", to: "clicks")
        try await outbox.deliverUntilEmpty()
        #expect(service.seen.heads.count == 1)
        #expect(service.seen.heads.allSatisfy { $0.contains("Bearer \(testToken)") })
        #expect(other.seen.connections == 0, "another host was asked, and the token is in its logs")
        let dataSource = try await outbox.status().dataSources[0]
        guard case .held(.redirected, status: status, _, _) = dataSource.lane else {
          Issue.record("the lane is \(dataSource.lane)")
          return
        }
        #expect(dataSource.pendingEvents == 1 && dataSource.deliveredEvents == 0)
        #expect(try await outbox.events(in: AddressRange("clicks")).map(\.inserted) == [.no])
        try await expectSound(outbox)
      }
    }
  }

  /// It is trusted, but for another name: whoever got hold of it is not the service.
  @Test func aCertificateForAnotherHostGetsNoToken() async throws {
    let certificate = try SelfSignedCertificate(now: Date(), host: "other.invalid")
    try await withRawDelivery(
      {
        _ = try await $0.read(1); $0.step()
      }, tls: certificate
    ) { outbox, service in
      try await outbox.append("{}", to: "clicks")
      let delivering = Task { try await outbox.deliverUntilEmpty() }
      try await waitUntil(outbox) { $0.dataSources.first?.lastAnswer != nil }
      delivering.cancel()
      _ = await delivering.result
      let attempt = try #require(try await outbox.attempts(for: AddressRange("clicks")).last)
      #expect(attempt.answer == "no answer: tls" && attempt.inserted == .no)
      #expect(service.seen.connections > 0 && service.seen.steps == 0, "a byte of a request came through")
      let status = try await outbox.status()
      #expect(status.pendingEvents == 1 && status.deliveredEvents == 0 && status.deadEvents == 0)
      try await expectSound(outbox)
    }
  }
}

/// Runs `body` with an outbox that delivers, without compression, to a service whose every byte is the test's.
///
/// With `tls` it speaks one of `protocols` over TLS, but for the first `clear` connections.
func withRawDelivery(
  _ script: @escaping RawService.Script, tls: SelfSignedCertificate? = nil, protocols: [String] = ["h2"],
  clear: Int = 0, accepts: Bool = true, http change: (inout HTTPSettings) -> Void = { _ in },
  run body: (Outbox, RawService) async throws -> Void
) async throws {
  var serverTLS = try tls?.tlsConfiguration()
  serverTLS?.applicationProtocols = protocols
  try await RawService.withRunning(tls: serverTLS, clear: clear, accepts: accepts, script: script) { service in
    try await withTemporaryDirectory { directory in
      let scheme = tls == nil ? "http" : "https"
      var delivery = try DeliveryConfiguration(
        baseURL: "\(scheme)://127.0.0.1:\(service.port)", token: testToken)
      delivery.compresses = false
      delivery.retryPolicy = RetryPolicy(
        firstDelay: .milliseconds(5), firstProbeDelay: .milliseconds(20), maximumDelay: .milliseconds(50))
      delivery.shutdownGrace = .milliseconds(100)
      delivery.http.proxy = .direct
      if let tls {
        let path = directory + "/ca.pem"
        try Data(tls.pem.utf8).write(to: URL(filePath: path))
        delivery.http.trustedCertificatesPath = path
      }
      change(&delivery.http)
      var configuration = OutboxConfiguration()
      configuration.delivery = delivery
      try await withOutbox(at: directory + "/app.outbox", configuration) { try await body($0, service) }
    }
  }
}
