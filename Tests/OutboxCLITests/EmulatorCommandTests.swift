import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@Suite(.timeLimit(.minutes(2))) struct EmulatorCommandTests {
  @Test func servesAndReports() async throws {
    try await withTool { tool in
      var tool = tool
      tool.environment["TINYBIRD_TOKEN"] = "p.test-token"
      try tool.file("faults.json", #"{"rules": [{"times": 1, "do": {"close": {"at": "afterCommit"}}}]}"#)
      try tool.file("events.ndjson", events(1...3))
      let emulator = try tool.start("emulator", "--database", "emulator.sqlite", "--script", "faults.json")
      let line = await emulator.firstLine()
      let url = try #require(line.wholeMatch(of: /listening on (http:\/\/127\.0\.0\.1:[0-9]+)/)?.1)
      tool.environment["TINYBIRD_BASE_URL"] = String(url)
      try await tool.append(3)
      #expect(try await tool.run("deliver", "--until-empty", "--first-delay", "1ms").code == 0)

      let report = ["emulator", "report", "--database", "emulator.sqlite"]
      let text = try await tool.run(report + ["--compare", "events.ndjson"])
      #expect(text.code == 0)
      #expect(
        text.output == """
          DATA SOURCE  ROWS  DISTINCT  DUPLICATES  QUARANTINED  REQUESTS  BY STATUS
          clicks          6         3           3            0         2  200: 1, none: 1

          3 lines compared: 0 missing, 3 duplicates, 0 unexpected rows

          """)
      emulator.signal(SIGTERM)
      #expect(await emulator.end().code == 0)

      try tool.file("more.ndjson", events(3...5))
      let json = try await tool.run(report + ["--json", "--compare", "more.ndjson"])
      #expect(json.code == 1)
      let object = try json.json
      #expect(object["rows"] as? Int == 6)
      #expect(object["distinct_rows"] as? Int == 3)
      #expect(object["duplicate_rows"] as? Int == 3)
      #expect(object["missing_lines"] as? Int == 2)
      #expect(object["duplicate_lines"] as? Int == 1)
      #expect(object["unexpected_rows"] as? Int == 4)
      let source = try #require((object["data_sources"] as? [[String: Any]])?.first)
      #expect((source["requests_by_status"] as? [String: Int]) == ["200": 1, "none": 1])
    }
  }

  @Test func comparesWithoutTheIDsThatWereAdded() async throws {
    try await withTool { tool in
      var tool = tool
      try tool.file("events.ndjson", "{}\n{\"n\":1}\n")
      let emulator = try tool.start("emulator", "--json", "--database", "emulator.sqlite")
      defer { emulator.signal(SIGKILL) }
      _ = await emulator.firstLine()
      await emulator.waitForOutput { $0.hasSuffix("}\n") }
      let ready = try emulator.outputSoFar.json
      tool.environment["TINYBIRD_BASE_URL"] = try #require(ready["base_url"] as? String)
      tool.environment["TINYBIRD_TOKEN"] = "any"
      let appended = try await tool.run(
        "append", "--data-source", "clicks", "--event-id-field", "event_id", "events.ndjson")
      #expect(appended.code == 0)
      #expect(try await tool.run("deliver", "--until-empty").code == 0)
      let report = ["emulator", "report", "--database", "emulator.sqlite", "--compare", "events.ndjson"]
      #expect(try await tool.run(report).code == 1)
      #expect(try await tool.run(report + ["--event-id-field", "event_id"]).code == 0)
    }
  }

  @Test func speaksTLSWithACertificateToTrust() async throws {
    try await withTool { tool in
      var tool = tool
      try tool.file("tokens", "clicks = good\n")
      let emulator = try tool.start("emulator", "--tls", "--certificate", "ca.pem", "--token-file", "tokens")
      defer { emulator.signal(SIGKILL) }
      let line = await emulator.firstLine()
      tool.environment["TINYBIRD_BASE_URL"] = String(line.dropFirst("listening on ".count))
      #expect(line.contains("https://"))
      try await tool.append(1)
      tool.environment["TINYBIRD_TOKEN"] = "good"
      #expect(try await tool.run("deliver", "--until-empty", "--ca-file", "ca.pem").code == 0)
      try await tool.append(1)
      tool.environment["TINYBIRD_TOKEN"] = "bad"
      #expect(try await tool.run("deliver", "--until-empty", "--ca-file", "ca.pem").code == 69)
    }
  }

  @Test func takesEventsOfWhichItKeepsCountsAlone() async throws {
    try await withTool { tool in
      var tool = tool
      let emulator = try tool.start("emulator", "--counts-only")
      defer { emulator.signal(SIGKILL) }
      tool.environment["TINYBIRD_BASE_URL"] = String(await emulator.firstLine().dropFirst("listening on ".count))
      tool.environment["TINYBIRD_TOKEN"] = "any"
      try await tool.append(3)
      #expect(try await tool.run("deliver", "--until-empty").code == 0)
    }
  }

  @Test func aTakenPortIsNamed() async throws {
    try await EventsAPIEmulator.withRunning { other in
      let port = try #require(try await other.baseURL.port)
      try await withTool { tool in
        let outcome = try await tool.run("emulator", "--port", "\(port)")
        #expect(outcome.code == 69)
        #expect(outcome.errors.hasPrefix("outbox: cannot listen on 127.0.0.1, port \(port): "))
      }
    }
  }

  @Test(arguments: [
    (["emulator", "--script", "bad.json"], 65, "outbox: bad.json: rules[0].do: "),
    (["emulator", "--script", "none.json"], 66, "outbox: cannot read none.json: No such file or directory\n"),
    (["emulator", "--certificate", "ca.pem"], 64, "outbox: --certificate goes with --tls\n"),
    (["emulator", "--counts-only", "--database", "x"], 64, "outbox: --counts-only and --database exclude each"),
    (["emulator", "report"], 64, "outbox: name the emulator's database with --database\n"),
    (["emulator", "report", "--port", "1", "--database", "x"], 64, "outbox: report takes no options of a running"),
    (["emulator", "report", "--database", "none"], 66, "outbox: cannot read none: No such file or directory\n"),
  ])
  func mistakesAreNamed(arguments: [String], code: Int32, message: String) async throws {
    try await withTool { tool in
      try tool.file("bad.json", #"{"rules": [{"do": {"explode": {}}}]}"#)
      let outcome = try await tool.run(arguments)
      #expect(outcome.code == code)
      #expect(outcome.errors.hasPrefix(message), "\(outcome.errors)")
    }
  }
}
