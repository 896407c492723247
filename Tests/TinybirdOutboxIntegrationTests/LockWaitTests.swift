import COutboxCrashVFS
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Who waits for a lock, and who is turned away.
@Suite struct LockWaitTests {
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
