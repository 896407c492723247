#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// Blocks the calling thread: only for SQLite's busy handler, which runs on a thread of our own.
func sleepMicroseconds(_ count: UInt32) {
  usleep(count)
}

/// The offset of the first newline, by the C library's vectorised search.
func firstNewline(in start: UnsafeRawPointer, count: Int) -> Int? {
  memchr(start, Int32(UInt8(ascii: "\n")), count).map { UnsafeRawPointer($0) - start }
}

/// Tells one thread of this process from the others.
struct ThreadIdentity: @unchecked Sendable {
  // Unchecked: pthread_t is a handle that is only compared, which any thread may do; on some platforms it is a pointer,
  // which the compiler does not know to be Sendable.
  private let handle: pthread_t

  static var current: ThreadIdentity { ThreadIdentity(handle: pthread_self()) }

  var isCurrent: Bool { pthread_equal(handle, pthread_self()) != 0 }
}
