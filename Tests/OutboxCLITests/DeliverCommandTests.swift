import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@Suite(.timeLimit(.minutes(2))) struct DeliverCommandTests {
  @Test func deliversUntilEmpty() async throws {
    try await withToolAndEmulator { tool, emulator in
      try await tool.append(3)
      let outcome = try await tool.run("deliver", "--until-empty")
      #expect(outcome.code == 0)
      #expect(outcome.output.wholeMatch(of: /3 events delivered in [0-9.]+ m?s, nothing is pending\n/) != nil)
      #expect(outcome.errors == "")
      #expect(try await emulator.deliveries(of: "clicks") == ["{\"n\":1}": 1, "{\"n\":2}": 1, "{\"n\":3}": 1])
    }
  }

  @Test func summaryAsJSON() async throws {
    try await withToolAndEmulator { tool, _ in
      try await tool.append(3)
      var json = try await tool.run("deliver", "--until-empty", "--json").json
      #expect(json.removeValue(forKey: "milliseconds") is Int)
      #expect(
        NSDictionary(dictionary: json) == [
          "version": 1, "delivered_events": 3, "new_dead_letters": 0, "new_damaged_events": 0, "pending_events": 0,
          "possible_duplicates": 0,
          "held_data_sources": [String](),
        ])
    }
  }

  @Test func optionsReachTheRequests() async throws {
    try await withToolAndEmulator { tool, emulator in
      try await tool.append(9)
      let outcome = try await tool.run(
        "deliver", "--until-empty", "--no-compression", "--order", "strict", "--max-in-flight", "2", "--batch-bytes",
        "1000")
      #expect(outcome.code == 0)
      #expect(try await emulator.requests().map(\.isGzip) == [false])
    }
  }

  @Test func trustsACertificateAuthority() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.usesTLS = true
    try await withToolAndEmulator(configuration) { tool, emulator in
      try await tool.append(1)
      try tool.file("ca.pem", try #require(emulator.certificatePEM))
      #expect(try await tool.run("deliver", "--until-empty", "--ca-file", "ca.pem").code == 0)
    }
  }

  /// As every program that honours these variables, in either spelling.
  ///
  /// `.invalid` is reserved: no resolver knows it, so that only a proxy could reach it.
  @Test(arguments: ["HTTPS_PROXY", "https_proxy"]) func aProxyOfTheEnvironmentIsUsed(name: String) async throws {
    try await ConnectProxy.withRunning(password: "never said") { proxy in
      try await withTool { tool in
        var tool = tool
        tool.environment["TINYBIRD_BASE_URL"] = "https://events.invalid"
        tool.environment["TINYBIRD_TOKEN"] = "p.test-token"
        tool.environment[name] = "http://127.0.0.1:\(proxy.port)"
        try await tool.append(1)
        #expect(try await firstAnswer(tool) == "no answer: proxy")
        let head = try #require(proxy.heads.first)
        #expect(head.hasPrefix("CONNECT events.invalid:443 HTTP/1.1\r\n") && !head.contains("p.test-token"))
        let count = proxy.heads.count
        tool.environment["NO_PROXY"] = "example.com,.invalid"
        try await tool.append(1, to: "orders")
        #expect(try await firstAnswer(tool, of: "orders") == "no answer: name_resolution")
        #expect(proxy.heads.count == count, "this host is to be reached without it")
      }
    }
  }

  /// Delivers until there is a first answer of the data source.
  private func firstAnswer(_ tool: CommandLineTool, of name: String = "clicks") async throws -> String? {
    let running = try tool.start("deliver")
    var answer: String?
    while answer == nil {
      let sources = try await tool.run("status", "--json").json["data_sources"] as? [[String: Any]]
      let source = sources?.first { $0["name"] as? String == name }
      answer = (source?["last_answer"] as? [String: Any])?["text"] as? String
    }
    running.signal(SIGTERM)
    _ = await running.end()
    return answer
  }

  @Test func deadLettersHaveAnExitCode() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.script.dataSources = ["clicks": DataSourceRules(rejects: .member("n", equals: 2))]
    try await withToolAndEmulator(configuration) { tool, _ in
      try await tool.append(3)
      let outcome = try await tool.run("deliver", "--until-empty")
      #expect(outcome.code == 2)
      #expect(outcome.output.hasPrefix("2 events delivered in "))
      #expect(
        outcome.output.hasSuffix(
          ", 1 went to the dead-letter table, nothing is pending\nto see why: outbox dead-letters\n"))
      // Dead letters of earlier runs are no news.
      #expect(try await tool.run("deliver", "--until-empty").code == 0)
    }
  }

  @Test func aHeldDataSourceHasAnExitCode() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.tokens = .only("another-token")
    try await withToolAndEmulator(configuration) { tool, emulator in
      try await tool.append(3)
      try await tool.append(2, to: "visits")
      #expect(try await tool.run("hold", "visits").code == 0)
      let outcome = try await tool.run("deliver", "--until-empty")
      #expect(outcome.code == 69)
      #expect(outcome.output.contains("clicks: held since "))
      #expect(outcome.output.contains("outbox resume --replay-cause clicks\n"))
      #expect(outcome.output.contains("visits: held since "))
      // The service's answer echoes the token.
      #expect(!(outcome.output + outcome.errors).contains("p.test-token"))

      emulator.tokens = .any
      #expect(
        try await tool.run("resume", "--replay-cause", "--all").output.hasSuffix("; 3 events queued to be sent again\n")
      )
      let second = try await tool.run("deliver", "--until-empty")
      #expect(second.code == 0)
      #expect(try await emulator.rowCount() == 5)
    }
  }

  @Test func retriesAtThePaceThatIsAskedFor() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.script.rules = [FaultRule(times: 6, do: .answer(503))]
    try await withToolAndEmulator(configuration) { tool, emulator in
      try await tool.append(3)
      let outcome = try await tool.run(
        "deliver", "--until-empty", "--first-delay", "1ms", "--first-probe-delay", "2ms", "--max-delay", "5ms")
      #expect(outcome.code == 0)
      #expect(try await emulator.requests().compactMap(\.status) == [503, 503, 503, 503, 503, 503, 200])
    }
  }

  @Test func tokensFromAFileByDataSource() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.tokens = .only(["one": .dataSources(["clicks"]), "two": .dataSources(["visits"])])
    try await withToolAndEmulator(configuration) { tool, emulator in
      try await tool.append(1)
      try await tool.append(1, to: "visits")
      try tool.file("tokens", "# for the tests\nclicks = one\n* = two\n")
      #expect(try await tool.run("deliver", "--until-empty", "--token-file", "tokens").code == 0)
      #expect(try await emulator.rowCount() == 2)
    }
  }

  // MARK: As a service

  @Test(arguments: [SIGTERM, SIGINT])
  func servesUntilASignal(signal: Int32) async throws {
    try await withToolAndEmulator { tool, emulator in
      try await tool.append(2)
      let running = try tool.start("deliver")
      try await emulator.waitForRows(count: 2)
      try await tool.append(3)
      try await emulator.waitForRows(count: 5)
      running.signal(signal)
      let outcome = await running.end()
      #expect(outcome.code == 0)
      #expect(outcome.output.hasPrefix("5 events delivered in "))
      let log =
        /[0-9T:.-]{23}Z info: delivering outbox\.base_url=http:\/\/127\.0\.0\.1:[0-9]+ outbox\.path=app\.outbox\n/
      #expect(outcome.errors.wholeMatch(of: log) != nil, "\(outcome.errors)")
    }
  }

  @Test func nowCutsTheWaitsOfTheProcessThatDelivers() async throws {
    try await withToolAndEmulator { tool, emulator in
      emulator.goDown(answering: 503)
      try await tool.append(1)
      let running = try tool.start(
        "deliver", "--first-delay", "1ms", "--first-probe-delay", "1h", "--max-delay", "1h", "--log-level", "error")
      // With the fifth failure it is in outage: the next probe is half an hour away.
      try await emulator.waitForRequests(count: 5)
      var state: String?
      while state != "outage" {
        let json = try await tool.run("status", "--json").json
        state = ((json["data_sources"] as? [[String: Any]])?.first?["lane"] as? [String: Any])?["state"] as? String
      }
      emulator.comeBack()
      var operators = tool
      operators.environment["TINYBIRD_BASE_URL"] = ""
      operators.environment["TINYBIRD_TOKEN"] = ""
      let outcome = try await operators.run("deliver", "--now")
      #expect(outcome.code == 0)
      #expect(outcome.output == "waits cut short: clicks\n")
      try await emulator.waitForRows(count: 1)
      let json = try await operators.run("deliver", "--now", "--json").json
      #expect(NSDictionary(dictionary: json) == ["version": 1, "data_sources": ["clicks"]])
      running.signal(SIGTERM)
      #expect(await running.end().code == 0)
    }
  }

  @Test func nowAndUntilEmptyCutsTheWaitAndDelivers() async throws {
    try await withToolAndEmulator { tool, emulator in
      emulator.goDown(answering: 503)
      try await tool.append(1)
      let waits = ["--first-delay", "1h", "--max-delay", "1h"]
      let doomed = try tool.start(["deliver", "--log-level", "error"] + waits)
      try await emulator.waitForRequests(count: 1)
      var answered = false
      while !answered {
        let json = try await tool.run("status", "--json").json
        answered = ((json["data_sources"] as? [[String: Any]])?.first?["last_answer"] as? [String: Any]) != nil
      }
      doomed.signal(SIGTERM)
      #expect(await doomed.end().code == 0)
      emulator.comeBack()
      let outcome = try await tool.run(["deliver", "--until-empty", "--now"] + waits)
      #expect(outcome.code == 0)
      #expect(outcome.output.hasPrefix("1 event delivered in "))
    }
  }

  @Test func aSecondSignalEndsAtOnceAndLosesNothing() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.script.rules = [FaultRule(times: 1, delay: .untilReleased(at: .afterCommit))]
    try await withToolAndEmulator(configuration) { tool, emulator in
      try await tool.append(2)
      let running = try tool.start("deliver", "--shutdown-grace", "10m")
      try await emulator.waitForHeldRequests(count: 1)
      running.signal(SIGTERM)
      running.signal(SIGINT)
      // Which of two signals that wait is handed over first is the system's choice.
      #expect([130, 143].contains(await running.end().code))
      #expect(try await tool.run("deliver", "--until-empty").code == 0)
      #expect(try await tool.run("status", "--json").json["possible_duplicates"] as? Int == 2)
      #expect(try await emulator.deliveries(of: "clicks") == ["{\"n\":1}": 2, "{\"n\":2}": 2])
    }
  }

  @Test func saysWhoDeliversAndWaits() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.script.rules = [FaultRule(times: 1, delay: .untilReleased(at: .afterCommit))]
    try await withToolAndEmulator(configuration) { tool, emulator in
      try await tool.append(1)
      let first = try tool.start("deliver")
      try await emulator.waitForHeldRequests(count: 1)
      let second = try tool.start("deliver", "--until-empty")
      await second.waitForErrors(containing: "\n")
      emulator.releaseHeldRequests()
      try await emulator.waitForRequests(count: 1)
      first.signal(SIGTERM)
      #expect(await first.end().code == 0)
      let outcome = await second.end()
      #expect(outcome.code == 0)
      #expect(outcome.errors.wholeMatch(of: /outbox: process [0-9]+ delivers; waiting for it to end\n/) != nil)
    }
  }

  @Test func anotherTakesOverWhenTheDelivererIsKilled() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.script.rules = [FaultRule(times: 1, delay: .untilReleased(at: .beforeCommit))]
    try await withToolAndEmulator(configuration) { tool, emulator in
      try await tool.append(1)
      let first = try tool.start("deliver")
      try await emulator.waitForHeldRequests(count: 1)
      let second = try tool.start("deliver")
      await second.waitForErrors(containing: "standing by")
      first.signal(SIGKILL)
      let killed = ContinuousClock.now
      try await emulator.waitForArrivals(count: 2)
      print("the second deliverer sent \(killed.duration(to: .now)) after the first was killed")
      #expect(await first.end().code == -SIGKILL)
      try await emulator.waitForRows(count: 1)
      emulator.releaseHeldRequests()
      second.signal(SIGTERM)
      #expect(await second.end().code == 0)
      #expect(try await tool.run("status", "--json").json["possible_duplicates"] as? Int == 1)
    }
  }

  @Test func anInterruptedRunUntilEmptySaysSo() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.script.rules = [FaultRule(do: .answer(503))]
    try await withToolAndEmulator(configuration) { tool, emulator in
      try await tool.append(1)
      let running = try tool.start("deliver", "--until-empty", "--json")
      try await emulator.waitForRequests(count: 1)
      running.signal(SIGINT)
      let outcome = await running.end()
      #expect(outcome.code == 130)
      #expect(try outcome.json["pending_events"] as? Int == 1)
    }
  }

  /// What cannot be sent is said, every other event is delivered, and a script can tell.
  @Test func damagedEventsAreNoSuccess() async throws {
    try await withToolAndEmulator { tool, emulator in
      try await tool.append(5)
      try SQLiteShell(tool.path("app.outbox")).run("UPDATE outbox_chunks SET crc32 = 1")
      try await tool.append(1)
      let outcome = try await tool.run("deliver", "--until-empty")
      #expect(outcome.code == 74)
      #expect(outcome.output.contains("5 are damaged and were not sent, nothing is pending\n"), "\(outcome.output)")
      #expect(try await emulator.rowCount() == 1)
      let again = try await tool.run("deliver", "--until-empty", "--json")
      #expect(again.code == 0, "what was found before is told by status and doctor")
      #expect(try again.json["new_damaged_events"] as? Int == 0)
    }
  }

  @Test func logsWhatIsAskedFor() async throws {
    try await withToolAndEmulator { tool, emulator in
      try await tool.append(1)
      emulator.faults = [FaultRule(times: 1, do: .answer(503))]
      let loud = try await tool.run("deliver", "--until-empty", "--first-delay", "1ms", "--log-level", "trace")
      #expect(loud.code == 0)
      #expect(!loud.errors.contains("p.test-token"))
      #expect(!loud.errors.contains("{\"n\":1}"))
    }
  }

  // MARK: Mistakes

  @Test(arguments: [
    (["TINYBIRD_BASE_URL": ""], [], 78, "outbox: no base URL: set TINYBIRD_BASE_URL, or give --base-url"),
    (["TINYBIRD_TOKEN": ""], [], 78, "outbox: no token: set TINYBIRD_TOKEN, or name a file with --token-file"),
    (
      ["TINYBIRD_BASE_URL": "http://api.tinybird.co"], [], 78, "outbox: the base URL cannot be used: http:// would send"
    ),
    (["TINYBIRD_TOKEN": "two words"], [], 78, "outbox: the token holds white space"),
    ([:], ["--token-file", "none"], 78, "outbox: cannot read the token file none"),
    ([:], ["--ca-file", "none.pem"], 66, "outbox: cannot read none.pem: No such file or directory"),
    ([:], ["--first-delay", "soon"], 64, "outbox: The value 'soon' is invalid for '--first-delay <duration>'"),
    ([:], ["--batch-bytes", "0"], 78, "outbox: the setting maximumBatchBytes must be 1 to 10,000,000"),
    ([:], ["--token", "secret"], 64, "outbox: Unknown option '--token'"),
  ])
  func mistakesAreNamed(
    environment: [String: String], arguments: [String], code: Int32, message: String
  ) async throws {
    try await withTool { tool in
      try await tool.append(1)
      var tool = tool
      tool.environment["TINYBIRD_BASE_URL"] = "http://127.0.0.1:1"
      tool.environment["TINYBIRD_TOKEN"] = "p.test-token"
      tool.environment.merge(environment) { $1 }
      let outcome = try await tool.run(["deliver", "--until-empty"] + arguments)
      #expect(outcome.code == code)
      #expect(outcome.errors.hasPrefix(message), "\(outcome.errors)")
      #expect(outcome.output == "")
    }
  }
}
