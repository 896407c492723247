@testable import TinybirdOutbox

/// The outbox's file as values: a transaction is a copy, and a rollback forgets it.
///
/// It does what `Ledger` and `DeadLetterTable` do with SQL, in the plainest way.
struct StoreModel {
  struct Row {
    var id: Batch.ID
    var kind: Batch.Kind
    var sequences: ClosedRange<Int64>
    var eventCount: Int
    var byteCount: Int
    var state = RangeState.pending
    var inserted = Inserted.no
    var attempts = 0
    var uncertainAttempts = 0
    var isolation = Batch.Isolation.none
    var isSending = false
    var nextAttemptAt: WallTime?
    var committedAt: WallTime?

    var batch: Batch {
      Batch(
        id: id, kind: kind, sequences: sequences, eventCount: eventCount, byteCount: byteCount, inserted: inserted,
        attempts: attempts, isolation: isolation, nextAttemptAt: nextAttemptAt, committedAt: committedAt)
    }
  }

  struct DeadLetter {
    var replayedBy: Batch.ID?
    var inserted: Inserted
  }

  struct Chunk {
    var first: Int64
    var eventCount: Int
    var byteCount: Int
    var committedAt: WallTime
  }

  struct Event: Equatable {
    var id: Int
    var byteCount: Int
    var isGuilty: Bool
    /// The service fails on it, for ever.
    var isFailing = false
  }

  struct Lane {
    var record: LaneRecord
    var holdCause: ClosedRange<Int64>?
    /// By sequence number, from 1.
    var events: [Event] = []
    var chunks: [Chunk] = []
    var rows: [Row] = []
    var deadLetters: [Int64: DeadLetter] = [:]

    func event(_ sequence: Int64) -> Event { events[Int(sequence) - 1] }

    func byteCount(_ sequences: ClosedRange<Int64>) -> Int {
      events[Int(sequences.lowerBound) - 1..<Int(sequences.upperBound)].reduce(0) { $0 + $1.byteCount }
    }

    /// The events that a request for this batch carries.
    func sequences(of batch: Batch) -> [Int64] {
      guard batch.kind == .replay else { return Array(batch.sequences) }
      return deadLetters.filter { $0.value.replayedBy == batch.id }.keys.sorted()
    }

    /// When the first event of a batch was appended; of those that are sent again nobody asks.
    func commitTime(_ kind: Batch.Kind, _ sequences: ClosedRange<Int64>) -> WallTime? {
      kind == .append ? chunks.last { $0.first <= sequences.lowerBound }?.committedAt : nil
    }

    func index(of id: Batch.ID) -> Int? { rows.firstIndex { $0.id == id } }

    func pending(_ id: Batch.ID) -> Row? {
      guard let index = index(of: id), rows[index].state == .pending else { return nil }
      return rows[index]
    }

    var batchesBeingSent: Set<Batch.ID> { Set(rows.filter { $0.state == .pending && $0.isSending }.map(\.id)) }

    var pendingBatches: [Batch] {
      rows.filter { $0.state == .pending }.map(\.batch).sorted { $0.sequences.lowerBound < $1.sequences.lowerBound }
    }
  }

  var lanes: [Lane]
  /// Grows with every transaction.
  var version = 0
  private var lastID: Batch.ID = 0

  init(laneCount: Int) {
    lanes = (0..<laneCount).map { number in
      Lane(
        record: LaneRecord(
          id: Int64(number) + 1, dataSource: DataSourceName(stored: "source_\(number)"), nextSequence: 1,
          nextUnbatched: 1, failures: 0, retryAt: nil, hold: nil, commandCount: 0))
    }
  }

  // MARK: Appending and forming

  /// The events join the lane's chunk of this transaction, which begins at `chunkStart`.
  mutating func append(_ events: [Event], to lane: Int, chunkStart: Int64, now: WallTime) {
    let bytes = events.reduce(0) { $0 + $1.byteCount }
    if let last = lanes[lane].chunks.last, last.first == chunkStart {
      lanes[lane].chunks[lanes[lane].chunks.count - 1].eventCount += events.count
      lanes[lane].chunks[lanes[lane].chunks.count - 1].byteCount += bytes
    } else {
      lanes[lane].chunks.append(Chunk(first: chunkStart, eventCount: events.count, byteCount: bytes, committedAt: now))
    }
    lanes[lane].events += events
    lanes[lane].record.nextSequence += Int64(events.count)
  }

  func plan(_ lane: Int, _ limits: BatchLimits) -> BatchBuilder.Plan? {
    let next = lanes[lane].record.nextUnbatched
    guard lanes[lane].record.hasUnbatched else { return nil }
    var builder = BatchBuilder(limits: limits)
    // Newest chunks last: what is batched already is skipped from behind.
    guard let start = lanes[lane].chunks.lastIndex(where: { $0.first == next }) else { return nil }
    for chunk in lanes[lane].chunks[start...] {
      guard builder.offer(firstSequence: chunk.first, eventCount: chunk.eventCount, byteCount: chunk.byteCount)
      else { break }
    }
    return builder.plan
  }

  /// Nil where the events are in a batch already.
  mutating func form(_ plan: BatchBuilder.Plan, of lane: Int) -> Batch? {
    guard lanes[lane].record.nextUnbatched == plan.sequences.lowerBound else { return nil }
    lanes[lane].record.nextUnbatched = plan.sequences.upperBound + 1
    return insert(
      Row(
        id: 0, kind: .append, sequences: plan.sequences, eventCount: plan.eventCount, byteCount: plan.byteCount,
        isSending: true), lane
    ).batch
  }

  mutating func markSending(_ id: Batch.ID, of lane: Int) -> Bool {
    guard let index = lanes[lane].index(of: id), lanes[lane].rows[index].state == .pending else { return false }
    lanes[lane].rows[index].isSending = true
    return true
  }

  mutating func recoverInterrupted() {
    for lane in lanes.indices {
      for index in lanes[lane].rows.indices where lanes[lane].rows[index].isSending {
        lanes[lane].rows[index].isSending = false
        lanes[lane].rows[index].inserted = .maybe
        lanes[lane].rows[index].uncertainAttempts += 1
      }
    }
    version += 1
  }

  @discardableResult
  mutating func insert(_ row: Row, _ lane: Int) -> Row {
    var row = row
    lastID += 1
    row.id = lastID
    row.committedAt = lanes[lane].commitTime(row.kind, row.sequences)
    lanes[lane].rows.append(row)
    return row
  }

  /// Gives the events of a run another state, whatever ranges they lie in.
  mutating func replace(
    _ run: ClosedRange<Int64>, of lane: Int, with state: RangeState, inserted: Inserted?, uncertainAttempts: Int = 0
  ) {
    for old in lanes[lane].rows where old.kind == .append && old.sequences.overlaps(run) {
      lanes[lane].rows.removeAll { $0.id == old.id }
      let inner = old.sequences.clamped(to: run)
      let (first, last) = (old.sequences.lowerBound, old.sequences.upperBound)
      var parts = [inner]
      if first < inner.lowerBound { parts.append(first...inner.lowerBound - 1) }
      if inner.upperBound < last { parts.append(inner.upperBound + 1...last) }
      for part in parts {
        var new = old
        new.sequences = part
        new.eventCount = part.count
        new.byteCount = lanes[lane].byteCount(part)
        if part == inner {
          new.state = state
          new.inserted = inserted ?? old.inserted
          new.uncertainAttempts += uncertainAttempts
        }
        insert(new, lane)
      }
    }
  }
}
