import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct PruningTests {
  private func events(_ numbers: ClosedRange<Int>, padding: Int = 0) -> [String] {
    numbers.map { event($0, padding: padding) }
  }

  private func chunkCount(_ outbox: Outbox) async throws -> Int64? {
    try await outbox.inspector.read { try $0.connection.firstInteger("SELECT count(*) FROM outbox_chunks") }
  }

  /// The sequence numbers that still can be looked at.
  private func left(_ outbox: Outbox, _ dataSource: String = "clicks") async throws -> [Int64] {
    try await outbox.events(in: AddressRange(dataSource), limit: 1000).map(\.address.sequence)
  }

  @Test func whatIsDeliveredGoesAndStaysCounted() async throws {
    try await withDelivery { outbox, _ in
      try await outbox.append(contentsOf: events(1...6), to: "clicks")
      try await outbox.deliverUntilEmpty()
      try await outbox.append(contentsOf: events(7...8), to: "clicks")
      let report = try await outbox.prune()
      #expect(report.events == 6 && report.bytes == Int64(events(1...6).reduce(0) { $0 + $1.utf8.count + 1 }))
      let status = try await outbox.status().dataSources[0]
      #expect(status.deliveredEvents == 6 && status.pendingEvents == 2 && status.appendedEvents == 8)
      #expect(try await left(outbox) == [7, 8])
      #expect(try await chunkCount(outbox) == 1)
      let sums = try #require(try await outbox.verify().dataSources.first)
      #expect(sums.isWhole && sums.delivered == 6 && sums.pruned == 6)
      try await expectSound(outbox)
      let receipt = try await outbox.append("{}", to: "clicks")
      #expect(receipt.ranges.map(\.sequences) == [9...9], "no number is used again")
      #expect(try await outbox.prune() == PruneReport(events: 0, bytes: 0))
    }
  }

  @Test func onlyWhatIsOldEnoughGoes() async throws {
    try await withDelivery { outbox, _ in
      try await outbox.append(contentsOf: events(1...3), to: "clicks")
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.prune(settledBefore: Date(timeIntervalSinceNow: -3600)).events == 0)
      #expect(try await left(outbox) == [1, 2, 3])
      try await expectSound(outbox)
    }
  }

  @Test func deadLettersAndTheirChunksStay() async throws {
    try await withDelivery { outbox, emulator in
      emulator.dataSources = ["clicks": DataSourceRules(rejects: .member("n", equals: 5))]
      for first in [1, 4, 7] { try await outbox.append(contentsOf: events(first...(first + 2)), to: "clicks") }
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.prune().events == 8)
      #expect(try await chunkCount(outbox) == 1, "the chunk with the dead event stays whole")
      #expect(try await left(outbox) == [5])
      #expect(try await outbox.deadLetters().map(\.address.sequence) == [5])
      try await expectSound(outbox)
      emulator.dataSources = [:]
      _ = try await outbox.replay(matching: DeadLetterFilter())
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.prune().events == 1)
      #expect(try await chunkCount(outbox) == 0)
      #expect(try await outbox.status().deliveredEvents == 9)
      try await expectSound(outbox)
    }
  }

  @Test func aWarningKeepsItsBatchUntilItIsAcknowledged() async throws {
    try await withDelivery { outbox, emulator in
      emulator.dataSources = ["clicks": DataSourceRules(schema: ["n": .string])]
      try await outbox.append(contentsOf: events(1...3), to: "clicks")
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.status().dataSources[0].batchesWithWarnings == 1)
      #expect(try await outbox.prune().events == 0)
      #expect(try await outbox.acknowledgeWarnings(in: AddressRange("clicks/2")) == 1)
      #expect(try await outbox.acknowledgeWarnings(in: AddressRange("clicks")) == 0)
      #expect(try await outbox.status().dataSources[0].batchesWithWarnings == 0)
      #expect(try await outbox.prune().events == 3)
      try await expectSound(outbox)
    }
  }

  @Test func whatIsBeingSentOnceMoreStays() async throws {
    try await withDelivery { outbox, emulator in
      try await outbox.append(contentsOf: events(1...3), to: "clicks")
      try await outbox.append(contentsOf: events(4...6), to: "views")
      try await outbox.deliverUntilEmpty()
      _ = try await outbox.resend(AddressRange("clicks/2"))
      #expect(try await outbox.prune().events == 5, "all but the one")
      #expect(try await left(outbox) == [2])
      try await outbox.deliverUntilEmpty()
      #expect(try await emulator.deliveries(of: "clicks")[event(2)] == 2)
      #expect(try await outbox.prune().events == 1)
      let rows = try await outbox.inspector.read {
        try $0.connection.firstInteger("SELECT count(*) FROM outbox_batches")
      }
      #expect(rows == 0, "the row of the resend is gone too")
      #expect(try await outbox.status().possibleDuplicates == 1, "a duplicate stays counted")
      try await expectSound(outbox)
    }
  }

  @Test func damagedEventsKeepTheirBytes() async throws {
    try await withDelivery { outbox, _ in
      try await outbox.append(contentsOf: events(1...3), to: "clicks")
      try SQLiteShell(outbox.file.path).run("UPDATE outbox_chunks SET crc32 = 1")
      try await outbox.deliverUntilEmpty()
      #expect(try await outbox.status().dataSources[0].damagedEvents == 3)
      #expect(try await outbox.prune().events == 0)
      #expect(try await chunkCount(outbox) == 1)
    }
  }

  /// Small steps: no commit of others waits for more than one.
  @Test func oneStepIsBounded() async throws {
    try await withDelivery { outbox, _ in
      // A chunk a data source and call.
      for _ in 0..<10 {
        try await outbox.append(contentsOf: (0..<100).map { OutboxEvent(event($0), to: try DataSourceName("d\($0)")) })
      }
      try await outbox.deliverUntilEmpty()
      var progress = Pruner.Progress()
      var steps = 0
      var isMoreLeft = true
      while isMoreLeft {
        let before = try await chunkCount(outbox) ?? 0
        (isMoreLeft, progress) = try await outbox.committer.perform { [progress] transaction in
          var progress = progress
          let isMoreLeft = try Pruner(transaction: transaction).step(Pruner.Goal(settledUpTo: .now), &progress)
          return (isMoreLeft, progress)
        }
        let gone = before - (try await chunkCount(outbox) ?? 0)
        #expect(gone <= 256)
        steps += 1
      }
      #expect(steps >= 4 && progress.events == 1000)
      #expect(try await chunkCount(outbox) == 0)
      try await expectSound(outbox)
    }
  }

  @Test func theFileShrinksWhileItIsInUse() async throws {
    try await withDelivery { outbox, _ in
      for number in 0..<60 { try await outbox.append(event(number, padding: 700_000), to: "clicks") }
      try await outbox.append(event(99), to: "views")
      try await outbox.hold("views")
      try await outbox.deliverUntilEmpty()
      let size = { try #require(FileManager.default.attributesOfItem(atPath: outbox.file.path)[.size] as? Int) }
      #expect(try size() > 30_000_000)
      try await outbox.prune()
      #expect(try size() <= 16 << 20)
      let status = try await outbox.status()
      #expect(status.pendingEvents == 1)
      try await expectSound(outbox)
    }
  }

  @Test func aDelivererPrunesByAgeAndSize() async throws {
    try await withDelivery { configuration in
      configuration.keepsDeliveredBytes = 250
    } run: { outbox, _ in
      for number in 1...9 { try await outbox.append(event(number, padding: 100), to: "clicks") }
      try await outbox.deliverUntilEmpty()
      // A batch holds several events: the rule is tried on one that leaves more than it may.
      try await outbox.housekeeper.tidy()
      #expect(try await left(outbox).isEmpty, "one range, and it is too large")
      for number in 10...11 { try await outbox.append(event(number, padding: 100), to: "clicks") }
      try await outbox.deliverUntilEmpty()
      try await outbox.housekeeper.tidy()
      #expect(try await left(outbox) == [10, 11])
      try await expectSound(outbox)
    }
  }
}
