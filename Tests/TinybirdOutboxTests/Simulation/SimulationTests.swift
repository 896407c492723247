internal import Foundation
import Testing

@testable import TinybirdOutbox

/// The commit machine, the lanes, a model of the store, a scripted service and a manual clock, driven by one seed.
///
/// `OUTBOX_SIMULATION_SEEDS=first:count` chooses the seeds, for example `1000000:200000`; by default the first 2,000.
/// A failure prints the seed and a script as short as it gets. Kept as a file in `Fixtures/seeds`, the script is run
/// again here for ever, whatever becomes of the generator.
@Suite struct SimulationTests {
  private static let defaultSeeds: Range<UInt64> = 0..<2_000
  /// Suites run side by side; so do these.
  private static let partCount: UInt64 = 4

  private static var seeds: Range<UInt64> {
    get throws {
      guard let text = ProcessInfo.processInfo.environment["OUTBOX_SIMULATION_SEEDS"] else { return defaultSeeds }
      let numbers = text.split(separator: ":").compactMap { UInt64($0) }
      let (first, count) = (numbers.first ?? 0, numbers.last ?? 0)
      try #require(numbers.count == 2 && count > 0 && first <= .max - count, "write first:count, such as 0:2000")
      return first..<first + count
    }
  }

  @Test(arguments: 0..<partCount) func nothingIsLostUnderAnySeed(part: UInt64) throws {
    let seeds = try Self.seeds
    var tally: [String: Int] = [:]
    for seed in seeds where seed % Self.partCount == part {
      tally.merge(try Simulation.run(seed: seed)) { $0 + $1 }
    }
    guard seeds == Self.defaultSeeds else { return }
    // A simulation in which something never happens says nothing about it.
    for name in Self.mustHappen { #expect(tally[name, default: 0] > 0, "\(name) never happened") }
  }

  private static let mustHappen = [
    "crash", "stop", "cut short", "suspended", "cancelled", "start failed", "forming failed", "settled again",
    "new token",
    "delivered", "retry", "pause", "retry_at_once", "unacknowledged", "isolate", "split", "dead_letter",
    "dead_letter_and_hold", "hold", "none", "dead: attempts_exhausted", "dead: expired", "dead: isolated",
    "refused in part", "told what is left", "fails for ever",
  ]

  @Test func keptScriptsStillPass() throws {
    let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures/seeds")
    let files = try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)
      .filter { $0.pathExtension == "script" }
    #expect(!files.isEmpty)
    for file in files {
      let script = try SimulationScript(text: String(contentsOf: file, encoding: .utf8))
      #expect(throws: Never.self, "\(file.lastPathComponent)") { try Simulation.run(script) }
    }
  }
}
