/// Takes events out of the rows of an outbox: the one change that is ever made to a chunk.
///
/// Their lines become `null`, which no event is, so that every other line keeps its number; the ledger says *discarded*
/// where they waited or were dead, and goes on saying *delivered* where they were. All of it is one transaction: after a
/// crash an event is there, or it is erased.
struct EventEraser {
  let transaction: StoreTransaction
  private var connection: SQLiteConnection { transaction.connection }
  private var ledger: Ledger { Ledger(transaction: transaction) }

  enum Outcome: Equatable, Sendable {
    /// They are gone; so many of them are, or may be, in Tinybird.
    case erased(inTinybird: Int)
    /// A request that carries some of them is under way: what it sends must stay what the ledger says.
    case underWay
    /// Some are in no range of the ledger yet: a batch must be formed first.
    case unbatched
  }

  /// Erases `runs`, which lie in one chunk, or in none where it was pruned.
  func erase(_ runs: [ClosedRange<Int64>], of dataSource: Int64) throws -> Outcome {
    guard let last = runs.last?.upperBound else { return .erased(inTinybird: 0) }
    for run in runs {
      let sending = try connection.firstInteger(SQL.isSendingBetween, dataSource, run.lowerBound, run.upperBound)
      guard sending == nil else { return .underWay }
    }
    let unbatched = try connection.firstInteger(SQL.selectNextUnbatched, dataSource) ?? 1
    guard last < unbatched else { return .unbatched }
    try rewriteChunk(runs, of: dataSource)
    for run in runs { try removeDeadLetters(run, of: dataSource) }
    for run in runs { try removeFromResends(run, of: dataSource) }
    let inTinybird = try ledger.discardErased(runs, of: dataSource)
    // A lane has its batches in memory.
    try connection.execute(SQL.bumpCommandCount, dataSource)
    return .erased(inTinybird: inTinybird)
  }

  /// One job of many: puts the chunks behind the last batch into one that waits, as a lane would.
  func batchNext(of dataSource: Int64, limits: BatchLimits) throws {
    let snapshot = StoreSnapshot(connection: connection, outboxID: transaction.outboxID)
    guard let plan = try snapshot.planBatch(of: dataSource, limits: limits) else { return }
    _ = try ledger.form([plan], of: dataSource, isSending: false)
    try connection.execute(SQL.bumpCommandCount, dataSource)
  }

  private func rewriteChunk(_ runs: [ClosedRange<Int64>], of dataSource: Int64) throws {
    guard let first = runs.first?.lowerBound else { return }
    let low = try SequenceKey(dataSource: dataSource, sequence: 0).stored
    let at = try SequenceKey(dataSource: dataSource, sequence: first).stored
    let chunks = ChunkTable(connection: connection, outboxID: transaction.outboxID)
    do {
      let rewritten = try connection.firstRow(SQL.selectChunkAtOrBefore, low, at) { row -> RewrittenChunk? in
        // Nil where the chunk was pruned: what is found ends before.
        guard try chunks.read(row, from: first, upTo: first) != nil else { return nil }
        let start = SequenceKey(stored: row.int64(0)).sequence
        return try chunks.read(row, from: start, upTo: SequenceKey.maximumSequence).map { slice in
          RewrittenChunk(
            place: ChunkPlace(key: row.int64(0), eventCount: row.int64(1), committedAt: row.int64(6)),
            bytes: slice.erasing(runs))
        }
      }
      if let rewritten = rewritten ?? nil { try store(rewritten) }
    } catch is ChunkTable.Damage {
      // Not to be read: the search has reported it.
    }
  }

  private struct RewrittenChunk {
    var place: ChunkPlace
    var bytes: [UInt8]
  }

  private func store(_ chunk: RewrittenChunk) throws {
    try chunk.bytes.withUnsafeBytes { payload in
      let checksum = chunk.place.checksum(with: CRC32.checksum(payload), byteCount: payload.count)
      try connection.execute(
        SQL.rewriteChunk, chunk.place.key, payload.count, checksum, BorrowedBlob(bytes: payload))
    }
  }

  /// Answers may quote any event that was ever sent: every excerpt that is kept for a data source goes.
  func redactAnswers(of dataSource: Int64) throws {
    let (low, high) = try keys(1...SequenceKey.maximumSequence, of: dataSource)
    try connection.execute(SQL.redactAttempts, dataSource)
    try connection.execute(SQL.redactLetters, low, high)
    try connection.execute(SQL.redactLastAnswer, dataSource)
  }

  private func removeDeadLetters(_ run: ClosedRange<Int64>, of dataSource: Int64) throws {
    let (low, high) = try keys(run, of: dataSource)
    let replays = try connection.rows(SQL.selectReplaysBetween, low, high) { $0.int64(0) }
    try connection.execute(SQL.deleteLettersBetween, low, high)
    for replay in replays { try ledger.renewReplay(replay) }
  }

  private func removeFromResends(_ run: ClosedRange<Int64>, of dataSource: Int64) throws {
    let resends = try connection.rows(SQL.selectResendsBetween, dataSource, run.lowerBound, run.upperBound) {
      $0.int64(0)
    }
    for id in resends { try ledger.renewResend(id, without: run) }
  }

  private func keys(_ sequences: ClosedRange<Int64>, of dataSource: Int64) throws -> (Int64, Int64) {
    (
      try SequenceKey(dataSource: dataSource, sequence: sequences.lowerBound).stored,
      try SequenceKey(dataSource: dataSource, sequence: sequences.upperBound).stored
    )
  }
}

extension UnsafeRawBufferPointer {
  /// What stands in a chunk for an event that was erased.
  static let erasedEvent = Array("null".utf8)

  /// Whether a line of a chunk is what an erasure has left.
  var isErasedEvent: Bool { elementsEqual(Self.erasedEvent) }
}

extension ChunkTable.Slice {
  /// The lines, with `null` in place of the events of `runs`.
  fileprivate func erasing(_ runs: [ClosedRange<Int64>]) -> [UInt8] {
    bytes.withUnsafeBytes { bytes in
      var result: [UInt8] = []
      result.reserveCapacity(bytes.count)
      var lines = LineCursor(bytes: bytes)
      var rest = runs[...]
      var sequence = sequences.lowerBound
      while let line = lines.next() {
        while let run = rest.first, run.upperBound < sequence { rest = rest.dropFirst() }
        if rest.first?.contains(sequence) == true {
          result += UnsafeRawBufferPointer.erasedEvent
        } else {
          result.append(contentsOf: line)
        }
        result.append(UInt8(ascii: "\n"))
        sequence += 1
      }
      return result
    }
  }
}
