#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

#if !canImport(Darwin)
  internal import COutboxSQLite
#endif

/// Blocks the calling thread: only for SQLite's busy handler, which runs on a thread of our own.
///
/// The whole time, however many signals come: the busy handler counts sleeps, and must not give up early.
func sleepMicroseconds(_ count: UInt32) {
  var wait = timespec(tv_sec: Int(count / 1_000_000), tv_nsec: Int(count % 1_000_000) * 1000)
  var rest = timespec()
  while nanosleep(&wait, &rest) != 0, errno == EINTR { wait = rest }
}

/// Makes a call of the system until no signal interrupts it: any that an application handles without `SA_RESTART` may.
///
/// Not for `close`, which has closed the descriptor all the same.
func retryingInterrupted(_ call: () -> Int32) -> Int32 {
  while true {
    let result = call()
    if result >= 0 || errno != EINTR { return result }
  }
}

/// Renames a file in one step, and fails with `EEXIST` where there is one of the new name.
func renameWithoutReplacing(_ path: String, _ target: String) -> Int32 {
  #if canImport(Darwin)
    let result = renamex_np(path, target, UInt32(RENAME_EXCL))
  #else
    let result = outbox_rename_without_replacing(path, target)
  #endif
  guard result != 0, errno == EINVAL || errno == ENOSYS || errno == ENOTSUP else { return result }
  // A file system that cannot: in two steps, and a crash between them leaves both names.
  return link(path, target) == 0 ? unlink(path) : -1
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
