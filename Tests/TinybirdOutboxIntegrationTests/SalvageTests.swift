import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// A new outbox from what can be read of a damaged one: nothing is made up, nothing is left out, the old one is not touched.
@Suite(.timeLimit(.minutes(3))) struct SalvageTests {
  @Test func aSoundOutboxIsTheSameUnderAnotherID() async throws {
    try await withSalvageHistory { history in
      let report = try await history.salvage()
      #expect(report.isWhole, "\(report.problems) \(report.lost)")
      #expect(report.notes.count == 2, "a replay and a resend waited: \(report.notes)")
      #expect(try history.bytes == history.before, "not one byte is changed")
      #expect(try history.beside == ["new.outbox"], "no log and no lock of a file that nobody has opened")
      try await history.withNew { new in
        let old = try await Outbox(at: history.path)
        #expect(new.outboxID != old.outboxID)
        #expect(try await new.contents() == (try await old.contents()))
        #expect(try await new.status().dataSources.map(\.counts) == (try await old.status().dataSources.map(\.counts)))
        await old.close()
        let underWay = try await new.events(in: AddressRange("clicks/81..90"))
        #expect(underWay.allSatisfy { $0.inserted == .maybe }, "it was being sent when its process ended")
        // The sequence goes on.
        #expect(try await new.append("{}", to: "clicks").ranges.map(\.description) == ["clicks/181"])
      }
      #expect(try FileManager.default.attributesOfItem(atPath: history.new)[.posixPermissions] as? Int == 0o600)
    }
  }

  struct Damage: Sendable, CustomTestStringConvertible {
    var testDescription: String
    /// What is done to the tables.
    var sql: [String]
    /// Exactly these are lost.
    var lost: [String] = []
    /// Numbers of events that are in another state than before.
    var changed: [Int] = []
    var state = RangeState.damaged
    /// Words of a problem that is named.
    var words: String?
  }

  /// The history of `clicks`, in chunks of ten: 1–20 pruned, 21–40 delivered (25 erased), 41–60 delivered or dead, 50–54 dead (46
  /// repaired, 42 and 44 replaying), 61–70 delivered, the even ones discarded, 71–80 delivered, 81–90 in a batch, 91–180 not batched.
  static let damages = [
    Damage(
      testDescription: "a chunk fails", sql: ["UPDATE outbox_chunks SET payload = x'00' WHERE key & 65535 = 31"],
      lost: ["clicks/31..40"], changed: Array(31...40)),
    Damage(
      testDescription: "chunks that wait are gone",
      sql: ["DELETE FROM outbox_chunks WHERE key & 65535 IN (81, 121, 171)"],
      lost: ["clicks/81..90", "clicks/121..130", "clicks/171..180"],
      changed: Array(81...90) + Array(121...130) + Array(171...180)),
    Damage(
      testDescription: "a chunk of another outbox",
      sql: ["UPDATE outbox_chunks SET outbox_id = zeroblob(16) WHERE key & 65535 = 91"], lost: ["clicks/91..100"],
      changed: Array(91...100)),
    Damage(
      testDescription: "a row of the ledger is gone", sql: ["DELETE FROM outbox_batches WHERE first_sequence = 71"],
      changed: Array(71...80), state: .pending, words: "have lost their row"),
    Damage(
      testDescription: "a range says nonsense",
      sql: ["UPDATE outbox_batches SET last_sequence = 99999 WHERE first_sequence = 71"],
      changed: Array(71...80), state: .pending, words: "make no sense"),
    Damage(
      testDescription: "row and chunk are gone",
      sql: [
        "DELETE FROM outbox_batches WHERE first_sequence = 71", "DELETE FROM outbox_chunks WHERE key & 65535 = 71",
      ], lost: ["clicks/71..80"], changed: Array(71...80)),
    Damage(
      testDescription: "dead letters are gone",
      sql: ["DELETE FROM outbox_dead_letters WHERE key & 65535 BETWEEN 50 AND 54"],
      changed: Array(50...54), state: .pending, words: "have lost their dead letter"),
    Damage(
      testDescription: "a dead letter is another event's",
      sql: ["UPDATE outbox_dead_letters SET payload = '{\"n\":999}' WHERE key & 65535 = 50"],
      words: "did not hold what was appended"),
    Damage(
      testDescription: "the next number is too small", sql: ["UPDATE outbox_data_sources SET next_sequence = 100"],
      words: "goes on at 181"),
    Damage(
      testDescription: "it is not known what was batched",
      sql: ["UPDATE outbox_data_sources SET next_unbatched = 125"], words: "cannot be told which events were batched"),
    Damage(
      testDescription: "what was pruned is not known", sql: ["UPDATE outbox_data_sources SET pruned_delivered = 5000"],
      words: "count as pruned"),
    Damage(
      testDescription: "the outbox id is gone", sql: ["UPDATE outbox_meta SET value = 0 WHERE name = 'outbox_id'"]),
  ]

  @Test(arguments: damages) func exactlyWhatCannotBeReadIsLost(damage: Damage) async throws {
    try await withSalvageHistory { history in
      let before = try await history.contents
      try history.run(damage.sql)
      let report = try await history.salvage()
      #expect(report.lost.map(\.description) == damage.lost)
      if let words = damage.words {
        #expect(report.problems.contains { $0.contains(words) }, "\(report.problems)")
      } else {
        #expect(report.problems.isEmpty)
      }
      #expect(try history.bytes == history.before, "not one byte is changed")
      try await history.withNew { new in
        var expected = before
        for number in damage.changed {
          expected["clicks/\(number)"]?.state = damage.state
          if damage.state == .damaged { expected["clicks/\(number)"]?.json = nil }
          // What is sent again has no dead letter.
          expected["clicks/\(number)"]?.letter = nil
        }
        let contents = try await new.contents()
        for address in Set(expected.keys).union(contents.keys).sorted() {
          #expect(contents[address] == expected[address], "\(address)")
        }
        // What may have been sent counts so, and all that waits can be sent.
        let events = try await new.events(in: AddressRange("clicks"), states: [.pending], limit: 1000)
        let changed = events.filter { damage.changed.contains(Int($0.address.sequence)) }
        #expect(changed.allSatisfy { $0.inserted == .maybe })
        try await new.deliver(to: IdentitySink([:]))
        #expect(try await new.status().pendingEvents == 0)
        try await expectSound(new)
      }
    }
  }

  @Test func eventsWithoutANameAreHeld() async throws {
    try await withSalvageHistory { history in
      let before = try await history.contents
      try history.run(["DELETE FROM outbox_data_sources"])
      let report = try await history.salvage()
      #expect(report.problems.contains { $0.contains("under salvaged_1, and held") }, "\(report.problems)")
      try await history.withNew { new in
        let lane = try #require(try await new.status().dataSources.first)
        #expect(lane.dataSource == "salvaged_1" && lane.appendedEvents == 180)
        // What became of the first twenty is not known any more.
        #expect(report.lost.map(\.description) == ["salvaged_1/1..20"])
        let contents = try await new.contents(of: "salvaged_1")
        #expect(contents["salvaged_1/95"] == before["clicks/95"])
        let sink = IdentitySink([:])
        try await new.deliver(to: sink)
        #expect(sink.accepted.isEmpty, "nothing goes to a place that nobody chose")
      }
    }
  }

  @Test func aDelivererIsWaitedForAndNothingIsWrittenOver() async throws {
    try await withSalvageHistory { history in
      let lock = try #require(try DeliveryLock.tryAcquire(try OutboxFile(path: history.path)))
      let busy = await #expect(throws: OutboxError.self) { try await history.salvage() }
      #expect(busy?.code == .conflict && busy?.message.contains("end that first") == true)
      withExtendedLifetime(lock) {}
    }
    try await withSalvageHistory { history in
      try Data("mine".utf8).write(to: URL(filePath: history.new))
      let taken = await #expect(throws: OutboxError.self) { try await history.salvage() }
      #expect(taken?.code == .notWritable)
      #expect(try Data(contentsOf: URL(filePath: history.new)) == Data("mine".utf8))
    }
  }

  /// SQLite itself refuses to open it.
  @Test func aFileThatWasCutShortGivesWhatIsLeft() async throws {
    try await withSalvageHistory { history in
      let before = try await history.contents
      let size = history.before[0].count
      try history.cut(to: size * 2 / 3)
      let report = try await history.salvage()
      #expect(!report.isWhole)
      try await history.withNew { new in
        let contents = try await new.contents()
        #expect(contents.values.contains { $0.json != nil }, "what lies in front can be read")
        for (address, event) in contents where event.json != nil {
          #expect(event.json == before[address]?.json, "\(address)")
        }
      }
    }
  }
}

