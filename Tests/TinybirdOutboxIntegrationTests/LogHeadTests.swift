import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// What is told from the beginning of a log, on one that SQLite has made.
@Suite struct LogHeadTests {
  private func withLog(_ body: (LogHead) throws -> Void) async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/file"
      let shell = try SQLiteShell(path)
      try shell.run("PRAGMA journal_mode = WAL")
      try shell.run("CREATE TABLE t (a)")
      let connection = try SQLiteConnection(path: path)
      _ = try connection.firstInteger("SELECT count(*) FROM t")
      let head = try #require(connection.logHead())
      let bytes = try Data(contentsOf: URL(filePath: path + "-wal")).prefix(LogHead.byteCount)
      #expect(head.bytes == Array(bytes))
      try body(head)
    }
  }

  private func fault(_ bytes: [UInt8]) -> LogHead.Fault? { LogHead(bytes: bytes).fault }

  @Test func everyFlippedBitOfTheHeaderIsSeen() async throws {
    try await withLog { head in
      #expect(head.fault == nil)
      for bit in 0..<32 * 8 {
        var bytes = head.bytes
        bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        #expect(fault(bytes) == .noHeader, "bit \(bit)")
      }
    }
  }

  @Test func theFirstFrameGoesOnOrIsOfAnEarlierRound() async throws {
    try await withLog { head in
      var bytes = head.bytes
      let round = bytes[40..<44].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      func setRound(_ number: UInt32) {
        for index in 0..<4 { bytes[40 + index] = UInt8(truncatingIfNeeded: number >> UInt32(24 - 8 * index)) }
      }
      setRound(round &- 1)
      bytes[44] ^= 0xFF
      #expect(fault(bytes) == nil, "a crash came before this round's first frame")
      setRound(round)
      #expect(fault(bytes) == .foreignFrame)
      setRound(round &+ 1)
      #expect(fault(bytes) == .foreignFrame)
    }
  }

  @Test func aShortLogAndAnEmptyOne() async throws {
    try await withLog { head in
      #expect(fault([]) == nil)
      #expect(fault([UInt8](repeating: 0, count: LogHead.byteCount)) == nil)
      #expect(fault(Array(head.bytes.prefix(32))) == nil)
      #expect(fault(Array(head.bytes.prefix(31))) == .noHeader)
    }
  }
}
