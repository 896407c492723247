import Foundation
import OutboxTestSupport
import Testing

/// What every verb has in common when something is wrong.
@Suite(.timeLimit(.minutes(2))) struct ErrorTests {
  private static let verbs = [
    ["deliver", "--until-empty"], ["status"], ["list"], ["show", "clicks/1"], ["dead-letters"],
    ["replay", "--dead-letters"], ["discard", "--all", "--yes"], ["hold", "clicks"], ["resume", "clicks"], ["verify"],
  ]
  private static let service = ["TINYBIRD_BASE_URL": "http://127.0.0.1:1", "TINYBIRD_TOKEN": "p.test-token"]

  @Test(arguments: verbs)
  func noVerbButAppendMakesAnOutbox(arguments: [String]) async throws {
    try await withTool { tool in
      var tool = tool
      tool.environment.merge(Self.service) { $1 }
      let outcome = try await tool.run(arguments)
      #expect(outcome.code == 66)
      #expect(outcome.output == "")
      #expect(
        outcome.errors
          == "outbox: there is no outbox at app.outbox; check the path, or append a first event to make one\n")
      #expect(try FileManager.default.contentsOfDirectory(atPath: tool.directory).isEmpty)
    }
  }

  @Test func anotherApplicationsDatabaseIsLeftAlone() async throws {
    try await withTool { tool in
      try SQLiteShell(tool.path("app.outbox")).run("CREATE TABLE users (name)")
      let before = try Data(contentsOf: URL(filePath: tool.path("app.outbox")))
      for arguments in [["append", "--data-source", "clicks"], ["status"]] {
        let outcome = try await tool.run(arguments, input: Data("{}".utf8))
        #expect(outcome.code == 66)
        #expect(outcome.errors.contains("is another application's database, not an outbox"))
      }
      #expect(try Data(contentsOf: URL(filePath: tool.path("app.outbox"))) == before)
    }
  }

  @Test func aFileThatIsNoDatabaseIsNamed() async throws {
    try await withTool { tool in
      try tool.file("app.outbox", String(repeating: "text ", count: 1000))
      let outcome = try await tool.run("status")
      #expect(outcome.code == 66)
      #expect(outcome.errors.hasPrefix("outbox: "))
    }
  }

  @Test func aMissingDirectoryIsNamed() async throws {
    try await withTool { tool in
      let outcome = try await tool.run(
        "append", "--outbox", "none/app.outbox", "--data-source", "clicks", input: Data("{}".utf8))
      #expect(outcome.code == 73)
      #expect(outcome.errors.contains("its directory none is not there"))
    }
  }

  // The superuser may write everywhere.
  @Test(.enabled(if: getuid() != 0))
  func aReadOnlyDirectoryIsNamed() async throws {
    try await withTool { tool in
      try FileManager.default.setAttributes([.posixPermissions: 0o500], ofItemAtPath: tool.directory)
      defer { try? FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: tool.directory) }
      let outcome = try await tool.run("append", "--data-source", "clicks", input: Data("{}".utf8))
      #expect(outcome.code == 73)
      #expect(outcome.errors.contains("check that this user may write to ."))
    }
  }

  @Test func outputThatCannotBeWrittenIsAnError() async throws {
    try await withTool { tool in
      try await tool.append(1)
      let shell = try RunningTool(
        URL(filePath: "/bin/sh"), ["-c", "\"$0\" status > /dev/full", CommandLineTool.binary.path],
        directory: tool.directory, environment: tool.environment)
      shell.closeInput()
      let outcome = await shell.end()
      #expect(outcome.code == 74)
      #expect(outcome.errors == "outbox: cannot write to standard output: No space left on device\n")
    }
  }

  @Test func closedDescriptorsAreNotTakenForFiles() async throws {
    try await withTool { tool in
      try tool.file("events.ndjson", events(1...3))
      let shell = try RunningTool(
        URL(filePath: "/bin/sh"),
        ["-c", "\"$0\" append --data-source clicks events.ndjson <&- >&- 2>&-", CommandLineTool.binary.path],
        directory: tool.directory, environment: tool.environment)
      shell.closeInput()
      #expect(await shell.end().code == 0)
      #expect(try await tool.storedEvents().count == 3)
      #expect(try await tool.run("verify").code == 0)
    }
  }

  // MARK: Help

  @Test func everyVerbHasHelpWithAnExample() async throws {
    try await withTool { tool in
      var tool = tool
      let root = try await tool.run("--help")
      #expect(root.code == 0)
      #expect(root.output.contains("EXIT CODES:"))
      let verbs = [
        "append", "deliver", "status", "list", "show", "dead-letters", "replay", "discard", "hold", "resume", "verify",
        "emulator",
      ]
      for verb in verbs {
        #expect(root.output.contains("\n  \(verb) "), "\(verb)")
        let help = try await tool.run(verb, "--help")
        #expect(help.code == 0)
        #expect(help.output.contains("\n  outbox \(verb) ") || help.output.contains("| outbox \(verb) "), "\(verb)")
        #expect(help.output.split(separator: "\n").allSatisfy { $0.count <= 80 }, "\(verb)")
      }
      // Help needs nothing.
      tool.environment["OUTBOX_PATH"] = nil
      let repair = try await tool.run("dead-letters", "repair", "--help")
      #expect(repair.output.hasPrefix("OVERVIEW: Give a dead letter another JSON"))
      #expect(repair.output.contains("\n  outbox dead-letters repair "))
      #expect(try await tool.run("--version").output == "0.1.0\n")
    }
  }

  @Test func anUnknownVerbIsAMistake() async throws {
    try await withTool { tool in
      let outcome = try await tool.run("apend")
      #expect(outcome.code == 64)
      #expect(outcome.errors.hasPrefix("outbox: "))
    }
  }
}
