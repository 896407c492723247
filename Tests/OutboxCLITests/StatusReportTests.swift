import Foundation
import Testing

@testable import OutboxCLI
@testable import TinybirdOutbox

/// What a person reads, for every state of a lane.
@Suite struct StatusReportTests {
  private let now = Date(timeIntervalSince1970: 1_800_000_000)

  private func source(_ name: String, lane: LaneStatus, _ change: (inout DataSourceStatus) -> Void = { _ in }) throws
    -> DataSourceStatus
  {
    var source = DataSourceStatus(
      dataSource: try DataSourceName(name), appendedEvents: 0, pendingEvents: 0, pendingBytes: 0, batchesInFlight: 0,
      deliveredEvents: 0, deadEvents: 0, replayingEvents: 0, discardedEvents: 0, damagedEvents: 0,
      possibleDuplicates: 0, batchesWithWarnings: 0, successfulRows: 0, quarantinedRows: 0, lane: lane)
    change(&source)
    return source
  }

  private func lines(
    _ sources: [DataSourceStatus], deliverer: Int? = 4711,
    space: SpaceStatus = SpaceStatus(freeBytes: 0, logBytes: 0, reserveBytes: 0, isDiskFull: false, logReaders: [])
  ) throws -> [String] {
    let status = OutboxStatus(
      path: "app.outbox", id: UUID(), formatVersion: 1, fileBytes: 12_345_678, space: space,
      delivererProcessID: deliverer,
      dataSources: sources)
    var options = OutboxOptions()
    options.given = "app.outbox"
    return StatusReport(status: status, options: options, now: now).lines(width: 100, paint: Paint(isOn: false))
  }

  @Test func anEmptyOutbox() throws {
    #expect(try lines([], deliverer: nil) == ["app.outbox: 12.3 MB, nobody delivers", "no event was appended yet"])
  }

