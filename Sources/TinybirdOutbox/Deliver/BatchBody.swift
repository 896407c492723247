internal import NIOCore

/// Reads a batch from the store, chunk by chunk, and makes the body of its request.
///
/// A retry reads it again: only finished bodies are kept in memory.
struct BatchBody {
  let reader: StoreReader
  let compressionLevel: Int?

  /// The request's body.
  ///
  /// Throws ``ChunkTable/Damage`` where a chunk cannot be trusted.
  func make(_ batch: Batch, of dataSource: Int64) async throws -> ByteBuffer {
    var sink = try BodySink(compressionLevel: compressionLevel, byteCount: batch.byteCount)
    switch batch.kind {
    case .append, .resend:
      var next = batch.sequences.lowerBound
      while next <= batch.sequences.upperBound {
        let from = next
        let slice = try await read { try $0.chunks.slice(from: from, upTo: batch.sequences.upperBound, in: dataSource) }
        sink.append(slice.bytes)
        next = slice.sequences.upperBound + 1
      }
    case .replay:
      var page = try await read { try $0.replayPage(of: batch, in: dataSource, after: 0) }
      while let last = page.lastKey {
        sink.append(page.bytes)
        page = try await read { try $0.replayPage(of: batch, in: dataSource, after: last) }
      }
    }
    return sink.finish()
  }

  /// Hands ``ChunkTable/Damage`` through, which the reader would turn into another error.
  private func read<Value: Sendable>(
    _ body: @Sendable (StoreSnapshot) throws -> Value
  ) async throws -> Value {
    try await reader.read { snapshot in
      do {
        return Result<Value, ChunkTable.Damage>.success(try body(snapshot))
      } catch let damage as ChunkTable.Damage {
        return .failure(damage)
      }
    }.get()
  }
}

/// Collects the body, compressed or as it is.
///
/// The last newline is left out: an event of exactly the service's limit must not go over it.
private struct BodySink: ~Copyable {
  private var compressor: GzipCompressor?
  private var plain = ByteBuffer()
  private var isEmpty = true
  /// What the ledger says of a batch's size is not trusted with more memory than a request may have.
  private static let maximumReserve = 10_000_000

  init(compressionLevel: Int?, byteCount: Int) throws {
    if let compressionLevel {
      compressor = try GzipCompressor(level: compressionLevel)
    } else {
      plain.reserveCapacity(min(byteCount, Self.maximumReserve))
    }
  }

  /// Adds NDJSON that ends with a newline.
  mutating func append(_ lines: [UInt8]) {
    if !isEmpty { write([UInt8(ascii: "\n")]) }
    isEmpty = false
    write(lines.dropLast())
  }

  private mutating func write(_ bytes: ArraySlice<UInt8>) {
    guard compressor != nil else {
      plain.writeBytes(bytes)
      return
    }
    bytes.withUnsafeBytes { compressor?.append($0) }
  }

  consuming func finish() -> ByteBuffer {
    switch consume compressor {
    case .some(let compressor): compressor.finish()
    case .none: plain
    }
  }
}

/// Some dead letters of a replay, as NDJSON.
struct ReplayPage: Sendable {
  var bytes: [UInt8]
  var lastKey: Int64?
}

extension StoreSnapshot {
  /// The dead letters of a replay behind `key`, about a mebibyte of them.
  ///
  /// No last key: there are no more.
  ///
  /// A dead letter must be what its chunk holds, or what an operator made of it.
  func replayPage(of batch: Batch, in dataSource: Int64, after key: Int64) throws -> ReplayPage {
    var page = ReplayPage(bytes: [], lastKey: nil)
    var cursor = EventCursor(chunks: chunks)
    try connection.forEachRow(SQL.selectReplaying, batch.id, key) { row in
      let place = SequenceKey(stored: row.int64(0))
      guard place.dataSource == dataSource, batch.sequences.contains(place.sequence) else {
        throw SQLiteRow.damage("a dead letter of another place in batch \(batch.id)")
      }
      let isTrue =
        if row.isNull(2) {
          try cursor.event(place).elementsEqual(row.bytes(1))
        } else {
          Repair(key: row.int64(0), at: row.time(2)).isTrue(row.bytes(1), checksum: row.optionalInt64(3))
        }
      guard isTrue else {
        throw ChunkTable.Damage(
          sequences: place.sequence...place.sequence,
          what: "the dead letter is not what was appended, or what it was repaired to")
      }
      row.withBytes(1) { page.bytes += $0 }
      page.bytes.append(UInt8(ascii: "\n"))
      page.lastKey = row.int64(0)
      return page.bytes.count < EventPacker.maximumChunkBytes
    }
    return page
  }
}

/// Single events in the order of their keys, with each chunk read and checked once.
private struct EventCursor {
  let chunks: ChunkTable
  private var dataSource: Int64 = 0
  /// The events that are left of the current chunk.
  private var sequences: Range<Int64> = 0..<0
  private var bytes: ArraySlice<UInt8> = []

  init(chunks: ChunkTable) {
    self.chunks = chunks
  }

  /// Throws ``ChunkTable/Damage`` where the chunk cannot be trusted.
  mutating func event(_ place: SequenceKey) throws -> ArraySlice<UInt8> {
    if dataSource != place.dataSource || !sequences.contains(place.sequence) {
      let slice = try chunks.slice(from: place.sequence, upTo: SequenceKey.maximumSequence, in: place.dataSource)
      dataSource = place.dataSource
      sequences = Range(slice.sequences)
      bytes = slice.bytes[...]
    }
    while true {
      let line = bytes.prefix { $0 != UInt8(ascii: "\n") }
      let sequence = sequences.lowerBound
      bytes = bytes.dropFirst(line.count + 1)
      sequences = (sequence + 1)..<sequences.upperBound
      if sequence == place.sequence { return line }
    }
  }
}
