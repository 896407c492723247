import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

/// What others wrote cannot draw on the operator's terminal, nor take the command down.
@Suite(.timeLimit(.minutes(3))) struct HostileInputTests {
  /// Clears the screen, sets the title, turns text around, rings: and an 8-bit escape.
  private static let hostile = "\u{1B}[2J\u{1B}]0;owned\u{7}\u{202E}\u{9B}31m"

  private func isHarmless(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { scalar in
      scalar == "\n" || (scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value) && scalar.value != 0x202E)
    }
  }

  @Test func answersAndEventsDoNotReachTheTerminal() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.script.rules = [FaultRule(do: .answer(404, body: "no \(Self.hostile)"))]
    try await withToolAndEmulator(configuration) { tool, _ in
      let event = "{\"text\":\"\u{202E}\u{9B}31m\u{7F}\"}\n"
      _ = try await tool.run("append", "--data-source", "clicks", input: Data((event + event).utf8))
      let delivered = try await tool.run("deliver", "--until-empty", "--log-level", "trace")
      #expect(isHarmless(delivered.output + delivered.errors))
      for arguments in [
        ["status"], ["list"], ["show", "clicks/1"], ["dead-letters"], ["dead-letters", "clicks/1"], ["verify"],
        ["erase", "clicks", "--dry-run"],
      ] {
        let outcome = try await tool.run(arguments)
        #expect(outcome.code == 0 && isHarmless(outcome.output + outcome.errors), "\(arguments)")
      }
      let status = try await tool.run("status", "--json")
      #expect(isHarmless(status.output.replacing("\u{202E}", with: "").replacing("\u{9B}", with: "")))
      #expect(try status.json["dead_events"] as? Int == 2)
    }
  }

  @Test func namesOfFilesDoNotReachTheTerminal() async throws {
    try await withTool { tool in
      let name = "in \(Self.hostile)\nput.ndjson"
      try tool.file(name, "{}\nnone\n")
      let outcome = try await tool.run("append", "--data-source", "clicks", name)
      #expect(outcome.code == 65 && isHarmless(outcome.output + outcome.errors))
      #expect(outcome.errors.split(separator: "\n").count == 2)
      let missing = try await tool.run("append", "--data-source", "clicks", "no " + name)
      #expect(missing.code == 66 && isHarmless(missing.errors) && missing.errors.split(separator: "\n").count == 1)
      let outbox = try await tool.run("status", "--outbox", "none" + Self.hostile)
      #expect(outbox.code == 66 && isHarmless(outbox.errors))
      let made = try await tool.run(
        "append", "--outbox", "a" + Self.hostile, "--data-source", "clicks", input: Data("{}".utf8))
      #expect(made.code == 0)
      let status = try await tool.run("status", "--outbox", "a" + Self.hostile)
      #expect(status.code == 0 && isHarmless(status.output))
    }
  }

  @Test(arguments: [false, true]) func aLineOf100MegabytesIsCountedAndNotKept(throughPipe: Bool) async throws {
    try await withTool { tool in
      var input = Data(#"{"a":""#.utf8)
      input.append(Data(repeating: 0x61, count: 100_000_000))
      input.append(Data("\"}\n{\"n\":1}\n".utf8))
      if !throughPipe { try tool.file("long.ndjson", input) }
      let outcome = try await tool.run(
        ["append", "--data-source", "clicks"] + (throughPipe ? [] : ["long.ndjson"]), input: throughPipe ? input : nil)
      #expect(outcome.code == 65)
      #expect(outcome.errors.contains(":1: the line has 100000008 bytes, 10000000 are allowed"))
      #expect(try await tool.storedEvents() == ["{\"n\":1}"])
    }
  }

  @Test func deepLinesAreRefusedByPlace() async throws {
    try await withTool { tool in
      let deep = "{\"a\":" + String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000) + "}"
      let outcome = try await tool.run("append", "--data-source", "clicks", input: Data("\(deep)\n{}\n".utf8))
      #expect(outcome.code == 65 && outcome.errors.hasPrefix("stdin:1: "))
      #expect(try await tool.storedEvents() == ["{}"])
    }
  }
}
