public import struct Foundation.Date

/// An event as the outbox holds it.
public struct EventRecord: Sendable, Equatable {
  /// Where it lives.
  public var address: Address
  /// What its range of the ledger is.
  ///
  /// An event that is being replayed counts as dead until that is delivered.
  public var state: RangeState
  /// The JSON as it was stored; nil where its chunk is damaged, or it was erased.
  public var json: String?
  /// Whether it was erased: only its address and its state are left.
  public var isErased = false
  /// When it was committed; nil where its chunk is damaged.
  public var committedAt: Date?
  /// What is known of whether it is in Tinybird.
  public var inserted: Inserted
  /// Attempts that count, of its batch.
  public var attempts: Int
  /// Whether it is delivered, and an earlier attempt, or a resend, may have inserted it once more.
  public var mayBeDuplicated: Bool
  /// When its batch was settled.
  public var settledAt: Date?
  /// When its batch is tried again, where it waits for that.
  public var nextAttemptAt: Date?
}

/// A request that concerned an event, and its answer.
public struct AttemptRecord: Sendable, Equatable {
  /// The range that was sent.
  public var range: AddressRange
  /// Events of the request.
  public var eventCount: Int
  /// Bytes of the body as sent.
  public var sentBytes: Int
  /// When it was sent.
  public var startedAt: Date
  /// Until its answer, or the end of waiting for one.
  public var latency: Duration
  /// The HTTP status, or nil where there was no answer.
  public var status: Int?
  /// What the outbox made of it.
  public var verdict: String
  /// What the answer says of the rows.
  public var inserted: Inserted
  /// An excerpt of the body, tokens redacted; or the kind of fault.
  public var answer: String?
}

extension Outbox {
  /// Events of a range, by address.
  ///
  /// - Parameters:
  ///   - range: Which events; those that are not there yet, or were pruned, are passed over.
  ///   - states: Only events in one of these states.
  ///   - limit: At most so many. For the next page start behind the last address.
  public func events(
    in range: AddressRange, states: Set<RangeState> = Set(RangeState.allCases), limit: Int = 100
  ) async throws -> [EventRecord] {
    var events: [EventRecord] = []
    var next: Int64? = range.sequences.lowerBound
    while let from = next, from <= range.sequences.upperBound, events.count < limit {
      let room = limit - events.count
      let rest = AddressRange(dataSource: range.dataSource, sequences: from...range.sequences.upperBound)
      // One chunk for each look at the store: no snapshot is held for long.
      let page = try await inspector.read { try $0.eventPage(rest, states: states, limit: room) }
      events += page.events
      next = page.next
    }
    return events
  }

  /// The requests that concerned events of a range, the latest first.
  ///
  /// The log keeps the last 10,000 of the outbox.
  public func attempts(for range: AddressRange, limit: Int = 100) async throws -> [AttemptRecord] {
    try await inspector.read { snapshot in
      guard let lane = try snapshot.lane(range.dataSource) else { return [] }
      return try snapshot.connection.rows(
        SQL.selectAttempts, lane.id, range.sequences.lowerBound, range.sequences.upperBound, limit
      ) { row in
        AttemptRecord(
          range: AddressRange(dataSource: range.dataSource, sequences: try row.sequences(1, 2)),
          eventCount: row.figure(3), sentBytes: row.figure(4), startedAt: row.time(5).date,
          latency: .milliseconds(row.figure(6)), status: row.optionalInt(7), verdict: row.text(8),
          inserted: Inserted(rawValue: row.text(9)) ?? .maybe, answer: row.optionalText(10))
      }
    }
  }
}

