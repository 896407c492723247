import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

/// Files of every past format, in `Fixtures/databases`, open in this version and say what they always said.
@Suite struct OldFileTests {
  private static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../Fixtures/databases")

  /// The formats that there is a file of.
  static let versions = [1]

  @Test(arguments: versions) func everyEventStateAndCountIsAsRecorded(version: Int) async throws {
    try await withTool { tool in
      try Self.copy(version, into: tool)
      let verified = try await tool.run("verify", "--json")
      #expect(verified.code == 0, "\(verified.output)")
      for (command, file) in [("list", "events.ndjson"), ("dead-letters", "dead-letters.ndjson")] {
        let recorded = try Self.objects(version, file)
        let said = try await tool.run(command, "--json", "--limit", "0").jsonLines
        try #require(said.count == recorded.count)
        for (said, recorded) in zip(said, recorded) {
          #expect(Self.missing(in: said, of: recorded) == [], "\(recorded["address"] ?? "")")
        }
      }
      var status = try Self.status(version)
      // These tell of the place and of the version that opened it.
      for member in ["path", "format_version", "file_bytes"] { status[member] = nil }
      #expect(Self.missing(in: try await tool.run("status", "--json").json, of: status) == [])
    }
  }

  @Test(arguments: versions) func itTakesEventsAndDelivers(version: Int) async throws {
    try await withToolAndEmulator { tool, emulator in
      try Self.copy(version, into: tool)
      let before = try Self.status(version)
      try await tool.append(2, to: "audit")
      for lane in ["audit", "metrics", "page_views"] {
        #expect(try await tool.run("resume", lane).code == 0)
      }
      #expect(try await tool.run("deliver", "--until-empty").code == 0)
      // What was pending, the dead letter that was replaying, and the two of now.
      let rows = try #require(before["pending_events"] as? Int) + 1 + 2
      #expect(try await emulator.rowCount() == rows)
      let after = try await tool.run("status", "--json").json
      #expect(after["pending_events"] as? Int == 0)
      #expect(after["delivered_events"] as? Int == (before["delivered_events"] as? Int ?? 0) + rows)
      #expect(try await tool.run("verify").code == 0)
    }
  }

  @Test(arguments: [false, true]) func aNewerFormatIsRefusedAndLeftAsItIs(hasLog: Bool) async throws {
    try await withTool { tool in
      try Self.copy(try #require(Self.versions.last), into: tool)
      // Opened once, so that it has the format of this version.
      #expect(try await tool.run("status").code == 0)
      let path = tool.path("app.outbox")
      let shell = try SQLiteShell(path)
      try shell.run("PRAGMA wal_autocheckpoint = 0")
      try shell.run("UPDATE outbox_meta SET value = value + 1 WHERE name = 'format_version'")
      if !hasLog { try shell.run("PRAGMA wal_checkpoint(TRUNCATE)") }
      try FileManager.default.createDirectory(atPath: tool.path("newer"), withIntermediateDirectories: false)
      for suffix in hasLog ? ["", "-wal"] : [""] {
        try FileManager.default.copyItem(atPath: path + suffix, toPath: tool.path("newer/app.outbox" + suffix))
      }
      let files = try Self.contents(of: tool.path("newer"))
      let commands = [
        ["status"], ["list"], ["verify"], ["resume", "clicks"], ["append", "--data-source", "clicks"],
      ]
      for arguments in commands {
        let outcome = try await tool.run(arguments + ["--outbox", "newer/app.outbox"], input: Data("{}\n".utf8))
        #expect(outcome.code == 66, "\(arguments)")
        #expect(outcome.errors.contains("upgrade the program that opens it"), "\(arguments): \(outcome.errors)")
        #expect(try Self.contents(of: tool.path("newer")) == files, "\(arguments) changed something")
      }
    }
  }

  static func path(ofVersion version: Int) -> String { fixtures.appending(path: "version-\(version).outbox").path }

  private static func copy(_ version: Int, into tool: CommandLineTool) throws {
    try FileManager.default.copyItem(atPath: path(ofVersion: version), toPath: tool.path("app.outbox"))
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: tool.path("app.outbox"))
  }

  /// The files of a directory with their bytes.
  ///
  /// SQLite needs the shared memory and a log, be it empty, to read at all; neither of these says anything.
  private static func contents(of directory: String) throws -> [String: Data] {
    var contents: [String: Data] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: directory) where !name.hasSuffix("-shm") {
      contents[name] = try Data(contentsOf: URL(filePath: directory).appending(path: name))
    }
    return contents.filter { $0.key != "app.outbox-wal" || !$0.value.isEmpty }
  }

  private static func objects(_ version: Int, _ file: String) throws -> [[String: Any]] {
    try recorded(version, file).split(separator: UInt8(ascii: "\n")).map(object)
  }

  private static func status(_ version: Int) throws -> [String: Any] {
    try object(try recorded(version, "status.json"))
  }

  private static func recorded(_ version: Int, _ file: String) throws -> Data {
    try Data(contentsOf: fixtures.appending(path: "version-\(version).\(file)"))
  }

  private static func object(_ json: Data) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
  }

  /// The paths at which `actual` says something else than `recorded`; members that came later do not matter.
  private static func missing(in actual: Any?, of recorded: Any, at path: String = "") -> [String] {
    switch (actual, recorded) {
    case (let actual as [String: Any], let recorded as [String: Any]):
      recorded.flatMap { missing(in: actual[$0.key], of: $0.value, at: "\(path).\($0.key)") }
    case (let actual as [Any], let recorded as [Any]) where actual.count == recorded.count:
      zip(actual, recorded).enumerated().flatMap { missing(in: $1.0, of: $1.1, at: "\(path)[\($0)]") }
    case (let actual as NSObject, let recorded as NSObject) where actual == recorded: []
    default: [path]
    }
  }
}
