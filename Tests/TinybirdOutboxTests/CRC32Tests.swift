import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct CRC32Tests {
  /// The check value of CRC-32/ISO-HDLC, and others that are well known.
  @Test(
    arguments: [
      ("", 0), ("123456789", 0xCBF4_3926), ("a", 0xE8B7_BE43),
      ("The quick brown fox jumps over the lazy dog", 0x414F_A339),
    ] as [(String, UInt32)])
  func knownValues(_ text: String, _ checksum: UInt32) {
    #expect(crc32(Array(text.utf8)) == checksum)
  }

  @Test func goesOnAndCombines() {
    var generator = SeededRandom(seed: 1)
    let bytes = (0..<1000).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    let whole = crc32(bytes)
    for place in [0, 1, 7, 8, 500, 999, 1000] {
      let (first, second) = (Array(bytes[..<place]), Array(bytes[place...]))
      #expect(crc32(second, continuing: crc32(first)) == whole)
      #expect(CRC32.combine(crc32(first), crc32(second), secondByteCount: second.count) == whole)
    }
  }

  @Test func nothingAddsNothing() {
    #expect(CRC32.checksum(UnsafeRawBufferPointer(start: nil, count: 0), continuing: 0xCBF4_3926) == 0xCBF4_3926)
    #expect(crc32([], continuing: 0xCBF4_3926) == 0xCBF4_3926)
    #expect(CRC32.combine(0xCBF4_3926, 0, secondByteCount: 0) == 0xCBF4_3926)
  }

  private func crc32(_ bytes: [UInt8], continuing previous: UInt32 = 0) -> UInt32 {
    bytes.withUnsafeBytes { CRC32.checksum($0, continuing: previous) }
  }
}
