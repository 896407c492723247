import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// A wall clock that was wrong, or a file that says so: see `LaneReloadTests` for what a lane makes of it.
@Suite(.timeLimit(.minutes(2))) struct WallClockTests {
  /// Moments that a clock can have left in the file: years away, and the ends of what a column holds.
  static let moments: [Int64] = [.min, -1, 0, 1, 4_102_444_800_000, .max]

  @Test(arguments: moments) func storedWaitsStopNothing(moment: Int64) async throws {
    try await withDelivery { outbox, emulator in
      emulator.faults = [FaultRule(times: 1, do: .answer(503))]
      try await outbox.append("{}", to: "clicks")
      emulator.faults = [FaultRule(do: .answer(503))]
      let failing = Task { try await outbox.run() }
      try await waitUntil(outbox) { $0.dataSources.first?.lastAnswer?.status == 503 && $0.dataSources[0].lane != .open }
      failing.cancel()
      try await failing.value
      emulator.faults = []
      try SQLiteShell(outbox.file.path).run("UPDATE outbox_data_sources SET lane_retry_at = \(moment)")
      try SQLiteShell(outbox.file.path).run("UPDATE outbox_batches SET next_attempt_at = \(moment)")
      // The longest wait of this configuration is 50 ms.
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.status().deliveredEvents == 1)
    }
  }

  @Test(arguments: moments) func everyStoredTimeCanBeShown(moment: Int64) async throws {
    try await withDelivery { outbox, emulator in
      emulator.faults = [FaultRule(do: .answer(403))]
      try await outbox.append("{}", to: "clicks")
      try await outbox.deliverUntilEmpty()
      let shell = try SQLiteShell(outbox.file.path)
      for (table, columns) in [
        ("outbox_data_sources", ["lane_retry_at", "held_at", "last_answer_at", "last_delivered_at"]),
        ("outbox_batches", ["next_attempt_at", "formed_at", "settled_at"]),
        ("outbox_dead_letters", ["committed_at", "dead_at", "repaired_at"]),
        ("outbox_attempts", ["started_at", "latency_milliseconds"]),
      ] {
        for column in columns { try shell.run("UPDATE \(table) SET \(column) = \(moment)") }
      }
      let source = try await outbox.status().dataSources[0]
      guard case .held(.unauthorized, _, _, _) = source.lane else {
        Issue.record("the lane is \(source.lane)")
        return
      }
      #expect(try await outbox.events(in: AddressRange("clicks")).count == 1)
      #expect(try await outbox.deadLetters().count == 1)
      #expect(try await outbox.attempts(for: AddressRange("clicks")).count == 1)
      try await expectSound(outbox)
      _ = try await outbox.replay(matching: DeadLetterFilter())
      emulator.faults = []
      try await outbox.resume("clicks")
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.status().deliveredEvents == 1)
    }
  }
}
