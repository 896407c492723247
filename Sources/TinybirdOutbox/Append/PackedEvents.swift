/// Events that passed the door, laid out as they will be stored: NDJSON with a newline behind each event.
struct PackedEvents: Sendable {
  /// A run of events of one data source, never larger than a chunk unless it is a single event.
  struct Piece: Sendable {
    let dataSource: DataSourceName
    var bytes: [UInt8]
    var eventCount: Int
    var crc32: UInt32
  }

  /// In the order of the call.
  private(set) var pieces: [Piece] = []
  private(set) var byteCount = 0
  private(set) var eventCount = 0

  mutating func add(_ piece: Piece) {
    pieces.append(piece)
    byteCount += piece.bytes.count
    eventCount += piece.eventCount
  }
}

/// Gathers events into pieces of at most a chunk's size.
struct EventPacker {
  /// A chunk grows no larger than this: 1 MiB.
  ///
  /// It is what is read, checked and pruned at once.
  static let maximumChunkBytes = 1 << 20

  private var packed = PackedEvents()
  /// The piece under way of each data source; most calls have one.
  private var open: [DataSourceName: (bytes: [UInt8], eventCount: Int)] = [:]
  private var order: [DataSourceName] = []

  /// Reserves room for one event and lets `write` append it; the newline is added here.
  mutating func add(to dataSource: DataSourceName, byteCount: Int, write: (inout [UInt8]) throws -> Void) rethrows {
    var piece = open.removeValue(forKey: dataSource)
    if piece == nil { order.append(dataSource) }
    if let full = piece, full.eventCount > 0, full.bytes.count + byteCount + 1 > Self.maximumChunkBytes {
      packed.add(Self.seal(full, dataSource))
      piece = nil
    }
    var current = piece ?? ([], 0)
    if current.bytes.capacity == 0 { current.bytes.reserveCapacity(byteCount + 1) }
    let start = current.bytes.count
    do {
      try write(&current.bytes)
    } catch {
      current.bytes.removeSubrange(start...)
      open[dataSource] = current
      throw error
    }
    current.bytes.append(UInt8(ascii: "\n"))
    current.eventCount += 1
    open[dataSource] = current
  }

  /// Everything that was added, in the order in which the data sources first came.
  consuming func finish() -> PackedEvents {
    for dataSource in order {
      if let piece = open[dataSource], piece.eventCount > 0 { packed.add(Self.seal(piece, dataSource)) }
    }
    return packed
  }

  private static func seal(_ piece: (bytes: [UInt8], eventCount: Int), _ dataSource: DataSourceName)
    -> PackedEvents.Piece
  {
    PackedEvents.Piece(
      dataSource: dataSource, bytes: piece.bytes, eventCount: piece.eventCount,
      crc32: piece.bytes.withUnsafeBytes { CRC32.checksum($0) })
  }
}
