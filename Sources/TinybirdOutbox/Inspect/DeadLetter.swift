public import struct Foundation.Date

/// An event that the service refused, with its reason.
///
/// It stays until an operator replays or discards it.
public struct DeadLetter: Sendable, Equatable {
  /// Where it lives.
  public var address: Address
  /// The JSON: as it was appended, or as it was repaired.
  public var json: String
  /// When it was committed.
  public var committedAt: Date
  /// Whether it is being sent again.
  public var isReplaying: Bool
  /// Why it is here.
  public var reason: DeadReason
  /// The HTTP status that refused it.
  public var status: Int?
  /// An excerpt of the answer, tokens redacted.
  public var answer: String?
  /// Attempts that count.
  public var attempts: Int
  /// What is known of whether it is in Tinybird: replaying one that may be there can duplicate it.
  public var inserted: Inserted
  /// When it was refused, the last time.
  public var deadAt: Date
  /// When an operator changed it.
  public var repairedAt: Date?
}

/// Which dead letters: those that match all that is set.
public struct DeadLetterFilter: Sendable, Equatable {
  /// Of this data source.
  public var dataSource: DataSourceName?
  /// With these sequence numbers.
  public var sequences: ClosedRange<Int64>?
  /// Refused with this HTTP status.
  public var status: Int?
  /// Refused for this reason.
  public var reason: DeadReason?
  /// Of which this is known.
  public var inserted: Inserted?
  /// Refused at or after this moment.
  public var since: Date?
  /// Refused before this moment.
  public var before: Date?
  /// Being replayed, or not.
  public var isReplaying: Bool?

  /// Every dead letter.
  public init() {}

  /// The dead letters of a range.
  public init(_ range: AddressRange) {
    dataSource = range.dataSource
    sequences = range.sequences
  }
}

extension Outbox {
  /// Dead letters by address.
  ///
  /// - Parameters:
  ///   - filter: Which.
  ///   - after: Only those behind this address: for the next page.
  ///   - limit: At most so many.
  public func deadLetters(
    matching filter: DeadLetterFilter = DeadLetterFilter(), after: Address? = nil, limit: Int = 100
  ) async throws -> [DeadLetter] {
    try await inspector.read { snapshot in
      let key = try after.map { try snapshot.key(of: $0) } ?? 0
      return try snapshot.deadLetters(matching: filter, after: key, limit: limit)
    }
  }

  /// How many dead letters match, and how many of them may be in Tinybird already.
  public func countDeadLetters(
    matching filter: DeadLetterFilter = DeadLetterFilter()
  ) async throws -> (count: Int, maybeInserted: Int) {
    try await inspector.read { snapshot in
      try snapshot.connection.firstRow(SQL.countDeadLetters, bindings: filter.bindings(after: 0, limit: nil)) {
        ($0.int(0), $0.int(1))
      } ?? (0, 0)
    }
  }
}

extension DeadLetterFilter {
  /// The parameters of the statements over dead letters.
  func bindings(after key: Int64, limit: Int?) -> [(any SQLiteBindable)?] {
    let milliseconds = { (date: Date) in WallTime(date).milliseconds }
    var values: [(any SQLiteBindable)?] = [
      key, dataSource?.rawValue, sequences?.lowerBound, sequences?.upperBound, status, reason?.rawValue,
      inserted?.rawValue, since.map(milliseconds), before.map(milliseconds),
      isReplaying.map { $0 ? "replaying" : "dead" },
    ]
    if let limit { values.append(limit) }
    return values
  }
}

extension StoreSnapshot {
  /// The key of an address; an unknown data source sorts before all.
  func key(of address: Address) throws -> Int64 {
    guard let lane = try lane(address.dataSource) else { return 0 }
    return try SequenceKey(dataSource: lane.id, sequence: address.sequence).stored
  }

  func deadLetters(matching filter: DeadLetterFilter, after key: Int64, limit: Int) throws -> [DeadLetter] {
    try connection.rows(SQL.selectDeadLetters, bindings: filter.bindings(after: key, limit: limit)) { row in
      DeadLetter(
        address: Address(
          dataSource: DataSourceName(stored: row.text(1)), sequence: SequenceKey(stored: row.int64(0)).sequence),
        json: row.text(2), committedAt: row.time(3).date,
        isReplaying: row.text(4) == "replaying", reason: DeadReason(rawValue: row.text(5)) ?? .refused,
        status: row.optionalInt(6), answer: row.optionalText(7), attempts: row.figure(8),
        inserted: Inserted(rawValue: row.text(9)) ?? .maybe, deadAt: row.time(10).date,
        repairedAt: row.optionalDate(11))
    }
  }
}
