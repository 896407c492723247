internal import COutboxZlib
internal import NIOCore

/// Decompresses a request's body: one gzip member (RFC 1952) or several after each other.
///
/// Pure.
enum GzipBody {
  /// Why a body could not be decompressed.
  enum Fault: Error, Equatable {
    /// Not gzip, cut short, damaged, or something follows the last member.
    case invalid
    /// It decompresses to more than the limit.
    case tooLarge
  }

  /// zlib's number for "gzip only, window of 32 KiB": 15 + 16 (zlib.h, `inflateInit2`).
  private static let gzipOnly: Int32 = 31

  /// Decompresses `body`, to at most `limit` bytes.
  static func inflate(_ body: ByteBuffer, limit: Int) throws(Fault) -> ByteBuffer {
    var stream = z_stream()
    guard outbox_zlib_inflate_init(&stream, gzipOnly) == Z_OK else { throw .invalid }
    defer { inflateEnd(&stream) }
    var output = ByteBuffer()
    output.reserveCapacity(min(limit, max(body.readableBytes * 6, 4096)))
    var fault: Fault?
    body.withUnsafeReadableBytes { bytes in
      fault = inflate(bytes, into: &output, with: &stream, limit: limit)
    }
    if let fault { throw fault }
    return output
  }

  private static func inflate(
    _ bytes: UnsafeRawBufferPointer, into output: inout ByteBuffer, with stream: inout z_stream, limit: Int
  ) -> Fault? {
    guard let start = bytes.bindMemory(to: UInt8.self).baseAddress, let count = UInt32(exactly: bytes.count) else {
      return .invalid
    }
    // zlib only reads from `next_in`; its type is not const for historical reasons.
    stream.next_in = UnsafeMutablePointer(mutating: start)
    stream.avail_in = count
    while true {
      var result = Z_OK
      output.writeWithUnsafeMutableBytes(minimumWritableBytes: 64 * 1024) { free in
        let capacity = UInt32(clamping: free.count)
        stream.next_out = free.bindMemory(to: UInt8.self).baseAddress
        stream.avail_out = capacity
        result = COutboxZlib.inflate(&stream, Z_NO_FLUSH)
        return Int(capacity - stream.avail_out)
      }
      guard output.readableBytes <= limit else { return .tooLarge }
      switch result {
      case Z_OK: continue
      case Z_STREAM_END where stream.avail_in == 0: return nil
      case Z_STREAM_END: guard inflateReset(&stream) == Z_OK else { return .invalid }
      default: return .invalid
      }
    }
  }
}
