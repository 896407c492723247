/// One step of a search through all that an outbox holds of a data source.
struct EventSearchStep: Sendable {
  /// The events that match, in chunk or dead-letter table; those that are erased already are none.
  var found: [ClosedRange<Int64>] = []
  /// Events whose chunk cannot be read, so that nobody knows.
  var unreadable: ClosedRange<Int64>?
  /// Where to go on; nil at the end.
  var next: Int64?
}

extension StoreSnapshot {
  /// The most dead letters of one step.
  private static let lettersPerStep = 500

  /// Searches from `first` to the end of the chunk there, at most to `last`.
  ///
  /// One chunk a step, so that neither a snapshot nor the erasure that follows it lasts for long.
  func search(
    _ selection: EventSelection, from first: Int64, upTo last: Int64, in dataSource: Int64
  ) throws -> EventSearchStep {
    var step = EventSearchStep()
    var found: Set<Int64> = []
    var slice: ChunkTable.Slice?
    var end = last
    do {
      slice = try chunks.slice(from: first, upTo: last, in: dataSource)
      end = slice?.sequences.upperBound ?? last
    } catch let damage as ChunkTable.Damage {
      end = damage.sequences.upperBound
      // Where it is missing it was pruned, and only dead letters can be left.
      if damage.what != ChunkTable.missing { step.unreadable = first...end }
    }
    let from = try SequenceKey(dataSource: dataSource, sequence: first).stored
    let to = try SequenceKey(dataSource: dataSource, sequence: end).stored
    var letterCount = 0
    try connection.forEachRow(SQL.selectLettersBetween, from, to, Self.lettersPerStep) { row in
      let sequence = SequenceKey(stored: row.int64(0)).sequence
      letterCount += 1
      if letterCount == Self.lettersPerStep { end = sequence }
      if row.withBytes(1, selection.matches) { found.insert(sequence) }
      return true
    }
    found.formUnion((slice?.matching(selection) ?? []).filter { $0 <= end })
    if let unreadable = step.unreadable { step.unreadable = unreadable.clamped(to: first...end) }
    step.found = found.sorted().joinedRuns()
    step.next = end < last ? end + 1 : nil
    return step
  }
}

extension ChunkTable.Slice {
  /// The sequence numbers of the events that match and are not erased.
  fileprivate func matching(_ selection: EventSelection) -> [Int64] {
    bytes.withUnsafeBytes { bytes in
      var lines = LineCursor(bytes: bytes)
      var found: [Int64] = []
      var sequence = sequences.lowerBound
      while let line = lines.next() {
        if !line.isErasedEvent, selection.matches(line) { found.append(sequence) }
        sequence += 1
      }
      return found
    }
  }
}
