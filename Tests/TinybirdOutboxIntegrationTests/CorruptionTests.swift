import Foundation
import NIOCore
import OutboxTestSupport
import Synchronization
import Testing

@testable import TinybirdOutbox

/// A file that the disk has damaged: never the end of the program, never an event that is not what was appended.
///
/// `OUTBOX_CORRUPTION_SEEDS=1000..2000` runs other seeds.
@Suite struct CorruptionTests {
  static let seeds: ClosedRange<UInt64> = {
    let bounds = ProcessInfo.processInfo.environment["OUTBOX_CORRUPTION_SEEDS"]?.split(separator: ".") ?? []
    guard bounds.count == 2, let first = UInt64(bounds[0]), let last = UInt64(bounds[1]), first <= last else {
      return 1...200
    }
    return first...last
  }()

  @Test(.timeLimit(.minutes(10))) func noDamageEndsTheProgramOrIsDelivered() async throws {
    try await withTemporaryDirectory { directory in
      let specimen = try await Specimen(in: directory)
      // Several side by side: most of the time is spent in waiting for the disk.
      let tally = try await withThrowingTaskGroup(of: [String: Int].self) { group in
        for part in 0..<Self.parts {
          group.addTask {
            var tally: [String: Int] = [:]
            for seed in Self.seeds where seed % Self.parts == part {
              tally[try await Self.run(seed, specimen, directory), default: 0] += 1
            }
            return tally
          }
        }
        return try await group.reduce(into: [:]) { $0.merge($1, uniquingKeysWith: +) }
      }
      // The seeds are worth something only if they reach both sides.
      #expect(tally["opened", default: 0] > Self.seeds.count / 4, "\(tally)")
      #expect(tally.count > 1, "\(tally)")
    }
  }

  /// Every number and word of every row, as bytes that went astray could leave them.
  @Test(
    arguments: [
      "outbox_batches", "outbox_data_sources", "outbox_chunks", "outbox_dead_letters", "outbox_attempts", "outbox_meta",
    ], ["-9223372036854775808", "7", "9223372036854775807", "'astray'"])
  func noNumberOrWordIsTrusted(table: String, value: String) async throws {
    try await withTemporaryDirectory { directory in
      let specimen = try await Specimen(in: directory)
      let columns = try SQLiteShell(specimen.path).run("SELECT name, type FROM pragma_table_info('\(table)')")
      for column in columns {
        // A name that the index has too is a name; SQL that renames a data source is the operator's own doing.
        guard let name = column[0], let type = column[1], (table, name) != ("outbox_data_sources", "name") else {
          continue
        }
        let isWord = value.hasPrefix("'")
        guard type == "ANY" || isWord == (type == "TEXT" || type == "BLOB") else { continue }
        let path = "\(directory)/astray"
        try FileManager.default.copyItem(atPath: specimen.path, toPath: path)
        do {
          let shell = try SQLiteShell(path)
          try shell.run("PRAGMA ignore_check_constraints = ON")
          try shell.run("UPDATE OR IGNORE \(table) SET \(name) = \(type == "BLOB" ? "x'00ff'" : value)")
        }
        let outcome = try await Self.run(path, specimen)
        #expect(outcome.wrong.isEmpty, "\(name)")
        removeOutbox(path)
      }
    }
  }

