public import struct Foundation.Date
public import struct Foundation.UUID

/// What is in an outbox, and how its lanes do: one consistent look.
public struct OutboxStatus: Sendable, Equatable {
  /// The file.
  public var path: String
  /// Tells this outbox from all others.
  public var id: UUID
  /// The version of the file's format.
  public var formatVersion: Int
  /// Bytes on disk: database, log and shared memory file.
  public var fileBytes: Int64
  /// How the disk is used.
  public var space: SpaceStatus
  /// The process that delivers, or nil where none does.
  ///
  /// A number that a killed process left behind is not shown.
  public var delivererProcessID: Int?
  /// By name.
  public var dataSources: [DataSourceStatus]
  /// When the copy was taken, where this is a backup from which nothing was delivered yet; else nil.
  ///
  /// What is pending in it may have been delivered since then, and is sent again.
  public var backupTakenAt: Date?

  /// Events that are neither delivered, dead nor given up.
  public var pendingEvents: Int { sum(\.pendingEvents) }
  /// Events in the dead-letter table, those being replayed included.
  public var deadEvents: Int { sum(\.deadEvents) }
  /// Events that the service acknowledged.
  public var deliveredEvents: Int { sum(\.deliveredEvents) }
  /// Events that may be in Tinybird more than once.
  public var possibleDuplicates: Int { sum(\.possibleDuplicates) }

  private func sum(_ count: KeyPath<DataSourceStatus, Int>) -> Int { dataSources.reduce(0) { $0 + $1[keyPath: count] } }
}

/// How the outbox's bytes on disk are used.
public struct SpaceStatus: Sendable, Equatable {
  /// Bytes inside the file that are free, and used before it grows.
  public var freeBytes: Int64
  /// Bytes of the log, which is folded into the file every 16 MiB.
  public var logBytes: Int64
  /// Bytes that are held back beside the file, so that a full disk stops appends and nothing else.
  public var reserveBytes: Int64
  /// The disk was found full: appends are refused until there is room for the reserve again.
  public var isDiskFull: Bool
  /// Processes that read an old state and so keep a log of over 64 MiB from being folded.
  ///
  /// Linux names them; elsewhere it is empty.
  public var logReaders: [Int]
}

/// One data source: its events by state, and its lane.
///
/// The counts add up: appended = pending + delivered + dead + discarded + damaged.
public struct DataSourceStatus: Sendable, Equatable {
  /// The name.
  public var dataSource: DataSourceName
  /// Events ever appended.
  public var appendedEvents: Int
  /// Events that wait or are under way.
  public var pendingEvents: Int
  /// NDJSON bytes of these.
  public var pendingBytes: Int64
  /// Batches that are being sent.
  public var batchesInFlight: Int
  /// Events that the service acknowledged.
  public var deliveredEvents: Int
  /// Events in the dead-letter table, those being replayed included.
  public var deadEvents: Int
  /// Dead letters that are being sent again.
  public var replayingEvents: Int
  /// Events that an operator threw away.
  public var discardedEvents: Int
  /// Events whose chunk cannot be read.
  public var damagedEvents: Int
  /// Delivered events of batches that an earlier attempt may have inserted already, also of those that were pruned.
  public var possibleDuplicates: Int
  /// Delivered batches whose counts did not match, or that had rows quarantined, and that nobody acknowledged.
  public var batchesWithWarnings: Int
  /// Rows that the service says it inserted.
  public var successfulRows: Int
  /// Rows that the service says did not fit the schema: they are in `<name>_quarantine`.
  public var quarantinedRows: Int
  /// When the oldest pending event was committed.
  public var oldestPendingAt: Date?
  /// When a batch was last acknowledged.
  public var lastDeliveredAt: Date?
  /// What the lane does.
  public var lane: LaneStatus
  /// The last answer of the service.
  public var lastAnswer: LastAnswer?

  /// The last answer of the service.
  public struct LastAnswer: Sendable, Equatable {
    /// The HTTP status, or nil where there was no answer.
    public var status: Int?
    /// An excerpt of the body, tokens redacted; or the kind of fault.
    public var text: String?
    /// When it came.
    public var at: Date
  }
}

/// What a lane does.
public enum LaneStatus: Sendable, Equatable {
  /// It sends whatever is there.
  case open
  /// After so many failures in a row it waits for the next attempt.
  case backingOff(failures: Int, until: Date)
  /// The service is away: it probes at long intervals.
  case outage(failures: Int, until: Date)
  /// It sends nothing until it is resumed, or a probe is delivered.
  case held(HoldKind, status: Int?, since: Date, batch: AddressRange?)
}

extension Outbox {
  /// What is in the outbox now.
  ///
  /// Its cost does not grow with what is pending.
  public func status() async throws -> OutboxStatus {
    let burst = configuration.delivery?.retryPolicy.burstAttempts ?? RetryPolicy().burstAttempts
    let isDelivered = DeliveryLock.isHeld(file)
    let parts = try await inspector.read { snapshot in
      (
        try snapshot.dataSourceStatuses(burstAttempts: burst),
        try snapshot.connection.firstInteger(SQL.selectMeta, "format_version") ?? 0,
        try snapshot.connection.firstInteger(SQL.selectMeta, "holder_pid"),
        try SpaceUse(of: snapshot.connection),
        try snapshot.connection.firstRow(SQL.selectMeta, "backed_up_at") { $0.optionalDate(0) } ?? nil
      )
    }
    return OutboxStatus(
      path: file.shownPath, id: outboxID.uuid, formatVersion: Int(parts.1), fileBytes: file.sizeBytes(),
      space: spaceStatus(parts.3),
      delivererProcessID: isDelivered ? parts.2.map { Int($0) } : nil, dataSources: parts.0, backupTakenAt: parts.4)
  }
}

