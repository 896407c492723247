@testable import EventsAPIEmulator
import Foundation
import NIOCore
import NIOPosix
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Connections and answers that take too long, or just long: each time-out ends one attempt, and the next is served.
@Suite(.timeLimit(.minutes(1))) struct HTTPTimeoutTests {
  /// Short for a test, long for a machine under load.
  private static let short = Duration.seconds(1)
  /// Ends after every test.
  private static let long = Duration.seconds(600)

  /// Strikes the first connection; the next ones are served.
  private static func first(_ script: @escaping RawService.Script) -> RawService.Script {
    { connection in try await connection.number == 1 ? script(connection) : connection.serve() }
  }

  /// The kernel's queue is full: nobody answers, as behind a firewall that drops packets.
  @Test func aConnectionThatIsNotMadeInTimeSendsNothing() async throws {
    try await withRawDelivery({ try await $0.serve() }, accepts: false) {
      $0.connectTimeout = .milliseconds(100)
    } run: { outbox, service in
      let filler = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        .connect(host: "127.0.0.1", port: service.port).get()
      try await outbox.append("{}", to: "clicks")
      let delivering = Task { try await outbox.deliverUntilEmpty() }
      try await waitUntil(outbox) { $0.dataSources.first?.lastAnswer?.text == "no answer: connect_timeout" }
      try await filler.close()
      try await service.accept()
      try await delivering.value
      try await expectNothingWasSentBefore(outbox, service)
    }
  }

  struct Handshake: Sendable, CustomTestStringConvertible {
    var name: String
    var script: RawService.Script
    /// What the log keeps of it; nil where two time-outs race, or one ends both connection and handshake.
    var answer: String? = "no answer: tls"
    /// The time-out that ends it: of the connection, or of the whole request.
    var connect = Duration.seconds(600)
    var total = Duration.seconds(600)
    var testDescription: String { name }
  }

  /// The connection is there, and nothing can travel yet: neither the token nor an event.
  @Test(arguments: [
    Handshake(
      name: "silent, until the connection has taken too long", script: { try await $0.readToTheEnd() },
      answer: nil, connect: .milliseconds(100)),
    Handshake(
      name: "silent, until the request has taken too long", script: { try await $0.readToTheEnd() },
      answer: nil, total: short),
    Handshake(
      name: "reset",
      script: {
        _ = try await $0.read(1); try await $0.reset()
      },
      answer: "no answer: connection_closed"),
    Handshake(name: "closed", script: { _ = try await $0.read(1) }),
    Handshake(name: "in the clear", script: { try await $0.send(ServedConnection.answer(1)) }),
  ])
  func aHandshakeThatFailsSendsNothing(handshake: Handshake) async throws {
    let script: RawService.Script = { connection in
      guard connection.number > 1 else { return try await handshake.script(connection) }
      try await connection.beginHTTP2()
      try await connection.serveStreams()
    }
    try await withRawDelivery(script, tls: SelfSignedCertificate(now: Date()), clear: 1) {
      $0.connectTimeout = handshake.connect
    } run: { outbox, service in
      try await outbox.append("{}", to: "clicks")
      try await outbox.deliverUntilEmpty(outbox.settings(total: handshake.total))
      // Under load a short time for the whole request may also end one that was sent.
      if handshake.total > Self.short { try await expectNothingWasSentBefore(outbox, service) }
      let first = try #require(try await outbox.attempts(for: AddressRange("clicks")).last)
      #expect(first.verdict == "retry" && first.inserted == .no)
      #expect(try await outbox.status().deliveredEvents == 1)
      if let answer = handshake.answer { #expect(first.answer == answer) }
    }
  }

  /// Every attempt but the last failed before there was a connection.
  private func expectNothingWasSentBefore(
    _ outbox: Outbox, _ service: RawService, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    #expect(service.seen.rows == ["{}"], sourceLocation: sourceLocation)
    let log = try await outbox.attempts(for: AddressRange("clicks"))
    #expect(log.count > 1, sourceLocation: sourceLocation)
    #expect(log.first?.verdict == "delivered", sourceLocation: sourceLocation)
    #expect(log.dropFirst().allSatisfy { $0.verdict == "retry" && $0.inserted == .no }, sourceLocation: sourceLocation)
    let status = try await outbox.status()
    #expect(status.deliveredEvents == 1 && status.possibleDuplicates == 0, sourceLocation: sourceLocation)
    try await expectSound(outbox, sourceLocation: sourceLocation)
  }

  struct Silence: Sendable, CustomTestStringConvertible {
    var name: String
    /// What the log keeps of the attempt that ran into it.
    var answer: String?
    var status: Int?
    var script: RawService.Script
    var testDescription: String { name }
  }

  /// The rows are stored, and the answer stops for ever: `readTimeout` ends it.
  @Test(arguments: [
    Silence(name: "no answer", answer: "no answer: timeout") { _ in },
    Silence(name: "half a head", answer: "no answer: timeout") { try await $0.send("HTTP/1.1 200 OK\r\nContent-") },
    Silence(name: "a head", status: 200) {
      try await $0.send(ServedConnection.answer(length: ServedConnection.length, ""))
    },
    Silence(name: "half a body", answer: #"{"succ"#, status: 200) {
      try await $0.send(ServedConnection.answer(length: ServedConnection.length, #"{"succ"#))
    },
  ])
  func anAnswerThatStopsIsGivenUp(silence: Silence) async throws {
    let script = Self.first { connection in
      connection.store(try await connection.readRequest())
      try await silence.script(connection)
      try await connection.readToTheEnd()
    }
    try await withRawDelivery(script) {
      $0.readTimeout = Self.short
    } run: { outbox, service in
      try await outbox.append("{}", to: "clicks")
      try await outbox.deliverUntilEmpty()
      try await expectRetried(outbox, service, rows: 2, possibleDuplicates: 1)
      let attempt = try #require(try await outbox.attempts(for: AddressRange("clicks")).last)
      #expect(attempt.status == silence.status && attempt.answer == silence.answer)
      #expect(attempt.latency >= Self.short, "it is the time-out that ended it")
    }
  }

  /// Each part comes in time, the whole takes longer than a part may: that is slow, and no fault.
  @Test func aSlowAnswerIsAnAnswer() async throws {
    let script: RawService.Script = { connection in
      connection.store(try await connection.readRequest())
      try await connection.send(ServedConnection.answer(length: ServedConnection.length, ""))
      for byte in ServedConnection.counts(1).utf8 {
        try await connection.send([byte])
        // The slowness itself.
        try await Task.sleep(for: .milliseconds(60))
      }
      try await connection.readToTheEnd()
    }
    try await withRawDelivery(script) {
      $0.readTimeout = Self.short * 2
    } run: { outbox, service in
      try await outbox.append("{}", to: "clicks")
      try await outbox.deliverUntilEmpty()
      #expect(service.seen.rows == ["{}"] && service.seen.connections == 1)
      let attempt = try #require(try await outbox.attempts(for: AddressRange("clicks")).last)
      #expect(attempt.verdict == "delivered" && attempt.latency > Self.short * 2)
      #expect(try await outbox.status().possibleDuplicates == 0)
      try await expectSound(outbox)
    }
  }

  // MARK: In all

  /// Every byte comes in time, and the answer never ends.
  @Test func anAnswerThatDripsIsGivenUp() async throws {
    let script = Self.first { connection in
      connection.store(try await connection.readRequest())
      try await connection.send(ServedConnection.answer(length: 1_000_000, ServedConnection.counts(1)))
      while true {
        // The dripping itself.
        try await Task.sleep(for: .milliseconds(20))
        try await connection.send(" ")
      }
    }
    try await withRawDelivery(script) { outbox, service in
      try await outbox.append("{}", to: "clicks")
      try await outbox.deliverUntilEmpty(outbox.settings(total: Self.short))
      try await expectRetried(outbox, service, rows: 2, possibleDuplicates: 1)
      try await expectTimeout(outbox, .maybe)
    }
  }

  /// No time-out of reading begins while the request is being written.
  @Test func aServiceThatStopsReadingIsGivenUp() async throws {
    let script = Self.first { connection in
      _ = try await connection.readHead()
      // It reads no further; the end of the test cancels it.
      try await Task.sleep(for: Self.long)
    }
    try await withRawDelivery(script) { outbox, service in
      try await outbox.append(#"{"padding":"\#(String(repeating: "x", count: 7_900_000))"}"#, to: "clicks")
      try await outbox.deliverUntilEmpty(outbox.settings(total: Self.short))
      try await expectRetried(outbox, service, rows: 1, possibleDuplicates: 1)
      try await expectTimeout(outbox, .maybe)
    }
  }

  /// With `wait=true` the service asks for ten seconds.
  @Test func theTotalIsTenSecondsOrMore() async throws {
    #expect(HTTPSettings().requestTimeout >= .seconds(10))
    let error = await #expect(throws: OutboxError.self) {
      try await withDelivery {
        $0.delivery?.http.requestTimeout = .milliseconds(9_999)
      } run: { _, _ in
      }
    }
    #expect(error?.code == .invalidConfiguration && error?.message.contains("http.requestTimeout") == true)
  }

  private func expectRetried(
    _ outbox: Outbox, _ service: RawService, rows: Int, possibleDuplicates: Int,
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    // Under load the time-out may end a second attempt too.
    #expect(service.seen.rows.count >= rows && service.seen.connections >= 2, sourceLocation: sourceLocation)
    let status = try await outbox.status()
    #expect(status.deliveredEvents == 1 && status.pendingEvents == 0, sourceLocation: sourceLocation)
    #expect(status.possibleDuplicates == possibleDuplicates, sourceLocation: sourceLocation)
    let log = try await outbox.attempts(for: AddressRange("clicks"))
    #expect(log.first?.verdict == "delivered" && log.count >= 2, sourceLocation: sourceLocation)
    #expect(
      log.dropFirst().allSatisfy { $0.verdict == "retry" && $0.inserted == .maybe }, sourceLocation: sourceLocation)
    try await expectSound(outbox, sourceLocation: sourceLocation)
  }

  private func expectTimeout(
    _ outbox: Outbox, _ inserted: Inserted, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let attempt = try #require(try await outbox.attempts(for: AddressRange("clicks")).last)
    #expect(attempt.answer == "no answer: timeout" && attempt.status == nil, sourceLocation: sourceLocation)
    #expect(attempt.inserted == inserted, sourceLocation: sourceLocation)
  }
}

extension Outbox {
  fileprivate var deliverySettings: HTTPSettings { configuration.delivery?.http ?? HTTPSettings() }

  /// As configured, but for the time of a whole request, of which the configuration wants ten seconds.
  fileprivate func settings(total: Duration) -> HTTPSettings {
    var settings = deliverySettings
    settings.requestTimeout = total
    return settings
  }

  fileprivate func deliverUntilEmpty(_ settings: HTTPSettings) async throws {
    try await deliver(until: .empty, stopping: StopSignal(), http: settings) { _ in }
  }
}
