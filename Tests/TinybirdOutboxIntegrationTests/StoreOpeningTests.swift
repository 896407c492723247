import COutboxCrashVFS
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct StoreOpeningTests {
  @Test func aNewFileIsPrivateAndCarriesTheFormat() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let outbox = try await Outbox(at: path)
      try await outbox.append(#"{"a":1}"#, to: "clicks")
      for suffix in ["", "-wal", "-shm"] {
        let attributes = try FileManager.default.attributesOfItem(atPath: path + suffix)
        #expect(attributes[.posixPermissions] as? Int == 0o600, "mode of app.outbox\(suffix)")
      }
      await outbox.close()
      let shell = try SQLiteShell(path)
      #expect(
        try shell.run("SELECT value FROM outbox_meta WHERE name = 'format_version'") == [["\(Schema.formatVersion)"]])
      #expect(try shell.run("PRAGMA application_id") == [["\(Schema.applicationID)"]])
      #expect(try shell.run("PRAGMA auto_vacuum") == [["2"]])
      #expect(try shell.run("PRAGMA journal_mode") == [["wal"]])
      let foreignNames = try shell.run(
        "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'outbox\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_autoindex\\_outbox%' ESCAPE '\\'"
      )
      #expect(foreignNames.isEmpty)
    }
  }

  /// The name of the file fits, and those beside it would not.
  @Test func aNameThatIsTooLongIsRefusedBeforeAnythingIsMade() async throws {
    try await withTemporaryDirectory { directory in
      for length in [248, 255] {
        let path = directory + "/" + String(repeating: "n", count: length)
        let error = await #expect(throws: OutboxError.self) { try await Outbox(at: path) }
        #expect(error?.code == .notWritable && error?.message.contains("may have 247 bytes") == true)
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
      let longest = try await Outbox(at: directory + "/" + String(repeating: "n", count: 247))
      try await longest.append("{}", to: "clicks")
      await longest.close()
    }
  }

  #if os(Linux)
    /// The name of a new file must be as durable as what is in it.
    @Test func aNameThatIsNotDurableIsAnError() async throws {
      try await withTemporaryDirectory { directory in
        let attributes = try FileManager.default.attributesOfItem(atPath: directory)
        let inode = try #require((attributes[.systemFileNumber] as? NSNumber)?.uint64Value)
        defer { outbox_watch_fail_directory_sync(0) }
        outbox_watch_fail_directory_sync(inode)
        let path = directory + "/a.outbox"
        let error = await #expect(throws: OutboxError.self) { try await Outbox(at: path) }
        #expect(error?.code == .inputOutput && error?.message.contains("cannot sync the directory") == true)
        outbox_watch_fail_directory_sync(0)
        let outbox = try await Outbox(at: path)
        try await outbox.append("{}", to: "clicks")

        outbox_watch_fail_directory_sync(inode)
        let copying = await #expect(throws: OutboxError.self) { try await outbox.backup(to: path + "-copy") }
        #expect(copying?.code == .inputOutput)
        #expect(!FileManager.default.fileExists(atPath: path + "-copy"), "an error leaves nothing")
        await outbox.close()
      }
    }
  #endif

  @Test func everySettingIsReadBack() async throws {
    try await withTemporaryDirectory { directory in
      let connection = try StoreOpening.openForWriting(
        OutboxFile(path: directory + "/a.outbox"), create: true,
        limits: SpaceLimits(maximumBytes: nil, diskBytes: nil), newID: anID(), now: .now)
      for (name, value) in [
        ("journal_mode", "wal"), ("synchronous", "2"), ("secure_delete", "0"), ("wal_autocheckpoint", "0"),
        ("journal_size_limit", "\(24 << 20)"), ("foreign_keys", "1"),
      ] {
        #expect(try connection.firstRow("PRAGMA \(name)") { $0.text(0) } == value, "\(name)")
      }
    }
  }

  @Test func aSettingThatSQLiteDoesNotTakeStopsTheOpening() async throws {
    // A database in memory cannot have a write-ahead log.
    let connection = try SQLiteConnection(path: ":memory:")
    let error = #expect(throws: OutboxError.self) {
      try Pragmas.applyForWriting(to: connection, journalSizeLimitBytes: 1)
    }
    #expect(error?.code == .settingRefused)
    #expect(error?.message.contains("journal_mode = wal") == true)
  }

  @Test func theOutboxKeepsItsIDAndItsSequences() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let first = try await Outbox(at: path)
      try await first.append(contentsOf: ["{}", "{}"], to: "clicks")
      let id = first.outboxID
      await first.close()
      let second = try await Outbox(at: path)
      #expect(second.outboxID == id)
      #expect(try await second.append("{}", to: "clicks").description == "clicks/3")
      await second.close()
    }
  }

  @Test(arguments: [
    ("not a database at all, only text\n", OutboxError.Code.notADatabase, "not an SQLite database")
  ])
  func filesThatAreNoDatabase(content: String, code: OutboxError.Code, words: String) async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/file"
      try Data(content.utf8).write(to: URL(fileURLWithPath: path))
      let error = await #expect(throws: OutboxError.self) { _ = try await Outbox(at: path) }
      #expect(error?.code == code)
      #expect(error?.message.contains(words) == true)
      #expect(FileManager.default.contents(atPath: path) == Data(content.utf8), "left as it was")
    }
  }

  @Test func anotherApplicationsDatabaseIsLeftAlone() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/theirs.db"
      try SQLiteShell(path).run("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)")
      let before = FileManager.default.contents(atPath: path)
      let error = await #expect(throws: OutboxError.self) { _ = try await Outbox(at: path) }
      #expect(error?.code == .foreignDatabase)
      #expect(FileManager.default.contents(atPath: path) == before)
    }
  }

  @Test func aNewerFormatIsRefusedAndLeftAlone() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/newer.outbox"
      await (try Outbox(at: path)).close()
      try SQLiteShell(path).run("UPDATE outbox_meta SET value = 7 WHERE name = 'format_version'")
      let before = FileManager.default.contents(atPath: path)
      let error = await #expect(throws: OutboxError.self) { _ = try await Outbox(at: path) }
      #expect(error?.code == .newerFormat)
      #expect(error?.message.contains("version 7") == true)
      #expect(FileManager.default.contents(atPath: path) == before)
    }
  }

  @Test func aMissingDirectoryIsNamed() async throws {
    try await withTemporaryDirectory { directory in
      let error = await #expect(throws: OutboxError.self) { _ = try await Outbox(at: directory + "/no/app.outbox") }
      #expect(error?.code == .notWritable)
      #expect(error?.message.contains("\(directory)/no is not there") == true)
    }
  }

  @Test func withoutLeaveToCreateNothingIsMade() async throws {
    try await withTemporaryDirectory { directory in
      var configuration = OutboxConfiguration()
      configuration.createsFile = false
      let path = directory + "/app.outbox"
      let error = await #expect(throws: OutboxError.self) {
        _ = try await Outbox(at: path, configuration: configuration)
      }
      #expect(error?.code == .notFound)
      let files = try FileManager.default.contentsOfDirectory(atPath: directory)
      #expect(files.isEmpty)
      try Data().write(to: URL(fileURLWithPath: path))
      let second = await #expect(throws: OutboxError.self) {
        _ = try await Outbox(at: path, configuration: configuration)
      }
      #expect(second?.code == .notFound)
    }
  }

  @Test func everyNameOfAnOutboxLeadsToOneLock() async throws {
    try await withTemporaryDirectory { directory in
      let outbox = try await Outbox(at: directory + "/real.outbox")
      try await outbox.append("{}", to: "clicks")
      try FileManager.default.createSymbolicLink(
        atPath: directory + "/link.outbox", withDestinationPath: directory + "/real.outbox")
      let linked = try await Outbox(at: directory + "/link.outbox")
      #expect(linked.file.lockPath == outbox.file.lockPath)
      #expect(try await linked.status().path == directory + "/link.outbox")
      #expect(try await linked.status().fileBytes == outbox.status().fileBytes)
      await linked.close()
      await outbox.close()
      try FileManager.default.linkItem(atPath: directory + "/real.outbox", toPath: directory + "/hard.outbox")
      let error = await #expect(throws: OutboxError.self) { _ = try await Outbox(at: directory + "/hard.outbox") }
      #expect(error?.code == .conflict)
      try FileManager.default.createSymbolicLink(
        atPath: directory + "/dangling", withDestinationPath: directory + "/nothing")
      let dangling = await #expect(throws: OutboxError.self) { _ = try await Outbox(at: directory + "/dangling") }
      #expect(dangling?.message.contains("symbolic link") == true)
    }
  }

  @Test(arguments: ["file:x?mode=memory", ":memory:", "file:y?nolock=1"])
  func namesThatSQLiteReadsSpeciallyArePlainNames(name: String) async throws {
    try await withTemporaryDirectory { directory in
      let outbox = try await Outbox(at: "\(directory)/\(name)")
      try await outbox.append("{}", to: "clicks")
      await outbox.close()
      let size = try FileManager.default.attributesOfItem(atPath: "\(directory)/\(name)")[.size] as? Int
      #expect(try #require(size) > 0)
    }
  }

  @Test func twoOpeningsAtOnceMakeOneOutbox() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let ids = try await withThrowingTaskGroup(of: OutboxID.self) { group in
        for _ in 0..<8 {
          group.addTask {
            let outbox = try await Outbox(at: path)
            try await outbox.append("{}", to: "clicks")
            await outbox.close()
            return outbox.outboxID
          }
        }
        return try await group.reduce(into: Set()) { $0.insert($1) }
      }
      #expect(ids.count == 1)
      #expect(try SQLiteShell(path).run("SELECT next_sequence FROM outbox_data_sources") == [["9"]])
    }
  }

  private func anID() -> OutboxID {
    var generator = SystemRandomNumberGenerator()
    return OutboxID(using: &generator)
  }
}
