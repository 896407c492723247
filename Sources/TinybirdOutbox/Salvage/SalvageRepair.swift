/// Makes one data source of the new outbox whole: every number is in a range, is not batched yet, or was pruned.
///
/// What is in the new file was checked, so it is read there, and through its indexes. One step looks at one range and one
/// chunk, so that memory does not grow with their number.
struct SalvageRepair {
  let source: SalvageSource
  let target: StoreTransaction
  let id: Int64
  var report: SalvageReport

  private let name: DataSourceName
  private let nextSequence: Int64
  private var nextUnbatched: Int64

  private var connection: SQLiteConnection { target.connection }
  private var ledger: Ledger { Ledger(transaction: target) }
  private var chunks: ChunkTable { ChunkTable(connection: connection, outboxID: target.outboxID) }

  init(
    source: SalvageSource, target: StoreTransaction, id: Int64, lane: Salvage.Lane, report: SalvageReport
  ) throws {
    (self.source, self.target, self.id, self.report, name) = (source, target, id, report, lane.name)
    var highest = lane.highest
    let (first, last) = (try Self.key(id, 1), try Self.key(id, SequenceKey.maximumSequence))
    _ = try source.forEachKey(of: .letters, from: first, upTo: last) { key in
      highest = max(highest, SequenceKey(stored: key).sequence)
    }
    // A number that was given must never be given again.
    nextSequence = max(lane.nextSequence ?? 1, highest + 1)
    nextUnbatched = min(lane.nextUnbatched ?? nextSequence, nextSequence)
    if lane.nextSequence.map({ $0 < nextSequence }) ?? true {
      complain("the next number cannot be read, or is too small: the sequence goes on at \(nextSequence)")
    }
    if try !isBoundary(nextUnbatched) {
      nextUnbatched = nextSequence
      complain("it cannot be told which events were batched: all that no range names count as maybe sent")
    }
    try connection.execute(SQL.setNextNumbers, id, nextSequence, nextUnbatched)
  }

  mutating func run() throws {
    let batched = 1..<nextUnbatched
    try setLostApart(in: batched)
    try copyLetters()
    try checkDead()
    try fillHoles()
    try setLostApart(in: batched.upperBound..<nextSequence)
    try connection.execute(
      SQL.setUnbatchedBytes, id, try Self.key(id, min(nextUnbatched, SequenceKey.maximumSequence)),
      try Self.key(id, SequenceKey.maximumSequence))
  }

  /// Whether batching can go on from a number: behind every range, and not in the middle of a chunk.
  private func isBoundary(_ sequence: Int64) throws -> Bool {
    guard try connection.firstInteger(SQL.lastBatchedSequence, id) ?? 0 < sequence else { return false }
    guard sequence < nextSequence, let chunk = try chunk(from: sequence) else { return true }
    return chunk.lowerBound >= sequence
  }

  // MARK: Looking

  private static func key(_ dataSource: Int64, _ sequence: Int64) throws -> Int64 {
    try SequenceKey(dataSource: dataSource, sequence: sequence).stored
  }

  /// The chunk that holds an event, or else the next one.
  private func chunk(from sequence: Int64) throws -> ClosedRange<Int64>? {
    let key = try Self.key(id, sequence)
    let bounds = { (row: SQLiteRow) in
      let first = SequenceKey(stored: row.int64(0)).sequence
      return first...(first + row.int64(1) - 1)
    }
    let before = try connection.firstRow(SQL.selectLastChunkHeader, try Self.key(id, 0), key, body: bounds)
    if let before, before.contains(sequence) { return before }
    let end = try Self.key(id, SequenceKey.maximumSequence)
    return try connection.firstRow(SQL.selectChunkHeaderFrom, key, end, body: bounds)
  }

  /// The range that holds an event, or else the next one.
  private func range(from sequence: Int64) throws -> (sequences: ClosedRange<Int64>, state: RangeState)? {
    try connection.firstRow(SQL.selectRangesFrom, id, sequence, 1) { row in
      (sequences: try row.sequences(0, 1), state: try row.word(2, RangeState.self))
    }
  }

