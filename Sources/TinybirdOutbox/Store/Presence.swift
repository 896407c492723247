#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// That this process has the outbox open: a shared `flock` on the file `-open` beside it.
///
/// The kernel gives it back when the process ends, however it ends. So whoever finds nobody else there knows that SQLite's
/// shared memory is gone with the last process, and that the log is read anew from what the kernel shows of it: see
/// ``StoreWriter/foldOldLog(_:)``. The file's size says whether that log was folded away since: 0 or 1.
final class Presence: Sendable {
  private let descriptor: Int32

  private init(_ descriptor: Int32) {
    self.descriptor = descriptor
  }

  deinit {
    close(descriptor)
  }

  private static let tries = 500
  private static let stepMicroseconds: UInt32 = 20_000

  /// Shared with all who have the outbox open.
  static func share(_ file: OutboxFile) throws(OutboxError) -> Presence {
    let presence = try unlocked(file)
    if presence.lock(LOCK_EX) {
      // Nobody else: what the last ones noted is over.
      ftruncate(presence.descriptor, 0)
    }
    for _ in 0..<tries {
      if presence.lock(LOCK_SH) { return presence }
      sleepMicroseconds(stepMicroseconds)
    }
    throw OutboxError(
      .busy, "another process keeps the outbox \(file.shownPath) to itself, by a lock on \(file.presencePath)")
  }

  /// Alone, and nobody can open the outbox meanwhile; nil where another process, or another object of this one, has it
  /// open for five seconds.
  static func alone(_ file: OutboxFile) throws(OutboxError) -> Presence? {
    let presence = try unlocked(file)
    for _ in 0..<(tries / 2) {
      if presence.lock(LOCK_EX) { return presence }
      sleepMicroseconds(stepMicroseconds)
    }
    return nil
  }

  /// Whether the log was folded away since the first of those who have the outbox open now.
  var isLogFolded: Bool {
    var status = stat()
    return fstat(descriptor, &status) == 0 && status.st_size > 0
  }

  /// Takes no block, so that it works on a full disk; where it fails the next process folds once more.
  func noteLogFolded() { ftruncate(descriptor, 1) }

  private static func unlocked(_ file: OutboxFile) throws(OutboxError) -> Presence {
    let descriptor = retryingInterrupted {
      open(file.presencePath, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    }
    guard descriptor >= 0 else {
      throw OutboxError(.notWritable, "cannot open the file \(file.presencePath): \(systemMessage())")
    }
    return Presence(descriptor)
  }

  private func lock(_ operation: Int32) -> Bool { retryingInterrupted { flock(descriptor, operation | LOCK_NB) } == 0 }
}