/// An outbox with a bit of everything.
final class SalvageHistory {
  let path: String
  let new: String
  private(set) var before: [Data] = []

  init(in directory: String) async throws {
    (path, new) = (directory + "/old/app.outbox", directory + "/new.outbox")
    try FileManager.default.createDirectory(atPath: directory + "/old", withIntermediateDirectories: false)
    let outbox = try await Outbox(at: path)
    /// Every second one is bad.
    func append(_ numbers: ClosedRange<Int>, isBad: Bool = false) async throws {
      for first in stride(from: numbers.lowerBound, to: numbers.upperBound, by: 10) {
        let filler = String(repeating: "x", count: 900)
        try await outbox.append(
          contentsOf: (first..<(first + 10)).map { #"{"n":\#($0),"f":"\#(filler)"\#(isBad ? #","bad":true"# : "")}"# },
          to: "clicks")
      }
    }
    /// The lane is held where ten in a row were refused, as an operator would expect.
    func deliver() async throws {
      repeat {
        try await outbox.resume("clicks")
        try await outbox.deliver(to: IdentitySink([:]))
      } while try await outbox.status().pendingEvents > 0
    }
    try await append(1...20)
    try await deliver()
    _ = try await outbox.prune(settledBefore: .distantFuture)
    try await append(21...40)
    try await deliver()
    _ = try await outbox.erase(EventSelection(ranges: [AddressRange("clicks/25")]))
    try await append(41...60, isBad: true)
    try await deliver()
    try await outbox.repair(Address(dataSource: "clicks", sequence: 46), with: #"{"repaired":true}"#)
    try await append(61...70, isBad: true)
    try await deliver()
    _ = try await outbox.discard(matching: DeadLetterFilter(AddressRange("clicks/62..70")))
    try await append(71...80)
    try await deliver()
    try await append(81...180)
    // As a deliverer would that sends the first of them when it is killed.
    try await outbox.committer.perform { transaction in
      _ = try Ledger(transaction: transaction).form(
        [BatchBuilder.Plan(sequences: 81...90, eventCount: 10, byteCount: 9000)], of: 1)
    }
    _ = try await outbox.replay(matching: DeadLetterFilter(AddressRange("clicks/42..44")), mayDuplicate: true)
    _ = try await outbox.resend(AddressRange("clicks/31..32"))
    await outbox.close()
    before = try bytes
  }

  /// File and log; SQLite makes an empty log where there is none.
  var bytes: [Data] {
    get throws { ["", "-wal"].map { FileManager.default.contents(atPath: path + $0) ?? Data() } }
  }

  /// What lies where the new one is to be.
  var beside: [String] {
    get throws {
      try FileManager.default.contentsOfDirectory(atPath: URL(filePath: new).deletingLastPathComponent().path)
        .filter { $0 != "old" }.sorted()
    }
  }

  var contents: [String: SalvagedEvent] {
    get async throws {
      let outbox = try await Outbox(at: path)
      let contents = try await outbox.contents()
      await outbox.close()
      return contents
    }
  }

  /// Damages it: what it holds then must stay.
  func run(_ statements: [String]) throws {
    do {
      let shell = try SQLiteShell(path)
      try shell.run("PRAGMA ignore_check_constraints = ON")
      for sql in statements { try shell.run(sql) }
    }
    before = try bytes
  }

  func cut(to size: Int) throws { try change { $0 = Data($0.prefix(size)) } }

  /// Damages the bytes of the file.
  func change(_ body: (inout Data) -> Void) throws {
    var file = try bytes[0]
    body(&file)
    try file.write(to: URL(filePath: path))
    before = try bytes
  }

  func salvage() async throws -> SalvageReport { try await Outbox.salvage(from: path, to: new) }

  func withNew(_ body: (Outbox) async throws -> Void) async throws {
    try await withOutbox(at: new) { outbox in
      try await expectSound(outbox)
      try await body(outbox)
    }
  }
}

func withSalvageHistory(_ body: (SalvageHistory) async throws -> Void) async throws {
  try await withTemporaryDirectory { try await body(try await SalvageHistory(in: $0)) }
}

struct SalvagedEvent: Equatable {
  var state: RangeState
  var json: String?
  var letter: String?
}

extension Outbox {
  /// Every event that is there, by address.
  func contents(of dataSource: DataSourceName = "clicks") async throws -> [String: SalvagedEvent] {
    var contents: [String: SalvagedEvent] = [:]
    for event in try await events(in: AddressRange(dataSource.rawValue), limit: 1000) {
      contents["\(event.address)"] = SalvagedEvent(state: event.state, json: event.json)
    }
    for letter in try await deadLetters(limit: 1000) { contents["\(letter.address)"]?.letter = letter.json }
    return contents
  }
}

extension DataSourceStatus {
  var counts: [Int] {
    [appendedEvents, deliveredEvents, pendingEvents, deadEvents, discardedEvents, damagedEvents]
  }
}
