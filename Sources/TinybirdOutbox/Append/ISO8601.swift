package import struct Foundation.Date

/// Writes moments as `2026-11-21T04:05:06.789Z`: ISO 8601 with milliseconds in UTC.
///
/// By arithmetic alone, in the proleptic Gregorian calendar that ISO 8601 prescribes: no formatter, no locale.
package enum ISO8601 {
  /// From `0000-01-01T00:00:00.000Z` to `9999-12-31T23:59:59.999Z`, the years that have four digits.
  package static let millisecondRange: ClosedRange<Int64> = -62_167_219_200_000...253_402_300_799_999

  /// 2001-01-01, from which `Date` counts, in milliseconds since 1970.
  private static let referenceMilliseconds: Int64 = 978_307_200_000

  /// The date to the nearest millisecond, or nil outside ``millisecondRange``.
  ///
  /// A `Date` is a binary fraction and often lies a little below the millisecond that it was made from; cutting it off
  /// would write one millisecond less than was read.
  package static func text(_ date: Date) -> String? {
    let milliseconds = (date.timeIntervalSinceReferenceDate * 1000).rounded()
    // Not a number, or so large that it cannot be converted: outside the years anyway.
    guard abs(milliseconds) < 1e15 else { return nil }
    return text(millisecondsSince1970: Int64(milliseconds) + referenceMilliseconds)
  }

  /// The moment's text, or nil outside ``millisecondRange``.
  package static func text(millisecondsSince1970 milliseconds: Int64) -> String? {
    guard millisecondRange.contains(milliseconds) else { return nil }
    // Counted from the start of the range everything is positive, and division rounds down.
    let (day, inDay) = Int(milliseconds - millisecondRange.lowerBound).quotientAndRemainder(dividingBy: 86_400_000)
    let (year, month, dayOfMonth) = date(day: day)
    let (seconds, fraction) = inDay.quotientAndRemainder(dividingBy: 1000)
    return String(unsafeUninitializedCapacity: 24) { text in
      write(year, digits: 4, endingWith: "-", at: 0, in: text)
      write(month, digits: 2, endingWith: "-", at: 5, in: text)
      write(dayOfMonth, digits: 2, endingWith: "T", at: 8, in: text)
      write(seconds / 3600, digits: 2, endingWith: ":", at: 11, in: text)
      write(seconds / 60 % 60, digits: 2, endingWith: ":", at: 14, in: text)
      write(seconds % 60, digits: 2, endingWith: ".", at: 17, in: text)
      write(fraction, digits: 3, endingWith: "Z", at: 20, in: text)
      return 24
    }
  }

  /// The calendar date `day` days after 0000-01-01.
  ///
  /// Years are counted from March here, so that the day that leap years add is the last of its year. 1 March of the year
  /// 0 is day 60; one cycle of the calendar, 400 years of 146,097 days, is added so that all is positive.
  private static func date(day: Int) -> (year: Int, month: Int, day: Int) {
    let (cycle, dayOfCycle) = (day - 60 + 146_097).quotientAndRemainder(dividingBy: 146_097)
    let leapDays = dayOfCycle / 1460 - dayOfCycle / 36_524 + dayOfCycle / 146_096
    let yearOfCycle = (dayOfCycle - leapDays) / 365
    let dayOfYear = dayOfCycle - (365 * yearOfCycle + yearOfCycle / 4 - yearOfCycle / 100)
    // From March on, five months have 153 days: 31, 30, 31, 30, 31.
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let dayOfMonth = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let isNextYear = monthFromMarch >= 10
    return (
      year: 400 * (cycle - 1) + yearOfCycle + (isNextYear ? 1 : 0),
      month: isNextYear ? monthFromMarch - 9 : monthFromMarch + 3, day: dayOfMonth
    )
  }

  private static func write(
    _ value: Int, digits: Int, endingWith end: Unicode.Scalar, at offset: Int,
    in text: UnsafeMutableBufferPointer<UInt8>
  ) {
    var rest = value
    for place in (offset..<offset + digits).reversed() {
      text[place] = UInt8(ascii: "0") + UInt8(rest % 10)
      rest /= 10
    }
    text[offset + digits] = UInt8(ascii: end)
  }
}
