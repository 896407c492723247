import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing
import TinybirdOutbox

@testable import OutboxCLI

/// The verbs that keep an outbox well: prune, acknowledge, backup, a budget, setting aside.
@Suite(.timeLimit(.minutes(2))) struct UpkeepCommandTests {
  // MARK: prune, acknowledge

  @Test func prunesWhatIsDeliveredOnceItsWarningIsAcknowledged() async throws {
    try await withToolAndEmulator { tool, emulator in
      emulator.dataSources = ["clicks": .init(schema: ["n": .string])]
      try await tool.append(4)
      try await tool.append(2, to: "visits")
      #expect(try await tool.run("deliver", "--until-empty").code == 0)
      try await tool.append(1, to: "visits")
      let first = try await tool.run("prune", "--settled-before", "0s")
      #expect(first.code == 0 && first.output.hasPrefix("2 events pruned, 16 B; the file has "), "\(first.output)")
      #expect(try await tool.run("acknowledge", "clicks").output == "1 batch acknowledged\n")
      let again = try await tool.run("acknowledge", "clicks/1..2", "visits", "--json").json
      #expect(NSDictionary(dictionary: again) == ["version": 1, "batches": 0])
      #expect(try await tool.run("prune", "--settled-before", "1h", "--json").json["events"] as? Int == 0)
      let json = try await tool.run("prune", "--settled-before", "0s", "--json").json
      #expect(json["events"] as? Int == 4 && json["bytes"] as? Int == 32)
      let status = try await tool.run("status", "--json").json
      #expect(status["delivered_events"] as? Int == 6 && status["pending_events"] as? Int == 1)
      #expect(try await tool.run("verify").code == 0)
    }
  }

  @Test(arguments: [
    (["prune"], 64, "outbox: Missing expected argument '--settled-before <moment>'"),
    (["prune", "--settled-before", "soon"], 64, "outbox: The value 'soon' is invalid"),
    (["acknowledge"], 64, "outbox: Missing expected argument '<range> ...'"),
    (["acknowledge", "other"], 66, "outbox: the outbox has no data source 'other'; it has clicks\n"),
  ])
  func mistakesAreNamed(arguments: [String], code: Int32, message: String) async throws {
    try await withTool { tool in
      try await tool.append(1)
      let outcome = try await tool.run(arguments)
      #expect(outcome.code == code)
      #expect(outcome.errors.hasPrefix(message), "\(outcome.errors)")
    }
  }

  // MARK: backup

  @Test func backsUpAndSaysWhatARestoredOneSendsAgain() async throws {
    try await withTool { tool in
      try await tool.append(3)
      let outcome = try await tool.run("backup", "copy.outbox")
      #expect(outcome.code == 0, "\(outcome.errors)")
      #expect(outcome.output.hasPrefix("copy.outbox: ") && outcome.output.contains(", synced\n"))
      #expect(outcome.output.hasSuffix("what was pending when it was taken is sent again: 3 events\n"))
      let taken = try await tool.run("backup", "copy.outbox")
      #expect(taken.code == 73)
      #expect(
        taken.errors
          == "outbox: there is something at copy.outbox already, and nothing is written over; choose another path\n")
      // As a killed one leaves it.
      for suffix in ["", "-journal", "-lock"] { try tool.file("other.outbox.partial" + suffix, "half a copy") }
      let json = try await tool.run("backup", "other.outbox", "--json").json
      #expect(json["path"] as? String == "other.outbox" && json["pending_events"] as? Int == 3)
      #expect(try await tool.run("verify", "--outbox", "other.outbox").code == 0)
      let status = try await tool.run("status", "--outbox", "other.outbox")
      #expect(
        status.output.contains(
          "this is a backup of \(json["taken_at"] as? String ?? ""): 3 pending events may have been delivered since"),
        "\(status.output)")
      let restored = try await tool.run("status", "--json", "--outbox", "other.outbox").json
      #expect(restored["backup_taken_at"] as? String == json["taken_at"] as? String)
      #expect(try await tool.run("status", "--json").json["backup_taken_at"] is NSNull)
    }
  }

  @Test func aDestinationWithoutADirectoryIsNamed() async throws {
    try await withTool { tool in
      try await tool.append(1)
      let outcome = try await tool.run("backup", "none/copy.outbox")
      #expect(outcome.code == 73 && outcome.errors.contains("its directory none is not there"), "\(outcome.errors)")
    }
  }

  // MARK: append --set-aside-unreadable

  @Test func setsAnUnreadableFileAside() async throws {
    try await withTool { tool in
      try tool.file("app.outbox", String(repeating: "no database ", count: 1000))
      let refused = try await tool.run("append", "--data-source", "clicks", input: Data("{}\n".utf8))
      #expect(refused.code == 66)
      let outcome = try await tool.run(
        "append", "--data-source", "clicks", "--set-aside-unreadable", input: Data("{}\n".utf8))
      #expect(outcome.code == 0 && outcome.output.contains("clicks/1"), "\(outcome.output)\(outcome.errors)")
      #expect(outcome.errors.contains("what was pending in it is delivered by nobody"))
      let names = try FileManager.default.contentsOfDirectory(atPath: tool.directory)
      let aside = try #require(names.first { $0.hasPrefix("app.outbox.aside-") })
      #expect(outcome.errors.contains("outbox doctor --outbox ") && outcome.errors.contains(aside))
      #expect(try await tool.storedEvents() == ["{}"])
    }
  }

  // MARK: --max-bytes

  @Test func theBudgetRefusesAppendsUntilEventsAreDelivered() async throws {
    try await withToolAndEmulator { tool, _ in
      let large = Data(
        (String(repeating: "{\"x\":\"" + String(repeating: "x", count: 99_000) + "\"}\n", count: 200)).utf8)
      let full = try await tool.run("append", "--data-source", "clicks", "--max-bytes", "16MiB", input: large)
      #expect(full.code == 75)
      #expect(full.errors.contains("is full: its limit of 16777216 bytes is reached"), "\(full.errors)")
      let stored = try await tool.storedEvents().count
      #expect(stored > 0 && stored < 200)
      // Whoever delivers knows of no budget, and keeps what it has delivered.
      let delivered = try await tool.run("deliver", "--until-empty", "--json")
      #expect(try delivered.json["delivered_events"] as? Int == stored)
      #expect(try await tool.storedEvents().count == stored)
      let again = try await tool.run(
        "append", "--data-source", "clicks", "--max-bytes", "16MiB", input: large.prefix(2_000_000) + "\"}\n".utf8)
      #expect(again.code == 0, "\(again.errors)")
    }
  }

  @Test(arguments: [
    ("16777216", 16_777_216), ("500MB", 500_000_000), ("2GiB", 2_147_483_648), ("1.5gib", 1_610_612_736),
    ("64kb", 64_000), ("0.5KiB", 512), ("7B", 7), ("0", 0), ("9223372036854775807", Int64.max),
  ])
  func sizes(text: String, bytes: Int64) throws {
    #expect(try SizeArgument.parse(text) == bytes)
  }

  @Test(arguments: [
    "", "MB", "much", "-1", "1.5", "1..5MB", ".5MB", "1 MB", "1e9", "inf", "0x10", "9223372036854775808", "9999999TiB",
    "12MBB", "12 ", "１２MB",
  ])
  func whatIsNoSize(text: String) throws {
    #expect(throws: (any Error).self) { try SizeArgument.parse(text) }
  }

  @Test func aSizeThatIsNoneIsNamed() async throws {
    try await withTool { tool in
      for option in ["--max-bytes", "--keep-bytes", "--batch-bytes"] {
        let outcome = try await tool.run("deliver", option, "much")
        #expect(outcome.code == 64)
        #expect(
          outcome.errors.hasPrefix(
            "outbox: The value 'much' is invalid for '\(option) <size>': a size is a number of bytes, or one with a unit, such as 500MB or 2GiB"
          ), "\(outcome.errors)")
      }
      let small = try await tool.run("append", "--data-source", "clicks", "--max-bytes", "1MB", input: Data())
      #expect(small.code == 78 && small.errors.contains("must be at least 16 MiB"), "\(small.errors)")
    }
  }

  // MARK: Data sources

  @Test(arguments: [
    ["list", "clicsk"], ["list", "clicsk/1..2", "clicks"], ["show", "clicsk/1"], ["dead-letters", "clicsk"],
    ["dead-letters", "--data-source", "clicsk"], ["replay", "clicsk"], ["replay", "--data-source", "clicsk"],
    ["replay", "--delivered", "--may-duplicate", "clicsk/1..2"], ["replay", "--dry-run", "--delivered", "clicsk"],
    ["discard", "--yes", "clicsk"], ["discard", "--yes", "--data-source", "clicsk"],
    ["discard", "--dry-run", "clicsk"],
    ["erase", "--yes", "clicsk"], ["erase", "--dry-run", "--where", "n=1", "clicsk"], ["hold", "clicsk"],
    ["resume", "clicks", "clicsk"], ["acknowledge", "clicsk"],
  ])
  func aDataSourceThatIsNotThereIsAnError(arguments: [String]) async throws {
    try await withTool { tool in
      try await tool.append(2)
      try await tool.append(1, to: "visits")
      let outcome = try await tool.run(arguments)
      #expect(outcome.code == 66)
      #expect(outcome.output == "")
      #expect(outcome.errors == "outbox: the outbox has no data source 'clicsk'; it has clicks, visits\n")
      #expect(try await tool.storedEvents().count == 2, "nothing was done")
    }
  }
}
