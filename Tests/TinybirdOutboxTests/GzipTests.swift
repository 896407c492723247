import Foundation
import NIOCore
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct GzipCompressorTests {
  @Test(arguments: 1...9) func gzipReadsEveryLevel(_ level: Int) async throws {
    let content = try AccessLog.ndjson()
    let compressed = try compress([content], level: level)
    #expect(try await gzip(["-dc"], compressed) == content)
    #expect(compressed.count < content.count / 8)
  }

  /// However it is cut into pieces, it is one member of the same content.
  @Test(arguments: [1, 7, 1000, 65_536, 1_000_000]) func thePiecesDoNotMatter(_ pieceByteCount: Int) async throws {
    let content = Array(try AccessLog.ndjson().prefix(300_000))
    let pieces = stride(from: 0, to: content.count, by: pieceByteCount).map { start in
      Array(content[start..<min(start + pieceByteCount, content.count)])
    }
    let compressed = try compress(pieces)
    #expect(try await gzip(["-dc"], compressed) == content)
    #expect(try members(compressed) == 1)
  }

  @Test func whatCannotBeCompressed() async throws {
    let content = randomBytes(3_000_000)
    let compressed = try compress([content])
    #expect(try await gzip(["-dc"], compressed) == content)
    #expect(try members(compressed) == 1)
    #expect(compressed.count < content.count + 1000)
  }

  @Test func nothing() async throws {
    for pieces in [[], [[]], [[], []]] as [[[UInt8]]] {
      let compressed = try compress(pieces)
      #expect(try await gzip(["-dc"], compressed).isEmpty)
      #expect(try members(compressed) == 1)
    }
  }

  @Test func isAGzipMemberByItsHeader() throws {
    #expect(try compress([[1]]).starts(with: [0x1F, 0x8B, 8]))
  }

  /// How many members there are: `gzip -l` has the sum of none but the last, so that they are counted by hand.
  private func members(_ compressed: [UInt8]) throws -> Int {
    let ends = compressed.indices.dropFirst().filter { start in
      compressed[start...].starts(with: [0x1F, 0x8B, 8]) && (try? content(Array(compressed[start...]))) != nil
    }
    return 1 + ends.count
  }
}

@Suite struct GzipDecompressorTests {
  @Test(arguments: ["-1", "-6", "-9"]) func readsWhatGzipWrites(_ level: String) async throws {
    let original = try AccessLog.ndjson()
    let compressed = try await gzip(["-c", level], original)
    #expect(try content(compressed) == original)
    for pieceByteCount in [1, 3, 1000, compressed.count] {
      #expect(try stream(compressed, pieceByteCount: pieceByteCount) == original)
    }
  }

  @Test func readsAHeaderWithNameAndTime() async throws {
    let original = Array("hello\n".utf8)
    let compressed = try await withTemporaryDirectory { directory in
      try Data(original).write(to: URL(fileURLWithPath: directory + "/events.ndjson"))
      try await run(["gzip", "-N", directory + "/events.ndjson"], input: [])
      return Array(try Data(contentsOf: URL(fileURLWithPath: directory + "/events.ndjson.gz")))
    }
    #expect(compressed[3] & 0x08 != 0, "the name is in the header")
    #expect(try content(compressed) == original)
    #expect(try stream(compressed, pieceByteCount: 1) == original)
  }

  /// Contents that just fill the 64 KiB in which they are handed over, and members of which each ends there.
  @Test(arguments: [0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073])
  func contentsAroundTheSizeOfAPiece(_ byteCount: Int) throws {
    for original in [[UInt8](repeating: 0, count: byteCount), randomBytes(byteCount)] {
      let compressed = try compress([original])
      for pieceByteCount in [1, 1 << 16, compressed.count] {
        #expect(try stream(compressed, pieceByteCount: pieceByteCount) == original)
        #expect(try stream(compressed + compressed, pieceByteCount: pieceByteCount) == original + original)
      }
      #expect(try content(compressed) == original)
    }
  }

