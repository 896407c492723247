/// What a check of the whole outbox found.
public struct VerifyReport: Sendable, Equatable {
  /// Whether nothing is wrong.
  public var isSound: Bool { problems.isEmpty }
  /// Events whose chunk was read and checked.
  public var checkedEvents = 0
  /// Chunks that were read and checked.
  public var checkedChunks = 0
  /// Bytes of these.
  public var checkedBytes: Int64 = 0
  /// Each data source's sum, by name.
  public var dataSources: [Conservation] = []
  /// What is wrong, at most a thousand entries.
  public var problems: [String] = []

  package init() {}

  /// The sum that must come out for a data source: nothing came from nowhere, nothing went nowhere.
  public struct Conservation: Sendable, Equatable {
    /// The name.
    public var dataSource: DataSourceName
    /// Events ever appended.
    public var appended = 0
    /// Of these: delivered, pending, dead or replaying, discarded, damaged; by the ranges of the ledger.
    public var delivered = 0
    /// Wait or are under way.
    public var pending = 0
    /// In the dead-letter table, by the ledger.
    public var dead = 0
    /// Thrown away by an operator.
    public var discarded = 0
    /// Cannot be read.
    public var damaged = 0
    /// Of the delivered, discarded and damaged: those that were pruned, so that only their count is left.
    public var pruned = 0
    /// Rows of the dead-letter table.
    public var deadLetters = 0
    /// Whether the sum comes out.
    public var isWhole: Bool {
      appended == delivered + pending + dead + discarded + damaged && dead == deadLetters
    }
  }

  static let maximumProblems = 1000
}

extension Outbox {
  /// Checks everything: the database's own structure, every chunk's checksum, that chunks and ledger cover each
  /// sequence without hole or overlap, and that the counts add up.
  ///
  /// It reads the whole file in small steps while others work.
  ///
  /// - Parameter progress: Called now and then with the events checked so far and those there are.
  public func verify(progress: @Sendable (Int, Int) -> Void = { _, _ in }) async throws -> VerifyReport {
    await writer.prepareForLongReading()
    return try await inspector.verify(progress: progress)
  }
}

extension StoreReader {
  /// See ``Outbox/verify(progress:)``.
  nonisolated func verify(progress: @Sendable (Int, Int) -> Void) async throws(OutboxError) -> VerifyReport {
    var report = VerifyReport()
    report.problems += try await read { snapshot in
      try snapshot.connection.rows(SQL.quickCheck) { $0.text(0) }.filter { $0 != "ok" }.map { "SQLite: \($0)" }
    }
    let lanes = try await read { try $0.lanes() }
    let total = lanes.reduce(0) { $0 + Int($1.nextSequence) - 1 }
    for lane in lanes {
      var walk = VerifyWalk(lane: lane)
      while !walk.isFinished {
        let current = walk
        walk = try await read { try current.step($0) }
        progress(report.checkedEvents + walk.checkedEvents, total)
      }
      walk.finish(&report)
    }
    return report
  }
}

/// Checks one data source in steps.
///
/// Each step is a snapshot of its own: what was appended, batched or settled since the walk began lies behind `lane`
/// and is not judged.
struct VerifyWalk: Sendable {
  /// Chunks of one step: some mebibytes at most, so that no snapshot lives long.
  private static let chunksPerStep = 8

  let lane: LaneRecord
  private(set) var checkedEvents = 0
  private var checkedChunks = 0
  private var checkedBytes: Int64 = 0
  private var problems: [String] = []
  private var sums: VerifyReport.Conservation
  /// The next sequence number that a chunk, or a range, must begin with.
  private var nextChunk: Int64 = 1
  /// The sequence number behind the first of the last chunk: where the next step looks on, so that an overlap is seen.
  private var cursor: Int64 = 1
  private var hasCounted = false
  private(set) var isFinished = false

  init(lane: LaneRecord) {
    self.lane = lane
    sums = VerifyReport.Conservation(dataSource: lane.dataSource)
  }

  /// The ledger in the first step, for its sums must be of one moment; then chunk by chunk.
  consuming func step(_ snapshot: StoreSnapshot) throws -> VerifyWalk {
    var walk = self
    if walk.hasCounted {
      try walk.checkChunks(snapshot)
    } else {
      try walk.checkLedger(snapshot)
      walk.hasCounted = true
    }
    return walk
  }

  func finish(_ report: inout VerifyReport) {
    report.checkedEvents += checkedEvents
    report.checkedChunks += checkedChunks
    report.checkedBytes += checkedBytes
    report.dataSources.append(sums)
    report.problems += problems.prefix(max(0, VerifyReport.maximumProblems - report.problems.count))
  }

