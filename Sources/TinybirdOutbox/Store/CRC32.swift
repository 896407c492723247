internal import COutboxZlib

/// The checksum of gzip and of chunks: CRC-32 with the polynomial 0x04C11DB7.
enum CRC32 {
  /// The checksum of `bytes`, or of what `previous` is the checksum of with `bytes` behind it.
  static func checksum(_ bytes: UnsafeRawBufferPointer, continuing previous: UInt32 = 0) -> UInt32 {
    // For a null pointer zlib returns the initial value, whatever came before.
    guard let base = bytes.baseAddress else { return previous }
    return UInt32(truncatingIfNeeded: crc32_z(UInt(previous), base.assumingMemoryBound(to: UInt8.self), bytes.count))
  }

  /// The checksum of two texts joined, from their checksums and the length of the second one.
  static func combine(_ first: UInt32, _ second: UInt32, secondByteCount: Int) -> UInt32 {
    UInt32(truncatingIfNeeded: crc32_combine(UInt(first), UInt(second), secondByteCount))
  }
}
