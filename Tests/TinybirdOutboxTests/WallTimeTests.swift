import Foundation
import Testing

@testable import TinybirdOutbox

@Suite struct WallTimeTests {
  @Test(
    arguments: [
      (.zero, 0), (.milliseconds(1), 1), (.seconds(1), 1_000), (.microseconds(1_999), 1), (.nanoseconds(1), 0),
      (.seconds(-1), -1_000), (.microseconds(-1_999), -1), (.seconds(7 * 86_400), 604_800_000),
    ] as [(Duration, Int64)])
  func wholeMilliseconds(duration: Duration, milliseconds: Int64) {
    #expect(duration.wholeMilliseconds == milliseconds)
    #expect(WallTime(milliseconds: 5_000) + duration == WallTime(milliseconds: 5_000 + milliseconds))
  }

  @Test(
    arguments: [(.zero, 0), (.milliseconds(1_500), 1.5), (.seconds(-2), -2), (.nanoseconds(250_000_000), 0.25)]
      as [(Duration, Double)])
  func seconds(duration: Duration, seconds: Double) {
    #expect(duration.seconds == seconds)
  }

  @Test(arguments: [0, 1, -1, 1_795_234_567_891, -62_135_596_800_000] as [Int64]) func dates(milliseconds: Int64) {
    let date = WallTime(milliseconds: milliseconds).date
    #expect((date.timeIntervalSince1970 * 1000).rounded() == Double(milliseconds))
  }

  @Test(
    arguments: [
      (2_000, 500, 1_500), (500, 2_000, -1_500), (.max, -1, .max), (.min, 1, .min), (.max, 0, .max), (-1, .max, .min),
      (-2, .max, .min), (.min, .min, 0),
    ] as [(Int64, Int64, Int64)])
  func durations(later: Int64, earlier: Int64, milliseconds: Int64) {
    let duration = WallTime(milliseconds: later).duration(since: WallTime(milliseconds: earlier))
    #expect(duration == .milliseconds(milliseconds))
  }

  @Test(
    arguments: [
      (0.0014, 1), (-0.0016, -2), (1e300, .max), (-1e300, .min), (.infinity, .max), (-.infinity, .min), (.nan, .max),
    ] as [(Double, Int64)])
  func ofDates(seconds: Double, milliseconds: Int64) {
    #expect(WallTime(Date(timeIntervalSince1970: seconds)).milliseconds == milliseconds)
  }

  @Test func ordered() {
    #expect(WallTime(milliseconds: -1) < WallTime(milliseconds: 0))
    #expect(!(WallTime(milliseconds: 0) < WallTime(milliseconds: 0)))
  }
}
