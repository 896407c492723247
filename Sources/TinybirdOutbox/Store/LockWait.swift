#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// How a connection waits for what another holds: in short steps, for as long as somebody goes on writing, and then for
/// ``patience``.
///
/// A slow disk turns nobody away: where eight processes share a file and each sync takes two seconds, the last has its
/// turn after sixteen. What ends a wait is a lock that is held while nobody writes to the database or its log, as by a
/// program that has forgotten its transaction, or a single sync that takes longer than the patience.
///
/// SQLite's own `busy_timeout` backs off to 100 ms a step, so that a process that commits all the time starves the
/// others; short even steps share the lock fairly.
final class LockWait {
  /// Three times the worst sync that we saw, of a disk that was being written full.
  static let patience = Duration.seconds(30)

  private let paths: [String]
  private let patience: Duration
  private var lastWritten: [Written?] = []
  /// How long nobody has written, as far as we looked.
  private var idle = Duration.zero
  private var lastLook = ContinuousClock.now
  /// A step counts for no more: whoever was frozen for a while (a laptop that slept, a container that was paused) has
  /// waited for nobody, and neither had those who hold the lock a chance to go on.
  private static let maximumStep = Duration.milliseconds(100)

  /// Watches the database at `path` and its log.
  init(path: String, patience: Duration) {
    paths = [path, path + "-wal"]
    self.patience = patience
  }

  /// What SQLite calls with its `LockWait` while a lock is kept from it; 0 has it give up.
  static let handler: @convention(c) (UnsafeMutableRawPointer?, Int32) -> Int32 = { context, tries in
    guard let context else { return 0 }
    return Unmanaged<LockWait>.fromOpaque(context).takeUnretainedValue().step(tries) ? 1 : 0
  }

  /// Waits for a moment: ten times 0.1 ms, then 1 ms; false when the wait is over.
  ///
  /// `tries` counts from 0 in each wait.
  func step(_ tries: Int32) -> Bool {
    if tries == 0 { begin() }
    guard !isOver() else { return false }
    sleepMicroseconds(tries < 10 ? 100 : 1000)
    return true
  }

  /// Begins a wait.
  func begin(now: ContinuousClock.Instant = .now) {
    lastWritten = paths.map(Written.init)
    idle = .zero
    lastLook = now
  }

  /// Whether nobody has written for as long as our patience lasts.
  func isOver(now: ContinuousClock.Instant = .now) -> Bool {
    idle += min(now - lastLook, Self.maximumStep)
    lastLook = now
    let written = paths.map(Written.init)
    guard written == lastWritten else {
      lastWritten = written
      idle = .zero
      return false
    }
    return idle >= patience
  }

  /// When and how far a file was written.
  ///
  /// By `stat` alone: opening and closing it would drop SQLite's locks.
  private struct Written: Equatable {
    private let bytes: Int64
    private let seconds: Int
    private let nanoseconds: Int

    init?(_ path: String) {
      var status = stat()
      guard stat(path, &status) == 0 else { return nil }
      bytes = Int64(status.st_size)
      #if canImport(Darwin)
        (seconds, nanoseconds) = (status.st_mtimespec.tv_sec, status.st_mtimespec.tv_nsec)
      #else
        (seconds, nanoseconds) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
      #endif
    }
  }
}
