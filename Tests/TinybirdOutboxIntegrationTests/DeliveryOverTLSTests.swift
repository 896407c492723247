import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Delivery over TLS, with HTTP/2 and what only HTTP/2 can say, and the faults on the way to the service.
@Suite(.timeLimit(.minutes(1))) struct DeliveryOverTLSTests {
  @Test func eventsGoOverHTTP2ToAHostWhoseCertificateIsTrusted() async throws {
    try await withTLSDelivery { outbox, emulator in
      let names: [DataSourceName] = ["clicks", "orders", "views"]
      for name in names { try await outbox.append(contentsOf: (1...500).map { #"{"n":\#($0)}"# }, to: name) }
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.status().deliveredEvents == 1500)
      #expect(Set(try await emulator.requests().map(\.httpVersion)) == ["2"])
      #expect(try await emulator.rowCount() == 1500)
      try await expectSound(outbox)
    }
  }

  /// The token travels only when the host has proved who it is.
  @Test func aCertificateThatNobodyVouchesForBacksOffAndIsNamed() async throws {
    try await withTLSDelivery(trusted: false) { outbox, emulator in
      try await outbox.append("{}", to: "clicks")
      let delivering = Task { try await outbox.deliverUntilEmpty() }
      try await waitUntil(outbox) { $0.dataSources.first?.lastAnswer?.text == "no answer: tls" }
      let status = try await outbox.status()
      #expect(status.pendingEvents == 1 && status.deadEvents == 0)
      #expect(try await outbox.events(in: AddressRange("clicks")).map(\.inserted) == [.no])
      #expect(try await emulator.requests().isEmpty)
      delivering.cancel()
      _ = await delivering.result
    }
  }

  @Test func aHostThatHasNoAddressBacksOffAndIsNamed() async throws {
    // `.invalid` is reserved: no resolver knows it, whether there is a network or not.
    try await withTLSDelivery(baseURL: "https://events.invalid") { outbox, _ in
      try await outbox.append("{}", to: "clicks")
      let delivering = Task { try await outbox.deliverUntilEmpty() }
      try await waitUntil(outbox) { $0.dataSources.first?.lastAnswer?.text == "no answer: name_resolution" }
      #expect(try await outbox.events(in: AddressRange("clicks")).map(\.inserted) == [.no])
      delivering.cancel()
      _ = await delivering.result
    }
  }

  @Test func aRefusedStreamIsSentAgainAtOnceAndIsNoAttempt() async throws {
    try await withTLSDelivery { outbox, emulator in
      emulator.faults = [VerdictDeliveryTests.once(.refuseStream)]
      try await outbox.append("{}", to: "clicks")
      try await outbox.deliverUntilEmpty()
      let log = try await outbox.attempts(for: AddressRange("clicks"))
      #expect(log.map(\.verdict) == ["delivered", "retry_at_once"])
      let event = try #require(try await outbox.events(in: AddressRange("clicks")).first)
      #expect(event.attempts == 1 && !event.mayBeDuplicated)
      #expect(try await emulator.rowCount() == 1)
    }
  }

  /// With the stream open, and in between with none.
  @Test func aConnectionThatIsGivenUpByGoAwayLosesNothing() async throws {
    try await withTLSDelivery { outbox, emulator in
      emulator.faults = [FaultRule(when: FaultCondition(request: 2), times: 1, do: .goAway)]
      for number in 1...3 {
        try await outbox.append(#"{"n":\#(number)}"#, to: "clicks")
        try await outbox.deliverUntilEmpty()
      }
      let status = try await outbox.status()
      #expect(status.deliveredEvents == 3)
      #expect(try await emulator.rowCount() == 3)
      #expect(try await emulator.requests().count == 4)
      try await expectSound(outbox)
    }
  }

  /// The counts in front of it are an acknowledgement; the rest is read to a small limit, and the connection given up.
  @Test(arguments: [false, true]) func anAnswerWithoutEndIsReadToALimit(usesTLS: Bool) async throws {
    try await withTLSDelivery(usesTLS: usesTLS) { outbox, emulator in
      emulator.faults = [VerdictDeliveryTests.once(.endlessAnswer)]
      for _ in 0..<2 {
        try await outbox.append("{}", to: "clicks")
        try await outbox.deliverUntilEmpty()
      }
      #expect(try await outbox.status().deliveredEvents == 2)
      #expect(try await emulator.rowCount() == 2)
    }
  }

  /// The proxy sees host and port, and neither the token nor an event.
  @Test func aProxyIsToldTheHostAlone() async throws {
    // `user:secret`.
    try await ConnectProxy.withRunning(password: "dXNlcjpzZWNyZXQ=") { proxy in
      let choice = HTTPProxy.Choice.through(try HTTPProxy("http://user:secret@127.0.0.1:\(proxy.port)"))
      try await withTLSDelivery(proxy: choice) { outbox, emulator in
        try await outbox.append(contentsOf: (1...500).map { #"{"n":\#($0)}"# }, to: "clicks")
        try await outbox.deliverUntilEmpty()
        #expect(try await outbox.status().deliveredEvents == 500)
        #expect(try await emulator.rowCount() == 500)
        let service = try await emulator.baseURL.absoluteString.dropFirst("https://".count)
        #expect(!proxy.heads.isEmpty)
        for head in proxy.heads {
          #expect(head.hasPrefix("CONNECT \(service) HTTP/1.1\r\n"))
          #expect(!head.contains(testToken) && !head.contains("Bearer"))
        }
      }
    }
  }

  @Test func aProxyThatRefusesIsNamedAndNothingIsSent() async throws {
    try await ConnectProxy.withRunning(password: "other") { proxy in
      let choice = HTTPProxy.Choice.through(try HTTPProxy("http://user:secret@127.0.0.1:\(proxy.port)"))
      try await withTLSDelivery(proxy: choice) { outbox, emulator in
        try await outbox.append("{}", to: "clicks")
        let delivering = Task { try await outbox.deliverUntilEmpty() }
        try await waitUntil(outbox) { $0.dataSources.first?.lastAnswer?.text == "no answer: proxy" }
        #expect(try await outbox.events(in: AddressRange("clicks")).map(\.inserted) == [.no])
        #expect(try await emulator.requests().isEmpty)
        delivering.cancel()
        _ = await delivering.result
      }
    }
  }

  /// A redirect to another host is not followed: not one request with the token gets there.
  @Test func aRedirectTakesNoTokenToAnotherHost() async throws {
    try await EventsAPIEmulator.withRunning { other in
      let target = try await other.baseURL.absoluteString
      try await withTLSDelivery { outbox, emulator in
        emulator.faults = [
          VerdictDeliveryTests.always(.answer(307, headers: ["Location": "\(target)/v0/events?name=clicks"]))
        ]
        try await outbox.append("{}", to: "clicks")
        try await outbox.deliverUntilEmpty()
        #expect(try await emulator.requests().count == 1)
        #expect(try await other.requests().isEmpty)
        guard case .held(.redirected, status: 307, _, _)? = try await outbox.status().dataSources.first?.lane else {
          Issue.record("the lane is not held")
          return
        }
      }
    }
  }
}

/// Runs `body` with an outbox that delivers to an emulator with a certificate of its own.
private func withTLSDelivery(
  usesTLS: Bool = true, trusted: Bool = true, baseURL: String? = nil, proxy: HTTPProxy.Choice = .direct,
  run body: (Outbox, EventsAPIEmulator) async throws -> Void
) async throws {
  try await withTemporaryDirectory { directory in
    var emulatorConfiguration = EventsAPIEmulator.Configuration()
    emulatorConfiguration.usesTLS = usesTLS
    try await EventsAPIEmulator.withRunning(emulatorConfiguration) { emulator in
      var configuration = OutboxConfiguration()
      let emulatorURL = try await emulator.baseURL.absoluteString
      var delivery = try DeliveryConfiguration(baseURL: baseURL ?? emulatorURL, token: testToken)
      delivery.retryPolicy = RetryPolicy(
        firstDelay: .milliseconds(5), firstProbeDelay: .milliseconds(20), maximumDelay: .milliseconds(50))
      delivery.shutdownGrace = .milliseconds(100)
      delivery.http.proxy = proxy
      if trusted, let certificate = emulator.certificatePEM {
        let path = directory + "/ca.pem"
        try Data(certificate.utf8).write(to: URL(filePath: path))
        delivery.http.trustedCertificatesPath = path
      }
      configuration.delivery = delivery
      try await withOutbox(configuration) { try await body($0, emulator) }
    }
  }
}
