import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@Suite(.timeLimit(.minutes(2))) struct EraseCommandTests {
  private func withPeople(_ body: (CommandLineTool) async throws -> Void) async throws {
    try await withTool { tool in
      let lines = (1...9).map { "{\"n\":\($0),\"user_id\":\($0 % 3)}\n" }.joined()
      let outcome = try await tool.run("append", "--data-source", "clicks", input: Data(lines.utf8))
      try #require(outcome.code == 0)
      try await body(tool)
    }
  }

  @Test func listsThenErases() async throws {
    try await withPeople { tool in
      let dry = try await tool.run("erase", "--where", "user_id=1", "--dry-run")
      #expect(dry.code == 0)
      #expect(dry.output == "clicks/1\nclicks/4\nclicks/7\n3 events would be erased\n")
      let erased = try await tool.run("erase", "--where", "user_id=1", "--yes", "clicks/2..9")
      #expect(erased.code == 0, "\(erased.errors)")
      #expect(
        erased.output == """
          clicks/4
          clicks/7
          2 events erased
          not reached: Tinybird, backups, exports, files set aside, and what the disk keeps of blocks it has overwritten

          """)
      #expect(try await tool.run("show", "clicks/4").output.contains("The event was erased."))
      let listed = try await tool.run("list", "--json").jsonLines
      #expect(listed.map { $0["erased"] as? Bool } == (1...9).map { $0 == 4 || $0 == 7 })
      #expect(listed[3]["event"] is NSNull && listed[3]["state"] as? String == "discarded")
      #expect(try await tool.run("verify").code == 0)
    }
  }

  @Test func printsJSON() async throws {
    try await withPeople { tool in
      let json = try await tool.run("erase", "clicks/2..3", "--yes", "--json").json
      #expect(
        NSDictionary(dictionary: json) == [
          "version": 1, "dry_run": false, "events": 2, "addresses": ["clicks/2..3"], "events_in_tinybird": 0,
          "complete": true, "unreadable": [String](), "remainders": [String](),
        ])
    }
  }

  @Test func endsWithOneWhereSomethingIsLeft() async throws {
    try await withPeople { tool in
      try SQLiteShell(tool.path("app.outbox")).run("UPDATE outbox_chunks SET crc32 = 1")
      let outcome = try await tool.run("erase", "--where", "user_id=1", "--yes")
      #expect(outcome.code == 1)
      #expect(outcome.output.contains("not searched, because the chunk is damaged: clicks/1..9\n"))
    }
  }

  @Test(arguments: [
    (["erase"], 64, "say what to erase"), (["erase", "clicks"], 64, "needs --yes"),
    (["erase", "--where", "user_id", "--yes"], 64, "there is no '='"),
    (["erase", "--where", "=1", "--yes"], 64, "without a name"),
  ])
  func isCareful(arguments: [String], code: Int32, words: String) async throws {
    try await withPeople { tool in
      let outcome = try await tool.run(arguments)
      #expect(outcome.code == code)
      #expect(outcome.errors.contains(words), "\(outcome.errors)")
      #expect(try await tool.storedEvents().count == 9)
    }
  }
}
