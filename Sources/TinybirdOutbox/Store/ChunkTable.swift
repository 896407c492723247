/// Reads chunks: checks each before a byte of it is used, and cuts out the events that are asked for.
struct ChunkTable {
  let connection: SQLiteConnection
  let outboxID: OutboxID

  /// Events of one chunk, as they were committed.
  struct Slice {
    var sequences: ClosedRange<Int64>
    /// NDJSON, a newline behind each event.
    var bytes: [UInt8]
    var committedAt: WallTime
  }

  /// A chunk that cannot be trusted, or is not there.
  struct Damage: Error, Equatable {
    var sequences: ClosedRange<Int64>
    var what: String
  }

  /// The events from `sequence` on, to the end of its chunk or of `limit`.
  ///
  /// Throws ``Damage``.
  func slice(from sequence: Int64, upTo limit: Int64, in dataSource: Int64) throws -> Slice {
    let key = try SequenceKey(dataSource: dataSource, sequence: sequence)
    let lowest = try SequenceKey(dataSource: dataSource, sequence: 0)
    let slice = try connection.firstRow(SQL.selectChunkAtOrBefore, lowest.stored, key.stored) { row in
      try read(row, from: sequence, upTo: limit)
    }
    guard let slice else { throw Damage(sequences: sequence...sequence, what: "its chunk is missing") }
    return slice
  }

  /// The NDJSON bytes of a range.
  func byteCount(of sequences: ClosedRange<Int64>, in dataSource: Int64) throws -> Int {
    var count = 0
    var next = sequences.lowerBound
    while next <= sequences.upperBound {
      let slice = try slice(from: next, upTo: sequences.upperBound, in: dataSource)
      count += slice.bytes.count
      next = slice.sequences.upperBound + 1
    }
    return count
  }

  /// Checks a row of `selectChunkAtOrBefore` or `selectChunksFrom` and cuts it.
  func read(_ row: SQLiteRow, from sequence: Int64, upTo limit: Int64) throws -> Slice {
    let first = SequenceKey(stored: row.int64(0)).sequence
    let eventCount = row.int(1)
    let last = first + Int64(eventCount) - 1
    guard eventCount > 0, last >= sequence else {
      throw Damage(sequences: sequence...sequence, what: "its chunk is missing")
    }
    return try row.withBytes(7) { payload in
      if let fault = fault(row, payload) { throw Damage(sequences: first...last, what: fault) }
      let end = min(last, limit)
      var lines = LineCursor(bytes: payload)
      lines.skip(Int(sequence - first))
      let start = lines.offset
      lines.skip(Int(end - sequence) + 1)
      guard lines.isWhole, end < last || lines.offset == payload.count else {
        throw Damage(sequences: first...last, what: "it does not hold \(eventCount) events")
      }
      return Slice(
        sequences: sequence...end, bytes: Array(payload[start..<lines.offset]),
        committedAt: WallTime(milliseconds: row.int64(6)))
    }
  }

  private func fault(_ row: SQLiteRow, _ payload: UnsafeRawBufferPointer) -> String? {
    guard row.text(3) == "plain" else { return "its encoding '\(row.text(3))' is not known to this version" }
    guard row.withBytes(5, { $0.elementsEqual(outboxID.bytes) }) else { return "it belongs to another outbox" }
    guard payload.count == row.int(2) else { return "it has \(payload.count) bytes instead of \(row.int(2))" }
    guard let crc32 = row.optionalInt64(4) else { return "it has no checksum" }
    guard Int64(CRC32.checksum(payload)) == crc32 else { return "its checksum does not match its bytes" }
    return nil
  }
}

/// Walks over NDJSON line by line.
struct LineCursor {
  let bytes: UnsafeRawBufferPointer
  /// The offset behind the last newline that was passed.
  private(set) var offset = 0
  /// False once more lines were asked for than there are.
  private(set) var isWhole = true

  init(bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
  }

  mutating func skip(_ count: Int) {
    for _ in 0..<count {
      guard let end = nextLineEnd() else {
        isWhole = false
        return
      }
      offset = end + 1
    }
  }

  /// The next line without its newline, or nil at the end.
  mutating func next() -> UnsafeRawBufferPointer? {
    guard let end = nextLineEnd() else { return nil }
    defer { offset = end + 1 }
    return UnsafeRawBufferPointer(rebasing: bytes[offset..<end])
  }

  private func nextLineEnd() -> Int? {
    guard offset < bytes.count, let base = bytes.baseAddress else { return nil }
    return firstNewline(in: base + offset, count: bytes.count - offset).map { $0 + offset }
  }
}
