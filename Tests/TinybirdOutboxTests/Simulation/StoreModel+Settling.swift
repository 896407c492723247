@testable import TinybirdOutbox

/// Settling an answer, and the commands of an operator.
extension StoreModel {
  /// Returns the parts of a split; nil where the batch is not pending.
  mutating func settle(_ settlement: Settlement, of lane: Int, now: WallTime) -> [Batch]? {
    guard var row = lanes[lane].pending(settlement.batch), let index = lanes[lane].index(of: row.id) else { return nil }
    row.inserted = row.inserted.combined(with: settlement.inserted)
    row.attempts += settlement.isCounted ? 1 : 0
    row.uncertainAttempts += settlement.inserted == .maybe ? 1 : 0
    row.isSending = false
    row.nextAttemptAt = nil
    change(lane, settlement.lane, cause: row.sequences, now: now)
    switch settlement.change {
    case .pending(let delay):
      row.nextAttemptAt = delay.map { now + $0 }
      lanes[lane].rows[index] = row
      return []
    case .split:
      return split(row, lane)
    case .delivered:
      row.state = .delivered
      lanes[lane].rows[index] = row
      for other in lanes[lane].rows.indices
      where row.isolation == .refused && lanes[lane].rows[other].state == .pending
        && lanes[lane].rows[other].isolation == .refused
      {
        lanes[lane].rows[other].isolation = .refusedInPart
      }
      if row.kind == .replay {
        for run in replayed(by: row, lane).joinedRuns() {
          replace(run, of: lane, with: .delivered, inserted: .yes, uncertainAttempts: row.uncertainAttempts)
        }
        for sequence in replayed(by: row, lane) { lanes[lane].deadLetters[sequence] = nil }
      }
      return []
    case .dead:
      row.state = .dead
      lanes[lane].rows[index] = row
      if row.kind == .replay {
        for run in replayed(by: row, lane).joinedRuns() where row.uncertainAttempts > 0 {
          replace(run, of: lane, with: .dead, inserted: row.inserted, uncertainAttempts: row.uncertainAttempts)
        }
      }
      for sequence in row.kind == .replay ? replayed(by: row, lane) : Array(row.sequences) {
        lanes[lane].deadLetters[sequence] = DeadLetter(replayedBy: nil, inserted: row.inserted)
      }
      return []
    }
  }

  private func replayed(by row: Row, _ lane: Int) -> [Int64] { lanes[lane].sequences(of: row.batch) }

  private mutating func split(_ row: Row, _ lane: Int) -> [Batch] {
    let sequences = replayed(by: row, lane)
    lanes[lane].rows.removeAll { $0.id == row.id }
    let middle = sequences.count / 2
    return [sequences[..<middle], sequences[middle...]].map { half in
      var part = row
      part.sequences = (half.first ?? 1)...(half.last ?? 1)
      part.eventCount = half.count
      part.byteCount = half.reduce(0) { $0 + lanes[lane].event($1).byteCount }
      part.isolation = row.isolation.ofParts
      part = insert(part, lane)
      if row.kind == .replay {
        for sequence in half { lanes[lane].deadLetters[sequence]?.replayedBy = part.id }
      }
      return part.batch
    }
  }

  private mutating func change(_ lane: Int, _ change: LaneChange, cause: ClosedRange<Int64>, now: WallTime) {
    switch change {
    case .none: break
    case .open:
      lanes[lane].record.failures = 0
      lanes[lane].record.retryAt = nil
      if lanes[lane].record.hold?.kind != .byOperator { lanes[lane].record.hold = nil }
    case .backOff(let failures, let delay):
      lanes[lane].record.failures = failures
      lanes[lane].record.retryAt = now + delay
    case .hold(let kind, let status):
      guard lanes[lane].record.hold == nil else { return }
      lanes[lane].record.hold = LaneRecord.Hold(kind: kind, status: status)
      lanes[lane].holdCause = cause
    }
  }

  // MARK: Commands

  mutating func perform(_ command: OperatorCommand, _ lane: Int, limits: BatchLimits) {
    switch command {
    case .hold:
      lanes[lane].record.hold = LaneRecord.Hold(kind: .byOperator, status: nil)
      lanes[lane].holdCause = nil
      lanes[lane].record.commandCount += 1
    case .resume:
      resume(lane)
    case .resumeReplayingCause:
      if let cause = lanes[lane].holdCause { replay(lane, limits, mayDuplicate: false) { cause.contains($0) } }
      resume(lane)
    case .deliverNow:
      lanes[lane].record.retryAt = nil
      deliverBatchesNow(lane)
      lanes[lane].record.commandCount += 1
    case .isolate:
      for index in lanes[lane].rows.indices
      where lanes[lane].rows[index].state == .pending && lanes[lane].rows[index].kind != .resend {
        lanes[lane].rows[index].isolation = .onDemand
        lanes[lane].rows[index].nextAttemptAt = nil
      }
      lanes[lane].record.commandCount += 1
    case .replay: replay(lane, limits, mayDuplicate: false) { _ in true }
    case .replayThatMayDuplicate: replay(lane, limits, mayDuplicate: true) { _ in true }
    case .discard:
      let dead = lanes[lane].deadLetters.filter { $0.value.replayedBy == nil }.keys.sorted()
      for run in dead.joinedRuns() { replace(run, of: lane, with: .discarded, inserted: nil) }
      for sequence in dead { lanes[lane].deadLetters[sequence] = nil }
    }
  }

  private mutating func resume(_ lane: Int) {
    lanes[lane].record.hold = nil
    lanes[lane].holdCause = nil
    lanes[lane].record.failures = 0
    lanes[lane].record.retryAt = nil
    deliverBatchesNow(lane)
    lanes[lane].record.commandCount += 1
  }

  private mutating func deliverBatchesNow(_ lane: Int) {
    for index in lanes[lane].rows.indices where lanes[lane].rows[index].state == .pending {
      lanes[lane].rows[index].nextAttemptAt = nil
    }
  }

  private mutating func replay(
    _ lane: Int, _ limits: BatchLimits, mayDuplicate: Bool, where isWanted: (Int64) -> Bool
  ) {
    let letters = lanes[lane].deadLetters
    var rest = letters.filter {
      $0.value.replayedBy == nil && isWanted($0.key) && (mayDuplicate || $0.value.inserted == .no)
    }.keys.sorted()[...]
    while let first = rest.first, let inserted = letters[first]?.inserted {
      var byteCount = 0
      let batch = rest.prefix { sequence in
        defer { byteCount += lanes[lane].event(sequence).byteCount }
        return letters[sequence]?.inserted == inserted
          && (sequence == first || byteCount + lanes[lane].event(sequence).byteCount <= limits.maximumBytes)
      }.prefix(limits.maximumEvents)
      rest = rest.dropFirst(batch.count)
      let row = insert(
        Row(
          id: 0, kind: .replay, sequences: first...(batch.last ?? first), eventCount: batch.count,
          byteCount: batch.reduce(0) { $0 + lanes[lane].event($1).byteCount }, inserted: inserted), lane)
      for sequence in batch { lanes[lane].deadLetters[sequence]?.replayedBy = row.id }
      lanes[lane].record.commandCount += 1
    }
  }
}
