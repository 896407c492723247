import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct EventPackerTests {
  private static let chunk = EventPacker.maximumChunkBytes
  private struct Refused: Error {}

  private func name(_ text: String) throws -> DataSourceName { try DataSourceName(text) }

  /// Sizes of events without their newline → sizes and counts of pieces.
  @Test(
    arguments: [
      ([], []),
      ([1], [Piece(2, 1)]),
      ([10, 20, 30], [Piece(63, 3)]),
      // Exactly a chunk; a byte more is another piece.
      ([chunk - 11, 9], [Piece(chunk, 2)]),
      ([chunk - 11, 10], [Piece(chunk - 10, 1), Piece(11, 1)]),
      // An event larger than a chunk is alone, and so is what comes before and after it.
      ([chunk], [Piece(chunk + 1, 1)]),
      ([1, chunk + 5, 1], [Piece(2, 1), Piece(chunk + 6, 1), Piece(2, 1)]),
      ([3 * chunk, 3 * chunk], [Piece(3 * chunk + 1, 1), Piece(3 * chunk + 1, 1)]),
      ([chunk - 1, 0], [Piece(chunk, 1), Piece(1, 1)]),
    ] as [([Int], [Piece])])
  func fillsPieces(events: [Int], pieces: [Piece]) throws {
    var packer = EventPacker()
    let clicks = try name("clicks")
    for count in events { packer.add(to: clicks, byteCount: count) { $0 += [UInt8](repeating: 0x61, count: count) } }
    let packed = packer.finish()
    #expect(packed.pieces.map { Piece($0.bytes.count, $0.eventCount) } == pieces)
    #expect(packed.byteCount == pieces.reduce(0) { $0 + $1.byteCount })
    #expect(packed.eventCount == events.count)
  }

  struct Piece: Equatable, Sendable, CustomTestStringConvertible {
    let byteCount: Int
    let eventCount: Int
    init(_ byteCount: Int, _ eventCount: Int) {
      self.byteCount = byteCount
      self.eventCount = eventCount
    }
    var testDescription: String { "\(eventCount) events in \(byteCount) bytes" }
  }

  @Test func eachEventEndsWithANewline() throws {
    var packer = EventPacker()
    for text in ["{}", #"{"a":1}"#] {
      packer.add(to: try name("clicks"), byteCount: text.utf8.count) { $0 += text.utf8 }
    }
    let packed = packer.finish()
    #expect(packed.pieces.map(\.bytes) == [Array("{}\n{\"a\":1}\n".utf8)])
  }

  @Test func dataSourcesKeepTheOrderOfTheirFirstEvent() throws {
    var packer = EventPacker()
    for (dataSource, text) in [("b", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("a", "5")] {
      packer.add(to: try name(dataSource), byteCount: 1) { $0 += text.utf8 }
    }
    let pieces = packer.finish().pieces.map {
      "\($0.dataSource) \($0.eventCount) \(String(decoding: $0.bytes, as: UTF8.self))"
    }
    #expect(pieces == ["b 2 1\n3\n", "a 2 2\n5\n", "c 1 4\n"])
  }

  /// Where `write` throws, nothing of the event is kept, and all else is.
  @Test(arguments: [[true], [false, true], [true, false], [false, true, false], [true, true, false, true]])
  func aRefusedEventLeavesNoTrace(refusals: [Bool]) throws {
    var packer = EventPacker()
    let clicks = try name("clicks")
    for isRefused in refusals {
      let write: (inout [UInt8]) throws -> Void = { bytes in
        bytes += isRefused ? "half of an".utf8 : "{}".utf8
        if isRefused { throw Refused() }
      }
      if isRefused {
        #expect(throws: Refused.self) { try packer.add(to: clicks, byteCount: 2, write: write) }
      } else {
        try packer.add(to: clicks, byteCount: 2, write: write)
      }
    }
    let kept = refusals.count { !$0 }
    let packed = packer.finish()
    #expect(packed.eventCount == kept)
    #expect(packed.pieces.map(\.bytes) == (kept == 0 ? [] : [Array(String(repeating: "{}\n", count: kept).utf8)]))
  }

  @Test func aRefusalAfterAFullPieceKeepsThePiece() throws {
    var packer = EventPacker()
    let clicks = try name("clicks")
    packer.add(to: clicks, byteCount: Self.chunk - 1) { $0 += [UInt8](repeating: 0x61, count: Self.chunk - 1) }
    #expect(throws: Refused.self) { try packer.add(to: clicks, byteCount: 2) { _ in throw Refused() } }
    packer.add(to: clicks, byteCount: 2) { $0 += "{}".utf8 }
    #expect(packer.finish().pieces.map(\.bytes.count) == [Self.chunk, 3])
  }

  /// Whatever comes: the pieces of a data source, joined, are its events; none is too large; each checksum is right.
  @Test(arguments: 0..<4) func nothingIsLostOrMoved(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let names = try ["a", "b", "c"].map { try name($0) }
    var expected: [DataSourceName: [UInt8]] = [:]
    var packer = EventPacker()
    for _ in 0..<60 {
      let dataSource = names.randomElement(using: &random) ?? names[0]
      let count = [1, 100, 40_000, 300_000, Self.chunk / 2, Self.chunk].randomElement(using: &random) ?? 1
      let event = [UInt8](repeating: .random(in: 0x20...0x7E, using: &random), count: count)
      packer.add(to: dataSource, byteCount: count) { $0 += event }
      expected[dataSource, default: []] += event + [0x0A]
    }
    let packed = packer.finish()
    for dataSource in names {
      let pieces = packed.pieces.filter { $0.dataSource == dataSource }
      // A comparison that is not shown: megabytes would be.
      let isSame = pieces.flatMap(\.bytes) == expected[dataSource] ?? []
      #expect(isSame, "the events of \(dataSource)")
    }
    #expect(packed.eventCount == 60)
    for piece in packed.pieces {
      #expect(piece.bytes.count <= Self.chunk || piece.eventCount == 1)
      #expect(piece.crc32 == piece.bytes.withUnsafeBytes { CRC32.checksum($0) })
    }
  }
}
