internal import COutboxZlib

/// The state of one compression or decompression, freed when it goes away.
///
/// On the heap, since zlib's own state points back at the `z_stream`, which must therefore never move.
struct ZlibStream: ~Copyable {
  typealias Pointer = UnsafeMutablePointer<z_stream>

  let pointer: Pointer
  private let end: (Pointer?) -> CInt

  /// `start` is one of zlib's initialisers; `end` is the call that undoes it.
  init(start: (Pointer) -> CInt, end: @escaping (Pointer?) -> CInt) throws(GzipError) {
    let pointer = Pointer.allocate(capacity: 1)
    pointer.initialize(to: z_stream())
    let status = start(pointer)
    guard status == Z_OK else {
      pointer.deallocate()
      // Z_STREAM_ERROR would be a parameter, Z_VERSION_ERROR a header that is not this library's: faults of a build.
      precondition(status == Z_MEM_ERROR, "zlib refused to start with status \(status)")
      throw .outOfMemory
    }
    self.pointer = pointer
    self.end = end
  }

  deinit {
    _ = end(pointer)
    pointer.deallocate()
  }

  /// Makes the front of `bytes` the input of the next call: as much as the 32 bits of zlib's count can hold.
  ///
  /// zlib only reads through the pointer, whatever its type says.
  func setInput(_ bytes: UnsafeRawBufferPointer) {
    pointer.pointee.next_in = UnsafeMutablePointer(mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
    pointer.pointee.avail_in = UInt32(clamping: bytes.count)
  }

  /// Makes `space` the output of the next call.
  ///
  /// Returns how much of it zlib was given.
  func setOutput(_ space: UnsafeMutableRawBufferPointer) -> Int {
    pointer.pointee.next_out = space.baseAddress?.assumingMemoryBound(to: UInt8.self)
    pointer.pointee.avail_out = UInt32(clamping: space.count)
    return Int(pointer.pointee.avail_out)
  }
}
