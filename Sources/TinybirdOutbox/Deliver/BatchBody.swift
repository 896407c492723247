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
      var page = try await read { try $0.replayPage(of: batch.id, after: 0) }
      while let last = page.lastKey {
        sink.append(page.bytes)
        page = try await read { try $0.replayPage(of: batch.id, after: last) }
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

  init(compressionLevel: Int?, byteCount: Int) throws {
    if let compressionLevel {
      compressor = try GzipCompressor(level: compressionLevel)
    } else {
      plain.reserveCapacity(byteCount)
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
  func replayPage(of batch: Batch.ID, after key: Int64) throws -> ReplayPage {
    var page = ReplayPage(bytes: [], lastKey: nil)
    try connection.forEachRow(SQL.selectReplaying, batch, key) { row in
      row.withBytes(1) { page.bytes += $0 }
      page.bytes.append(UInt8(ascii: "\n"))
      page.lastKey = row.int64(0)
      return page.bytes.count < EventPacker.maximumChunkBytes
    }
    return page
  }
}
