internal import COutboxSQLite

/// Values of a row that are checked before they are worked with.
///
/// A page of the file may hold anything: a range that ends before it begins, or a count that no addition survives, must
/// become an error and not the end of the program.
extension SQLiteRow {
  /// More than any count or size in an outbox, and small enough to add up and multiply.
  static let maximumCount = 1 << 48
  /// More than SQLite lets a chunk, or the service a batch, have.
  static let maximumBytes = 1 << 30

  /// A range of sequence numbers from two columns.
  func sequences(_ first: Int32, _ last: Int32) throws(OutboxError) -> ClosedRange<Int64> {
    let (lower, upper) = (int64(first), int64(last))
    guard lower >= 1, upper >= lower, upper <= SequenceKey.maximumSequence else {
      throw Self.damage("a range of events from \(lower) to \(upper)")
    }
    return lower...upper
  }

  /// A count or a size that work depends on.
  func count(_ column: Int32) throws(OutboxError) -> Int {
    let value = int(column)
    guard (0...Self.maximumCount).contains(value) else { throw Self.damage("a count of \(value)") }
    return value
  }

  /// A count or a size that is only shown, or only grows: forced between 0 and ``maximumCount``.
  func figure(_ column: Int32) -> Int { min(max(0, int(column)), Self.maximumCount) }

  /// How many events the chunk has that begins at `first`; nil where that cannot be.
  func eventCount(_ column: Int32, from first: Int64) -> Int64? {
    let value = int64(column)
    return value >= 1 && value <= SequenceKey.maximumSequence - first + 1 ? value : nil
  }

  /// A moment, forced into the years 1970 to 9999.
  func time(_ column: Int32) -> WallTime {
    WallTime(milliseconds: min(max(0, int64(column)), 253_402_300_799_999))
  }

  func optionalTime(_ column: Int32) -> WallTime? { isNull(column) ? nil : time(column) }

  /// The numbers of a batch: columns first_sequence, last_sequence, event_count, byte_count from `column` on.
  func batchNumbers(
    _ column: Int32, _ kind: Batch.Kind
  ) throws(OutboxError) -> (sequences: ClosedRange<Int64>, eventCount: Int, byteCount: Int) {
    let sequences = try sequences(column, column + 1)
    let eventCount = try count(column + 2)
    // A replay is of dead letters, which need not be neighbours.
    guard kind == .replay ? (1...sequences.count).contains(eventCount) : eventCount == sequences.count else {
      throw Self.damage("a batch of \(eventCount) events from \(sequences.lowerBound) to \(sequences.upperBound)")
    }
    let byteCount = try count(column + 3)
    // A lane would wait for years until the service's limits let it pass.
    guard byteCount <= Self.maximumBytes else { throw Self.damage("a batch of \(byteCount) bytes") }
    return (sequences, eventCount, byteCount)
  }

  /// One of an enumeration's words.
  func word<Word: RawRepresentable<String>>(_ column: Int32, _: Word.Type = Word.self) throws(OutboxError) -> Word {
    guard let word = Word(rawValue: text(column)) else {
      throw Self.damage("a word that no \(Word.self) has")
    }
    return word
  }

  /// What a row holds that it cannot hold.
  static func damage(_ what: String) -> OutboxError {
    OutboxError(.damaged, "the outbox file is damaged: it holds \(what)\(OutboxError.seeDoctor)")
  }
}

extension SQLiteError {
  /// The page itself is at fault: reading it again gives the same.
  var isCorruption: Bool { primaryCode == SQLITE_CORRUPT || primaryCode == SQLITE_TOOBIG }
}

extension ClosedRange<Int64> {
  /// The numbers between two of them, whichever is the lesser.
  init(between one: Int64, and other: Int64) {
    self = Swift.min(one, other)...Swift.max(one, other)
  }
}
