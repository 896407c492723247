import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// `kill -9` of a process that prunes, that gives space back, and that migrates an old file, at each step of its commits.
@Suite(.timeLimit(.minutes(5))) struct MaintenanceKillTests {
  /// One after the other on one outbox: those that come before the commit leave all of it to the next.
  private static let moments = [
    "statement DELETE FROM outbox_chunks@1",
    "statement DELETE FROM outbox_chunks@1 then wal-write@1",
    "statement DELETE FROM outbox_chunks@1 then commit-frame@1",
    "statement DELETE FROM outbox_chunks@1 then wal-sync@1",
    "statement DELETE FROM outbox_chunks@1 then done wal-sync@1",
    "statement DELETE FROM outbox_batches@1",
    "statement DELETE FROM outbox_batches@1 then done statement@1",
    "statement PRAGMA incremental_vacuum@1 then wal-write@3",
    "statement PRAGMA incremental_vacuum@1 then commit-frame@1",
    "statement PRAGMA incremental_vacuum@1 then done wal-sync@1",
    "statement PRAGMA incremental_vacuum@1 then database-truncate@1",
  ]

  @Test func aPruneLeavesWholeStepsAndEveryCountIsRight() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let outbox = try await Outbox(at: path)
      for number in 1...20 { try await outbox.append(event(number, padding: 1_000_000), to: "clicks") }
      try await outbox.append(contentsOf: [event(31), event(32, isBad: true)], to: "clicks")
      let service = ScriptedService()
      try await outbox.deliver(to: service)
      try await outbox.append(contentsOf: [event(33), event(34)], to: "clicks")
      let before = try await outbox.status().dataSources.map(\.counts)
      await outbox.close()
      for moment in Self.moments {
        let outcome = try await CrashChild.run("prune", path, ["kill": moment])
        #expect(outcome.signal == SIGKILL, "'\(moment)' was not reached: \(outcome.lines)")
        let outbox = try await Outbox(at: path)
        try await expectSound(outbox)
        #expect(try await outbox.status().dataSources.map(\.counts) == before, "\(moment)")
        #expect(try await outbox.deadLetters().map(\.json) == [event(32, isBad: true)], "\(moment)")
        await outbox.close()
      }
      #expect(try await CrashChild.run("prune", path).code == 0)
      let size = try #require(FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
      #expect(size <= 16 << 20)
      let last = try await Outbox(at: path)
      try await expectSound(last)
      #expect(try await last.status().dataSources.map(\.counts) == before)
      try await last.deliver(to: service)
      #expect((33...34).allSatisfy { service.arrivals(of: event($0)) == 1 })
      await last.close()
    }
  }

  /// From the first statement of the migration to the end of the process, at every fifth step, with more seeds than the
  /// default at every one.
  @Test func aMigrationIsWholeOrNotThere() async throws {
    try await withTemporaryDirectory { directory in
      let whole = directory + "/whole.outbox"
      try OldFile.copy(version: 1, to: whole)
      let expected = try await contents(whole)
      let stride = try KillTests.seeds.count > 4 ? 1 : 5
      var step = 1 - stride
      var outcome: CrashChild.Outcome
      repeat {
        step += stride
        let path = directory + "/\(step).outbox"
        try OldFile.copy(version: 1, to: path)
        outcome = try await CrashChild.run("open", path, ["kill": "statement ALTER TABLE@1 then @\(step)"])
        let actual = try await contents(path)
        #expect(actual == expected, "killed at step \(step)")
      } while outcome.signal == SIGKILL
      #expect(outcome.code == 0, "\(outcome.lines)")
      print("a migration was killed at up to \(step) steps")
      #expect(step > 50)
    }
  }

  private func contents(_ path: String) async throws -> [String: [String: SalvagedEvent]] {
    let outbox = try await Outbox(at: path)
    try await expectSound(outbox)
    var contents: [String: [String: SalvagedEvent]] = [:]
    for source in try await outbox.status().dataSources {
      contents["\(source.dataSource)"] = try await outbox.contents(of: source.dataSource)
    }
    await outbox.close()
    return contents
  }
}
