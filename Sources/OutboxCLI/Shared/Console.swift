#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

internal import Synchronization

/// Standard output and standard error, with the progress line that stands between their lines on a terminal.
enum Console {
  private struct State {
    var progress = ""
    var drawnAt: ContinuousClock.Instant?
    var isOutputClosed = false
  }

  private static let state = Mutex(State())
  /// Often enough for the eye, rarely enough to cost nothing.
  private static let progressInterval = Duration.milliseconds(100)

  /// Whether progress is shown: only on a terminal.
  static let showsProgress = Terminal.error.isInteractive

  /// Makes the three standard descriptors safe to use, before anything is opened.
  static func prepare() {
    // A reader that goes away, as `head` does, must not kill a process that has more to do than to print.
    signal(SIGPIPE, SIG_IGN)
    // Where the caller has closed one, the next file that is opened would get its number, and be printed into.
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 {
      _ = open("/dev/null", O_RDWR)
    }
  }

  /// Writes a line to standard output.
  ///
  /// Returns false once its reader is gone: there is no use in going on printing.
  @discardableResult
  static func print(_ text: String) throws -> Bool {
    try state.withLock { state in
      guard !state.isOutputClosed else { return false }
      eraseProgress(&state)
      do {
        try write(text + "\n", to: STDOUT_FILENO)
        return true
      } catch let error as SystemError where error.isClosedPipe {
        state.isOutputClosed = true
        return false
      } catch {
        throw Failure(.inputOutput, "cannot write to standard output: \(error)")
      }
    }
  }

  /// Writes a line to standard error; there is nowhere to report a failure of that.
  static func note(_ text: String) {
    state.withLock { state in
      eraseProgress(&state)
      try? write(text + "\n", to: STDERR_FILENO)
    }
  }

  /// Draws the progress line anew, at most ten times a second; `text` is only asked for when it is drawn.
  static func progress(_ text: () -> String) {
    guard showsProgress else { return }
    state.withLock { state in
      let now = ContinuousClock.now
      if let drawnAt = state.drawnAt, now < drawnAt + progressInterval { return }
      state.drawnAt = now
      state.progress = DisplayWidth.cut(text(), to: Terminal.error.width - 1)
      try? write("\r\u{1B}[2K" + state.progress, to: STDERR_FILENO)
    }
  }

  /// Takes the progress line away.
  static func endProgress() {
    state.withLock { eraseProgress(&$0) }
  }

  private static func eraseProgress(_ state: inout State) {
    guard !state.progress.isEmpty else { return }
    try? write("\r\u{1B}[2K", to: STDERR_FILENO)
    state.progress = ""
    state.drawnAt = nil
  }

  private static func write(_ text: String, to descriptor: Int32) throws(SystemError) {
    var text = text
    // A closure cannot throw a typed error through `withUTF8`, a result can carry it.
    let result = text.withUTF8 { bytes in
      Result { () throws(SystemError) in try System.writeAll(UnsafeRawBufferPointer(bytes), to: descriptor) }
    }
    try result.get()
  }
}
