import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct ISO8601Tests {
  @Test(arguments: [
    (Int64(0), "1970-01-01T00:00:00.000Z"), (1, "1970-01-01T00:00:00.001Z"), (-1, "1969-12-31T23:59:59.999Z"),
    (-1000, "1969-12-31T23:59:59.000Z"), (999, "1970-01-01T00:00:00.999Z"), (86_399_999, "1970-01-01T23:59:59.999Z"),
    (86_400_000, "1970-01-02T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
    (951_868_800_000, "2000-03-01T00:00:00.000Z"), (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
    (1_795_233_906_789, "2026-11-21T04:05:06.789Z"), (-2_203_977_600_000, "1900-02-28T00:00:00.000Z"),
    (-2_203_891_200_000, "1900-03-01T00:00:00.000Z"), (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
  ])
  func writesMilliseconds(_ milliseconds: Int64, _ text: String) {
    #expect(ISO8601.text(millisecondsSince1970: milliseconds) == text)
  }

  @Test(arguments: [-62_167_219_200_001, 253_402_300_800_000, .min, .max] as [Int64])
  func refusesYearsWithoutFourDigits(_ milliseconds: Int64) {
    #expect(ISO8601.text(millisecondsSince1970: milliseconds) == nil)
  }

  /// To the nearest millisecond, halves away from the start of 2001, from which a Date counts.
  @Test(arguments: [
    (0.9996, "1970-01-01T00:00:01.000Z"), (0.9994, "1970-01-01T00:00:00.999Z"), (59.9999, "1970-01-01T00:01:00.000Z"),
    (86_399.9999, "1970-01-02T00:00:00.000Z"), (-0.0004, "1970-01-01T00:00:00.000Z"),
    (-0.0006, "1969-12-31T23:59:59.999Z"), (-0.9996, "1969-12-31T23:59:59.000Z"),
    (-31_536_000.0006, "1968-12-31T23:59:59.999Z"), (978_307_199.9996, "2001-01-01T00:00:00.000Z"),
    (1_795_233_906.789, "2026-11-21T04:05:06.789Z"), (1_795_233_906.7894, "2026-11-21T04:05:06.789Z"),
    (1_795_233_906.7896, "2026-11-21T04:05:06.790Z"), (1_798_761_599.9996, "2027-01-01T00:00:00.000Z"),
    (253_402_300_799.9989, "9999-12-31T23:59:59.999Z"),
  ])
  func roundsADate(_ seconds: Double, _ text: String) {
    #expect(ISO8601.text(Date(timeIntervalSince1970: seconds)) == text)
  }

  @Test(
    arguments: [.nan, .infinity, -.infinity, 1e300, -1e300, 9.3e15, -9.3e15, 253_402_300_799.9999, 253_402_300_800]
      as [Double])
  func refusesADateThatHasNoText(_ seconds: Double) {
    #expect(ISO8601.text(Date(timeIntervalSince1970: seconds)) == nil)
  }

  /// A date that was read from a text is written as that text: every millisecond of a second, near and far from 2001.
  @Test(
    arguments: [-62_135_596_800_000, -86_400_000, 978_307_200_000, 1_795_233_906_000, 253_402_300_799_000] as [Int64])
  func whatWasReadIsWrittenAgain(_ second: Int64) {
    for milliseconds in second..<second + 1000 {
      let date = Date(timeIntervalSince1970: Double(milliseconds) / 1000)
      guard ISO8601.text(date) == ISO8601.text(millisecondsSince1970: milliseconds) else {
        Issue.record("\(milliseconds) was written as \(ISO8601.text(date) ?? "nothing")")
        return
      }
    }
  }

  /// Every first and last day of a month, from the year 0 to the year 9999, by counting.
  @Test func everyMonthOfTheCalendar() {
    var day: Int64 = -719_528
    for year in 0...9999 {
      let isLeap = year.isMultiple(of: 4) && (!year.isMultiple(of: 100) || year.isMultiple(of: 400))
      let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
      for (index, length) in lengths.enumerated() {
        let month = Self.padded(year, 4) + "-" + Self.padded(index + 1, 2) + "-"
        let first = ISO8601.text(millisecondsSince1970: day * 86_400_000)
        day += Int64(length)
        let last = ISO8601.text(millisecondsSince1970: day * 86_400_000 - 1)
        guard first == month + "01T00:00:00.000Z", last == month + "\(length)T23:59:59.999Z" else {
          Issue.record("\(month) goes from \(first ?? "nothing") to \(last ?? "nothing")")
          return
        }
      }
    }
  }

  @Test func foundationReadsItBack() throws {
    var generator = SeededRandom(seed: 1)
    let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
    for _ in 0..<2000 {
      // From 1600 to 2400.
      let milliseconds = Int64.random(in: -11_676_096_000_000...13_569_465_600_000, using: &generator)
      let text = try #require(ISO8601.text(millisecondsSince1970: milliseconds))
      let date = try style.parse(text)
      guard Int64((date.timeIntervalSince1970 * 1000).rounded()) == milliseconds else {
        Issue.record("\(text) is read as \(date.timeIntervalSince1970), not \(milliseconds) ms")
        return
      }
    }
  }

  private static func padded(_ number: Int, _ digits: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: digits - text.count) + text
  }
}