extension Outbox {
  /// The ranges that may be in Tinybird more than once: every possible duplicate is listed here.
  ///
  /// - Parameters:
  ///   - after: Only those behind this range: for the next page.
  ///   - limit: At most so many.
  public func possibleDuplicates(after: AddressRange? = nil, limit: Int = 1000) async throws -> [AddressRange] {
    try await inspector.read { snapshot in
      try snapshot.connection.rows(
        SQL.selectPossibleDuplicates, after?.dataSource.rawValue ?? "", after?.sequences.lowerBound ?? 0, limit
      ) { row in
        AddressRange(dataSource: DataSourceName(stored: row.text(0)), sequences: try row.sequences(1, 2))
      }
    }
  }
}

extension StoreSnapshot {
  /// The most events without data that are listed at once.
  private static let maximumPage = 10_000

  struct EventPage: Sendable {
    var events: [EventRecord] = []
    /// Where to go on; nil at the end.
    var next: Int64?
  }

  /// Events from the start of `range`, as far as one range of the ledger and one chunk reach.
  func eventPage(_ range: AddressRange, states: Set<RangeState>, limit: Int) throws -> EventPage {
    let first = range.sequences.lowerBound
    guard let lane = try lane(range.dataSource), first < lane.nextSequence else { return EventPage() }
    let ledger = try ledgerRange(at: first, lane)
    let last = min(ledger.last, range.sequences.upperBound, lane.nextSequence - 1)
    guard let template = ledger.template, states.contains(template.state), last >= first else {
      return EventPage(next: ledger.last + 1)
    }
    do {
      let slice = try chunks.slice(from: first, upTo: last, in: lane.id)
      return EventPage(
        events: records(template, slice, limit: limit), next: slice.sequences.upperBound + 1)
    } catch is ChunkTable.Damage {
      // Nothing to show but that they are there.
      let end = min(last, first + Int64(min(limit, Self.maximumPage)) - 1)
      let events = (first...end).map { sequence in
        var event = template
        event.address = Address(dataSource: range.dataSource, sequence: sequence)
        return event
      }
      return EventPage(events: events, next: end + 1)
    }
  }

  private func records(_ template: EventRecord, _ slice: ChunkTable.Slice, limit: Int) -> [EventRecord] {
    slice.bytes.withUnsafeBytes { bytes in
      var lines = LineCursor(bytes: bytes)
      var sequence = slice.sequences.lowerBound
      var events: [EventRecord] = []
      while events.count < limit, let line = lines.next() {
        var event = template
        event.address = Address(dataSource: template.address.dataSource, sequence: sequence)
        event.isErased = line.isErasedEvent
        event.json = event.isErased ? nil : String(decoding: line, as: UTF8.self)
        event.committedAt = slice.committedAt.date
        events.append(event)
        sequence += 1
      }
      return events
    }
  }

  /// The ledger's range that holds `sequence`, as an event without its own data; no template in a pruned gap.
  private func ledgerRange(at sequence: Int64, _ lane: LaneRecord) throws -> (last: Int64, template: EventRecord?) {
    let address = Address(dataSource: lane.dataSource, sequence: sequence)
    guard sequence < lane.nextUnbatched else {
      return (
        lane.nextSequence - 1,
        EventRecord(address: address, state: .pending, inserted: .no, attempts: 0, mayBeDuplicated: false)
      )
    }
    let found = try connection.firstRow(SQL.selectRangesFrom, lane.id, sequence, 1) { row in
      let range = try row.sequences(0, 1)
      return (
        range.lowerBound, range.upperBound,
        EventRecord(
          address: address, state: try row.word(2), inserted: Inserted(rawValue: row.text(3)) ?? .maybe,
          attempts: row.figure(4),
          mayBeDuplicated: row.text(2) == RangeState.delivered.rawValue && row.int(5) > 0,
          settledAt: row.optionalDate(6), nextAttemptAt: row.optionalDate(7))
      )
    }
    guard let (first, last, template) = found else { return (lane.nextUnbatched - 1, nil) }
    guard last >= sequence else { throw SQLiteRow.damage("the range up to \(last) where \(sequence) belongs") }
    return first <= sequence ? (last, template) : (first - 1, nil)
  }
}
