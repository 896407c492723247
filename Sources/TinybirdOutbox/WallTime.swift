internal import struct Foundation.Date

/// A moment of the wall clock as the outbox stores it: milliseconds since 1970 in UTC.
///
/// Only for what is stored and shown. Waits within a process use a monotonic clock, which no operator can set back.
struct WallTime: Hashable, Comparable, Sendable {
  var milliseconds: Int64

  static var now: WallTime { WallTime(milliseconds: Int64((Date().timeIntervalSince1970 * 1000).rounded())) }

  var date: Date { Date(timeIntervalSince1970: Double(milliseconds) / 1000) }

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
