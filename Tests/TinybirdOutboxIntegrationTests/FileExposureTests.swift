import Foundation
import Logging
import OutboxTestSupport
import Synchronization
import Testing

@testable import TinybirdOutbox

/// Who besides this user can reach an outbox, and where it may not lie.
@Suite struct FileExposureTests {
  @Test func everyFileIsForThisUserAlone() async throws {
    try await withDelivery { outbox, _ in
      try await outbox.append("{}", to: "clicks")
      try await outbox.deliverUntilEmpty()
      let directory = outbox.file.directory
      let names = try FileManager.default.contentsOfDirectory(atPath: directory)
      #expect(Set(names).isSuperset(of: ["app.outbox", "app.outbox-wal", "app.outbox-shm", "app.outbox-lock"]))
      for name in names {
        let mode = try FileManager.default.attributesOfItem(atPath: "\(directory)/\(name)")[.posixPermissions] as? Int
        #expect(mode == 0o600, "\(name)")
      }
      #expect(outbox.file.exposures() == [])
    }
  }

  /// The directory's mode and what is warned of when the outbox is made, and when it is opened again.
  @Test(
    arguments: [
      (0o700, [], []), (0o711, [], []), (0o755, ["may list"], []), (0o750, ["may list"], []),
      (0o777, ["may write"], ["may write"]), (0o1777, ["may write"], ["may write"]),
      (0o770, ["may write"], ["may write"]),
    ] as [(Int, [String], [String])])
  func aDirectoryThatIsNotPrivateIsWarnedOf(mode: Int, whenMade: [String], whenOpened: [String]) async throws {
    try await withTemporaryDirectory { directory in
      try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: directory)
      for words in [whenMade, whenOpened] {
        let log = RecordedLog()
        await (try Outbox(at: directory + "/app.outbox", logger: log.logger)).close()
        #expect(log.lines.count == words.count)
        #expect(zip(log.lines, words).allSatisfy { $0.contains($1) })
      }
    }
  }

  @Test(arguments: ["", "-open", "-reserve"])
  func aFileThatOthersMayReadIsWarnedOfEachTime(suffix: String) async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let made = try await Outbox(at: path)
      try await made.append("{}", to: "clicks")
      await made.close()
      try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path + suffix)
      let log = RecordedLog()
      let outbox = try await Outbox(at: path, logger: log.logger)
      #expect(log.lines.contains { $0.contains("other users may read or write") && $0.contains("mode 0644") })
      await outbox.close()
    }
  }

  /// It keeps its mode, for it may be anybody's; what is in it is as secret as before.
  @Test func aFileThatIsSetAsideAndThatOthersMayReadIsWarnedOf() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      try Data(repeating: 0x61, count: 5000).write(to: URL(filePath: path))
      try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
      var configuration = OutboxConfiguration()
      configuration.setsAsideUnreadableFile = true
      let log = RecordedLog()
      let outbox = try await Outbox(at: path, configuration: configuration, logger: log.logger)
      let aside = try #require(outbox.setAsidePath)
      #expect(log.lines.contains { $0.contains("other users may read or write \(aside) (mode 0644)") })
      await outbox.close()
    }
  }

  @Test func aLockThatIsALinkIsNotFollowed() async throws {
    try await withTemporaryDirectory { directory in
      let file = try OutboxFile(path: directory + "/app.outbox")
      let theirs = directory + "/theirs"
      try FileManager.default.createSymbolicLink(atPath: file.lockPath, withDestinationPath: theirs)
      let error = #expect(throws: OutboxError.self) { try DeliveryLock.tryAcquire(file) }
      #expect(error?.code == .notWritable)
      #expect(!FileManager.default.fileExists(atPath: theirs))
    }
  }

  @Test func aNetworkFileSystemIsRefusedBeforeAnythingIsMade() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let remote = try OutboxFile(path: path, fileSystem: { _ in FileSystem(linuxType: 0x6969) })
      for create in [true, false] {
        let error = #expect(throws: OutboxError.self) { try remote.prepare(create: create) }
        #expect(error?.code == .networkFileSystem)
        #expect(error?.message.contains("network file system (NFS)") == true)
      }
      let files = try FileManager.default.contentsOfDirectory(atPath: directory)
      #expect(files.isEmpty)
      // Also one that was made before the directory was mounted elsewhere.
      await (try Outbox(at: path)).close()
      #expect(throws: OutboxError.self) { try remote.prepare(create: true) }
    }
  }
}

/// A logger that keeps every line: message and metadata.
final class RecordedLog: Sendable {
  private let recorded = Watch<[String]>([])
  var lines: [String] { recorded.value }

  /// Returns once a line holds one of the texts.
  func wait(for texts: String...) async {
    await recorded.wait { lines in lines.contains { line in texts.contains { line.contains($0) } } }
  }

  var logger: Logger { logger(level: .info) }

  func logger(level: Logger.Level) -> Logger {
    var logger = Logger(label: "test") { _ in Handler(log: self) }
    logger.logLevel = level
    return logger
  }

  private struct Handler: LogHandler {
    let log: RecordedLog
    var logLevel = Logger.Level.trace
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      let all = metadata.merging(event.metadata ?? [:]) { $1 }
      log.recorded.update { $0.append("\(event.level): \(event.message) \(all)") }
    }
  }
}
