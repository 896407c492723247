import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

/// `dead-letters`, `replay`, `discard`, `hold` and `resume`.
@Suite(.timeLimit(.minutes(2))) struct DeadLetterCommandTests {
  /// Runs `body` with five events of which the second and the fourth were refused.
  private func withDeadLetters(_ body: (CommandLineTool, EventsAPIEmulator) async throws -> Void) async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.script.dataSources = [
      "clicks": DataSourceRules(rejects: .code { $0.contains("\"n\":2") || $0.contains("\"n\":4") })
    ]
    try await withToolAndEmulator(configuration) { tool, emulator in
      try await tool.append(5)
      try #require(try await tool.run("deliver", "--until-empty").code == 2)
      try await body(tool, emulator)
    }
  }

  @Test func areShownWithReasonAndAnswer() async throws {
    try await withDeadLetters { tool, _ in
      let outcome = try await tool.run("dead-letters")
      #expect(outcome.code == 0)
      let lines = outcome.output.split(separator: "\n", omittingEmptySubsequences: false)
      #expect(lines[0].hasPrefix("clicks/2  400 refused, not in Tinybird, "))
      #expect(lines[1].hasPrefix("  answer  {\"error\":\""))
      #expect(lines[2] == "  event   {\"n\":2}")
      #expect(lines[3].hasPrefix("clicks/4  400 refused, "))
      #expect(
        outcome.output.hasSuffix(
          """

          2 dead letters
          to look at one:  outbox show ADDRESS
          to repair one:   outbox dead-letters repair ADDRESS < fixed.json
          to send again:   outbox replay --dead-letters
          to give up:      outbox discard ADDRESS

          """))
      let json = try await tool.run("dead-letters", "--json").jsonLines
      #expect(json.compactMap { $0["address"] as? String } == ["clicks/2", "clicks/4"])
      #expect(json[0]["status"] as? Int == 400)
      #expect(json[0]["reason"] as? String == "refused")
      #expect(json[0]["inserted"] as? String == "no")
      #expect(json[0]["replaying"] as? Bool == false)
      #expect(json[0]["repaired_at"] is NSNull)
      #expect((json[0]["event"] as? [String: Int]) == ["n": 2])
    }
  }

  @Test(arguments: [
    ([], 2), (["clicks"], 2), (["clicks/2"], 1), (["clicks/3..9"], 1), (["clicks/1..2", "clicks/2..4"], 2),
    (["--data-source", "clicks"], 2), (["--status", "400"], 2),
    (["--status", "422"], 0), (["--reason", "refused"], 2), (["--reason", "too_large"], 0), (["--inserted", "no"], 2),
    (["--inserted", "maybe"], 0), (["--since", "1h"], 2), (["--since", "2100-01-01"], 0), (["--before", "1h"], 0),
    (["--before", "2100-01-01T00:00:00Z"], 2), (["--limit", "1"], 1),
  ])
  func filters(arguments: [String], count: Int) async throws {
    try await withDeadLetters { tool, _ in
      #expect(try await tool.run(["dead-letters", "--json"] + arguments).jsonLines.count == count)
      guard !arguments.contains("--limit") else { return }
      let dryRun = try await tool.run(["replay", "--json", "--dry-run", "--dead-letters"] + arguments).json
      #expect(dryRun["events"] as? Int == count)
      let discard = try await tool.run(
        ["discard", "--json", "--dry-run"] + (arguments.isEmpty ? ["--all"] : arguments))
      #expect(try discard.json["events"] as? Int == count)
      #expect(try await tool.run("dead-letters", "--json").jsonLines.count == 2)
    }
  }

  @Test func aRepairedEventIsReplayed() async throws {
    try await withDeadLetters { tool, emulator in
      let repaired = try await tool.run("dead-letters", "repair", "clicks/2", input: Data("{\"n\":7}\n".utf8))
      #expect(repaired.code == 0)
      #expect(repaired.output == "clicks/2 is repaired; to send it: outbox replay clicks/2\n")
      let shown = try await tool.run("show", "clicks/2").output
      #expect(shown.contains("\n{\"n\":2}\n\nDEAD LETTER\n400: the service refused the event itself\n"))
      #expect(shown.contains("\nrepaired as:\n{\"n\":7}\n"))

      let replayed = try await tool.run("replay", "clicks/2")
      #expect(
        replayed.output == "1 event queued in 1 batch\nnobody delivers: outbox deliver --until-empty\n")
      #expect(try await tool.run("status").output.contains("clicks: 2 dead letters, 1 of them being replayed\n"))
      #expect(try await tool.run("deliver", "--until-empty").code == 0)
      #expect(try await emulator.deliveries(of: "clicks").keys.sorted() == [1, 3, 5, 7].map { "{\"n\":\($0)}" })
      #expect(try await tool.run("verify").code == 0)
    }
  }

  @Test(arguments: [
    ("clicks/3", "{}", 66, "outbox: clicks/3 is not a dead letter that waits"),
    ("clicks/2", "[]", 65, "outbox: the event cannot be stored: "),
    ("clicks/2", "\n", 65, "outbox: standard input is empty; give the repaired event there\n"),
    ("clicks", "{}", 64, "outbox: repair takes one event, such as clicks/1\n"),
  ])
  func aRepairIsChecked(address: String, input: String, code: Int32, message: String) async throws {
    try await withDeadLetters { tool, _ in
      let outcome = try await tool.run("dead-letters", "repair", address, input: Data(input.utf8))
      #expect(outcome.code == code)
      #expect(outcome.errors.hasPrefix(message), "\(outcome.errors)")
    }
  }

  @Test func whatMayBeInsertedIsLeftAlone() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.script.rules = [FaultRule(times: 1, do: .partialFailure)]
    try await withToolAndEmulator(configuration) { tool, emulator in
      try await tool.append(4)
      #expect(try await tool.run("deliver", "--until-empty").code == 2)
      let careful = try await tool.run("replay", "--dead-letters")
      #expect(
        careful.output == """
          0 events queued in 0 batches
          4 left alone, because they may be in Tinybird already: look there, then say --may-duplicate

          """)
      let json = try await tool.run("replay", "--dead-letters", "--may-duplicate", "--json").json
      #expect(
        NSDictionary(dictionary: json) == [
          "version": 1, "dry_run": false, "events": 4, "batches": 1, "left_because_maybe_inserted": 0,
        ])
      #expect(try await tool.run("deliver", "--until-empty").code == 0)
      #expect(try await emulator.rowCount() == 6)
    }
  }

  @Test func deliveredEventsAreSentOnceMore() async throws {
    try await withToolAndEmulator { tool, emulator in
      try await tool.append(5)
      #expect(try await tool.run("deliver", "--until-empty").code == 0)
      let refused = try await tool.run("replay", "--delivered", "clicks/2..3")
      #expect(refused.code == 64)
      #expect(try await tool.run("replay", "--delivered", "--dry-run", "clicks").output == "5 events would be sent\n")
      let queued = try await tool.run("replay", "--delivered", "--may-duplicate", "clicks/2..3")
      #expect(queued.output.hasPrefix("2 events queued in 1 batch\n"))
      #expect(try await tool.run("deliver", "--until-empty").code == 0)
      #expect(try await emulator.deliveries(of: "clicks").values.sorted() == [1, 1, 1, 2, 2])
      let listed = try await tool.run("list", "--possible-duplicates", "--json").jsonLines
      #expect(listed.compactMap { $0["address"] as? String } == ["clicks/2", "clicks/3"])
      #expect(listed.allSatisfy { $0["may_be_duplicated"] as? Bool == true })
      #expect(try await tool.run("list", "--possible-duplicates", "--json", "clicks/3..9").jsonLines.count == 1)
      #expect(try await tool.run("show", "clicks/2").output.contains("delivered, may be in Tinybird more than once, "))
    }
  }

  @Test func discardingNeedsAWord() async throws {
    try await withDeadLetters { tool, _ in
      let silent = try await tool.run("discard", "clicks/2")
      #expect(silent.code == 64)
      #expect(silent.errors.hasPrefix("outbox: without a terminal to ask on, discarding needs --yes"))
      let vague = try await tool.run("discard", "--yes")
      #expect(vague.code == 64)
      #expect(vague.errors.hasPrefix("outbox: say what to discard: "))
      let done = try await tool.run("discard", "clicks/2", "--yes")
      #expect(done.code == 0)
      #expect(done.output == "1 event discarded\n")
      let status = try await tool.run("status", "--json").json
      #expect(status["discarded_events"] as? Int == 1)
      #expect(status["dead_events"] as? Int == 1)
      #expect(try await tool.run("discard", "--all", "--yes").output == "1 event discarded\n")
      #expect(try await tool.run("dead-letters").output == "no dead letters\n")
      #expect(try await tool.run("verify").code == 0)
    }
  }

  @Test(arguments: [
    (["replay"], "outbox: say what to replay: "),
    (["replay", "--delivered"], "outbox: --delivered takes ranges"),
    (["replay", "--data-source", "clicks", "clicks/1"], "outbox: give ranges or --data-source clicks, not both"),
    (["dead-letters", "--data-source", "clicks", "clicks/1"], "outbox: give ranges or --data-source clicks, not both"),
    (["dead-letters", "--since", "yesterday"], "outbox: The value 'yesterday' is invalid for '--since <time>'"),
    (["dead-letters", "repair", "--status", "400", "clicks/1"], "outbox: repair takes an address, and no filter"),
    (["discard", "--all", "clicks/1"], "outbox: --all takes neither ranges nor other options"),
    (["hold"], "outbox: name data sources, or say --all"),
    (["resume", "--all", "clicks"], "outbox: name data sources, or say --all"),
  ])
  func mistakesAreNamed(arguments: [String], message: String) async throws {
    try await withTool { tool in
      try await tool.append(1)
      let outcome = try await tool.run(arguments)
      #expect(outcome.code == 64)
      #expect(outcome.errors.hasPrefix(message), "\(outcome.errors)")
    }
  }

  // MARK: Holding

  @Test func aHoldStaysUntilItIsEnded() async throws {
    try await withToolAndEmulator { tool, emulator in
      try await tool.append(2)
      try await tool.append(1, to: "visits")
      #expect(try await tool.run("hold", "clicks").output == "held: clicks; to go on: outbox resume clicks\n")
      #expect(try await tool.run("deliver", "--until-empty").code == 69)
      #expect(try await emulator.rowCount() == 1)
      let status = try await tool.run("status").output
      #expect(status.contains("held (by an operator)\n"))
      #expect(status.contains("\n  then: outbox resume clicks\n"))
      let json = try await tool.run("status", "--json").json
      let lane = (json["data_sources"] as? [[String: Any]])?[0]["lane"] as? [String: Any]
      #expect(lane?["state"] as? String == "held")
      #expect(lane?["reason"] as? String == "operator")
      #expect(try await tool.run("resume", "clicks").output == "resumed: clicks\n")
      #expect(try await tool.run("deliver", "--until-empty").code == 0)
      #expect(try await emulator.rowCount() == 3)
    }
  }

  @Test func anUnknownDataSourceChangesNothing() async throws {
    try await withTool { tool in
      try await tool.append(1)
      let outcome = try await tool.run("hold", "clicks", "clicsk")
      #expect(outcome.code == 66)
      #expect(
        outcome.errors
          == "outbox: the outbox has no data source 'clicsk'; it has clicks\n")
      #expect(try await tool.run("status").output.contains("open\n"))
    }
  }
}
