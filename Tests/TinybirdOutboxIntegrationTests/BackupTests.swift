import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Synchronization
import Testing

@testable import TinybirdOutbox

@Suite struct BackupTests {
  @Test func aBackupOfALiveOutboxIsWholeAndPrivate() async throws {
    try await withOutbox { outbox in
      try await outbox.append(contentsOf: (1...500).map { "{\"n\":\($0)}" }, to: "clicks")
      let path = outbox.file.path + "-copy"
      // Commits all the while: none of them makes the copy start anew, or tears it.
      let appended = Watch(0)
      let appending = Task {
        while !Task.isCancelled {
          try await outbox.append("{\"during\":true}", to: "clicks")
          appended.update { $0 += 1 }
        }
      }
      await appended.wait { $0 > 0 }
      let report = try await outbox.backup(to: path)
      appending.cancel()
      try? await appending.value
      #expect(report.pendingEvents >= 500 && report.bytes > 0)
      #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
      let beside = try FileManager.default.contentsOfDirectory(atPath: outbox.file.directory)
      #expect(!beside.contains { $0.contains("-copy-") || $0.contains(".partial") }, "\(beside)")
      let copy = try await Outbox(at: path)
      #expect(copy.outboxID == outbox.outboxID)
      let pendingEvents = try await copy.status().pendingEvents
      #expect(pendingEvents == report.pendingEvents, "the copy's own, not those of a moment before")
      try await expectSound(copy)
      await copy.close()
      let again = await #expect(throws: OutboxError.self) { try await outbox.backup(to: path) }
      #expect(again?.code == .notWritable)
    }
  }

