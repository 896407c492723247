import EventsAPIEmulator
import Foundation
import Testing

@Suite("Emulator: what its article shows is true")
struct EmulatorArticleTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  private static func text(of path: String) throws -> String {
    try String(contentsOf: root.appending(path: path), encoding: .utf8)
  }

  private static func article() throws -> String {
    try text(of: "Sources/EventsAPIEmulator/EventsAPIEmulator.docc/EventsAPIEmulator.md")
  }

  /// The blocks of code in one language.
  private static func blocks(_ language: String, in article: String) -> [String] {
    article.components(separatedBy: "```\(language)\n").dropFirst().compactMap { rest in
      rest.components(separatedBy: "\n```\n").first
    }
  }

  @Test("Its Swift is compiled and run")
  func swiftExample() throws {
    let source = try Self.text(of: "Tests/TinybirdOutboxIntegrationTests/EmulatorArticleExample.swift")
    let example = source.split(separator: "\n", omittingEmptySubsequences: false).dropFirst(2).joined(separator: "\n")
    #expect(Self.blocks("swift", in: try Self.article()).map { $0 + "\n" } == [example])
  }

  @Test("Its scripts can be read")
  func scripts() throws {
    let scripts = Self.blocks("json", in: try Self.article())
    #expect(scripts.count == 2)
    for script in scripts { _ = try FaultScript(json: Data(script.utf8)) }
  }

  @Test("Its table of faults can be read, and leaves none out")
  func tableOfFaults() throws {
    let faults = try Self.article().split(separator: "\n").filter { $0.hasPrefix("| `{\"") }.map { line in
      let json = try #require(line.dropFirst(3).components(separatedBy: "` |").first)
      return try #require(try FaultScript(json: Data("{\"rules\":[{\"do\":\(json)}]}".utf8)).rules.first?.fault)
    }
    let names: Set = [
      "answer", "close", "endlessAnswer", "slowAnswer", "acceptWithoutWaiting", "quarantine", "miscount",
      "refuseStream", "goAway",
    ]
    #expect(Set(faults.map(\.name)) == names)
  }
}
