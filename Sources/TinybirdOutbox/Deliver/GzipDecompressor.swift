internal import COutboxZlib

/// Reads gzip as it comes, piece by piece, in bounded memory: 64 KiB for what is decompressed and 48 KiB for zlib,
/// however well the content is compressed.
///
/// Several members one after the other are one content, as RFC 1952 has it. Anything else behind a member is an error,
/// also the zero bytes that tapes are padded with.
package struct GzipDecompressor: ~Copyable {
  private let stream: ZlibStream
  fileprivate var space = [UInt8](repeating: 0, count: 1 << 16)
  /// How much was read, in bytes.
  private var offset = 0
  private var isWithinMember = false
  private var hasReadMember = false

  /// Makes a reader for one file.
  package init() throws(GzipError) {
    stream = try ZlibStream(
      // The window of 15 bits that gzip allows; 16 more ask for the gzip format and no other.
      start: { outbox_zlib_inflate_init($0, 15 + 16) },
      end: { inflateEnd($0) })
  }

  /// Reads `input` and hands what comes out of it to `write`, at most 64 KiB at a time.
  ///
  /// Throws ``GzipError``, or what `write` throws; the reader must not be used after that. What was handed over before a
  /// ``GzipError`` may be wrong in a damaged file: the checksum stands at the end of a member.
  package mutating func append(
    _ input: UnsafeRawBufferPointer, write: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    var rest = input
    while !rest.isEmpty {
      let count = try decompress(&rest)
      // A header, or the end of a member, may come without content.
      guard count > 0 else { continue }
      try space.withUnsafeBytes { try write(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }
  }

  /// Ends the file.
  ///
  /// Throws ``GzipError/truncated`` where a member is not complete, or where there is none.
  package consuming func finish() throws(GzipError) {
    guard hasReadMember, !isWithinMember else { throw .truncated }
  }
}

extension GzipDecompressor {
  /// Takes what it can from the front of `rest`, which is not empty, and returns how many bytes now stand in ``space``.
  ///
  /// zlib may be left with content for which there was no space. It comes with the next input, and there is always some:
  /// the checksum follows.
  fileprivate mutating func decompress(_ rest: inout UnsafeRawBufferPointer) throws(GzipError) -> Int {
    if !isWithinMember, let first = rest.first { try startMember(first) }
    stream.setInput(rest)
    let givenInput = Int(stream.pointer.pointee.avail_in)
    let (status, count) = space.withUnsafeMutableBytes { space in
      let givenSpace = stream.setOutput(space)
      let status = inflate(stream.pointer, Z_NO_FLUSH)
      return (status, givenSpace - Int(stream.pointer.pointee.avail_out))
    }
    let taken = givenInput - Int(stream.pointer.pointee.avail_in)
    rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
    offset += taken
    switch status {
    case Z_OK: break
    case Z_STREAM_END:
      isWithinMember = false
      hasReadMember = true
    case Z_MEM_ERROR: throw .outOfMemory
    // zlib reads the two bytes by which a member is known before it looks at them.
    case _ where stream.pointer.pointee.total_in == 2: throw notAMember(at: offset - 2)
    default: throw .corrupt(offset: offset)
    }
    return count
  }

  private mutating func startMember(_ first: UInt8) throws(GzipError) {
    guard first == 0x1F else { throw notAMember(at: offset) }
    // It cannot fail on a stream that was started.
    inflateReset(stream.pointer)
    isWithinMember = true
  }

  private func notAMember(at offset: Int) -> GzipError {
    hasReadMember ? .trailingGarbage(offset: offset) : .notGzip
  }
}

/// Decompresses a whole gzip file of at most `limit` bytes of content.
package func gunzip(_ bytes: UnsafeRawBufferPointer, limit: Int) throws(GzipError) -> [UInt8] {
  var decompressor = try GzipDecompressor()
  var content: [UInt8] = []
  var rest = bytes
  while !rest.isEmpty {
    let count = try decompressor.decompress(&rest)
    guard count <= limit - content.count else { throw .tooLarge(limit: limit) }
    content += decompressor.space[..<count]
  }
  try decompressor.finish()
  return content
}