  /// The file is larger than one step, and another process commits behind the first.
  @Test func aCommitInTheMiddleIsNotInIt() async throws {
    try await withOutbox { outbox in
      for number in 1...3 { try await outbox.append(event(number, padding: 3_000_000), to: "clicks") }
      let path = outbox.file.path
      try SQLiteShell(path).run("INSERT INTO outbox_meta VALUES ('holder_pid', 1)")
      let steps = Mutex(0)
      _ = try await outbox.backup(to: path + "-copy") { _, _ in
        steps.withLock { $0 += 1 }
        #expect(throws: Never.self) {
          try SQLiteShell(path).run("UPDATE outbox_data_sources SET command_count = 99")
        }
      }
      #expect(steps.withLock { $0 } > 1)
      let copy = try SQLiteShell(path + "-copy")
      #expect(try copy.run("SELECT command_count FROM outbox_data_sources") == [["0"]])
      #expect(try SQLiteShell(path).run("SELECT command_count FROM outbox_data_sources") == [["99"]])
      #expect(try copy.run("SELECT * FROM outbox_meta WHERE name = 'holder_pid'") == [], "nobody delivers from it")
    }
  }

  @Test func whatARestoredBackupSendsAgainIsNamed() async throws {
    try await withDelivery { outbox, emulator in
      emulator.dataSources = ["clicks": .init(rejects: .member("n", equals: 2))]
      try await outbox.append(contentsOf: (1...3).map { "{\"n\":\($0)}" }, to: "clicks")
      try await outbox.deliverUntilEmpty()
      try await outbox.append(contentsOf: (4...6).map { "{\"n\":\($0)}" }, to: "clicks")
      let path = outbox.file.path + "-copy"
      _ = try await outbox.backup(to: path)
      try await outbox.deliverUntilEmpty()
      let restored = try await Outbox(at: path, configuration: outbox.configuration)
      try await restored.deliverUntilEmpty()
      let status = try await restored.status()
      #expect(status.pendingEvents == 0 && status.deliveredEvents == 5)
      #expect(
        status.possibleDuplicates == 3, "4 to 6 were delivered after the backup, and it knows that it cannot know")
      #expect(try await emulator.deliveries(of: "clicks")["{\"n\":5}"] == 2)
      #expect(try await restored.deadLetters().map(\.inserted) == [.maybe])
      // Once only.
      try await restored.append("{\"n\":7}", to: "clicks")
      try await restored.deliverUntilEmpty()
      #expect(try await restored.status().possibleDuplicates == 3)
      try await expectSound(restored)
      await restored.close()
    }
  }

  @Test func aRestoredBackupReplaysOnTheOperatorsWordAlone() async throws {
    try await withDelivery { outbox, emulator in
      emulator.dataSources = ["clicks": .init(rejects: .member("n", equals: 2))]
      try await outbox.append(contentsOf: (1...3).map { "{\"n\":\($0)}" }, to: "clicks")
      try await outbox.deliverUntilEmpty()
      let path = outbox.file.path + "-copy"
      _ = try await outbox.backup(to: path)
      // Replayed by the original since; the copy was never delivered from.
      emulator.dataSources = [:]
      #expect(try await outbox.replay(matching: DeadLetterFilter()).events == 1)
      try await outbox.deliverUntilEmpty()
      let restored = try await Outbox(at: path, configuration: outbox.configuration)
      let report = try await restored.replay(matching: DeadLetterFilter())
      #expect(report.events == 0 && report.leftBecauseMaybeInserted == 1)
      #expect(try await restored.replay(matching: DeadLetterFilter(), mayDuplicate: true).events == 1)
      try await restored.deliverUntilEmpty()
      #expect(try await restored.status().possibleDuplicates == 1)
      #expect(try await emulator.deliveries(of: "clicks")["{\"n\":2}"] == 2)
      try await expectSound(restored)
      await restored.close()
    }
  }

  @Test func aFailureLeavesNothing() async throws {
    try await withOutbox { outbox in
      try await outbox.append("{}", to: "clicks")
      let cancelled = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        return try await outbox.backup(to: outbox.file.path + "-copy")
      }
      await #expect(throws: (any Error).self) { try await cancelled.value }
      let beside = try FileManager.default.contentsOfDirectory(atPath: outbox.file.directory)
      #expect(!beside.contains { $0.contains("-copy") }, "\(beside)")
    }
  }

  @Test func whatAKilledBackupLeftIsClearedAway() async throws {
    try await withOutbox { outbox in
      try await outbox.append("{}", to: "clicks")
      let path = outbox.file.path + "-copy"
      for suffix in ["", "-journal", "-wal", "-shm", "-lock"] {
        try Data("half a copy".utf8).write(to: URL(filePath: path + ".partial" + suffix))
      }
      _ = try await outbox.backup(to: path)
      let beside = try FileManager.default.contentsOfDirectory(atPath: outbox.file.directory)
      #expect(beside.filter { $0.contains("-copy") }.count == 1, "\(beside)")
      let copy = try await Outbox(at: path)
      try await expectSound(copy)
      await copy.close()
    }
  }

  @Test func oneThatIsBeingWrittenIsLeftAlone() async throws {
    try await withOutbox { outbox in
      try await outbox.append("{}", to: "clicks")
      let path = outbox.file.path + "-copy"
      let other = try NewFile(at: path)
      let refused = await #expect(throws: OutboxError.self) { try await outbox.backup(to: path) }
      #expect(refused?.code == .conflict)
      #expect(refused?.message.contains("is being written by another program") == true)
      #expect(FileManager.default.fileExists(atPath: other.partial.path), "it is the other's")
      other.removePartial()
      _ = try await outbox.backup(to: path)
    }
  }

  @Test func ofSeveralToOneNameOneIsMade() async throws {
    try await withOutbox { outbox in
      try await outbox.append(contentsOf: (1...500).map { "{\"n\":\($0)}" }, to: "clicks")
      let path = outbox.file.path + "-copy"
      let codes = await withTaskGroup(of: OutboxError.Code?.self) { group in
        for _ in 0..<8 {
          group.addTask {
            do {
              _ = try await outbox.backup(to: path)
              return nil
            } catch {
              return (error as? OutboxError)?.code ?? .database
            }
          }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(codes.count { $0 == nil } == 1 && codes.count { $0 == .conflict || $0 == .notWritable } == 7, "\(codes)")
      let copy = try await Outbox(at: path)
      try await expectSound(copy)
      await copy.close()
    }
  }

  /// The lock's file goes with each of them: a lock on one that is gone holds nobody off.
  @Test func noTwoAreEverWrittenAtOnce() async throws {
    try await withTemporaryDirectory { directory in
      let writing = Watch(0)
      let made = await withTaskGroup(of: Int.self) { group in
        for _ in 0..<4 {
          group.addTask {
            (0..<2000).count { _ in
              guard let target = try? NewFile(at: directory + "/copy") else { return false }
              writing.update { $0 += 1 }
              for _ in 0..<20 where target.partial.condition != nil { #expect(writing.value == 1) }
              writing.update { $0 -= 1 }
              target.removePartial()
              return true
            }
          }
        }
        return await group.reduce(0, +)
      }
      #expect(made > 0)
      let left = try FileManager.default.contentsOfDirectory(atPath: directory)
      #expect(left == [])
    }
  }

  @Test func aFileThatCameThereMeanwhileIsNotWrittenOver() async throws {
    try await withOutbox { outbox in
      try await outbox.append("{}", to: "clicks")
      let path = outbox.file.path + "-copy"
      let refused = await #expect(throws: OutboxError.self) {
        try await outbox.backup(to: path) { _, _ in
          _ = FileManager.default.createFile(atPath: path, contents: Data("another's".utf8))
        }
      }
      #expect(refused?.code == .conflict)
      #expect(try String(contentsOfFile: path, encoding: .utf8) == "another's")
      let beside = try FileManager.default.contentsOfDirectory(atPath: outbox.file.directory)
      #expect(beside.filter { $0.contains("-copy") }.count == 1, "\(beside)")
    }
  }

  /// What SQLite, or we, would take for a part of another outbox.
  @Test(arguments: OutboxFile.suffixesBeside + [".partial"])
  func aNameOfAFileBesideAnOutboxIsRefused(suffix: String) async throws {
    try await withOutbox { outbox in
      let refused = await #expect(throws: OutboxError.self) {
        try await outbox.backup(to: outbox.file.directory + "/other" + suffix)
      }
      #expect(refused?.code == .notWritable && refused?.message.contains("is for a file beside an outbox") == true)
    }
  }

  @Test func aPlaceThatCannotTakeItIsNamed() async throws {
    try await withOutbox { outbox in
      let directory = outbox.file.directory
      let taken = await #expect(throws: OutboxError.self) { try await outbox.backup(to: directory + "/.") }
      #expect(taken?.message.contains("there is something at") == true)
      let before = try FileManager.default.contentsOfDirectory(atPath: directory)
      let remote = #expect(throws: OutboxError.self) {
        _ = try NewFile(at: directory + "/copy", fileSystem: { _ in FileSystem(linuxType: 0x6969) })
      }
      #expect(remote?.code == .networkFileSystem)
      #expect(remote?.message.hasPrefix("cannot write") == true && remote?.message.contains("then copy") == true)
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == before)
    }
  }

  /// Files that are called so, and that no backup has left: an outbox that is open, one that is not, somebody's thesis.
  @Test(arguments: [".partial", ".partial-source"]) func anothersFileIsNotTakenForALeftover(suffix: String) async throws
  {
    try await withOutbox { outbox in
      try await outbox.append("{}", to: "clicks")
      let path = outbox.file.path + "-copy"
      try Data("thesis".utf8).write(to: URL(filePath: path + suffix))
      let refused = await #expect(throws: OutboxError.self) { try await outbox.backup(to: path) }
      #expect(refused?.code == .notWritable && refused?.message.contains("-copy\(suffix) is no file that") == true)
      #expect(try String(contentsOfFile: path + suffix, encoding: .utf8) == "thesis")
      try FileManager.default.removeItem(atPath: path + suffix)
      // As an earlier version of the library could have made one, which has delivered.
      let elsewhere = outbox.file.path + "-elsewhere"
      try await withOutbox(at: elsewhere) { other in
        try await other.append("{}", to: "clicks")
        for beside in ["", "-wal", "-shm", "-open"] {
          try FileManager.default.copyItem(atPath: elsewhere + beside, toPath: path + suffix + beside)
        }
        try Data().write(to: URL(filePath: path + suffix + "-lock"))
      }
      _ = await #expect(throws: OutboxError.self) { try await outbox.backup(to: path) }
      #expect(FileManager.default.fileExists(atPath: path + suffix))
      // And none is made.
      let opened = await #expect(throws: OutboxError.self) { try await Outbox(at: outbox.file.path + "-new" + suffix) }
      #expect(opened?.code == .notWritable && opened?.message.contains(suffix) == true)
      let named = await #expect(throws: OutboxError.self) { try await outbox.backup(to: path + suffix) }
      #expect(named?.code == .notWritable)
    }
  }

  @Test func aDiskWithoutRoomIsNamed() async throws {
    try await withOutbox { outbox in
      try await outbox.append("{}", to: "clicks")
      let target = try NewFile(at: outbox.file.path + "-copy")
      let full = SQLiteError(code: 13, message: "database or disk is full", doing: "copying").asOutboxError
      let error = target.explaining(full, filledFrom: outbox.file)
      #expect(error.code == .diskFull && error.message.contains("on the disk of \(outbox.file.directory), where"))
      #expect(error.message.contains("and its log, \(outbox.file.sizeBytes() + outbox.file.logBytes). Nothing"))
      #expect(target.partial.condition == nil, "it is said how much is free without it")
      let other = OutboxError(.damaged, "damaged")
      #expect(target.explaining(other, filledFrom: outbox.file).message == "damaged")
    }
  }

  @Test func anotherFilesLogIsNotAdopted() async throws {
    try await withOutbox { outbox in
      let path = outbox.file.path + "-copy"
      try Data("a log".utf8).write(to: URL(filePath: path + "-wal"))
      let refused = await #expect(throws: OutboxError.self) { try await outbox.backup(to: path) }
      #expect(refused?.code == .notWritable)
      #expect(refused?.message.contains("-copy-wal is the log of another file") == true)
    }
  }
}
