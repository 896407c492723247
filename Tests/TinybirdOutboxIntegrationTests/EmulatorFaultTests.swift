import EventsAPIEmulator
import Foundation
import Testing

@Suite("Emulator: faults that give an answer")
struct EmulatorFaultTests {
  private static let events = "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n"

  @Test(
    "A status in place of the service's own, with the service's words for it, and nothing stored",
    arguments: [400, 401, 403, 404, 408, 409, 413, 425, 429, 451, 500, 502, 503, 504])
  func status(status: Int) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(times: 1, do: .answer(status))]
      let client = try await EmulatorClient(emulator)
      let answer = try await client.post(Self.events)
      #expect(answer.status == status)
      #expect(answer.body.hasPrefix(#"{"error":""#))
      #expect(try await emulator.rowCount() == 0)
      #expect(try await client.post(Self.events).status == 200, "the rule is used up")
      let requests = try await emulator.requests()
      #expect(requests.map(\.status) == [status, 200])
      #expect(requests.map(\.fault) == ["answer", nil])
    }
  }

  @Test("A canned answer stands in front of the service: it needs no token, no name and no good body")
  func answerBeforeChecks() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [
        FaultRule(do: .answer(502, body: "<html>", headers: ["Content-Type": "text/html", "X-A": "b"]))
      ]
      let answer = try await EmulatorClient(emulator).post("nonsense", query: "", token: nil)
      #expect(answer.status == 502)
      #expect(answer.body == "<html>")
      #expect(answer.header("Content-Type") == "text/html")
      #expect(answer.header("X-A") == "b")
    }
  }

  @Test(
    "What a canned answer commits",
    arguments: [(CommittedPart.nothing, [Int]()), (.half, [1]), (.all, [1, 2, 3])])
  func committedPart(part: CommittedPart, stored: [Int]) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(do: .answer(500, commit: part))]
      let client = try await EmulatorClient(emulator)
      #expect(try await client.post(Self.events).status == 500)
      #expect(try await emulator.rows(of: "clicks").map(\.payload) == stored.map { "{\"a\":\($0)}" })
      #expect(try await emulator.requests().map(\.isCommitted) == [!stored.isEmpty])
    }
  }

  @Test("What the service refuses is not committed, and gets its own refusal")
  func committingFaultOnBadRequest() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(do: .answer(500, commit: .all))]
      let client = try await EmulatorClient(emulator)
      #expect(try await client.post("nonsense").status == 400)
      #expect(try await client.post("{}", token: nil).status == 403)
    }
  }

  @Test("A partial failure stores half and answers 422")
  func partialFailure() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(do: .partialFailure)]
      let answer = try await EmulatorClient(emulator).post(Self.events)
      #expect(answer.status == 422)
      #expect(answer.body.contains("materialized view"))
      #expect(try await emulator.rowCount(of: "clicks") == 1)
    }
  }

  @Test("Retry-After in seconds and as an HTTP date")
  func retryAfter() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [
        FaultRule(times: 1, do: .answer(429, retryAfter: .seconds(7))),
        FaultRule(do: .answer(503, retryAfter: .date(secondsFromNow: 3600))),
      ]
      let client = try await EmulatorClient(emulator)
      #expect(try await client.post("{}").header("Retry-After") == "7")
      let before = Date()
      let field = try #require(try await client.post("{}").header("Retry-After"))
      let format = DateFormatter()
      format.locale = Locale(identifier: "en_US_POSIX")
      format.timeZone = TimeZone(secondsFromGMT: 0)
      format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
      let date = try #require(format.date(from: field))
      let ahead = date.timeIntervalSince(before)
      #expect(ahead > 3598 && ahead < 3630)
    }
  }

  @Test("A redirect says where to")
  func redirect() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      // To nowhere: whoever follows it fails.
      emulator.faults = [FaultRule(do: .answer(307, headers: ["Location": "http://127.0.0.1:1/"]))]
      let answer = try await EmulatorClient(emulator).post("{}")
      #expect(answer.status == 307)
      #expect(answer.header("Location") == "http://127.0.0.1:1/")
    }
  }

  @Test("A placeholder page: 200, HTML, nothing stored")
  func placeholderPage() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(do: .placeholderPage)]
      let answer = try await EmulatorClient(emulator).post("{}")
      #expect(answer.status == 200)
      #expect(answer.header("Content-Type") == "text/html")
      #expect(answer.body.contains("<html>"))
      #expect(try await emulator.rowCount() == 0)
    }
  }

  @Test("An empty answer: 200, no body, everything stored")
  func emptyAnswer() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(do: .emptyAnswer)]
      let answer = try await EmulatorClient(emulator).post(Self.events)
      #expect(answer.status == 200)
      #expect(answer.body.isEmpty)
      #expect(answer.header("Content-Length") == "0")
      #expect(try await emulator.rowCount() == 3)
    }
  }

  @Test(
    "Counts: 202 in spite of wait, quarantined rows, wrong counts",
    arguments: [
      (.acceptWithoutWaiting, 202, #"{"successful_rows":3,"quarantined_rows":0}"#, 0),
      (.quarantine(rows: 2), 200, #"{"successful_rows":1,"quarantined_rows":2}"#, 2),
      (.quarantine(rows: 9), 200, #"{"successful_rows":0,"quarantined_rows":3}"#, 3),
      (.miscount(successfulRows: -1, quarantinedRows: 5), 200, #"{"successful_rows":2,"quarantined_rows":5}"#, 0),
    ] as [(Fault, Int, String, Int)])
  func counts(fault: Fault, status: Int, body: String, quarantined: Int) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(do: fault)]
      let answer = try await EmulatorClient(emulator).post(Self.events)
      #expect(answer.status == status)
      #expect(answer.body == body)
      #expect(answer.header("X-RateLimit-Limit") == "100")
      #expect(try await emulator.rowCount() == 3)
      #expect(try await emulator.quarantinedRowCount() == quarantined)
    }
  }

  @Test("Down with a status: before all faults, until the service comes back")
  func downWithStatus() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [FaultRule(times: 1, do: .answer(500))]
      emulator.goDown(answering: 503)
      let client = try await EmulatorClient(emulator)
      #expect(try await client.post("{}").status == 503)
      #expect(try await client.post("{}").status == 503)
      emulator.comeBack()
      #expect(try await client.post("{}").status == 500)
      #expect(try await client.post("{}").status == 200)
    }
  }
}
