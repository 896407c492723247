#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// The right to deliver from an outbox: one process at a time, by `flock` on a file beside the database.
///
/// The kernel gives it back when the process ends, however it ends. Close-on-exec, so that no child process keeps it.
final class DeliveryLock: Sendable {
  private let descriptor: Int32

  private init(descriptor: Int32) {
    self.descriptor = descriptor
  }

  deinit {
    close(descriptor)
  }

  /// Whether some process delivers now.
  static func isHeld(_ file: OutboxFile) -> Bool {
    let descriptor = retryingInterrupted { open(file.lockPath, O_RDWR | O_CLOEXEC | O_NOFOLLOW) }
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    // Shared: two processes that look do not see each other.
    return retryingInterrupted { flock(descriptor, LOCK_SH | LOCK_NB) } != 0
  }

  /// The lock, or nil while another process has it.
  static func tryAcquire(_ file: OutboxFile) throws(OutboxError) -> DeliveryLock? {
    while true {
      let descriptor = retryingInterrupted {
        open(file.lockPath, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
      }
      guard descriptor >= 0 else {
        throw OutboxError(.notWritable, "cannot open the lock file \(file.lockPath): \(systemMessage())")
      }
      guard retryingInterrupted({ flock(descriptor, LOCK_EX | LOCK_NB) }) == 0 else {
        let isHeld = errno == EWOULDBLOCK
        let message = systemMessage()
        close(descriptor)
        if isHeld { return nil }
        throw OutboxError(.notWritable, "cannot lock \(file.lockPath): \(message)")
      }
      if isNamed(descriptor, file.lockPath) { return DeliveryLock(descriptor: descriptor) }
      close(descriptor)
    }
  }

  /// Whether an open file is still the one of that name: a lock on a file that was deleted excludes nobody.
  private static func isNamed(_ descriptor: Int32, _ path: String) -> Bool {
    var (opened, named) = (stat(), stat())
    return fstat(descriptor, &opened) == 0 && stat(path, &named) == 0
      && opened.st_ino == named.st_ino && opened.st_dev == named.st_dev
  }
}

/// The number of this process.
func currentProcessID() -> Int64 { Int64(getpid()) }

/// Whether there is a process of that number, whoever's it is.
func isProcessAlive(_ id: Int64) -> Bool {
  guard id > 0, let id = pid_t(exactly: id) else { return false }
  return kill(id, 0) == 0 || errno == EPERM
}
