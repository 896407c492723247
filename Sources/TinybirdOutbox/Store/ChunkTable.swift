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

  /// What is said of a chunk that is not there.
  static let missing = "its chunk is missing"

  /// The events from `sequence` on, to the end of its chunk or of `limit`.
  ///
  /// Throws ``Damage`` that reaches to the next chunk that can be found, or to `limit`.
  func slice(from sequence: Int64, upTo limit: Int64, in dataSource: Int64) throws -> Slice {
    let key = try SequenceKey(dataSource: dataSource, sequence: sequence)
    let lowest = try SequenceKey(dataSource: dataSource, sequence: 0)
    let what: String
    do {
      let slice = try connection.firstRow(SQL.selectChunkAtOrBefore, lowest.stored, key.stored) { row in
        // In a damaged page the keys need not be in order.
        guard (lowest.stored...key.stored).contains(row.int64(0)) else { return nil as Slice? }
        return try read(row, from: sequence, upTo: limit)
      }
      if let slice = slice ?? nil { return slice }
      what = Self.missing
    } catch let damage as Damage {
      what = damage.what
    } catch let error as SQLiteError where error.isCorruption {
      what = "SQLite cannot read its page"
    }
    // Where a chunk is at fault, so may be its count of events.
    let next = try keyOfChunk(from: sequence + 1, upTo: limit, in: dataSource)
    throw Damage(sequences: sequence...(next.map { max(sequence, $0 - 1) } ?? limit), what: what)
  }

  /// The first sequence number of the first chunk between two events, behind pages that cannot be read if need be.
  ///
  /// Nil where there is none, or none that can be found.
  func keyOfChunk(from first: Int64, upTo last: Int64, in dataSource: Int64) throws -> Int64? {
    guard first <= last else { return nil }
    let start = try SequenceKey(dataSource: dataSource, sequence: first).stored
    let end = try SequenceKey(dataSource: dataSource, sequence: last).stored
    let scan = TableScan(connection: connection, sql: SQL.selectChunkKeyFrom)
    return try scan.next(from: start, upTo: end).key.map { SequenceKey(stored: $0).sequence }
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

  /// The parts of a range that are not erased, with their NDJSON bytes.
  func unerased(
    _ sequences: ClosedRange<Int64>, in dataSource: Int64
  ) throws -> [(sequences: ClosedRange<Int64>, byteCount: Int)] {
    var parts: [(sequences: ClosedRange<Int64>, byteCount: Int)] = []
    var next = sequences.lowerBound
    while next <= sequences.upperBound {
      let slice = try slice(from: next, upTo: sequences.upperBound, in: dataSource)
      slice.bytes.withUnsafeBytes { bytes in
        var lines = LineCursor(bytes: bytes)
        while let line = lines.next() {
          defer { next += 1 }
          guard !line.isErasedEvent else { continue }
          if let last = parts.last, last.sequences.upperBound + 1 == next {
            parts[parts.count - 1] = (last.sequences.lowerBound...next, last.byteCount + line.count + 1)
          } else {
            parts.append((next...next, line.count + 1))
          }
        }
      }
    }
    return parts
  }

  /// Checks a row of `selectChunkAtOrBefore` or `selectChunksFrom` and cuts it.
  ///
  /// Nil where the chunk ends before `sequence`.
  func read(_ row: SQLiteRow, from sequence: Int64, upTo limit: Int64) throws -> Slice? {
    let first = SequenceKey(stored: row.int64(0)).sequence
    guard let eventCount = row.eventCount(1, from: first) else {
      throw Damage(sequences: first...first, what: "it cannot have \(row.int64(1)) events")
    }
    let last = first + eventCount - 1
    return try row.withBytes(7) { payload in
      if let fault = fault(row, payload) { throw Damage(sequences: first...last, what: fault) }
      guard sequence <= last else { return nil }
      let end = min(last, limit)
      var lines = LineCursor(bytes: payload)
      lines.skip(Int(sequence - first))
      let start = lines.offset
      lines.skip(Int(end - sequence) + 1)
      guard lines.isWhole, end < last || lines.offset == payload.count else {
        throw Damage(sequences: first...last, what: "it does not hold \(eventCount) events")
      }
      return Slice(
        sequences: sequence...end, bytes: Array(payload[start..<lines.offset]), committedAt: row.time(6))
    }
  }

  private func fault(_ row: SQLiteRow, _ payload: UnsafeRawBufferPointer) -> String? {
    guard row.text(3) == "plain" else { return "its encoding is not known to this version" }
    guard row.withBytes(5, { $0.elementsEqual(outboxID.bytes) }) else { return "it belongs to another outbox" }
    guard payload.count == row.int(2) else { return "it has \(payload.count) bytes instead of \(row.int(2))" }
    guard let stored = row.optionalInt64(4) else { return "it has no checksum" }
    let bytes = CRC32.checksum(payload)
    let place = ChunkPlace(key: row.int64(0), eventCount: row.int64(1), committedAt: row.int64(6))
    // Chunks of format version 1 have a checksum of their bytes alone.
    guard stored == Int64(place.checksum(with: bytes, byteCount: payload.count)) || stored == Int64(bytes) else {
      return "its checksum does not match its bytes and address"
    }
    return nil
  }
}

/// What a chunk's checksum covers besides its bytes, so that no other event is taken for the one at an address.
struct ChunkPlace {
  var key: Int64
  var eventCount: Int64
  var committedAt: Int64

  /// The checksum of the place with that of the bytes behind it.
  func checksum(with bytes: UInt32, byteCount: Int) -> UInt32 {
    let numbers = [key.littleEndian, eventCount.littleEndian, committedAt.littleEndian]
    return CRC32.combine(numbers.withUnsafeBytes { CRC32.checksum($0) }, bytes, secondByteCount: byteCount)
  }
}

/// What an operator has made of a dead letter: no chunk holds it, so it has a checksum of its own.
struct Repair {
  private let place: ChunkPlace
  /// As deep as any door may let in.
  private static let json = JSONValidator(maximumDepth: 1 << 20)

  init(key: Int64, at time: WallTime) {
    place = ChunkPlace(key: key, eventCount: 1, committedAt: time.milliseconds)
  }

  func checksum(_ json: UnsafeRawBufferPointer) -> UInt32 {
    place.checksum(with: CRC32.checksum(json), byteCount: json.count)
  }

  /// Repairs of format version 1 have no checksum: they must at least still be an event.
  func isTrue(_ json: [UInt8], checksum stored: Int64?) -> Bool {
    json.withUnsafeBytes { json in
      stored.map { $0 == Int64(checksum(json)) } ?? ((try? Self.json.validate(json)) != nil)
    }
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
