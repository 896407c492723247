internal import Foundation

/// How long an answer asks to wait.
enum RetryAfter {
  /// `Retry-After` in seconds or as an HTTP date, else `X-RateLimit-Reset` in seconds.
  ///
  /// What cannot be read counts as not there; a date that has passed is no wait.
  static func parse(retryAfter: String?, rateLimitReset: String?, now: WallTime) -> Duration? {
    if let text = retryAfter?.trimmingWhitespace() {
      if let wait = seconds(text) { return wait }
      if let date = httpDate(String(text)) { return max(.zero, date.duration(since: now)) }
    }
    return rateLimitReset.flatMap { seconds($0.trimmingWhitespace()) }
  }

  private static func seconds(_ text: some StringProtocol) -> Duration? {
    // A century is more than any limit lets through, and keeps the arithmetic from overflowing.
    guard let number = Double(text), number >= 0, number < 3e9 else { return nil }
    return .seconds(number)
  }

  /// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that HTTP still writes.
  private static func httpDate(_ text: String) -> WallTime? {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = TimeZone(secondsFromGMT: 0)
    formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
    return formatter.date(from: text).map { WallTime($0) }
  }
}
