import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

/// The article about what scripts can rely on says the truth: it names every member that is printed, and every code.
@Suite(.timeLimit(.minutes(2))) struct ContractTests {
  private static let article = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../Sources/TinybirdOutbox/Documentation.docc/CommandLine.md").standardizedFileURL

  /// The words in code voice of one section, such as `status`.
  private func words(under heading: String) throws -> Set<String> {
    let text = try String(contentsOf: Self.article, encoding: .utf8)
    let section = try #require(text.components(separatedBy: "\n## ").first { $0.hasPrefix(heading + "\n") })
    return Set(section.matches(of: /`([a-z_]+)`/).map { String($0.1) })
  }

  /// The names of all members, also of those further inside, but not of an event's own.
  private func names(_ value: Any) -> Set<String> {
    if let array = value as? [Any] { return array.reduce(into: []) { $0.formUnion(names($1)) } }
    guard let object = value as? [String: Any] else { return [] }
    let inner = object.filter { $0.key != "event" && $0.key != "requests_by_status" }.values
    return inner.reduce(into: Set(object.keys)) { $0.formUnion(names($1)) }
  }

  @Test func everyMemberIsDocumented() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.tokens = .only("another-token")
    try await withTemporaryDirectory { directory in
      configuration.storage = .file(URL(filePath: directory).appending(path: "emulator.sqlite"))
      try await withToolAndEmulator(configuration) { tool, _ in
        func check(_ heading: String, _ arguments: String..., others: [String] = []) async throws {
          let outcome = try await tool.run(arguments, input: Data(events(1...2).utf8))
          let object: Any =
            arguments[0] == "list" || arguments.first == "dead-letters" && arguments.count == 2
            ? try outcome.jsonLines : try outcome.json
          let documented = try ([heading] + others).reduce(into: Set<String>()) { $0.formUnion(try words(under: $1)) }
          let undocumented = names(object).subtracting(documented).subtracting(["version"])
          #expect(undocumented.isEmpty, "\(arguments)")
        }
        try await check("append", "append", "--data-source", "clicks", "--json")
        try await check("deliver", "deliver", "--until-empty", "--json")
        try await check("deliver", "deliver", "--now", "--json")
        try await check("status", "status", "--json")
        try await check("list and show", "list", "--json")
        try await check("list and show", "show", "clicks/1", "--json", others: ["dead-letters"])
        try await check("dead-letters", "dead-letters", "--json")
        try await check("verify", "verify", "--json", others: ["status"])
        try await check("doctor", "doctor", "--json")
        try await check("doctor", "doctor", "--json", "--salvage", "new.outbox")
        try await check("backup", "backup", "--json", "copy.outbox")
        let verbs = "replay, discard, hold, resume"
        try await check(verbs, "hold", "clicks", "--json")
        try await check(verbs, "resume", "clicks", "--json")
        try await check(verbs, "replay", "--dead-letters", "--dry-run", "--json")
        try await check(verbs, "discard", "--all", "--dry-run", "--json")
        try await check("isolate, acknowledge and prune", "isolate", "clicks", "--json")
        try await check("isolate, acknowledge and prune", "acknowledge", "clicks", "--json")
        try await check("isolate, acknowledge and prune", "prune", "--settled-before", "0s", "--json")
        try await check("erase", "erase", "clicks", "--dry-run", "--json")
        try tool.file("events.ndjson", events(1...2))
        try await check(
          "emulator", "emulator", "report", "--database", directory + "/emulator.sqlite", "--json", "--compare",
          "events.ndjson")
      }
    }
  }

  @Test func everyExitCodeIsDocumented() async throws {
    try await withTool { tool in
      let help = try await tool.run("--help").output
      let text = try String(contentsOf: Self.article, encoding: .utf8)
      let listed = help.matches(of: /\n  ([0-9]+) +[a-z]/).map { String($0.1) }
      #expect(listed == ["0", "1", "2", "64", "65", "66", "69", "73", "74", "75", "78", "130"])
      for code in listed { #expect(text.contains("\n| \(code) |") || text.contains("\n| \(code), "), "\(code)") }
    }
  }
}