  @Test func membersOneAfterTheOtherAreOneContent() async throws {
    let contents = ["first\n", "", "second\n", "", ""].map { Array($0.utf8) }
    let compressed = try contents.flatMap { try compress([$0]) }
    let expected = contents.flatMap(\.self)
    #expect(try content(compressed) == expected)
    for pieceByteCount in 1...compressed.count {
      #expect(try stream(compressed, pieceByteCount: pieceByteCount) == expected)
    }
    #expect(try await gzip(["-dc"], compressed) == expected)
  }

  @Test func refusesEveryTruncation() throws {
    let first = try compress([Array("first event".utf8)])
    let second = try compress([Array("second event".utf8)])
    let both = first + second
    for count in 0..<both.count where count != first.count {
      #expect(throws: GzipError.truncated) { try content(Array(both[..<count])) }
      #expect(throws: GzipError.truncated) { try stream(Array(both[..<count]), pieceByteCount: 1) }
    }
    #expect(try content(first) == Array("first event".utf8))
  }

  @Test(
    arguments: [
      [0x00], [0x00, 0x00, 0x00, 0x00], [0x78], [0x1F, 0x00], [0x1F, 0x1F, 0x8B], Array("more text".utf8),
      [0x8B, 0x1F],
    ] as [[UInt8]])
  func refusesWhatFollowsTheMembers(_ garbage: [UInt8]) throws {
    for members in 1...2 {
      let whole = try Array(repeatElement(compress([[1, 2, 3]]), count: members).joined())
      let expected = GzipError.trailingGarbage(offset: whole.count)
      #expect(throws: expected) { try content(whole + garbage) }
      #expect(throws: expected) { try stream(whole + garbage, pieceByteCount: 1) }
    }
  }

  @Test(arguments: ["{}", "plain text", "\u{1F}", "\u{1F}\u{1F}", "\0", "PK\u{3}\u{4}", "x\u{5E}\u{3}"])
  func refusesWhatIsNotGzip(_ text: String) {
    let bytes = Array(text.utf8)
    // One byte alone could be the start of a member that was cut off.
    let expected = bytes == [0x1F] ? GzipError.truncated : .notGzip
    #expect(throws: expected) { try content(bytes) }
    #expect(throws: expected) { try stream(bytes, pieceByteCount: 1) }
  }

  /// zlib's own format and raw deflate have no header of gzip.
  @Test(arguments: [[0x78, 0x9C, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01], [0x03, 0x00]] as [[UInt8]])
  func refusesOtherFormatsOfDeflate(_ bytes: [UInt8]) {
    #expect(throws: GzipError.notGzip) { try content(bytes) }
  }

  /// Every bit behind the header: the checksum or the length finds what the format does not.
  ///
  /// Only the few bits that fill
  /// up the last byte of the content before them mean nothing.
  @Test func refusesEveryDamagedBit() throws {
    let original = Array("an event, an event and another event".utf8)
    let compressed = try compress([original])
    var harmless = 0
    for offset in 10..<compressed.count {
      for bit in 0..<8 {
        var damaged = compressed
        damaged[offset] ^= 1 << bit
        do {
          #expect(try content(damaged) == original)
          harmless += 1
        } catch let error as GzipError {
          switch error {
          case .corrupt(let offset): #expect((10...compressed.count).contains(offset))
          // The end of the content was damaged away, or moved.
          case .truncated, .trailingGarbage: break
          default: Issue.record("\(error)")
          }
        }
      }
    }
    #expect(harmless < 8)
  }

  @Test func aHeaderThatIsNotKnownIsDamaged() throws {
    var compressed = try compress([[1]])
    compressed[2] = 7
    #expect(throws: GzipError.corrupt(offset: 4)) { try content(compressed) }
  }

  @Test func theLimitIsTheLargestContent() throws {
    let original = randomBytes(200_000)
    let compressed = try compress([original])
    #expect(try content(compressed, limit: 200_000) == original)
    #expect(throws: GzipError.tooLarge(limit: 199_999)) { try content(compressed, limit: 199_999) }
    #expect(throws: GzipError.tooLarge(limit: 0)) { try content(compressed, limit: 0) }
    #expect(try content(compress([]), limit: 0) == [])
  }