  @Test func aHealthyOutbox() throws {
    let clicks = try source("clicks", lane: .open) {
      $0.pendingEvents = 1204
      $0.pendingBytes = 445_000
      $0.oldestPendingAt = now.addingTimeInterval(-3)
      $0.deliveredEvents = 1_000_000
      $0.batchesInFlight = 2
    }
    let visits = try source("visits", lane: .open) { $0.deliveredEvents = 20 }
    #expect(
      try lines([clicks, visits]) == [
        "app.outbox: 12.3 MB, process 4711 delivers",
        "",
        "DATA SOURCE  PENDING    SIZE  OLDEST  DELIVERED  DEAD  LANE",
        "clicks         1,204  445 kB     3 s  1,000,000     0  sending (2 in flight)",
        "visits             0       -       -         20     0  open",
      ])
  }

  @Test func aFullDiskAndAReaderOfAnOldState() throws {
    let space = SpaceStatus(
      freeBytes: 0, logBytes: 123_000_000, reserveBytes: 0, isDiskFull: true, logReaders: [17, 4712])
    #expect(
      try lines([source("clicks", lane: .open)], space: space).suffix(3) == [
        "",
        "the disk was found full: appends are refused until there is room; everything else goes on",
        "the log has 123 MB and cannot be folded into the file: an old state is read by process 17, 4712",
      ])
  }

  @Test func aRestoredBackup() throws {
    var status = OutboxStatus(
      path: "app.outbox", id: UUID(), formatVersion: 1, fileBytes: 1,
      space: SpaceStatus(freeBytes: 0, logBytes: 0, reserveBytes: 0, isDiskFull: false, logReaders: []),
      delivererProcessID: 1, dataSources: [try source("clicks", lane: .open) { $0.pendingEvents = 3 }])
    status.backupTakenAt = now
    let report = StatusReport(status: status, options: OutboxOptions(), now: now)
    #expect(
      report.lines(width: 100, paint: Paint(isOn: false)).last
        == "this is a backup of 2027-01-15T08:00:00.000Z: 3 pending events may have been delivered since, and will be sent again"
    )
  }

  @Test func aRefusedToken() throws {
    let batch = try AddressRange("clicks/1..100")
    let clicks = try source(
      "clicks", lane: .held(.unauthorized, status: 403, since: now.addingTimeInterval(-200), batch: batch)
    ) {
      $0.pendingEvents = 5
      $0.pendingBytes = 100
      $0.oldestPendingAt = now.addingTimeInterval(-8400)
      $0.deadEvents = 100
      $0.lastAnswer = .init(status: 403, text: "{\"error\":\"invalid token\u{1B}\"}", at: now.addingTimeInterval(-12))
    }
    #expect(
      try lines([clicks]).dropFirst(2) == [
        "DATA SOURCE  PENDING   SIZE      OLDEST  DELIVERED  DEAD  LANE",
        "clicks             5  100 B  2 h 20 min          0   100  held (403: token refused)",
        "",
        "clicks: held since 3 min ago: the token was refused; check that TINYBIRD_TOKEN, or its line in the token file, is right and may append",
        "  the batch that was refused, clicks/1..100, is in the dead-letter table; to resume and send it again:",
        "    outbox resume --outbox app.outbox --replay-cause clicks",
        "  last answer: 403, 12 s ago: {\"error\":\"invalid token·\"}",
        "clicks: 100 dead letters",
        "  to see why: outbox dead-letters --outbox app.outbox clicks",
      ])
  }

  @Test func whatElseAsksForAttention() throws {
    let clicks = try source("clicks", lane: .open) {
      $0.pendingEvents = 1
      $0.deadEvents = 3
      $0.replayingEvents = 1
      $0.discardedEvents = 2
      $0.damagedEvents = 1
      $0.possibleDuplicates = 40
      $0.batchesWithWarnings = 1
      $0.quarantinedRows = 7
    }
    #expect(
      try lines([clicks], deliverer: nil).dropFirst(2) == [
        "DATA SOURCE  PENDING  SIZE  OLDEST  DELIVERED  DEAD  DISCARDED  DAMAGED  LANE",
        "clicks             1   0 B       -          0     3          2        1  open",
        "",
        "clicks: 3 dead letters, 1 of them being replayed",
        "  to see why: outbox dead-letters --outbox app.outbox clicks",
        "clicks: 1 event cannot be read: outbox verify --outbox app.outbox",
        "clicks: 7 rows did not fit the schema: see clicks_quarantine in Tinybird",
        "clicks: 1 delivered batch whose counts do not match what was sent, or with rows in quarantine",
        "  when you have looked: outbox acknowledge --outbox app.outbox clicks",
        "clicks: 40 delivered events may be in Tinybird more than once",
        "  to list them: outbox list --outbox app.outbox --possible-duplicates clicks",
        "nobody delivers: outbox deliver --outbox app.outbox",
      ])
  }

  @Test func laneStates() throws {
    let later = now.addingTimeInterval(30)
    let states: [(LaneStatus, String)] = [
      (.open, "open"),
      (.backingOff(failures: 1, until: later), "backing off (1 failure, again in 30 s)"),
      (.outage(failures: 7, until: later), "outage (7 failures, probe in 30 s)"),
    ]
    for (lane, words) in states { #expect(try lines([source("clicks", lane: lane)])[3].hasSuffix("  \(words)")) }
  }

  @Test(arguments: HoldKind.allCases)
  func everyHoldSaysWhatToDo(kind: HoldKind) throws {
    let lane = LaneStatus.held(kind, status: 418, since: now, batch: nil)
    let text = try lines([source("clicks", lane: lane)])
    #expect(text[3].contains("  held ("))
    #expect(text[5].hasPrefix("clicks: held since now: "))
    #expect(text[6] == "  then: outbox resume --outbox app.outbox clicks")
  }

  /// Dead letters of other batches are no reason to replay one that waits.
  @Test(arguments: HoldKind.allCases) func onlyABatchThatIsDeadIsToBeReplayed(kind: HoldKind) throws {
    let lane = LaneStatus.held(kind, status: 418, since: now, batch: try AddressRange("clicks/8..9"))
    let text = try lines([source("clicks", lane: lane) { $0.deadEvents = 3 }])
    let isDead = [.unauthorized, .workspaceNotFound, .unexpectedStatus].contains(kind)
    #expect(text.contains { $0.contains("--replay-cause") } == isDead)
    #expect(text.contains("  then: outbox resume --outbox app.outbox clicks") == !isDead)
  }

  @Test(arguments: [
    ("app.outbox", "app.outbox"), ("/var/lib/my app.outbox", "'/var/lib/my app.outbox'"), ("it's", "'it'\\''s'"),
    ("", "''"),
  ])
  func commandsCanBeTypedAsTheyStand(path: String, quoted: String) throws {
    var options = OutboxOptions()
    options.given = path
    #expect(options.command("status") == "outbox status --outbox \(quoted)")
  }
}
