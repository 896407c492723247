import COutboxCrashVFS
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Who waits for a lock, and who is turned away.
@Suite struct LockWaitTests {
  /// A laptop that slept, a container that was paused: the holder of the lock stood still as well.
  @Test func whoeverWasFrozenHasNotWaited() async throws {
    try await withTemporaryDirectory { directory in
      let wait = LockWait(path: directory + "/file", patience: .seconds(30))
      var now = ContinuousClock.now
      wait.begin(now: now)
      now += .seconds(3_600)
      #expect(!wait.isOver(now: now))
      for _ in 0..<298 {
        now += .milliseconds(100)
        #expect(!wait.isOver(now: now))
      }
      try Data([1]).write(to: URL(filePath: directory + "/file-wal"))
      #expect(!wait.isOver(now: now), "somebody has written")
      for _ in 0..<299 {
        now += .milliseconds(100)
        #expect(!wait.isOver(now: now))
      }
      now += .milliseconds(100)
      #expect(wait.isOver(now: now))
    }
  }

  /// Eight writers, each of whose syncs takes a quarter of a second: the last has to wait longer than anybody would wait for
  /// a lock behind which nothing happens.
  @Test func aSlowDiskTurnsNobodyAway() async throws {
    let vfs = "slow-\(UUID().uuidString)"
    // The sleep is the disk's, not the test's.
    let slow = outbox_watch_start(
      vfs, false,
      { _, step in
        if let step, String(cString: step) == "wal-sync" { usleep(250_000) }
      }, nil)
    #expect(slow != nil)
    defer { outbox_watch_stop(slow) }
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      try await Outbox(at: path).close()
      var configuration = OutboxConfiguration.impatient
      configuration.sqliteVFS = vfs
      configuration.lockPatience = .seconds(2)
      try await withThrowingTaskGroup(of: Void.self) { [configuration] group in
        for _ in 0..<8 {
          group.addTask {
            let outbox = try await Outbox(at: path, configuration: configuration)
            for _ in 0..<3 { try await outbox.append("{}", to: "clicks") }
            await outbox.close()
          }
        }
        try await group.waitForAll()
      }
      let outbox = try await Outbox(at: path)
      #expect(try await outbox.status().pendingEvents == 24)
      try await expectSound(outbox)
      await outbox.close()
    }
  }
}

extension OutboxConfiguration {
  /// Gives up soon on a lock behind which nothing happens.
  static var impatient: OutboxConfiguration {
    var configuration = OutboxConfiguration()
    configuration.lockPatience = .milliseconds(700)
    return configuration
  }
}