  // MARK: Chunks that are not there

  /// What is in a range or in no batch yet, and in no chunk, is damaged.
  private mutating func setLostApart(in sequences: Range<Int64>) throws {
    var next = sequences.lowerBound
    while next < sequences.upperBound {
      let chunk = try chunk(from: next)
      let end = min((chunk?.lowerBound ?? sequences.upperBound), sequences.upperBound) - 1
      if next <= end { try setLostApart(next...end) }
      next = max(chunk?.upperBound ?? end, end) + 1
    }
  }

  private mutating func setLostApart(_ gap: ClosedRange<Int64>) throws {
    try batch(upTo: gap.upperBound)
    var next = gap.lowerBound
    while next <= gap.upperBound, let range = try range(from: next), range.sequences.overlaps(gap) {
      let part = range.sequences.clamped(to: gap)
      if range.state != .damaged {
        try ledger.replace(part, of: id, with: .damaged, inserted: nil)
        report.lose(part, of: name)
      }
      next = part.upperBound + 1
    }
  }

  /// Only what is in a batch can be damaged.
  private mutating func batch(upTo sequence: Int64) throws {
    let snapshot = StoreSnapshot(connection: connection, outboxID: target.outboxID)
    while nextUnbatched <= sequence, let plan = try snapshot.planBatch(of: id, limits: Outbox.defaultLimits) {
      _ = try ledger.form([plan], of: id, isSending: false)
      nextUnbatched = plan.sequences.upperBound + 1
    }
  }

  // MARK: Dead letters

  private struct Letter {
    var payload: [UInt8]
    var committedAt: WallTime
    var isReplaying: Bool
    var reason: DeadReason
    var status: Int?
    var answer: String?
    var attempts: Int
    var inserted: Inserted
    var deadAt: WallTime
    var repairedAt: WallTime?
    var repairedChecksum: Int64?
  }

  /// Those that can be read, with the bytes that the chunk's checksum proves: theirs have none.
  ///
  /// A dead letter makes its event dead, whatever the ledger says: nothing that was refused is sent by itself.
  private mutating func copyLetters() throws {
    let source = source
    var (unreadable, corrected, returned, unnamed) = (0, 0, 0, 0)
    var lines = LineReader(chunks: chunks, dataSource: id)
    let sql = SQL.selectWholeLetter(isVersion2: try source.isVersion2)
    let (first, last) = (try Self.key(id, 1), try Self.key(id, nextSequence - 1))
    let hasDamage = try source.forEachKey(of: .letters, from: first, upTo: max(first, last)) { key in
      let sequence = SequenceKey(stored: key).sequence
      guard sequence < nextUnbatched, let line = try lines.line(sequence), !line.isErased,
        var letter = try source.row(sql, key, { try Self.letter($0) })
      else {
        unreadable += 1
        return
      }
      let repair = letter.repairedAt.map { Repair(key: key, at: $0) }
      if repair?.isTrue(letter.payload, checksum: letter.repairedChecksum) != true {
        if letter.payload != line.bytes || letter.repairedAt != nil { corrected += 1 }
        letter.payload = line.bytes
        letter.repairedAt = nil
      }
      if letter.isReplaying { returned += 1 }
      let range = try range(from: sequence)
      if range?.sequences.contains(sequence) != true {
        _ = try ledger.insert(
          kind: .append, dataSource: id, sequences: sequence...sequence, eventCount: 1,
          byteCount: line.bytes.count + 1, inserted: letter.inserted)
      }
      if range?.sequences.contains(sequence) != true || range?.state != .dead {
        try ledger.replace(sequence...sequence, of: id, with: .dead, inserted: letter.inserted)
        unnamed += 1
      }
      try insert(letter, key)
    }
    if hasDamage { complain("part of its dead letters cannot be read") }
    if unreadable > 0 { complain("\(unreadable) dead letters cannot be read, or are of no event that can") }
    if corrected > 0 { complain("\(corrected) dead letters did not hold what was appended, and do again") }
    if unnamed > 0 { complain("\(unnamed) dead letters were of events that the ledger does not call dead; they are") }
    if returned > 0 { report.notes.append("\(name): \(returned) dead letters of waiting replays are dead again") }
  }

