import Foundation
import OutboxTestSupport
import Testing

@Suite(.timeLimit(.minutes(2))) struct AppendCommandTests {
  @Test func appendsFilesInOrderPlainAndGzip() async throws {
    try await withTool { tool in
      try tool.file("events.ndjson", events(1...3))
      try tool.file("more.ndjson.gz", try gzipped(events(4...5)))
      // What counts is the content, not the name.
      try tool.file("plain-by-name.ndjson", try gzipped(events(6...6)))
      let outcome = try await tool.run(
        "append", "--data-source", "clicks", "events.ndjson", "more.ndjson.gz", "plain-by-name.ndjson")
      #expect(outcome.code == 0)
      #expect(outcome.output == "6 events durable: clicks/1..6\n")
      #expect(outcome.errors == "")
      #expect(try await tool.storedEvents() == (1...6).map { "{\"n\":\($0)}" })
    }
  }

  @Test(arguments: [false, true])
  func appendsStandardInput(isGzip: Bool) async throws {
    try await withTool { tool in
      let input = isGzip ? try gzipped(events(1...2)) : Data(events(1...2).utf8)
      let outcome = try await tool.run("append", "--data-source", "clicks", input: input)
      #expect(outcome.output == "2 events durable: clicks/1..2\n")
      let second = try await tool.run("append", "--data-source", "clicks", "-", input: Data("{}".utf8))
      #expect(second.output == "1 event durable: clicks/3\n")
    }
  }

  @Test func lineEndsBlankLinesAndByteOrderMarkAreNoEvents() async throws {
    try await withTool { tool in
      try tool.file("events.ndjson", "\u{FEFF}{\"n\":1}\r\n\r\n \t\n{\"n\": 2}\n{\"n\":3}")
      let outcome = try await tool.run("append", "--data-source", "clicks", "events.ndjson")
      #expect(outcome.code == 0)
      #expect(try await tool.storedEvents() == ["{\"n\":1}", "{\"n\": 2}", "{\"n\":3}"])
    }
  }

  @Test func nothingIsNoError() async throws {
    try await withTool { tool in
      let outcome = try await tool.run("append", "--data-source", "clicks", input: Data("\n\n".utf8))
      #expect(outcome.code == 0)
      #expect(outcome.output == "no events: the input is empty\n")
    }
  }

  @Test func reportsAsJSON() async throws {
    try await withTool { tool in
      let outcome = try await tool.run("append", "--data-source", "clicks", "--json", input: Data(events(1...2).utf8))
      #expect(
        outcome.output == """
          {
            "version": 1,
            "data_source": "clicks",
            "events": 2,
            "bytes": 14,
            "bad_lines": 0,
            "addresses": [
              "clicks/1..2"
            ],
            "last_line": "stdin:2"
          }

          """)
    }
  }

  @Test func manyLinesMakeManyBatches() async throws {
    try await withTool { tool in
      try tool.file("events.ndjson", events(1...25_000))
      let outcome = try await tool.run("append", "--data-source", "clicks", "events.ndjson")
      #expect(outcome.output == "25,000 events durable: clicks/1..25000\n")
      #expect(try await tool.storedEvents() == (1...25_000).map { "{\"n\":\($0)}" })
    }
  }

  @Test func addsEventIDs() async throws {
    try await withTool { tool in
      let input = Data("{\"n\":1}\n{\"event_id\":\"mine\"}\n".utf8)
      let outcome = try await tool.run(
        "append", "--data-source", "clicks", "--event-id-field", "event_id", input: input)
      #expect(outcome.code == 0)
      let stored = try await tool.storedEvents()
      #expect(stored[0].wholeMatch(of: /\{"event_id":"[0-9a-f-]{36}","n":1\}/) != nil)
      #expect(stored[1] == "{\"event_id\":\"mine\"}")
    }
  }

  // MARK: Lines that are no events

  private static let mixed = "{\"n\":1}\nnot json\n{\"n\":2}\n\n[1]\n{\"n\":3}\n"

  @Test func skipsBadLinesByDefault() async throws {
    try await withTool { tool in
      try tool.file("good.ndjson", events(8...9))
      try tool.file("events.ndjson", Self.mixed)
      let outcome = try await tool.run("append", "--data-source", "clicks", "good.ndjson", "events.ndjson")
      #expect(outcome.code == 65)
      #expect(outcome.output == "5 events durable: clicks/1..5\n")
      let errors = outcome.errors.split(separator: "\n")
      #expect(errors.count == 3)
      #expect(errors[0].hasPrefix("events.ndjson:2: the event cannot be stored: "))
      #expect(errors[1].hasPrefix("events.ndjson:5: the event cannot be stored: "))
      #expect(errors[2] == "outbox: 2 bad lines not stored, every other is")
      // Neither message nor log shows what stands in a line.
      #expect(!outcome.errors.contains("not json"))
      #expect(try await tool.storedEvents() == [8, 9, 1, 2, 3].map { "{\"n\":\($0)}" })
    }
  }

  @Test func stopsAtABadLineWhenAsked() async throws {
    try await withTool { tool in
      let outcome = try await tool.run(
        "append", "--data-source", "clicks", "--bad-lines", "stop", input: Data(Self.mixed.utf8))
      #expect(outcome.code == 65)
      #expect(outcome.output == "1 event durable: clicks/1\n")
      #expect(outcome.errors.hasPrefix("stdin:2: the event cannot be stored: "))
      #expect(
        outcome.errors.hasSuffix("outbox: stopped at a bad line; 1 event is durable, the last one is stdin:1\n"))
      #expect(try await tool.storedEvents() == ["{\"n\":1}"])
    }
  }

  @Test(arguments: [false, true])
  func refusesAllWhenAsked(throughPipe: Bool) async throws {
    try await withTool { tool in
      try tool.file("events.ndjson", Self.mixed)
      let arguments = [
        "append", "--data-source", "clicks", "--bad-lines", "refuse-all", throughPipe ? "-" : "events.ndjson",
      ]
      let refused = try await tool.run(arguments, input: throughPipe ? Data(Self.mixed.utf8) : nil)
      #expect(refused.code == 65)
      #expect(refused.output == "")
      #expect(refused.errors.hasSuffix("outbox: 2 bad lines; nothing was stored\n"))
      try tool.file("events.ndjson", events(1...3))
      let taken = try await tool.run(arguments, input: throughPipe ? Data(events(1...3).utf8) : nil)
      #expect(taken.code == 0)
      #expect(taken.output == "3 events durable: clicks/1..3\n")
    }
  }

  @Test func aLineThatIsTooLongIsRefusedWithoutKeepingIt() async throws {
    try await withTool { tool in
      let long = "{\"x\":\"" + String(repeating: "y", count: 12_000_000) + "\"}"
      try tool.file("events.ndjson", "{\"n\":1}\n\(long)\n{\"n\":2}\n")
      let outcome = try await tool.run("append", "--data-source", "clicks", "events.ndjson")
      #expect(outcome.code == 65)
      #expect(outcome.errors.hasPrefix("events.ndjson:2: the line has 12000008 bytes, 10000000 are allowed: "))
      #expect(try await tool.storedEvents() == ["{\"n\":1}", "{\"n\":2}"])
    }
  }

  @Test func damagedGzipIsAnError() async throws {
    try await withTool { tool in
      try tool.file("events.ndjson.gz", try gzipped(events(1...100)).dropLast(6))
      let outcome = try await tool.run("append", "--data-source", "clicks", "events.ndjson.gz")
      #expect(outcome.code == 65)
      #expect(outcome.output == "")
      #expect(outcome.errors.hasPrefix("outbox: nothing was stored\noutbox: cannot decompress events.ndjson.gz: "))
    }
  }

  // MARK: Pipes

  @Test func eachLineOfASlowProgramIsStoredAsItComes() async throws {
    try await withTool { tool in
      let running = try tool.start("append", "--data-source", "clicks")
      for count in 1...3 {
        running.write(Data("{\"n\":\(count)}\n".utf8))
        // It has no reason to wait for more: in time the line is there, though the pipe stays open.
        while try await appended(tool) < count {}
      }
      running.closeInput()
      #expect(await running.end().output == "3 events durable: clicks/1..3\n")
    }
  }

  @Test(arguments: [SIGINT, SIGTERM])
  func anInterruptKeepsWhatWasRead(signal: Int32) async throws {
    try await withTool { tool in
      let running = try tool.start("append", "--data-source", "clicks")
      running.write(Data("{\"n\":1}\n{\"n\":2}\n{\"n\":".utf8))
      while try await appended(tool) < 2 {}
      running.signal(signal)
      let outcome = await running.end()
      #expect(outcome.code == 128 + signal)
      #expect(outcome.output == "2 events durable: clicks/1..2\n")
      #expect(outcome.errors == "outbox: interrupted; 2 events are durable, the last one is stdin:2\n")
      #expect(try await tool.storedEvents() == ["{\"n\":1}", "{\"n\":2}"])
    }
  }

  /// Events that are in the outbox, also while there is none yet.
  private func appended(_ tool: CommandLineTool) async throws -> Int {
    let outcome = try await tool.run("status", "--json")
    guard outcome.code == 0 else { return 0 }
    return try outcome.json["appended_events"] as? Int ?? 0
  }

  // MARK: Mistakes

  @Test(arguments: [
    ("9clicks", "the data source name starts with a digit"),
    ("my clicks", "the data source name has a character at byte 2"),
    ("", "the data source name is empty"),
  ])
  func aDataSourceNameIsChecked(name: String, message: String) async throws {
    try await withTool { tool in
      let outcome = try await tool.run("append", "--data-source", name, input: Data("{}".utf8))
      #expect(outcome.code == 64)
      #expect(outcome.errors.hasPrefix("outbox: "))
      #expect(outcome.errors.contains(message))
      #expect(!FileManager.default.fileExists(atPath: tool.path("app.outbox")))
    }
  }

  @Test(arguments: [("missing.ndjson", "No such file or directory"), (".", "it is a directory")])
  func aFileThatCannotBeReadStopsBeforeAnythingIsStored(name: String, message: String) async throws {
    try await withTool { tool in
      try tool.file("events.ndjson", events(1...3))
      let outcome = try await tool.run("append", "--data-source", "clicks", "events.ndjson", name)
      #expect(outcome.code == 66)
      #expect(outcome.errors == "outbox: cannot read \(name): \(message)\n")
      #expect(!FileManager.default.fileExists(atPath: tool.path("app.outbox")))
    }
  }
}
