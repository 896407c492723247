@testable import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Connections that are used again, and how they end: between requests, and with requests open.
@Suite(.timeLimit(.minutes(1))) struct HTTPConnectionTests {
  @Test(arguments: [false, true]) func requestsOneAfterTheOtherShareAConnection(isHTTP2: Bool) async throws {
    let script: RawService.Script = { connection in
      guard isHTTP2 else { return try await connection.serve() }
      try await connection.beginHTTP2()
      try await connection.serveStreams()
    }
    try await withRawDelivery(script, tls: isHTTP2 ? SelfSignedCertificate(now: Date()) : nil) { outbox, service in
      try await deliver(5, of: outbox)
      #expect(service.seen.rows == (1...5).map(event))
      #expect(service.seen.connections == 1)
      try await expectDeliveredOnce(outbox, attempts: 5)
    }
  }

  /// A service, or what stands before it, that does not speak HTTP/2 says so in the handshake, or nothing at all.
  @Test(arguments: [["http/1.1"], []]) func aServiceThatKnowsHTTP1AloneIsSpokenToInIt(protocols: [String]) async throws
  {
    try await withRawDelivery(
      { try await $0.serve() }, tls: SelfSignedCertificate(now: Date()), protocols: protocols
    ) { outbox, service in
      try await deliver(3, of: outbox)
      #expect(service.seen.rows == (1...3).map(event))
      #expect(service.seen.connections == 1)
      #expect(service.seen.heads.allSatisfy { $0.hasPrefix("POST /v0/events?name=clicks&wait=true HTTP/1.1\r\n") })
      try await expectDeliveredOnce(outbox, attempts: 3)
    }
  }

  /// The service gives an idle connection up, as it does after its own time: the next request opens another.
  @Test(arguments: [false, true]) func aConnectionThatIsClosedBetweenRequestsCostsNone(isAnnounced: Bool) async throws {
    let script: RawService.Script = { connection in
      let rows = try await connection.readRequest()
      connection.store(rows)
      let answer = ServedConnection.answer(rows.count)
      try await connection.send(
        isAnnounced ? answer.replacing("Content-Type", with: "Connection: close\r\nContent-Type") : answer)
      if !isAnnounced { try await connection.closeOutput() }
      try await connection.readToTheEnd()
    }
    try await withRawDelivery(script) { outbox, service in
      // Not before the client has noticed: what it does not know yet is a reset like any other.
      try await deliver(3, of: outbox) { number in try await service.wait { $0.ended == number } }
      #expect(service.seen.rows == (1...3).map(event))
      #expect(service.seen.connections == 3)
      try await expectDeliveredOnce(outbox, attempts: 3)
    }
  }

  /// The service does not close what it gave up, and the end of delivery does not wait for it.
  @Test func goAwayWithNoStreamOpenCostsNoAttempt() async throws {
    let script: RawService.Script = { connection in
      try await connection.beginHTTP2()
      let stream = try await connection.readStream()
      connection.store(stream.rows)
      try await connection.answer(stream.id)
      try await connection.goAway(last: stream.id)
      try await connection.waitUntilSeen()
      connection.step()
      try await connection.readToTheEnd()
    }
    try await withRawDelivery(script, tls: SelfSignedCertificate(now: Date())) { outbox, service in
      try await deliver(3, of: outbox) { number in try await service.wait { $0.steps == number } }
      #expect(service.seen.rows == (1...3).map(event))
      #expect(service.seen.connections == 3)
      try await expectDeliveredOnce(outbox, attempts: 3)
    }
  }

  /// Four streams are open, and the service will look at the first two alone.
  ///
  /// It answers them, as when it is drained, or closes the connection over them, as when it crashes.
  @Test(arguments: [true, false]) func goAwayWithStreamsOpen(answers: Bool) async throws {
    let script: RawService.Script = { connection in
      try await connection.beginHTTP2()
      guard connection.number == 1 else { return try await connection.serveStreams() }
      // The only stream until then: from here on the client knows that it speaks HTTP/2, and opens no second connection.
      let warm = try await connection.readStream()
      connection.store(warm.rows)
      try await connection.answer(warm.id)
      var streams: [(id: ServedConnection.StreamID, rows: [String])] = []
      for _ in 0..<4 { streams.append(try await connection.readStream()) }
      streams.sort { $0.id < $1.id }
      try await connection.goAway(last: streams[1].id)
      for stream in streams[..<2] { connection.store(stream.rows) }
      guard answers else { return }
      for stream in streams[..<2] { try await connection.answer(stream.id) }
      try await connection.readToTheEnd()
    }
    try await withRawDelivery(script, tls: SelfSignedCertificate(now: Date())) { outbox, service in
      let delivering = Task { try await outbox.run() }
      try await outbox.append(event(0), to: "warm")
      try await waitUntil(outbox) { $0.deliveredEvents == 1 }
      let names = ["a", "b", "c", "d"]
      for (number, name) in names.enumerated() { try await outbox.append(event(number + 1), to: DataSourceName(name)) }
      try await waitUntil(outbox) { $0.deliveredEvents == 5 }
      delivering.cancel()
      try await delivering.value
      #expect(service.seen.connections == 2)
      #expect(service.seen.rows.count == (answers ? 5 : 7))
      #expect(Set(service.seen.rows) == Set((0...4).map(event)))
      var verdicts: [[String]] = []
      for name in names { verdicts.append(try await outbox.attempts(for: AddressRange(name)).map(\.verdict)) }
      // The client library reports the streams after the last as cancelled, as it does those that the service gives up
      // half-way: the safe side is that their rows may be there.
      #expect(verdicts.count { $0 == ["delivered", "retry"] } == (answers ? 2 : 4))
      #expect(verdicts.count { $0 == ["delivered"] } == (answers ? 2 : 0))
      #expect(try await outbox.status().possibleDuplicates == (answers ? 2 : 4))
      try await expectSound(outbox)
    }
  }

  /// The stream alone ends without a (whole) answer: the connection goes on, and the rows may be there.
  @Test(arguments: [true, false]) func aStreamThatFailsIsMaybeInserted(isReset: Bool) async throws {
    let script: RawService.Script = { connection in
      try await connection.beginHTTP2()
      let stream = try await connection.readStream()
      connection.store(stream.rows)
      if connection.number == 1 {
        try await isReset ? connection.failStream(stream.id) : connection.answerWithoutItsBody(stream.id)
      } else {
        try await connection.answer(stream.id)
      }
      try await connection.serveStreams()
    }
    try await withRawDelivery(script, tls: SelfSignedCertificate(now: Date())) { outbox, service in
      try await outbox.append(event(1), to: "clicks")
      try await outbox.deliverUntilEmpty()
      #expect(service.seen.rows == [event(1), event(1)])
      let log = try await outbox.attempts(for: AddressRange("clicks"))
      #expect(log.map(\.verdict) == ["delivered", "retry"])
      #expect(log.map(\.inserted) == [.yes, .maybe])
      #expect(try await outbox.status().possibleDuplicates == 1)
      try await expectSound(outbox)
    }
  }

  private func event(_ number: Int) -> String { #"{"n":\#(number)}"# }

  /// Delivers events in requests of their own, each after the one before is settled.
  private func deliver(
    _ count: Int, of outbox: Outbox, afterEach: (Int) async throws -> Void = { _ in }
  ) async throws {
    let delivering = Task { try await outbox.run() }
    for number in 1...count {
      try await outbox.append(event(number), to: "clicks")
      try await waitUntil(outbox) { $0.deliveredEvents == Int64(number) }
      try await afterEach(number)
    }
    delivering.cancel()
    try await delivering.value
  }

  private func expectDeliveredOnce(
    _ outbox: Outbox, attempts: Int, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let log = try await outbox.attempts(for: AddressRange("clicks")).map(\.verdict)
    #expect(log == Array(repeating: "delivered", count: attempts), sourceLocation: sourceLocation)
    let status = try await outbox.status()
    #expect(status.possibleDuplicates == 0 && status.pendingEvents == 0, sourceLocation: sourceLocation)
    try await expectSound(outbox, sourceLocation: sourceLocation)
  }
}