  /// 100 MB that arrive as 100 kB: they come in pieces, and a limit stops them.
  @Test func aBombIsHandedOverInPieces() throws {
    let zeros = [UInt8](repeating: 0, count: 1_000_000)
    let bomb = try compress(Array(repeatElement(zeros, count: 100)), level: 9)
    #expect(bomb.count < 120_000)
    #expect(throws: GzipError.tooLarge(limit: 1_000_000)) { try content(bomb, limit: 1_000_000) }
    var decompressor = try GzipDecompressor()
    var (byteCount, largest) = (0, 0)
    try bomb.withUnsafeBytes { input in
      try decompressor.append(input) { piece in
        byteCount += piece.count
        largest = max(largest, piece.count)
      }
    }
    try decompressor.finish()
    #expect(byteCount == 100_000_000)
    #expect(largest <= 1 << 16)
  }

  @Test func whatTheReceiverThrowsPassesThrough() throws {
    struct Stop: Error {}
    let compressed = try compress([[1, 2, 3]])
    #expect(throws: Stop.self) {
      var decompressor = try GzipDecompressor()
      try compressed.withUnsafeBytes { try decompressor.append($0) { _ in throw Stop() } }
    }
  }

  @Test(arguments: [
    (GzipError.notGzip, "not a gzip file"),
    (.corrupt(offset: 7), "the gzip data is damaged at byte 7 or just before it"),
    (.truncated, "the gzip data ends too early"),
    (.trailingGarbage(offset: 7), "at byte 7, behind the gzip data, there is something else"),
    (.tooLarge(limit: 7), "the gzip data holds more than 7 bytes"), (.outOfMemory, "there is no memory for zlib"),
  ])
  func saysWhatIsWrong(_ error: GzipError, _ text: String) {
    #expect(error.description == text)
  }
}

private func compress(_ pieces: [[UInt8]], level: Int = GzipCompressor.defaultLevel) throws -> [UInt8] {
  var compressor = try GzipCompressor(level: level)
  for piece in pieces { compressor.append(piece) }
  return Array(buffer: compressor.finish())
}

private func content(_ compressed: [UInt8], limit: Int = .max) throws -> [UInt8] {
  try compressed.withUnsafeBytes { try gunzip($0, limit: limit) }
}

/// Reads it in pieces, none of which is still in memory when the next one comes.
private func stream(_ compressed: [UInt8], pieceByteCount: Int) throws -> [UInt8] {
  var decompressor = try GzipDecompressor()
  var content: [UInt8] = []
  for start in stride(from: 0, to: compressed.count, by: max(pieceByteCount, 1)) {
    let piece = Array(compressed[start..<min(start + pieceByteCount, compressed.count)])
    try piece.withUnsafeBytes { try decompressor.append($0) { content.append(contentsOf: $0) } }
  }
  try decompressor.finish()
  return content
}

private func randomBytes(_ count: Int) -> [UInt8] {
  var generator = SeededRandom(seed: UInt64(count))
  return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
}

private func gzip(_ arguments: [String], _ input: [UInt8]) async throws -> [UInt8] {
  try await run(["gzip"] + arguments, input: input)
}

/// Runs a command on files in place of pipes, which could fill up on both sides.
@discardableResult
private func run(_ command: [String], input: [UInt8]) async throws -> [UInt8] {
  try await withTemporaryDirectory { directory in
    let (inputPath, outputPath) = (directory + "/input", directory + "/output")
    try Data(input).write(to: URL(fileURLWithPath: inputPath))
    try Data().write(to: URL(fileURLWithPath: outputPath))
    let (reading, writing) = (
      try FileHandle(forReadingFrom: URL(fileURLWithPath: inputPath)),
      try FileHandle(forWritingTo: URL(fileURLWithPath: outputPath))
    )
    defer { for handle in [reading, writing] { try? handle.close() } }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command
    process.standardInput = reading
    process.standardOutput = writing
    try await withCheckedThrowingContinuation { (ended: CheckedContinuation<Void, any Error>) in
      process.terminationHandler = { _ in ended.resume() }
      do { try process.run() } catch {
        process.terminationHandler = nil
        ended.resume(throwing: error)
      }
    }
    try #require(process.terminationStatus == 0)
    return Array(try Data(contentsOf: URL(fileURLWithPath: outputPath)))
  }
}