  private mutating func checkLedger(_ snapshot: StoreSnapshot) throws {
    guard let now = try snapshot.lane(lane.dataSource) else { return }
    sums.appended = Int(now.nextSequence) - 1
    sums.pending = Int(now.nextSequence - now.nextUnbatched)
    try countPruned(snapshot)
    var next: Int64 = 1
    var rangeCount = 0
    repeat {
      rangeCount = 0
      let after = next - 1
      try snapshot.connection.forEachRow(SQL.selectRangePage, lane.id, after) { row in
        rangeCount += 1
        let range = try row.sequences(0, 1)
        let (first, last) = (range.lowerBound, range.upperBound)
        if first < next { complain("the ledger has an overlap before \(first)") }
        try count(RangeState(rawValue: row.text(2)), first...last, snapshot)
        next = max(next, last + 1)
        return true
      }
    } while rangeCount > 0
    if next > now.nextUnbatched { complain("the ledger ends at \(next - 1), the lane says \(now.nextUnbatched - 1)") }
    let (low, high) = try keys(1...SequenceKey.maximumSequence)
    sums.deadLetters = Int(try snapshot.connection.firstInteger(SQL.countDeadBetween, low, high) ?? 0)
    // A hole of the ledger is what was pruned: one that was not leaves the sum short.
    if !sums.isWhole { complain("the counts do not add up: \(sums)") }
  }

  private mutating func countPruned(_ snapshot: StoreSnapshot) throws {
    let counts = try snapshot.connection.firstRow(SQL.selectPruned, lane.id) {
      ($0.figure(0), $0.figure(1), $0.figure(2))
    }
    guard let (delivered, discarded, damaged) = counts else { return }
    sums.delivered += delivered
    sums.discarded += discarded
    sums.damaged += damaged
    sums.pruned = delivered + discarded + damaged
  }

  private mutating func count(
    _ state: RangeState?, _ sequences: ClosedRange<Int64>, _ snapshot: StoreSnapshot
  ) throws {
    switch state {
    case .pending: sums.pending += sequences.count
    case .delivered: sums.delivered += sequences.count
    case .discarded: sums.discarded += sequences.count
    case .damaged: sums.damaged += sequences.count
    case .dead:
      sums.dead += sequences.count
      let (low, high) = try keys(sequences)
      let letters = try snapshot.connection.firstInteger(SQL.countDeadBetween, low, high) ?? 0
      if letters != sequences.count {
        complain("\(sequences.count) events from \(sequences.lowerBound) are dead, \(letters) dead letters are there")
      }
    case nil: complain("the range at \(sequences.lowerBound) has a state that this version does not know")
    }
  }

  private mutating func checkChunks(_ snapshot: StoreSnapshot) throws {
    let (low, high) = try keys(cursor...SequenceKey.maximumSequence)
    var isAtEnd = true
    try snapshot.connection.forEachRow(SQL.selectChunksFrom, low, high, Self.chunksPerStep) { row in
      isAtEnd = false
      let first = SequenceKey(stored: row.int64(0)).sequence
      guard row.int64(0) >= low else { throw SQLiteRow.damage("chunks that are not in order") }
      guard first < lane.nextSequence else {
        isAtEnd = true
        return false
      }
      if first > nextChunk { try checkHole(nextChunk...(first - 1), snapshot) }
      if first < nextChunk { complain("events \(first)..\(nextChunk - 1) are in two chunks") }
      let eventCount = row.eventCount(1, from: first) ?? 1
      let last = first + eventCount - 1
      if try countNamed(first...last, snapshot) == 0 {
        complain("the chunk at \(first) holds events that the ledger does not know")
      }
      do {
        _ = try snapshot.chunks.read(row, from: first, upTo: last)
      } catch let damage as ChunkTable.Damage {
        complain("the chunk at \(first) is damaged: \(damage.what)")
      }
      checkedChunks += 1
      checkedEvents += Int(eventCount)
      checkedBytes += Int64(row.figure(2))
      nextChunk = max(nextChunk, last + 1)
      cursor = first + 1
      return true
    }
    guard isAtEnd else { return }
    isFinished = true
    if nextChunk < lane.nextSequence { try checkHole(nextChunk...(lane.nextSequence - 1), snapshot) }
  }

  /// Where chunks are missing, the ledger must name no event, or only damaged ones: then they were pruned, or are what
  /// salvage could not read.
  private mutating func checkHole(_ sequences: ClosedRange<Int64>, _ snapshot: StoreSnapshot) throws {
    guard try countNamed(sequences, snapshot, damaged: false) > 0 else { return }
    complain("events \(sequences.lowerBound)..\(sequences.upperBound) are in no chunk, and not all were pruned")
  }

  /// How many of these events are in a range of the ledger, or in no batch yet.
  private func countNamed(
    _ sequences: ClosedRange<Int64>, _ snapshot: StoreSnapshot, damaged: Bool = true
  ) throws -> Int64 {
    guard let now = try snapshot.lane(lane.dataSource) else { return 0 }
    let unbatched = sequences.upperBound - max(sequences.lowerBound, now.nextUnbatched) + 1
    let named = try snapshot.connection.firstInteger(
      SQL.countNamedBetween, lane.id, sequences.lowerBound, sequences.upperBound, damaged ? 1 : 0)
    return (named ?? 0) + max(0, unbatched)
  }

  private func keys(_ sequences: ClosedRange<Int64>) throws -> (Int64, Int64) {
    (
      try SequenceKey(dataSource: lane.id, sequence: sequences.lowerBound).stored,
      try SequenceKey(dataSource: lane.id, sequence: sequences.upperBound).stored
    )
  }

  private mutating func complain(_ what: String) {
    guard problems.count < VerifyReport.maximumProblems else { return }
    problems.append("\(lane.dataSource): \(what)")
  }
}
