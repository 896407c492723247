import Foundation
import OutboxTestSupport
import Testing
import TinybirdOutbox

@Suite struct DoctorCommandTests {
  @Test func aLiveOutboxIsSound() async throws {
    try await withTool { tool in
      try await tool.append(5)
      try await tool.withOutbox { outbox in
        try await outbox.append(#"{"n":6}"#, to: "clicks")
        let outcome = try await tool.run("doctor", "--json")
        #expect(outcome.code == 0, "\(outcome.output)\(outcome.errors)")
        let report = try outcome.json
        #expect(report["sound"] as? Bool == true)
        let findings = try #require(report["findings"] as? [[String: Any]])
        #expect(
          Set(findings.compactMap { $0["subject"] as? String }) == ["file", "sqlite", "settings", "schema", "contents"])
      }
    }
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    var name: String
    /// What is done to the file at a path.
    var apply: @Sendable (String) throws -> Void
    /// Words of the problem that must be named.
    var words: String
    var testDescription: String { name }

    static func sql(_ name: String, _ sql: String, _ words: String) -> Fault {
      Fault(name: name, apply: { try SQLiteShell($0).run(sql) }, words: words)
    }
  }

  static let faults = [
    Fault(name: "no file", apply: { try FileManager.default.removeItem(atPath: $0) }, words: "there is no file"),
    Fault(
      name: "text", apply: { try Data("only text, much of it".utf8).write(to: URL(filePath: $0)) },
      words: "not an SQLite"),
    Fault(name: "no byte", apply: { try Data().write(to: URL(filePath: $0)) }, words: "never completed"),
    Fault(
      name: "a directory",
      apply: {
        try FileManager.default.removeItem(atPath: $0)
        try FileManager.default.createDirectory(atPath: $0, withIntermediateDirectories: false)
      }, words: "not a regular file"),
    Fault(
      name: "another application's",
      apply: {
        try FileManager.default.removeItem(atPath: $0)
        try SQLiteShell($0).run("CREATE TABLE notes (id INTEGER)")
      }, words: "another application's database"),
    Fault(
      name: "half a file",
      apply: {
        let bytes = try Data(contentsOf: URL(filePath: $0))
        try bytes.prefix(bytes.count / 2).write(to: URL(filePath: $0))
      }, words: "SQLite cannot read it"),
    Fault(
      name: "readable by all",
      apply: { try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: $0) },
      words: "(mode 0644)"),
    Fault(
      name: "two names", apply: { try FileManager.default.linkItem(atPath: $0, toPath: $0 + "-other") },
      words: "has 2 names"),
    Fault(
      name: "a journal", apply: { try Data("journal".utf8).write(to: URL(filePath: $0 + "-journal")) },
      words: "a -journal lies beside it"),
    Fault(
      name: "a garbage log",
      apply: { try Data((0..<5000).map { UInt8($0 % 251) }).write(to: URL(filePath: $0 + "-wal")) },
      words: "is not a log of SQLite's"),
    Fault(
      name: "a full disk", apply: { try Data().write(to: URL(filePath: $0 + "-full")) },
      words: "the disk was found full"),
    Fault(
      name: "a reserve that is a link",
      apply: {
        try FileManager.default.removeItem(atPath: $0 + "-reserve")
        try FileManager.default.createSymbolicLink(atPath: $0 + "-reserve", withDestinationPath: "elsewhere")
      }, words: "-reserve is a symbolic link"),
    Fault(
      name: "half set aside",
      apply: {
        try FileManager.default.moveItem(atPath: $0, toPath: $0 + ".aside-x")
        try FileManager.default.createSymbolicLink(atPath: $0 + "-aside", withDestinationPath: $0 + ".aside-x")
      }, words: "died while it set the outbox aside"),
    .sql("no id", "DELETE FROM outbox_meta WHERE name = 'outbox_id'", "has lost its id"),
    .sql("a newer format", "UPDATE outbox_meta SET value = 999 WHERE name = 'format_version'", "upgrade the program"),
    .sql("no format", "UPDATE outbox_meta SET value = -3 WHERE name = 'format_version'", "which is none"),
    .sql("a missing index", "DROP INDEX outbox_batches_pending", "outbox_batches_pending is missing"),
    .sql("a missing table", "DROP TABLE outbox_chunks", "outbox_chunks is missing"),
    .sql("another view", "DROP VIEW outbox_events; ", "outbox_events is missing"),
    .sql("a column more", "ALTER TABLE outbox_attempts ADD COLUMN more TEXT", "not as this version makes it"),
    .sql("another id", "UPDATE outbox_chunks SET outbox_id = zeroblob(16)", "another id than its chunks"),
    .sql("a missing chunk", "DELETE FROM outbox_chunks WHERE key & 255 = 1", "in no chunk"),
  ]

  @Test(arguments: faults) func whatIsWrongIsExplained(fault: Fault) async throws {
    try await withTool { tool in
      try await tool.append(5)
      try await tool.append(5)
      try fault.apply(tool.path("app.outbox"))
      let before = try? Data(contentsOf: URL(filePath: tool.path("app.outbox")))
      let outcome = try await tool.run("doctor")
      #expect(outcome.code == 1)
      #expect(outcome.output.contains("PROBLEM") && outcome.output.contains(fault.words), "\(outcome.output)")
      #expect(!outcome.output.contains("{\"n\""), "no payload in a report")
      #expect(!outcome.output.contains("run `outbox doctor`"), "that is what was run")
      #expect((try? Data(contentsOf: URL(filePath: tool.path("app.outbox")))) == before, "nothing is changed")
    }
  }

  /// What is worth knowing, and breaks no promise.
  static let notes = [
    Fault(
      name: "an earlier format",
      apply: { path in
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.copyItem(atPath: OldFileTests.path(ofVersion: 1), toPath: path)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
      }, words: "this program brings it to"),
    Fault(
      name: "a long log",
      apply: { path in
        try Data().write(to: URL(filePath: path + "-wal"))
        try FileHandle(forWritingTo: URL(filePath: path + "-wal")).truncate(atOffset: 65 << 20)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path + "-wal")
      }, words: "its log has 68157440 bytes: some program reads"),
    Fault(
      name: "a file that cannot shrink",
      apply: { path in
        let shell = try SQLiteShell(path)
        for sql in ["PRAGMA auto_vacuum = 0", "VACUUM"] { try shell.run(sql) }
      }, words: "auto_vacuum is not INCREMENTAL"),
    .sql("another mode", "PRAGMA journal_mode = DELETE", "journal mode is not WAL"),
    .sql("another application's number", "PRAGMA application_id = 7", "lives in another application's database"),
    .sql("a table more", "CREATE TABLE outbox_more (id INTEGER)", "outbox_more is not of this version's making"),
  ]

  @Test(arguments: notes) func whatIsWorthKnowingIsNoted(note: Fault) async throws {
    try await withTool { tool in
      try await tool.append(5)
      try note.apply(tool.path("app.outbox"))
      let outcome = try await tool.run("doctor", "--json")
      #expect(outcome.code == 0, "\(outcome.output)")
      let findings = try #require(try outcome.json["findings"] as? [[String: Any]])
      let notes = findings.filter { $0["severity"] as? String == "note" }.compactMap { $0["text"] as? String }
      #expect(notes.contains { $0.contains(note.words) }, "\(notes)")
    }
  }

  @Test func whatIsSetApartIsNoted() async throws {
    try await withToolAndEmulator { tool, _ in
      try await tool.append(5)
      try SQLiteShell(tool.path("app.outbox")).run("UPDATE outbox_chunks SET crc32 = 1")
      #expect(try await tool.run("doctor").code == 1)
      _ = try await tool.run("deliver", "--until-empty")
      let outcome = try await tool.run("doctor")
      #expect(outcome.code == 1 && outcome.output.contains("5 events are damaged and set apart"), "\(outcome.output)")
    }
  }

  @Test func whatCanBeReadIsSalvaged() async throws {
    try await withTool { tool in
      try await tool.append(5)
      let whole = try await tool.run("doctor", "--salvage", "whole.outbox", "--json")
      #expect(whole.code == 0, "\(whole.output)\(whole.errors)")
      let report = try whole.json
      #expect(report["whole"] as? Bool == true && report["lost_events"] as? Int == 0)
      try await tool.append(5)
      try SQLiteShell(tool.path("app.outbox")).run("DELETE FROM outbox_chunks WHERE key & 255 = 1")
      let damaged = try await tool.run("doctor", "--salvage", "rest.outbox")
      #expect(damaged.code == 1)
      #expect(damaged.output.contains("LOST  clicks/1..5") && damaged.output.contains("5 pending"), "\(damaged.output)")
      let taken = try await tool.run("doctor", "--salvage", "rest.outbox")
      #expect(taken.code == 73 && taken.errors.contains("nothing is written over"), "\(taken.errors)")
      #expect(try await tool.run("verify", "--outbox", "rest.outbox").code == 0)
      #expect(try await tool.run("doctor", "--outbox", "none", "--salvage", "x.outbox").code == 66)
    }
  }

  @Test(arguments: [["doctor", "--salvage", "new.outbox"], ["backup", "new.outbox"]], [SIGINT, SIGTERM])
  func ofWhatIsInterruptedNothingIsLeft(command: [String], signal: Int32) async throws {
    try await withTool { tool in
      let line = "{\"filler\":\"\(String(repeating: "x", count: 10_000))\"}\n"
      try tool.file("events.ndjson", String(repeating: line, count: 5000))
      #expect(try await tool.run("append", "--data-source", "clicks", "events.ndjson").code == 0)
      let running = try tool.start(command)
      let partial = tool.path("new.outbox.partial")
      while access(partial, F_OK) != 0 {}
      // So that it cannot be done before it is told.
      running.signal(SIGSTOP)
      running.signal(signal)
      running.signal(SIGCONT)
      let outcome = await running.end()
      #expect(outcome.code == 128 + signal && outcome.output == "", "\(outcome.output)")
      #expect(outcome.errors.contains("interrupted; the") && outcome.errors.contains("nothing of it is left"))
      let left = try FileManager.default.contentsOfDirectory(atPath: tool.directory).filter { $0.hasPrefix("new") }
      #expect(left == [])
    }
  }
}
