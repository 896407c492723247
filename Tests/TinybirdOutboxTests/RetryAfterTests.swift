import Testing

@testable import TinybirdOutbox

@Suite struct RetryAfterTests {
  @Test(
    arguments: [
      ("7", "2", RateLimitLeft(requests: 7, reset: .seconds(2))),
      (" 0 ", "0.5", RateLimitLeft(requests: 0, reset: .milliseconds(500))),
      (nil, "2", nil), ("7", nil, nil), ("7", "0", nil), ("-1", "2", nil), ("many", "2", nil), ("7", "soon", nil),
    ] as [(String?, String?, RateLimitLeft?)])
  func whatIsLeftOfTheLimit(remaining: String?, reset: String?, left: RateLimitLeft?) {
    #expect(RetryAfter.limitLeft(remaining: remaining, reset: reset) == left)
  }

  /// Sun, 06 Nov 1994 08:49:37 GMT.
  private static let now = WallTime(milliseconds: 784_111_777_000)

  private func parse(_ retryAfter: String?, _ reset: String? = nil) -> Duration? {
    RetryAfter.parse(retryAfter: retryAfter, rateLimitReset: reset, now: Self.now)
  }

  /// A header and the milliseconds to wait; the same for both headers.
  @Test(
    arguments: [
      ("0", 0), ("1", 1_000), ("30", 30_000), ("007", 7_000), (" 5 ", 5_000), ("\t5\r\n", 5_000),
      ("1.5", 1_500), ("0.001", 1), ("86400", 86_400_000), ("2999999999", 2_999_999_999_000),
      ("", nil), (" ", nil), ("soon", nil), ("5 s", nil), ("5,5", nil), ("5, 6", nil), ("--5", nil), ("５", nil),
      ("-1", nil), ("-0.5", nil), ("nan", nil), ("NaN", nil), ("-nan", nil), ("inf", nil), ("-inf", nil),
      ("Infinity", nil), ("1e400", nil), ("3000000000", nil), ("99999999999999999999999", nil), ("\0", nil),
    ] as [(String, Int?)])
  func seconds(text: String, milliseconds: Int?) {
    let wait = milliseconds.map { Duration.milliseconds($0) }
    #expect(parse(text) == wait)
    #expect(parse(nil, text) == wait)
  }

  /// A date and the seconds to wait.
  ///
  /// `X-RateLimit-Reset` is never a date.
  @Test(
    arguments: [
      ("Sun, 06 Nov 1994 08:49:37 GMT", 0), ("Sun, 06 Nov 1994 08:49:38 GMT", 1),
      ("Sun, 06 Nov 1994 08:50:37 GMT", 60), ("Mon, 07 Nov 1994 08:49:37 GMT", 86_400),
      ("  Sun, 06 Nov 1994 08:50:37 GMT ", 60), ("Thu, 29 Feb 1996 08:49:37 GMT", 480 * 86_400),
      // Passed: no wait.
      ("Sun, 06 Nov 1994 08:49:36 GMT", 0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Sun, 06 Nov 1904 08:49:37 GMT", 0),
      // No dates.
      ("Wed, 29 Feb 1995 08:49:37 GMT", nil), ("Sun, 06 Nov 1994 25:49:37 GMT", nil), ("Sun, 06 Nov 1994", nil),
      ("Sun, 06 Nov 1994 08:50:37 CET", nil), ("1994-11-06T08:50:37Z", nil), ("So, 06 Nov 1994 08:50:37 GMT", nil),
      ("Sun, 06 Nov 99999999999 08:50:37 GMT", nil), ("Sun, 6 Nov 1994 08:49:37 GMT", nil),
      ("Sun, 06 Nov 1994 08:49:61 GMT", nil), ("Sun, 06 Nov 1994 08:60:37 GMT", nil),
      ("Sun, 00 Nov 1994 08:49:37 GMT", nil), ("Sun, 06 Nov 0000 08:49:37 GMT", nil),
      ("Sun, 06 Nov +994 08:49:37 GMT", nil), ("Sun,  6 Nov 1994 08:49:37 GMT", nil),
      // The calendar: leap years, and none.
      ("Wed, 01 Mar 2000 00:00:00 GMT", 167_757_023), ("Tue, 29 Feb 2000 00:00:00 GMT", 167_670_623),
      ("Mon, 29 Feb 2100 00:00:00 GMT", nil), ("Fri, 31 Dec 9999 23:59:59 GMT", 252_618_189_022),
      // On which Foundation's formatter ends the process.
      ("        \u{59A}bb\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}", nil),
    ] as [(String, Int?)])
  func dates(text: String, seconds: Int?) {
    #expect(parse(text) == seconds.map { .seconds($0) })
    #expect(parse(nil, text) == nil)
  }

  /// `Retry-After` wins where it can be read, else `X-RateLimit-Reset`.
  @Test(
    arguments: [
      (nil, nil, nil), ("3", nil, 3), (nil, "4", 4), ("3", "4", 3), ("0", "4", 0), ("3", "soon", 3),
      ("soon", "4", 4), ("-1", "4", 4), ("", "4", 4), ("nan", "inf", nil),
      ("Sun, 06 Nov 1994 08:49:47 GMT", "4", 10), ("Sun, 06 Nov 1984 08:49:47 GMT", "4", 0),
    ] as [(String?, String?, Int?)])
  func bothHeaders(retryAfter: String?, reset: String?, seconds: Int?) {
    #expect(parse(retryAfter, reset) == seconds.map { .seconds($0) })
  }
}
