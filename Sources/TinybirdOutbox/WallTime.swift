internal import struct Foundation.Date

/// A moment of the wall clock as the outbox stores it: milliseconds since 1970 in UTC.
///
/// Only for what is stored and shown. Waits within a process use a monotonic clock, which no operator can set back.
struct WallTime: Hashable, Comparable, Sendable {
  var milliseconds: Int64

  static var now: WallTime { WallTime(Date()) }

  /// Before everything that is stored.
  static let distantPast = WallTime(milliseconds: .min)

  var date: Date { Date(timeIntervalSince1970: Double(milliseconds) / 1000) }

  init(milliseconds: Int64) {
    self.milliseconds = milliseconds
  }

  /// The nearest millisecond; a moment that 64 bits cannot hold becomes the nearest that they can.
  init(_ date: Date) {
    let milliseconds = (date.timeIntervalSince1970 * 1000).rounded()
    self.milliseconds = Int64(exactly: milliseconds) ?? (milliseconds < 0 ? .min : .max)
  }

  /// How long after `earlier` this is; negative before it.
  ///
  /// Stored moments can be anything: a clock was wrong, or the file is damaged. What does not fit is as long as fits.
  func duration(since earlier: Self) -> Duration {
    let (difference, overflows) = milliseconds.subtractingReportingOverflow(earlier.milliseconds)
    return .milliseconds(overflows ? (milliseconds < 0 ? .min : .max) : difference)
  }

  static func < (left: Self, right: Self) -> Bool { left.milliseconds < right.milliseconds }

  static func + (time: Self, duration: Duration) -> Self {
    WallTime(milliseconds: time.milliseconds + duration.wholeMilliseconds)
  }
}

extension Duration {
  /// Whole milliseconds, rounded towards zero.
  var wholeMilliseconds: Int64 {
    components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
  }

  /// The duration in seconds, for arithmetic.
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
