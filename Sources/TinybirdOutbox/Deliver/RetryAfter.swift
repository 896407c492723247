/// How long an answer asks to wait.
enum RetryAfter {
  /// `Retry-After` in seconds or as an HTTP date, else `X-RateLimit-Reset` in seconds.
  ///
  /// What cannot be read counts as not there; a date that has passed is no wait.
  static func parse(retryAfter: String?, rateLimitReset: String?, now: WallTime) -> Duration? {
    if let text = retryAfter?.trimmingWhitespace() {
      if let wait = seconds(text) { return wait }
      if let date = httpDate(text) { return max(.zero, date.duration(since: now)) }
    }
    return rateLimitReset.flatMap { seconds($0.trimmingWhitespace()) }
  }

  /// What is left of the service's rate limit; nil where it does not say both how much and for how long.
  static func limitLeft(remaining: String?, reset: String?) -> RateLimitLeft? {
    guard let requests = remaining.flatMap({ Int($0.trimmingWhitespace()) }), requests >= 0,
      let wait = reset.flatMap({ seconds($0.trimmingWhitespace()) }), wait > .zero
    else { return nil }
    return RateLimitLeft(requests: min(requests, Int(Int32.max)), reset: wait)
  }

  private static func seconds(_ text: some StringProtocol) -> Duration? {
    // A century is more than any limit lets through, and keeps the arithmetic from overflowing.
    guard let number = Double(text), number >= 0, number < 3e9 else { return nil }
    return .seconds(number)
  }

  /// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that HTTP still writes.
  ///
  /// By its bytes alone: Foundation's formatter ends the process on some texts that are no date.
  private static func httpDate(_ text: some StringProtocol) -> WallTime? {
    let bytes = Array(text.utf8)
    guard bytes.count == 29 else { return nil }
    func word(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
    func number(_ range: Range<Int>) -> Int? {
      bytes[range].allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 } ? Int(word(range)) : nil
    }
    guard ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(word(0..<3)), word(3..<5) == ", ",
      let month = months.firstIndex(of: word(7..<12)), let day = number(5..<7), let year = number(12..<16), year > 0,
      let hour = number(17..<19), let minute = number(20..<22), let second = number(23..<25),
      bytes[16] == UInt8(ascii: " "), bytes[19] == UInt8(ascii: ":"), bytes[22] == UInt8(ascii: ":"),
      word(25..<29) == " GMT", (1...days(in: month, of: year)).contains(day), hour < 24, minute < 60, second <= 60
    else { return nil }
    let days = (0..<month).reduce(daysBefore(year) + day - 1) { $0 + self.days(in: $1, of: year) }
    return WallTime(milliseconds: Int64(((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
  }

  private static let months = [
    " Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ", " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec ",
  ]

  private static func days(in month: Int, of year: Int) -> Int {
    let isLeapYear = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    return [31, isLeapYear ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month]
  }

  /// From 1970 to the first of January of a year; 719,162 days lie before 1970.
  private static func daysBefore(_ year: Int) -> Int {
    let years = year - 1
    return years * 365 + years / 4 - years / 100 + years / 400 - 719_162
  }
}

/// `X-RateLimit-Remaining` and `X-RateLimit-Reset`: the requests that the service takes until its window ends.
struct RateLimitLeft: Equatable, Sendable {
  var requests: Int
  var reset: Duration
}
