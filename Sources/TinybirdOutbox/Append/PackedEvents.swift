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

  private struct OpenPiece {
    let dataSource: DataSourceName
    var bytes: [UInt8] = []
    var eventCount = 0
  }

  private var packed = PackedEvents()
  /// The piece of the data source that the last event was for: most calls have but one.
  private var current: OpenPiece?
  /// The pieces of the others.
  private var parked: [DataSourceName: OpenPiece] = [:]
  private var order: [DataSourceName] = []

  /// Reserves room for one event and lets `write` append it; the newline is added here.
  mutating func add(to dataSource: DataSourceName, byteCount: Int, write: (inout [UInt8]) throws -> Void) rethrows {
    if current?.dataSource != dataSource { turn(to: dataSource) }
    if let full = current, full.eventCount > 0, full.bytes.count + byteCount + 1 > Self.maximumChunkBytes {
      packed.add(Self.seal(full))
      current = OpenPiece(dataSource: dataSource)
    }
    // Taken out, so that its bytes have one owner and grow in place.
    guard var piece = current.take() else { return }
    defer { current = piece }
    if piece.bytes.isEmpty { piece.bytes.reserveCapacity(byteCount + 1) }
    let start = piece.bytes.count
    do {
      try write(&piece.bytes)
    } catch {
      piece.bytes.removeSubrange(start...)
      throw error
    }
    piece.bytes.append(UInt8(ascii: "\n"))
    piece.eventCount += 1
  }

  /// Everything that was added, in the order in which the data sources first came.
  consuming func finish() -> PackedEvents {
    if let current { parked[current.dataSource] = current }
    for dataSource in order {
      if let piece = parked[dataSource], piece.eventCount > 0 { packed.add(Self.seal(piece)) }
    }
    return packed
  }

  private mutating func turn(to dataSource: DataSourceName) {
    if let current { parked[current.dataSource] = current }
    current = parked.removeValue(forKey: dataSource)
    guard current == nil else { return }
    current = OpenPiece(dataSource: dataSource)
    order.append(dataSource)
  }

  private static func seal(_ piece: OpenPiece) -> PackedEvents.Piece {
    PackedEvents.Piece(
      dataSource: piece.dataSource, bytes: piece.bytes, eventCount: piece.eventCount,
      crc32: piece.bytes.withUnsafeBytes { CRC32.checksum($0) })
  }
}