  private static func letter(_ row: SQLiteRow) throws -> Letter {
    let isReplaying = row.text(2) != "dead"
    return Letter(
      payload: row.bytes(0), committedAt: row.time(1), isReplaying: isReplaying, reason: try row.word(3),
      status: row.optionalInt(4), answer: row.optionalText(5), attempts: row.figure(6),
      inserted: isReplaying ? .maybe : Inserted(rawValue: row.text(7)) ?? .maybe, deadAt: row.time(8),
      repairedAt: row.optionalTime(9), repairedChecksum: row.optionalInt64(10))
  }

  private func insert(_ letter: Letter, _ key: Int64) throws {
    try letter.payload.withUnsafeBytes { payload in
      try connection.execute(
        SQL.insertDeadLetter, key, BorrowedText(bytes: payload), letter.committedAt.milliseconds,
        letter.reason.rawValue, letter.status, letter.answer, letter.attempts, letter.inserted.rawValue,
        letter.deadAt.milliseconds)
      if let repairedAt = letter.repairedAt {
        try connection.execute(
          SQL.repairDeadLetter, key, BorrowedText(bytes: payload), repairedAt.milliseconds,
          Int64(Repair(key: key, at: repairedAt).checksum(payload)))
      }
    }
  }

  /// A dead event without its dead letter is sent again: the service refuses it anew, with its reason.
  private mutating func checkDead() throws {
    var next: Int64 = 1
    var count = 0
    while let range = try range(from: next) {
      next = range.sequences.upperBound + 1
      guard range.state == .dead else { continue }
      var sequence = range.sequences.lowerBound
      while sequence <= range.sequences.upperBound {
        let found = try connection.firstInteger(
          SQL.selectLetterKeyFrom, try Self.key(id, sequence), try Self.key(id, range.sequences.upperBound))
        let end = found.map { SequenceKey(stored: $0).sequence - 1 } ?? range.sequences.upperBound
        if sequence <= end {
          try forEachPart(sequence...end) { part, isErased, _ in
            try ledger.replace(
              part, of: id, with: isErased ? .discarded : .pending, inserted: isErased ? nil : .maybe,
              uncertainAttempts: 1)
          }
          count += Int(end - sequence + 1)
        }
        sequence = end + 2
      }
    }
    if count > 0 { complain("\(count) dead events have lost their dead letter: they are pending, maybe inserted") }
  }

  // MARK: Holes of the ledger

  /// A hole is what was pruned, or a row that cannot be read.
  ///
  /// Where the counts of what was pruned do not tell, an event that is there is sent, perhaps again; one that is not is
  /// taken as pruned, the oldest first, for as many as were; the rest is damaged.
  private mutating func fillHoles() throws {
    var (adopted, shared, missing) = (0, 0, 0)
    try forEachHole { repair, part, chunk in
      if let chunk, part == chunk {
        // Its chunk would have been pruned with it.
        adopted += try repair.adopt(part)
      } else if chunk != nil {
        shared += part.count
      } else {
        missing += part.count
      }
    }
    var pruned = try connection.firstRow(SQL.selectPruned, id) { [$0.figure(0), $0.figure(1), $0.figure(2)] } ?? []
    let told = pruned.reduce(0, +)
    if shared + missing != told {
      var left = min(told, missing)
      for index in pruned.indices {
        pruned[index] = min(pruned[index], left)
        left -= pruned[index]
      }
      left = min(told, missing)
      try connection.execute(SQL.setPruned, id, pruned[0], pruned[1], pruned[2])
      try forEachHole { repair, part, chunk in
        if chunk != nil {
          adopted += try repair.adopt(part)
          return
        }
        let kept = min(left, part.count)
        left -= kept
        if kept < part.count { try repair.lose((part.lowerBound + Int64(kept))...part.upperBound) }
      }
      if told > missing { complain("\(told) events count as pruned, but only \(missing) can have been") }
    }
    if adopted > 0 { complain("\(adopted) events have lost their row of the ledger: they are pending, maybe inserted") }
  }

