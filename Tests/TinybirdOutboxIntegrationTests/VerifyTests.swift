import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct VerifyTests {
  struct Tampering: Sendable, CustomTestStringConvertible {
    var name: String
    var sql: String
    /// Words of the problem that must be reported.
    var words: String
    var testDescription: String { name }
  }

  static let table: [Tampering] = [
    Tampering(
      name: "a bit of a payload",
      sql: """
        UPDATE outbox_chunks SET payload = CAST(replace(payload, '"n":2', '"n":3') AS BLOB) WHERE key & 255 = 1
        """,
      words: "checksum"),
    Tampering(
      name: "a truncated payload",
      sql: "UPDATE outbox_chunks SET payload = substr(payload, 1, 5) WHERE key & 255 = 1", words: "bytes instead of"),
    Tampering(
      name: "another outbox's chunk", sql: "UPDATE outbox_chunks SET outbox_id = zeroblob(16) WHERE key & 255 = 1",
      words: "another outbox"),
    Tampering(
      name: "an encoding of the future", sql: "UPDATE outbox_chunks SET encoding = 'zstd' WHERE key & 255 = 1",
      words: "encoding is not known"),
    Tampering(
      name: "no checksum", sql: "UPDATE outbox_chunks SET crc32 = NULL WHERE key & 255 = 1", words: "no checksum"),
    Tampering(name: "a missing chunk", sql: "DELETE FROM outbox_chunks WHERE key & 255 = 1", words: "in no chunk"),
    Tampering(
      name: "a missing last chunk", sql: "DELETE FROM outbox_chunks WHERE key = (SELECT max(key) FROM outbox_chunks)",
      words: "in no chunk"),
    Tampering(
      name: "two chunks for one event",
      sql: """
        INSERT INTO outbox_chunks
        SELECT key + 1, event_count, byte_count, encoding, crc32, outbox_id, committed_at, payload
        FROM outbox_chunks WHERE key & 255 = 1
        """, words: "in two chunks"),
    Tampering(
      name: "a wrong count of events",
      sql: "UPDATE outbox_chunks SET event_count = event_count - 1 WHERE key & 255 = 1", words: "checksum"),
    Tampering(
      name: "a missing range", sql: "DELETE FROM outbox_batches WHERE state = 'dead'", words: "do not add up"),
    Tampering(
      name: "a pruned range whose chunk stayed",
      sql: """
        UPDATE outbox_data_sources SET pruned_delivered = 3;
        """, words: "do not add up"),
    Tampering(
      name: "a chunk that no range names", sql: "DELETE FROM outbox_batches WHERE first_sequence = 4",
      words: "the ledger does not know"),
    Tampering(
      name: "a range that grew",
      sql: "UPDATE outbox_batches SET last_sequence = last_sequence + 1 WHERE state = 'dead'", words: "overlap"),
    Tampering(
      name: "a lost dead letter", sql: "DELETE FROM outbox_dead_letters", words: "0 dead letters are there"),
    Tampering(
      name: "a dead letter too many",
      sql: """
        INSERT INTO outbox_dead_letters (key, payload, committed_at, state, reason, attempts, inserted, dead_at)
        VALUES ((1 << 48) + 1, '{}', 0, 'dead', 'refused', 1, 'no', 0)
        """, words: "do not add up"),
    Tampering(
      name: "a lane that lies",
      sql: "UPDATE outbox_data_sources SET next_unbatched = next_unbatched - 1", words: "the ledger ends at"),
  ]

  /// Chunks of three events at 1 and 4, delivered but for event 2, and one of two events at 7 that is pending.
  private func withHistory(_ body: (Outbox, EventsAPIEmulator) async throws -> Void) async throws {
    try await withDelivery { outbox, emulator in
      emulator.dataSources = ["clicks": DataSourceRules(rejects: .member("n", equals: 2))]
      try await outbox.append(contentsOf: (1...3).map { "{\"n\":\($0)}" }, to: "clicks")
      try await outbox.append(contentsOf: (4...6).map { "{\"n\":\($0)}" }, to: "clicks")
      try await outbox.deliverUntilEmpty()
      try await outbox.append(contentsOf: (7...8).map { "{\"n\":\($0)}" }, to: "clicks")
      try await expectSound(outbox)
      try await body(outbox, emulator)
    }
  }

  @Test(arguments: table)
  func whatIsWrongIsFound(tampering: Tampering) async throws {
    try await withHistory { outbox, _ in
      try SQLiteShell(outbox.file.path).run(tampering.sql)
      let report = try await outbox.verify()
      #expect(!report.isSound)
      #expect(report.problems.contains { $0.contains(tampering.words) }, "\(report.problems)")
      #expect(report.problems.allSatisfy { !$0.contains("{") }, "no payload in a report")
    }
  }

  @Test func aSoundOutboxAddsUp() async throws {
    try await withHistory { outbox, _ in
      let report = try await outbox.verify()
      #expect(report.isSound)
      #expect(report.checkedEvents == 8 && report.checkedChunks == 3)
      let sums = try #require(report.dataSources.first)
      #expect(sums.appended == 8 && sums.delivered == 5 && sums.pending == 2 && sums.dead == 1 && sums.deadLetters == 1)
    }
  }

  @Test func aDamagedChunkIsSetApartAndTheRestGoesOn() async throws {
    try await withHistory { outbox, emulator in
      try await outbox.append("{\"n\":9}", to: "clicks")
      try SQLiteShell(outbox.file.path).run(
        "UPDATE outbox_chunks SET payload = CAST(replace(payload, '7', '6') AS BLOB) WHERE key & 255 = 7")
      try await outbox.deliverUntilEmpty()
      let status = try await outbox.status().dataSources[0]
      #expect(status.damagedEvents == 2 && status.pendingEvents == 0 && status.deliveredEvents == 6)
      let rows = try await emulator.deliveries(of: "clicks")
      #expect(rows["{\"n\":9}"] == 1)
      #expect(rows["{\"n\":6}"] == 1 && rows["{\"n\":8}"] == nil, "nothing of the damaged chunk was sent")
      let events = try await outbox.events(in: AddressRange("clicks/7..9"))
      #expect(events.map(\.state) == [.damaged, .damaged, .delivered])
      #expect(events.map { $0.json == nil } == [true, true, false])
      let report = try await outbox.verify()
      #expect(report.problems.count == 1, "the damage stays on record")
      #expect(report.dataSources[0].isWhole)
    }
  }
}
