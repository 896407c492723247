#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

internal import Synchronization

/// Wakes a thread that waits for input, because its lines are wanted or because it is to stop.
final class Doorbell: Sendable {
  enum Answer {
    /// The input can be read.
    case ready
    /// It cannot be read now, and the lines that are there are wanted.
    case dry
    case stopped
  }

  private let wanted = Atomic(false)
  private let stopped = Atomic(false)
  private let readEnd: Int32
  private let writeEnd: Int32

  init() throws {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else {
      throw Failure(.inputOutput, "cannot make a pipe: \(SystemError())")
    }
    (readEnd, writeEnd) = (ends[0], ends[1])
    // A full pipe has rung already; an empty one must not hold up who looks.
    for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
  }

  deinit {
    close(readEnd)
    close(writeEnd)
  }

  /// Whether somebody waits for what is there.
  var isWanted: Bool {
    get { wanted.load(ordering: .acquiring) }
    set {
      wanted.store(newValue, ordering: .releasing)
      if newValue { ring() }
    }
  }

  /// Whether nothing more is to be read.
  var isStopped: Bool {
    get { stopped.load(ordering: .acquiring) }
    set {
      stopped.store(newValue, ordering: .releasing)
      if newValue { ring() }
    }
  }

  /// Waits until the descriptor can be read, or the lines that are there are wanted, or it is to stop.
  func wait(for descriptor: Int32, hasLines: Bool) -> Answer {
    while true {
      if isStopped { return .stopped }
      let isWanted = hasLines && isWanted
      var watched = [
        pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
        pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0),
      ]
      let count = poll(&watched, nfds_t(watched.count), isWanted ? 0 : -1)
      // Interrupted by a signal.
      guard count >= 0 else { continue }
      if watched[1].revents != 0 { listen() }
      // Also at the input's end, and where it is broken: reading tells.
      if watched[0].revents != 0 { return isStopped ? .stopped : .ready }
      if isWanted { return .dry }
    }
  }

  private func ring() {
    var byte: UInt8 = 1
    // A pipe that is full has rung already.
    while write(writeEnd, &byte, 1) < 0, SystemError().isInterruption {}
  }

  private func listen() {
    var bytes: UInt64 = 0
    while read(readEnd, &bytes, 8) > 0 {}
  }
}
