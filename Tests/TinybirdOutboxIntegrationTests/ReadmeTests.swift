import Foundation
import Testing

/// README.md and the articles show only code that is compiled: see `ReadmeExamples.swift`.
@Suite struct ReadmeTests {
  @Test func everyBlockOfSwiftIsCompiled() throws {
    let examples = try Self.examples()
    var unused = Set(examples.keys)
    for page in try Self.pages() {
      for block in try Self.swiftBlocks(of: Self.text(of: page)) {
        let name = examples.first { $0.value == block }?.key
        #expect(name != nil, "\(page) shows code that is no example of ReadmeExamples.swift:\n\(block)")
        if let name { unused.remove(name) }
      }
    }
    #expect(unused.isEmpty, "no page shows these examples")
  }

  @Test func theComparisonSeesADifference() throws {
    let page = "```swift\nlet a = 1\n```\ntext\n```\nlet b = 1\n```\n```swift\n  let c = 1\n```\n"
    #expect(Self.swiftBlocks(of: page) == ["let a = 1", "let c = 1"])
    let source = """
      // example: x
      import A
      // end
        // example: x
        if a {
          b()
        }
        // end
      // example: y
      c
      // end
      """
    #expect(Self.examples(in: source) == ["x": "import A\nif a {\n  b()\n}", "y": "c"])
  }

  // MARK: Reading

  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private static func pages() throws -> [String] {
    let catalogue = "Sources/TinybirdOutbox/Documentation.docc"
    let files = try FileManager.default.contentsOfDirectory(atPath: root.appendingPathComponent(catalogue).path)
    return ["README.md"] + files.filter { $0.hasSuffix(".md") }.sorted().map { "\(catalogue)/\($0)" }
  }

  private static func text(of path: String) throws -> String {
    try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
  }

  private static func examples() throws -> [String: String] {
    examples(in: try text(of: "Tests/TinybirdOutboxIntegrationTests/ReadmeExamples.swift"))
  }

  private static func examples(in source: String) -> [String: String] {
    var parts: [String: [String]] = [:]
    var open: (name: String, lines: [Substring])?
    for line in source.split(separator: "\n", omittingEmptySubsequences: false) {
      let words = line.drop { $0 == " " }
      if words.hasPrefix("// example: ") {
        open = (String(words.dropFirst("// example: ".count)), [])
      } else if words == "// end", let part = open {
        parts[part.name, default: []].append(withoutIndentation(part.lines))
        open = nil
      } else {
        open?.lines.append(line)
      }
    }
    return parts.mapValues { $0.joined(separator: "\n") }
  }

  private static func swiftBlocks(of page: String) -> [String] {
    var blocks: [String] = []
    var open: [Substring]?
    for line in page.split(separator: "\n", omittingEmptySubsequences: false) {
      if line == "```swift" {
        open = []
      } else if line == "```", let lines = open {
        blocks.append(withoutIndentation(lines))
        open = nil
      } else {
        open?.append(line)
      }
    }
    return blocks
  }

  /// Moves all lines to the left until one begins there.
  private static func withoutIndentation(_ lines: [Substring]) -> String {
    let indentation = lines.filter { !$0.isEmpty }.map { $0.prefix { $0 == " " }.count }.min() ?? 0
    return lines.map { $0.dropFirst(indentation) }.joined(separator: "\n")
  }
}
