import Foundation
import OutboxTestSupport
import Testing

/// `status`, `list`, `show` and `verify`.
@Suite(.timeLimit(.minutes(2))) struct InspectCommandTests {
  @Test func statusAsJSON() async throws {
    try await withTool { tool in
      try await tool.append(3)
      try await tool.append(2, to: "visits")
      let outcome = try await tool.run("status", "--json")
      #expect(outcome.code == 0)
      // The order of the members, for those who read them line by line.
      let names = outcome.output.matches(of: /\n  "([a-z_]+)":/).map { String($0.1) }
      #expect(
        names == [
          "version", "path", "id", "format_version", "file_bytes", "free_bytes", "log_bytes", "log_reader_pids",
          "reserve_bytes", "disk_full", "backup_taken_at", "deliverer_pid", "appended_events", "pending_events",
          "delivered_events",
          "dead_events", "discarded_events", "damaged_events", "possible_duplicates", "batches_in_flight",
          "data_sources",
        ])
      let json = try outcome.json
      #expect(json["version"] as? Int == 1)
      #expect(json["path"] as? String == "app.outbox")
      #expect(json["pending_events"] as? Int == 5)
      #expect(json["deliverer_pid"] is NSNull)
      let sources = try #require(json["data_sources"] as? [[String: Any]])
      #expect(sources.map { $0["name"] as? String } == ["clicks", "visits"])
      #expect(sources[0]["pending_bytes"] as? Int == 24)
      #expect((sources[0]["lane"] as? [String: String]) == ["state": "open"])
      #expect(sources[0]["last_answer"] is NSNull)
      #expect((sources[0]["oldest_pending_at"] as? String)?.hasSuffix("Z") == true)
    }
  }

  @Test func statusForPeople() async throws {
    try await withTool { tool in
      try await tool.append(3)
      let outcome = try await tool.run("status")
      #expect(outcome.code == 0)
      let lines = outcome.output.split(separator: "\n", omittingEmptySubsequences: false)
      #expect(lines[0].wholeMatch(of: /app\.outbox: [0-9.]+ kB, nobody delivers/) != nil)
      #expect(lines[2] == "DATA SOURCE  PENDING  SIZE  OLDEST  DELIVERED  DEAD  LANE")
      #expect(lines[3].hasPrefix("clicks             3  24 B  "))
      #expect(lines[5] == "nobody delivers: outbox deliver")
      // No colours where nobody looks.
      #expect(!outcome.output.contains("\u{1B}"))
    }
  }

  @Test func theOutboxIsNamedByAnOptionOrTheEnvironment() async throws {
    try await withTool { tool in
      try await tool.append(1)
      var elsewhere = tool
      elsewhere.environment["OUTBOX_PATH"] = "none.outbox"
      #expect(try await elsewhere.run("status", "--outbox", "app.outbox", "--json").code == 0)
      #expect(
        try await elsewhere.run("status", "--outbox", "app.outbox").output
          .hasSuffix("nobody delivers: outbox deliver --outbox app.outbox\n"))
      elsewhere.environment["OUTBOX_PATH"] = nil
      let outcome = try await elsewhere.run("status")
      #expect(outcome.code == 64)
      #expect(outcome.errors == "outbox: name the outbox with --outbox PATH, or in OUTBOX_PATH\n")
    }
  }

  // MARK: list

  @Test func listsRanges() async throws {
    try await withTool { tool in
      try await tool.append(5)
      try await tool.append(2, to: "visits")
      let all = try await tool.run("list", "--json").jsonLines
      #expect(all.compactMap { $0["address"] as? String } == (1...5).map { "clicks/\($0)" } + ["visits/1", "visits/2"])
      #expect(all.allSatisfy { $0["version"] as? Int == 1 && $0["state"] as? String == "pending" })
      #expect((all[1]["event"] as? [String: Int]) == ["n": 2])
      // Overlapping ranges show each event once.
      let some = try await tool.run("list", "--json", "clicks/4..9", "clicks/3..4", "visits/2").jsonLines
      #expect(some.compactMap { $0["address"] as? String } == ["clicks/3", "clicks/4", "clicks/5", "visits/2"])
      #expect(try await tool.run("list", "--state", "delivered").output == "")
      #expect(
        try await tool.run("list", "--state", "delivered", "--state", "pending", "visits").output.contains("visits/2"))
    }
  }

  @Test func bigNumbersAndDigitsAreShownAsTheyCame() async throws {
    try await withTool { tool in
      let event = "{\"id\":12345678901234567890123,\"x\":1.10,\"u\":\"\\u00e9\"}"
      _ = try await tool.run("append", "--data-source", "clicks", input: Data(event.utf8))
      #expect(try await tool.run("list", "--json").output.hasSuffix("\"event\": \(event)}\n"))
      #expect(try await tool.run("show", "clicks/1").output.contains("\n\(event)\n"))
    }
  }

  @Test func listsATable() async throws {
    try await withTool { tool in
      var tool = tool
      tool.environment["COLUMNS"] = "60"
      let long = "{\"text\":\"\(String(repeating: "long ", count: 40))\"}"
      _ = try await tool.run("append", "--data-source", "clicks", input: Data("{\"n\":1}\n\(long)\n".utf8))
      let outcome = try await tool.run("list")
      let time = /[0-9-]{10}T[0-9:.]{12}Z/
      let lines = outcome.output.replacing(time, with: "TIME").split(separator: "\n")
      #expect(
        lines == [
          "ADDRESS   STATE    COMMITTED                 EVENT",
          "clicks/1  pending  TIME  {\"n\":1}",
          "clicks/2  pending  TIME  {\"text\":\"long …",
        ])
    }
  }

  @Test func aLimitIsSaid() async throws {
    try await withTool { tool in
      try await tool.append(150)
      let cut = try await tool.run("list", "--json")
      #expect(try cut.jsonLines.count == 100)
      #expect(cut.errors == "outbox: there are more; see --limit\n")
      let exact = try await tool.run("list", "--json", "--limit", "150")
      #expect(try exact.jsonLines.count == 150)
      #expect(exact.errors == "")
      #expect(try await tool.run("list", "--json", "--limit", "0").jsonLines.count == 150)
    }
  }

  @Test func aReaderMayGoAway() async throws {
    try await withTool { tool in
      try await tool.append(20_000)
      let shell = try RunningTool(
        URL(filePath: "/bin/sh"),
        ["-c", "{ \"$0\" list --limit 0; echo \"code $?\" >&2; } | head -n 2", CommandLineTool.binary.path],
        directory: tool.directory, environment: tool.environment)
      shell.closeInput()
      let outcome = await shell.end()
      #expect(outcome.output.split(separator: "\n").count == 2)
      #expect(outcome.errors == "code 0\n")
    }
  }

  // MARK: show

  @Test func showsAnEvent() async throws {
    try await withTool { tool in
      try await tool.append(3)
      let json = try await tool.run("show", "clicks/2", "--json").json
      #expect(json["address"] as? String == "clicks/2")
      #expect(json["inserted"] as? String == "no")
      #expect(json["dead_letter"] is NSNull)
      #expect((json["request_log"] as? [Any])?.isEmpty == true)
      let text = try await tool.run("show", "clicks/2").output
      #expect(text.hasPrefix("clicks/2  pending, not in Tinybird, 0 attempts\ncommitted 2"))
      #expect(text.hasSuffix("\n\n{\"n\":2}\n"))
    }
  }

  @Test func whatATerminalWouldObeyIsMadeVisible() async throws {
    try await withTool { tool in
      // CSI as one character, which JSON allows in a string.
      let event = "{\"text\":\"\u{9B}2J \u{202E}abc\"}"
      _ = try await tool.run("append", "--data-source", "clicks", input: Data(event.utf8))
      for arguments in [["list"], ["show", "clicks/1"]] {
        let output = try await tool.run(arguments).output
        #expect(output.contains("{\"text\":\"·2J ·abc\"}"))
      }
    }
  }

  @Test(arguments: [
    ("clicks/4", 66, "outbox: there is no event clicks/4: it was never appended, or it was pruned\n"),
    ("other/1", 66, "outbox: the outbox has no data source 'other'; it has clicks\n"),
    ("clicks", 64, "outbox: show takes one event, such as clicks/1; 'list' takes ranges\n"),
    ("clicks/x", 64, "outbox: The value 'clicks/x' is invalid for '<address>': cannot read 'clicks/x' as an address"),
  ])
  func anEventThatIsNotThere(address: String, code: Int32, message: String) async throws {
    try await withTool { tool in
      try await tool.append(3)
      let outcome = try await tool.run("show", address)
      #expect(outcome.code == code)
      #expect(outcome.errors.hasPrefix(message), "\(outcome.errors)")
    }
  }

  // MARK: verify

  @Test func verifiesASoundOutbox() async throws {
    try await withTool { tool in
      try await tool.append(3)
      let outcome = try await tool.run("verify")
      #expect(outcome.code == 0)
      #expect(
        outcome.output == """
          DATA SOURCE  APPENDED  DELIVERED  PENDING  DEAD  DISCARDED  DAMAGED  SUM
          clicks              3          0        3     0          0        0  whole

          3 events in 1 chunk read and checked, 24 B
          sound

          """)
      let json = try await tool.run("verify", "--json").json
      #expect(json["sound"] as? Bool == true)
      #expect((json["problems"] as? [String]) == [])
      #expect(((json["data_sources"] as? [[String: Any]])?[0])?["appended_events"] as? Int == 3)
    }
  }

  @Test func findsDamage() async throws {
    try await withTool { tool in
      try await tool.append(3)
      try SQLiteShell(tool.path("app.outbox")).run(
        "UPDATE outbox_chunks SET payload = CAST(replace(CAST(payload AS TEXT), '2', '9') AS BLOB)")
      let outcome = try await tool.run("verify")
      #expect(outcome.code == 1)
      #expect(outcome.output.contains("\n1 problem found:\n  clicks: the chunk at 1 is damaged: "))
      let json = try await tool.run("verify", "--json")
      #expect(json.code == 1)
      #expect(try json.json["sound"] as? Bool == false)
    }
  }
}