  /// The parts of each hole that lie in one chunk, with that chunk, and those that lie in none.
  private mutating func forEachHole(
    _ body: (inout Self, ClosedRange<Int64>, _ chunk: ClosedRange<Int64>?) throws -> Void
  ) throws {
    var next: Int64 = 1
    while next < nextUnbatched {
      let range = try range(from: next)
      let end = min((range?.sequences.lowerBound ?? nextUnbatched) - 1, nextUnbatched - 1)
      while next <= end {
        let chunk = try chunk(from: next)
        if let chunk, chunk.contains(next) {
          let part = next...min(chunk.upperBound, end)
          try body(&self, part, chunk)
          next = part.upperBound + 1
        } else {
          let part = next...min((chunk?.lowerBound ?? end + 1) - 1, end)
          try body(&self, part, nil)
          next = part.upperBound + 1
        }
      }
      next = (range?.sequences.upperBound ?? end) + 1
    }
  }

  /// Makes events of a chunk that no range names pending; returns how many.
  private mutating func adopt(_ sequences: ClosedRange<Int64>) throws -> Int {
    try forEachPart(sequences) { part, isErased, byteCount in
      _ = try ledger.insert(
        kind: .append, dataSource: id, sequences: part, eventCount: part.count, byteCount: byteCount,
        inserted: .maybe, uncertainAttempts: 1)
      if isErased { try ledger.replace(part, of: id, with: .discarded, inserted: nil) }
    }
    return sequences.count
  }

  private mutating func lose(_ sequences: ClosedRange<Int64>) throws {
    _ = try ledger.insert(
      kind: .append, dataSource: id, sequences: sequences, eventCount: sequences.count, byteCount: 0, inserted: .maybe,
      uncertainAttempts: 1)
    try ledger.replace(sequences, of: id, with: .damaged, inserted: nil)
    report.lose(sequences, of: name)
  }

  /// The runs of a range that are erased, and those that are not.
  private func forEachPart(
    _ sequences: ClosedRange<Int64>, _ body: (ClosedRange<Int64>, _ isErased: Bool, _ byteCount: Int) throws -> Void
  ) throws {
    var next = sequences.lowerBound
    for part in try chunks.unerased(sequences, in: id) {
      if next < part.sequences.lowerBound { try body(next...(part.sequences.lowerBound - 1), true, 0) }
      try body(part.sequences, false, part.byteCount)
      next = part.sequences.upperBound + 1
    }
    if next <= sequences.upperBound { try body(next...sequences.upperBound, true, 0) }
  }

  private mutating func complain(_ what: String) {
    report.problems.append("\(name): \(what)")
  }
}

/// Reads single lines in the order of their addresses: each chunk is checked and cut once.
private struct LineReader {
  let chunks: ChunkTable
  let dataSource: Int64
  private var slice: ChunkTable.Slice?
  private var offset = 0
  private var next: Int64 = 0

  init(chunks: ChunkTable, dataSource: Int64) {
    self.chunks = chunks
    self.dataSource = dataSource
  }

  /// Nil where no chunk holds it.
  mutating func line(_ sequence: Int64) throws -> (bytes: [UInt8], isErased: Bool)? {
    if slice?.sequences.contains(sequence) != true {
      do {
        slice = try chunks.slice(from: sequence, upTo: SequenceKey.maximumSequence, in: dataSource)
      } catch is ChunkTable.Damage {
        return nil
      }
      (offset, next) = (0, sequence)
    }
    guard let slice else { return nil }
    return slice.bytes.withUnsafeBytes { bytes in
      var lines = LineCursor(bytes: UnsafeRawBufferPointer(rebasing: bytes[offset...]))
      lines.skip(Int(sequence - next))
      guard let line = lines.next() else { return nil }
      offset += lines.offset
      next = sequence + 1
      return (Array(line), line.isErasedEvent)
    }
  }
}
