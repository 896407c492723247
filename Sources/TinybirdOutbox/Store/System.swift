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