extension Outbox {
  private func spaceStatus(_ use: SpaceUse) -> SpaceStatus {
    let logBytes = file.logBytes
    return SpaceStatus(
      freeBytes: use.freeBytes, logBytes: logBytes, reserveBytes: file.reserveBytes,
      isDiskFull: housekeeper.gate.reserve.isBrokenInto,
      logReaders: logBytes > SpaceLimits.notableLogBytes ? file.logReaders() : [])
  }
}

extension StoreSnapshot {
  /// Every data source by name, with its counts from the ledger.
  func dataSourceStatuses(burstAttempts: Int) throws -> [DataSourceStatus] {
    let sums = try rangeSums()
    let dead = try deadCounts()
    return try connection.rows(SQL.selectDataSources) { row in
      let id = row.int64(0)
      let of = { (state: RangeState) in sums[id]?[state] ?? RangeSum() }
      let appended = try row.count(2) - 1
      let unbatched = max(0, appended + 1 - (try row.count(3)))
      return DataSourceStatus(
        dataSource: DataSourceName(stored: row.text(1)),
        appendedEvents: max(0, appended),
        pendingEvents: unbatched + of(.pending).events,
        pendingBytes: Int64(row.figure(4)) + of(.pending).bytes,
        batchesInFlight: of(.pending).inFlight,
        deliveredEvents: of(.delivered).events + row.figure(17),
        deadEvents: of(.dead).events,
        replayingEvents: dead[id] ?? 0,
        discardedEvents: of(.discarded).events + row.figure(18),
        damagedEvents: of(.damaged).events + row.figure(19),
        possibleDuplicates: of(.delivered).uncertainEvents + row.figure(20),
        batchesWithWarnings: of(.delivered).warnings,
        successfulRows: row.figure(15), quarantinedRows: row.figure(16),
        oldestPendingAt: try oldestPending(id, firstUnbatched: row.int64(3), next: row.int64(2)),
        lastDeliveredAt: row.optionalDate(14),
        lane: try laneStatus(row, burstAttempts: burstAttempts),
        lastAnswer: row.optionalDate(13).map {
          DataSourceStatus.LastAnswer(status: row.optionalInt(11), text: row.optionalText(12), at: $0)
        })
    }
  }

  private struct RangeSum {
    var events = 0
    var bytes: Int64 = 0
    var inFlight = 0
    var uncertainEvents = 0
    var warnings = 0
  }

  private func rangeSums() throws -> [Int64: [RangeState: RangeSum]] {
    var sums: [Int64: [RangeState: RangeSum]] = [:]
    try connection.forEachRow(SQL.sumRangesByState) { row in
      if let state = RangeState(rawValue: row.text(1)) {
        sums[row.int64(0), default: [:]][state] = RangeSum(
          events: row.figure(2), bytes: Int64(row.figure(3)), inFlight: row.figure(4),
          uncertainEvents: row.figure(5), warnings: row.figure(6))
      }
      return true
    }
    return sums
  }

  /// Dead letters that are being replayed, by data source.
  private func deadCounts() throws -> [Int64: Int] {
    let rows = try connection.rows(SQL.countReplaying) { ($0.int64(0), $0.figure(1)) }
    return Dictionary(rows) { first, _ in first }
  }

  private func oldestPending(_ dataSource: Int64, firstUnbatched: Int64, next: Int64) throws -> Date? {
    let batched = try connection.firstInteger(SQL.firstPendingRange, dataSource)
    guard let first = batched ?? (firstUnbatched < next ? firstUnbatched : nil) else { return nil }
    let lowest = try SequenceKey(dataSource: dataSource, sequence: 0)
    let key = try SequenceKey(dataSource: dataSource, sequence: first)
    return try connection.firstInteger(SQL.commitTimeAtOrBefore, lowest.stored, key.stored)
      .map { WallTime(milliseconds: min(max(0, $0), 253_402_300_799_999)).date }
  }

  private func laneStatus(_ row: SQLiteRow, burstAttempts: Int) throws -> LaneStatus {
    if let kind = row.optionalText(7) {
      let cause = try row.optionalInt64(9).flatMap { id in
        try connection.firstRow(SQL.selectBatchRange, id) { try $0.sequences(0, 1) }
      }
      return .held(
        HoldKind(rawValue: kind) ?? .unexpectedStatus, status: row.optionalInt(8),
        since: row.optionalDate(10) ?? Date(timeIntervalSince1970: 0),
        batch: cause.map { AddressRange(dataSource: DataSourceName(stored: row.text(1)), sequences: $0) })
    }
    guard let until = row.optionalDate(6) else { return .open }
    let failures = row.figure(5)
    return failures >= burstAttempts
      ? .outage(failures: failures, until: until) : .backingOff(failures: failures, until: until)
  }
}