  /// The index of the ledger has lost its rows, so that nothing is found to be set apart: to try again would never end.
  @Test(.timeLimit(.minutes(1))) func aLedgerThatContradictsItselfIsNotTriedForEver() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let outbox = try await Outbox(at: path)
      try await outbox.append(contentsOf: (1...10).map { #"{"n":\#($0)}"# }, to: "clicks")
      try await outbox.append("{}", to: "orders")
      let id = try await outbox.committer.perform { transaction in
        try Ledger(transaction: transaction).form(
          [BatchBuilder.Plan(sequences: 1...10, eventCount: 10, byteCount: 80)], of: 1)[0].id
      }
      await outbox.close()
      do {
        let shell = try SQLiteShell(path)
        try shell.run("CREATE INDEX empty ON outbox_dead_letters (state) WHERE state = 'nothing'")
        try shell.run("PRAGMA writable_schema = ON")
        try shell.run(
          """
          UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'empty')
          WHERE name = 'outbox_batches_by_range'
          """)
        try shell.run("UPDATE outbox_chunks SET payload = x'00' WHERE key = (1 << 48) + 1")
      }
      let damaged = try await Outbox(at: path)
      let error = await #expect(throws: OutboxError.self) {
        try await damaged.committer.perform { transaction in
          try Ledger(transaction: transaction).setDamagedApart(id, 1...10, of: 1)
        }
      }
      #expect(error?.code == .damaged)
      let sink = IdentitySink([:])
      _ = try? await damaged.deliver(to: sink)
      #expect(sink.accepted == ["{}": 1], "the other data source goes on")
      await damaged.close()
    }
  }

  /// What an operator has written is in no chunk: another JSON in its place is not sent, one of version 1 as it stands.
  @Test(arguments: [
    ("payload = '{\"n\":666}'", false), ("repaired_at = repaired_at + 1", false), ("key = key + 1", false),
    ("repaired_at = NULL", false), ("repaired_crc32 = NULL", true), ("attempts = 9", true),
  ])
  func aRepairedDeadLetterIsSentOnlyAsItWasRepaired(change: String, isSent: Bool) async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let sink = IdentitySink([:])
      let outbox = try await Outbox(at: path)
      try await outbox.append(contentsOf: [#"{"bad":true}"#, #"{"n":2}"#, #"{"n":3}"#], to: "clicks")
      try await outbox.deliver(to: sink)
      try await outbox.repair(Address(dataSource: "clicks", sequence: 1), with: #"{"n":1}"#)
      await outbox.close()
      try SQLiteShell(path).run("UPDATE outbox_dead_letters SET \(change)")
      let again = try await Outbox(at: path)
      _ = try? await again.replay(matching: DeadLetterFilter(), mayDuplicate: true)
      _ = try? await again.deliver(to: sink)
      #expect(
        sink.accepted.filter { !["{\"n\":2}", "{\"n\":3}"].contains($0.key) } == (isSent ? [#"{"n":1}"#: 1] : [:]))
      await again.close()
    }
  }

  private static let parts: UInt64 = 8

  /// Damages a copy and uses it.
  ///
  /// Returns how its opening ended.
  private static func run(_ seed: UInt64, _ specimen: Specimen, _ directory: String) async throws -> String {
    var random = SeededRandom(seed: seed)
    let path = "\(directory)/seed-\(seed)"
    let damage = try specimen.copy(to: path, damagedBy: &random)
    let outcome = try await run(path, specimen)
    for wrong in outcome.wrong { Issue.record("seed \(seed), \(damage): \(wrong)") }
    removeOutbox(path)
    return outcome.opening
  }

  private struct RunOutcome {
    var opening = "opened"
    var wrong: [String] = []
  }

  /// What is salvaged is sound and true, or nothing is, with a reason; the file stays as it is.
  private static func salvage(_ path: String, _ specimen: Specimen) async throws -> [String] {
    let before = ["", "-wal"].map { FileManager.default.contents(atPath: path + $0) ?? Data() }
    let new = path + "-salvaged"
    var wrong: [String] = []
    do {
      _ = try await Outbox.salvage(from: path, to: new)
      let outbox = try await Outbox(at: new)
      if try await !outbox.verify().isSound { wrong.append("what was salvaged is not sound") }
      for lane in try await outbox.status().dataSources where !lane.dataSource.rawValue.hasPrefix("salvaged_") {
        let range = try AddressRange(lane.dataSource.rawValue)
        let letters = try await outbox.deadLetters(matching: DeadLetterFilter(range), limit: 10_000)
        let events = try await outbox.events(in: range, limit: 10_000).map { ($0.address, $0.json) }
        for (address, json) in events + letters.map({ ($0.address, $0.json) }) {
          guard let json, !specimen.holds(json, at: "\(address)") else { continue }
          wrong.append("salvaged as \(address): \(json.prefix(80))")
        }
      }
      await outbox.close()
    } catch let error as OutboxError where [.damaged, .notADatabase, .newerFormat, .inputOutput].contains(error.code) {
      if error.message.contains("does not add up") { wrong.append(error.message) }
      if FileManager.default.fileExists(atPath: new) { wrong.append("a file is left of what failed") }
    }
    if before != ["", "-wal"].map({ FileManager.default.contents(atPath: path + $0) ?? Data() }) {
      wrong.append("salvage has changed the file")
    }
    removeOutbox(new)
    return wrong
  }

  /// All that an app and an operator would do with the file; errors are fine, but only of our own type.
  private static func run(_ path: String, _ specimen: Specimen) async throws -> RunOutcome {
    var outcome = RunOutcome(wrong: try await salvage(path, specimen))
    let sink = IdentitySink(specimen.events)
    let outbox: Outbox
    do {
      outbox = try await Outbox(at: path)
    } catch {
      outcome.opening = error.shortName
      return outcome
    }
    await attempt { _ = try await outbox.status() }
    await attempt {
      for lane in try await outbox.status().dataSources {
        _ = try await outbox.events(in: AddressRange(lane.dataSource.rawValue), limit: 1000)
      }
    }
    await attempt { _ = try await outbox.deadLetters() }
    await attempt { _ = try await outbox.possibleDuplicates() }
    await attempt { _ = try await outbox.attempts(for: AddressRange("clicks")) }
    await attempt { _ = try await outbox.verify() }
    await attempt { try await outbox.append(#"{"new":1}"#, to: "clicks") }
    await attempt { _ = try await outbox.replay(matching: DeadLetterFilter(), mayDuplicate: true) }
    await attempt { try await outbox.deliver(to: sink) }
    await attempt { _ = try await outbox.verify() }
    outcome.wrong += sink.wrong
    await outbox.close()

    func attempt(_ body: () async throws -> Void) async {
      do {
        try await body()
      } catch let error where !(error is OutboxError) {
        outcome.wrong.append("an error of type \(type(of: error)): \(error)")
      } catch {}
    }
    return outcome
  }
}

/// With all that lies beside it, so that hundreds of reserves do not fill the disk.
private func removeOutbox(_ path: String) {
  for suffix in ["", "-wal", "-shm", "-lock", "-open", "-reserve", "-full"] {
    try? FileManager.default.removeItem(atPath: path + suffix)
  }
}

extension Error {
  /// The code of an error of ours.
  fileprivate var shortName: String { (self as? OutboxError)?.shortDescription ?? "\(type(of: self))" }
}

/// An outbox with a bit of everything, and copies of it that are damaged.
struct Specimen: Sendable {
  let path: String
  /// What was appended, by address.
  let events: [String: String]

  static let dataSources: [DataSourceName] = ["clicks", "orders", "sign_ups", "views"]

  init(in directory: String) async throws {
    path = directory + "/specimen"
    let outbox = try await Outbox(at: path)
    var events: [String: String] = [:]
    var next: [DataSourceName: Int] = [:]
    /// Each event names its own address.
    func append(_ count: Int, to dataSource: DataSourceName, isBad: Bool = false) async throws {
      let first = next[dataSource, default: 1]
      let jsons = (first..<(first + count)).map { n in
        let filler = String(repeating: "x", count: n * 37 % 300)
        return #"{"event":"\#(dataSource)/\#(n)","filler":"\#(filler)"\#(isBad ? #","bad":true"# : "")}"#
      }
      try await outbox.append(contentsOf: jsons, to: dataSource)
      for (offset, json) in jsons.enumerated() { events["\(dataSource)/\(first + offset)"] = json }
      next[dataSource] = first + count
    }
    let sink = IdentitySink([:])
    for round in 1...6 {
      for dataSource in Self.dataSources { try await append(round * 3, to: dataSource, isBad: round == 3) }
      // Large enough for pages of overflow.
      if round == 2 { try await append(60, to: "orders") }
      if round == 4 { try await outbox.deliver(to: sink) }
    }
    // Appended on their own, so that there are small chunks too.
    for _ in 0..<20 { try await append(1, to: "views") }
    _ = try await outbox.replay(matching: DeadLetterFilter(AddressRange("clicks")))
    self.events = events
    try #require(try await outbox.status().deadEvents > 0)
    try #require(try await outbox.status().deliveredEvents > 0)
    await outbox.close()
    // With something in the log that the file does not have.
    let writer = try await Outbox(at: path)
    try await writer.append(#"{"event":"clicks/64","filler":""}"#, to: "clicks")
    for suffix in ["", "-wal"] {
      try FileManager.default.copyItem(atPath: path + suffix, toPath: path + "-live" + suffix)
    }
    await writer.close()
  }

  /// Whether this was appended at that address.
  func holds(_ json: String, at address: String) -> Bool {
    events[address] == json || (address == "clicks/64" && json == #"{"event":"clicks/64","filler":""}"#)
  }

  /// Copies the outbox and damages the copy.
  ///
  /// Returns what was done to it.
  func copy(to copy: String, damagedBy random: inout SeededRandom) throws -> String {
    let withLog = Int.random(in: 0..<4, using: &random) == 0
    var file = [UInt8](try Data(contentsOf: URL(filePath: path + (withLog ? "-live" : ""))))
    var log = withLog ? [UInt8](try Data(contentsOf: URL(filePath: path + "-live-wal"))) : nil
    let what: String
    switch Int.random(in: 0..<8, using: &random) {
    case 0...2:
      let count = Int.random(in: 1...8, using: &random)
      for _ in 0..<count {
        file[Int.random(in: 0..<file.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      }
      what = "\(count) bits flipped"
    case 3:
      // Without a byte SQLite would delete the log, if there is one.
      let size = withLog && Bool.random(using: &random) ? 0 : Int.random(in: 0..<file.count, using: &random)
      file.removeSubrange(size...)
      what = "truncated to \(size)"
    case 4:
      let page = Int.random(in: 0..<(file.count / 4096), using: &random)
      file.replaceSubrange((page * 4096)..<((page + 1) * 4096), with: [UInt8](repeating: 0, count: 4096))
      what = "page \(page + 1) zeroed"
    case 5:
      let page = Int.random(in: 0..<(file.count / 4096), using: &random)
      for offset in (page * 4096)..<((page + 1) * 4096) { file[offset] = .random(in: 0...255, using: &random) }
      what = "page \(page + 1) filled with noise"
    case 6:
      // One page in the place of another: each whole in itself.
      let (from, to) = (
        Int.random(in: 0..<(file.count / 4096), using: &random), Int.random(in: 0..<(file.count / 4096), using: &random)
      )
      file.replaceSubrange((to * 4096)..<((to + 1) * 4096), with: Array(file[(from * 4096)..<((from + 1) * 4096)]))
      what = "page \(from + 1) copied to \(to + 1)"
    default:
      if var bytes = log, !bytes.isEmpty {
        let count = Int.random(in: 1...8, using: &random)
        for _ in 0..<count {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        }
        log = bytes
        what = "\(count) bits of the log flipped"
      } else {
        log = (0..<20_000).map { _ in .random(in: 0...255, using: &random) }
        what = "a log of noise"
      }
    }
    try Data(file).write(to: URL(filePath: copy))
    if let log { try Data(log).write(to: URL(filePath: copy + "-wal")) }
    return what + (withLog ? ", with a log" : "")
  }
}

/// A service that looks at every event: it must be what was appended at the address that it names, and under the data
/// source that it names.
///
/// Events with `"bad":true` are refused.
final class IdentitySink: EventsTransport {
  private let events: [String: String]
  private let found = Mutex<(wrong: [String], accepted: [String: Int])>(([], [:]))

  /// Knows what was appended, by address; with nothing known it takes everything.
  init(_ events: [String: String]) {
    self.events = events
  }

  var wrong: [String] { found.withLock { $0.wrong } }
  /// How often each event has arrived.
  var accepted: [String: Int] { found.withLock { $0.accepted } }

  func send(_ request: EventsRequest) async -> Outcome {
    let lines = String(buffer: request.body).split(separator: "\n").map(String.init)
    let isRefused = lines.contains { $0.contains(#""bad":true"#) }
    found.withLock { found in
      for line in lines {
        if !events.isEmpty, !isTrue(line, request.dataSource) {
          found.wrong.append("delivered to \(request.dataSource): \(line.prefix(80))")
        }
        if !isRefused { found.accepted[line, default: 0] += 1 }
      }
    }
    return isRefused
      ? .answered(Outcome.Answer(status: 400, body: [], isBodyWhole: true, retryAfter: nil))
      : .answered(
        Outcome.Answer(
          status: 200, body: Array(#"{"successful_rows":\#(lines.count),"quarantined_rows":0}"#.utf8),
          isBodyWhole: true, retryAfter: nil))
  }

  private func isTrue(_ line: String, _ dataSource: DataSourceName) -> Bool {
    if line == #"{"new":1}"# { return dataSource == "clicks" }
    let parts = line.split(separator: "\"")
    guard parts.count > 3 else { return false }
    let address = String(parts[3])
    return address.hasPrefix(dataSource.rawValue + "/")
      && (events[address] == line || line == #"{"event":"clicks/64","filler":""}"#)
  }
}
