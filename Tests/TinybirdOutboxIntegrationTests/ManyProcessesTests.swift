import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Synchronization
import Testing

@testable import TinybirdOutbox

/// Many processes on one outbox at once.
///
/// `OUTBOX_MANY_PROCESSES_SECONDS` says for how long; by default ten.
@Suite struct ManyProcessesTests {
  private static let appenderCount = 8

  private static var seconds: Int {
    ProcessInfo.processInfo.environment["OUTBOX_MANY_PROCESSES_SECONDS"].flatMap(Int.init) ?? 10
  }

  /// Eight append, one delivers, one inspects and replays: nobody is turned away, nobody starves, nothing is lost.
  @Test func allWorkAtOnce() async throws {
    try await withTemporaryDirectory { directory in
      try await withCountingEmulator { emulator in
        let path = directory + "/app.outbox"
        let url = try await emulator.baseURL.absoluteString
        emulator.dataSources = ["orders": DataSourceRules(rejects: Stubborn().predicate)]
        let seconds = "\(Self.seconds)"
        let deliverer = try CrashChild("deliver", path, ["url": url])
        let inspector = try CrashChild("inspect", path, ["seconds": seconds])
        let appenders = try (0..<Self.appenderCount).map {
          try CrashChild("append", path, ["writer": "a\($0)", "seconds": seconds, "bad": "20"])
        }
        var acknowledged: [CrashChild.Acknowledgement] = []
        var shares: [Int] = []
        for appender in appenders {
          let outcome = try await appender.end()
          #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
          acknowledged += try outcome.acknowledgements
          shares.append(outcome.lines.count - 2)
        }
        let inspection = try await inspector.end()
        #expect(inspection.code == 0 && inspection.errors.isEmpty, "\(inspection.errors)")
        deliverer.kill()
        let delivery = try await deliverer.end()
        #expect(delivery.signal == SIGKILL && delivery.errors.isEmpty, "\(delivery.errors)")
        // Twenty refused replays in a row hold a lane, and nobody is left to end that.
        var isHeld = true
        while isHeld {
          let last = try await CrashChild.run("deliver", path, ["url": url, "until": "empty"])
          #expect(last.code == 0, "\(last.lines)")
          isHeld = try await resumeHeld(path)
        }

        let outbox = try await Outbox(at: path)
        let problems = try await Reckoning(acknowledged: acknowledged, emulator: emulator).problems(outbox)
        #expect(problems.prefix(20).isEmpty, "\(problems.count) problems")
        expectNoHoles(acknowledged)
        // All of them were alive to the end, so that no call is missing.
        let events = acknowledged.reduce(0) { $0 + $1.count }
        #expect(try await outbox.status().dataSources.reduce(0) { $0 + $1.appendedEvents } == events)
        await outbox.close()
        let mean = shares.reduce(0, +) / shares.count
        print("\(seconds) s: \(events) events in \(shares.sorted()) calls; \(inspection.lines.suffix(2))")
        #expect(shares.allSatisfy { $0 * 10 > mean * 8 }, "fair shares: \(shares)")
      }
    }
  }

  /// Ends every hold; returns whether there was one.
  private func resumeHeld(_ path: String) async throws -> Bool {
    let outbox = try await Outbox(at: path)
    var isHeld = false
    for source in try await outbox.status().dataSources {
      guard case .held = source.lane else { continue }
      try await outbox.resume(source.dataSource)
      isHeld = true
    }
    await outbox.close()
    return isHeld
  }

  /// Eight processes make outbox after outbox at once: those behind are faster than the first, so that they meet.
  @Test func processesThatMakeAnOutboxAtOnceMakeOne() async throws {
    try await withTemporaryDirectory { directory in
      let children = try (0..<8).map { _ in try CrashChild("make", directory + "/app.outbox", ["count": "100"]) }
      for child in children {
        let outcome = try await child.end()
        #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
      }
      for number in 0..<100 {
        let outbox = try await Outbox(at: directory + "/app.outbox-\(number)")
        #expect(try await outbox.status().dataSources.map(\.appendedEvents) == [8])
        try await expectSound(outbox)
        await outbox.close()
      }
    }
  }

  /// Four processes open, and so migrate, a file of the first format at once, round after round.
  @Test func processesThatMigrateAnOutboxAtOnceMigrateItOnce() async throws {
    let fixture = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Fixtures/databases/version-1.outbox")
    try await withTemporaryDirectory { directory in
      for round in 0..<10 {
        let path = directory + "/\(round).outbox"
        try FileManager.default.copyItem(atPath: fixture.path, toPath: path)
        let children = try (0..<4).map { _ in try CrashChild("open", path) }
        for child in children {
          let outcome = try await child.end()
          #expect(outcome.code == 0, "\(outcome.errors)")
        }
        let outbox = try await Outbox(at: path)
        #expect(try await outbox.status().formatVersion == Int(Schema.formatVersion))
        try await expectSound(outbox)
        await outbox.close()
      }
    }
  }

  /// The addresses of all receipts are 1 to n of each data source.
  private func expectNoHoles(_ acknowledged: [CrashChild.Acknowledgement]) {
    for (name, ranges) in Dictionary(grouping: acknowledged.flatMap(\.ranges), by: \.dataSource) {
      var next: Int64 = 1
      for range in ranges.sorted() {
        #expect(range.sequences.lowerBound == next, "\(name)")
        next = range.sequences.upperBound + 1
      }
    }
  }
}

/// Refuses each bad event a dozen times: enough to bury it, so that in the end a replay succeeds.
private final class Stubborn: Sendable {
  private let refusals = Mutex<[String: Int]>([:])

  var predicate: EventPredicate {
    .code { [self] json in
      guard json.contains(#""bad":true"#) else { return false }
      return refusals.withLock { refusals in
        refusals[json, default: 0] += 1
        return refusals[json, default: 0] <= 12
      }
    }
  }
}
