#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// Reading and writing descriptors, without the traps: interrupted calls, short writes, non-blocking descriptors.
enum System {
  /// Reads what is there, and waits where nothing is; 0 bytes are the end.
  static func readSome(_ descriptor: Int32, into space: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int {
    while true {
      let count = read(descriptor, space.baseAddress, space.count)
      if count >= 0 { return count }
      try pause(SystemError(), descriptor, until: POLLIN)
    }
  }

  /// Writes all of `bytes`.
  static func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) throws(SystemError) {
    var rest = bytes
    while !rest.isEmpty {
      let count = write(descriptor, rest.baseAddress, rest.count)
      if count >= 0 {
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      } else {
        try pause(SystemError(), descriptor, until: POLLOUT)
      }
    }
  }

  /// After a call that failed: returns when it may be tried again, or throws why not.
  private static func pause(
    _ error: SystemError, _ descriptor: Int32, until event: some BinaryInteger
  ) throws(SystemError) {
    switch error.code {
    case EINTR: return
    case EAGAIN:
      // Somebody made the descriptor non-blocking.
      var watched = pollfd(fd: descriptor, events: Int16(event), revents: 0)
      _ = poll(&watched, 1, -1)
    default: throw error
    }
  }
}

/// Why a call of the system failed.
struct SystemError: Error, CustomStringConvertible {
  let code: Int32

  /// The error of the call that failed last on this thread.
  init() { code = errno }

  var description: String { String(cString: strerror(code)) }

  var isInterruption: Bool { code == EINTR }
  var isClosedPipe: Bool { code == EPIPE }
  var isFullDisk: Bool { code == ENOSPC || code == EDQUOT }
}
