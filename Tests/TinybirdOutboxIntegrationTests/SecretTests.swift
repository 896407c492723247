import EventsAPIEmulator
import Foundation
import Logging
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// A whole life of an outbox, with everything going wrong: tokens are nowhere, payloads and what may quote them only in
/// the database.
@Suite(.timeLimit(.minutes(2))) struct SecretTests {
  private static let payload = "payload-of-a-person"
  private static let quote = "answer-that-quotes-it"

  private struct Failing: Encodable {
    struct Refusal: Error { let quoted = SecretTests.payload }
    func encode(to encoder: any Encoder) throws { throw Refusal() }
  }

  private struct NotANumber: Encodable {
    var name = SecretTests.payload
    var value = Double.nan
  }

  private struct FailingTokens: TokenProvider {
    struct Refusal: Error { let quoted = testToken }
    func token(for dataSource: DataSourceName) throws -> Token { throw Refusal() }
  }

  /// All that an error shows of itself.
  private static func shown(_ error: any Error) -> [String] {
    var dumped = ""
    dump(error, to: &dumped)
    return [
      "\(error)", String(reflecting: error), error.localizedDescription, dumped, "\((error as NSError).userInfo)",
    ]
  }

  @Test func tokensAreNowhereAndPayloadsAreInTheDatabaseAlone() async throws {
    let log = RecordedLog()
    var texts: [String] = []
    func note(_ body: () async throws -> Void) async {
      do {
        try await body()
        Issue.record("it should throw")
      } catch {
        texts += Self.shown(error)
      }
    }
    try await EventsAPIEmulator.withRunning { emulator in
      var configuration = OutboxConfiguration()
      configuration.delivery = try DeliveryConfiguration(
        baseURL: try await emulator.baseURL.absoluteString, token: testToken)
      configuration.delivery?.retryPolicy = RetryPolicy(
        firstDelay: .milliseconds(1), firstProbeDelay: .milliseconds(5), maximumDelay: .milliseconds(10))
      let event = #"{"name":"\#(Self.payload)"}"#
      try await withTemporaryDirectory { directory in
        let path = directory + "/app.outbox"
        let outbox = try await Outbox(at: path, configuration: configuration, logger: log.logger(level: .trace))
        for text in [
          "[\(event)]", event + Self.payload, #"{"\#(Self.payload)"}"#, #"{"a":\#(Self.payload)}"#,
          "{\"\(Self.payload)\n\"", String(repeating: #"{"a":"#, count: 600) + event,
        ] {
          await note { try await outbox.append(text, to: "clicks") }
        }
        await note { try await outbox.append(Failing(), to: "clicks") }
        await note { try await outbox.append(NotANumber(), to: "clicks") }

        // Each kind of answer, with a quotation of event and token.
        let body = #"{"error":"\#(Self.quote): \#(Self.payload) of \#(testToken)"}"#
        for status in [500, 503, 429, 422, 413, 400, 404, 403, 401, 418, 302, 202] {
          emulator.faults = [FaultRule(times: 1, do: .answer(status, body: body))]
          try await outbox.append(event, to: "clicks")
          try await outbox.deliverUntilEmpty()
          try await outbox.resume("clicks")
        }
        for fault in [Fault.placeholderPage, .close(at: .afterCommit), .close(at: .midAnswer)] {
          emulator.faults = [FaultRule(times: 1, do: fault)]
          try await outbox.append(event, to: "clicks")
          try await outbox.deliverUntilEmpty()
          try await outbox.resume("clicks")
        }
        try await outbox.deliverUntilEmpty()
        let dead = try await outbox.deadLetters()
        #expect(dead.count > 3)
        await note { try await outbox.repair(dead[0].address, with: "[\(event)]") }
        await note { try await outbox.repair(Address(dataSource: "clicks", sequence: 1_000), with: event) }
        try await outbox.append(event, to: "clicks")
        try SQLiteShell(path).run(
          "UPDATE outbox_chunks SET crc32 = 1 WHERE key = (SELECT max(key) FROM outbox_chunks)")
        try await outbox.deliverUntilEmpty()
        #expect(try await outbox.status().dataSources[0].damagedEvents == 1)
        texts += try await outbox.verify().problems
        texts += ["\(outbox.configuration)", String(reflecting: outbox.configuration), "\(outbox)"]
        dump(outbox.configuration, to: &texts[texts.count - 1])
        #expect(try countOccurrences(of: testToken, inFileAt: path) == 0, "a token is in the database")
        #expect(try countOccurrences(of: testToken, inFileAt: path + "-wal") == 0, "a token is in the log")
        #expect(try countOccurrences(of: Self.quote, inFileAt: path + "-wal") > 0, "the excerpt is for the operator")
        await outbox.close()
        await note { try await outbox.append(event, to: "clicks") }

        // A provider whose error tells too much.
        configuration.delivery?.tokens = FailingTokens()
        let second = try await Outbox(at: path, configuration: configuration, logger: log.logger(level: .trace))
        try await second.append(event, to: "orders")
        let delivering = Task { try await second.run() }
        try await waitUntil(second) { $0.dataSources.last?.lastAnswer?.text == "no answer: no_token" }
        delivering.cancel()
        try await delivering.value
        await second.close()
      }
    }
    #expect(log.lines.contains { $0.contains("held") } && log.lines.contains { $0.contains("damaged") })
    #expect(log.lines.contains { $0.contains("token provider failed") })
    for text in texts + log.lines {
      #expect(!text.contains(testToken), "a token is shown")
      #expect(!text.contains(Self.payload), "a payload is shown")
      #expect(!text.contains(Self.quote), "an answer is shown")
    }
  }
}
