import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct SettingAsideTests {
  private static var setsAside: OutboxConfiguration {
    var configuration = OutboxConfiguration()
    configuration.setsAsideUnreadableFile = true
    return configuration
  }

  /// An outbox whose first page is gone, with a log beside it.
  private func withBrokenFile(_ body: (String, _ bytes: Data) async throws -> Void) async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let outbox = try await Outbox(at: path)
      try await outbox.append("{\"old\":true}", to: "clicks")
      await outbox.close()
      var bytes = try Data(contentsOf: URL(filePath: path))
      bytes.replaceSubrange(0..<4096, with: [UInt8](repeating: 0x5A, count: 4096))
      try bytes.write(to: URL(filePath: path))
      try Data("a log".utf8).write(to: URL(filePath: path + "-wal"))
      try await body(path, bytes)
    }
  }

  @Test func theFileAndItsLogAreKeptAndANewOneBegins() async throws {
    try await withBrokenFile { path, bytes in
      let refused = await #expect(throws: OutboxError.self) { try await Outbox(at: path) }
      #expect(refused?.code == .notADatabase)
      let outbox = try await Outbox(at: path, configuration: Self.setsAside)
      #expect(try await outbox.append("{}", to: "clicks").description == "clicks/1")
      let aside = try #require(outbox.setAsidePath)
      #expect(aside.hasPrefix(path + ".aside-20"))
      #expect(try Data(contentsOf: URL(filePath: aside)) == bytes)
      #expect(FileManager.default.fileExists(atPath: aside + "-wal"))
      try await expectSound(outbox)
      await outbox.close()
      let again = try await Outbox(at: path, configuration: Self.setsAside)
      #expect(again.setAsidePath == nil)
      await again.close()
    }
  }

  @Test func twoProcessesAtOnceSetItAsideOnce() async throws {
    try await withBrokenFile { path, _ in
      let outboxes = try await withThrowingTaskGroup(of: Outbox.self) { group in
        for _ in 0..<4 { group.addTask { try await Outbox(at: path, configuration: Self.setsAside) } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(outboxes.count { $0.setAsidePath != nil } == 1)
      #expect(Set(outboxes.map(\.outboxID)).count == 1)
      for outbox in outboxes { await outbox.close() }
    }
  }

  /// A crash after each step: before the file is renamed, before its log is, and before the mark is taken away.
  ///
  /// The directory may have another name when the outbox is opened again.
  @Test(arguments: 0...SettingAside.suffixes.count, [false, true])
  func aCrashDoesNotPartTheFileFromItsLog(afterFiles count: Int, isMoved: Bool) async throws {
    try await withBrokenFile { oldPath, bytes in
      var path = oldPath
      var file = try OutboxFile(path: path)
      try SettingAside(file: file).mark(path + ".aside-before")
      for suffix in SettingAside.suffixes.prefix(count) where file.size(beside: suffix) != nil {
        try file.rename(suffix, to: path + ".aside-before" + suffix)
      }
      if isMoved {
        let names = try FileManager.default.contentsOfDirectory(atPath: file.directory)
        let directory = file.directory + "/moved"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        for name in names {
          try FileManager.default.moveItem(atPath: "\(file.directory)/\(name)", toPath: "\(directory)/\(name)")
        }
        path = directory + "/app.outbox"
        file = try OutboxFile(path: path)
      }
      let half = path + ".aside-before"
      if count == 0 {
        let refused = await #expect(throws: OutboxError.self) { try await Outbox(at: path) }
        #expect(refused?.code == .notADatabase, "nothing was done yet")
      }
      let outbox = try await Outbox(at: path, configuration: count == 0 ? Self.setsAside : OutboxConfiguration())
      try await outbox.append("{}", to: "clicks")
      let aside = try #require(outbox.setAsidePath)
      #expect(count == 0 || aside == half)
      #expect(try Data(contentsOf: URL(filePath: aside)) == bytes)
      #expect(try String(contentsOfFile: aside + "-wal", encoding: .utf8) == "a log")
      #expect(file.asideMark == nil)
      try await expectSound(outbox)
      await outbox.close()
    }
  }

  /// What another program put in the old one's place has a log of its own.
  @Test func anOutboxThatIsThereKeepsItsLog() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let live = try await Outbox(at: directory + "/live")
      try await live.append("{}", to: "clicks")
      for suffix in ["", "-wal"] {
        try FileManager.default.copyItem(atPath: directory + "/live" + suffix, toPath: path + suffix)
      }
      let file = try OutboxFile(path: path)
      try Data("an old one".utf8).write(to: URL(filePath: path + ".aside-before"))
      try SettingAside(file: file).mark(path + ".aside-before")
      let outbox = try await Outbox(at: path)
      #expect(outbox.setAsidePath == nil && file.asideMark == nil)
      let pending = try await outbox.status().pendingEvents
      #expect(pending == 1)
      await outbox.close()
      await live.close()
    }
  }

  @Test func nothingNewIsMadeWhileTheOldLogIsThere() async throws {
    try await withBrokenFile { path, _ in
      let file = try OutboxFile(path: path)
      try SettingAside(file: file).mark(path + ".aside-now")
      try file.rename(to: path + ".aside-now")
      // Whoever sets it aside is alive, and holds the lock.
      let lock = try #require(try DeliveryLock.tryAcquire(file))
      let made = Watch(false)
      Thread.detachNewThread {
        try? file.prepare(create: true)
        made.update { $0 = true }
      }
      try file.rename("-wal", to: path + ".aside-now-wal")
      #expect(file.condition == nil)
      file.remove([OutboxFile.asideMarkSuffix])
      await made.wait { $0 }
      #expect(file.condition != nil)
      withExtendedLifetime(lock) {}
    }
  }

  @Test func whatIsNotTheFilesFaultIsNeverSetAside() async throws {
    try await withTemporaryDirectory { directory in
      let newer = directory + "/newer"
      await (try Outbox(at: newer)).close()
      try SQLiteShell(newer).run("UPDATE outbox_meta SET value = 999 WHERE name = 'format_version'")
      let foreign = directory + "/foreign"
      try SQLiteShell(foreign).run("CREATE TABLE t (a)")
      for (path, code) in [(newer, OutboxError.Code.newerFormat), (foreign, .foreignDatabase)] {
        let error = await #expect(throws: OutboxError.self) {
          try await Outbox(at: path, configuration: Self.setsAside)
        }
        #expect(error?.code == code)
        #expect(FileManager.default.fileExists(atPath: path))
      }
      let names = try FileManager.default.contentsOfDirectory(atPath: directory)
      #expect(!names.contains { $0.contains("aside") })
    }
  }

  @Test func aProcessThatHasItOpenIsNotStranded() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let working = try await Outbox(at: path)
      try await working.append("{}", to: "clicks")
      // For every new opening the file has lost its id; the one that has it open goes on.
      try SQLiteShell(path).run("DELETE FROM outbox_meta WHERE name = 'outbox_id'")
      let error = await #expect(throws: OutboxError.self) {
        try await Outbox(at: path, configuration: Self.setsAside)
      }
      #expect(error?.code == .conflict)
      try await working.append("{}", to: "clicks")
      #expect(FileManager.default.fileExists(atPath: path))
      await working.close()
    }
  }
}
