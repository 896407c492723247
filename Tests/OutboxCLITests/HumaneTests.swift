import Foundation
import Testing

@testable import OutboxCLI

@Suite struct HumaneTests {
  @Test(arguments: [
    (0, "0"), (7, "7"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567"), (-1234, "-1,234"),
  ])
  func counts(number: Int, text: String) {
    #expect(Humane.count(number) == text)
  }

  @Test func countsWithNouns() {
    #expect(Humane.count(0, "event") == "0 events")
    #expect(Humane.count(1, "event") == "1 event")
    #expect(Humane.count(2000, "event") == "2,000 events")
    #expect(Humane.count(2, "batch", "batches") == "2 batches")
  }

  @Test(arguments: [
    (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1234, "1.2 kB"), (99_949, "99.9 kB"), (99_950, "100 kB"),
    (346_000, "346 kB"), (999_499, "999 kB"), (999_500, "1.0 MB"), (12_345_678, "12.3 MB"), (5_000_000_000, "5.0 GB"),
    (7_200_000_000_000, "7.2 TB"), (7_200_000_000_000_000, "7,200 TB"),
  ])
  func bytes(number: Int, text: String) {
    #expect(Humane.bytes(number) == text)
  }

  @Test(arguments: [
    (0, "0 ms"), (850, "850 ms"), (999, "999 ms"), (1000, "1.0 s"), (59_949, "59.9 s"), (59_950, "1 min"),
    (125_000, "2 min 5 s"), (3_599_499, "59 min 59 s"), (3_599_500, "1 h"), (12_000_000, "3 h 20 min"),
    (86_400_000, "1 d"), (367_200_000, "4 d 6 h"),
  ])
  func durations(milliseconds: Int64, text: String) {
    #expect(Humane.duration(.milliseconds(milliseconds)) == text)
  }

  @Test(arguments: [
    (0.0, "now"), (0.4, "now"), (12, "12 s ago"), (-3, "in 3 s"), (59.6, "1 min ago"), (200, "3 min ago"),
    (-200, "in 3 min"), (8400, "2 h 20 min ago"), (100_000, "1 d 3 h ago"),
  ])
  func relativeTimes(seconds: Double, text: String) {
    let now = Date(timeIntervalSince1970: 1_800_000_000)
    #expect(Humane.relative(now.addingTimeInterval(-seconds), to: now) == text)
  }

  @Test(arguments: [
    ("500ms", 500), ("2s", 2000), ("1.5s", 1500), ("5m", 300_000), ("2h", 7_200_000), ("7d", 604_800_000), ("0s", 0),
    (".5s", 500),
  ])
  func durationArguments(text: String, milliseconds: Int64) {
    #expect(DurationArgument(argument: text)?.duration == .milliseconds(milliseconds))
  }

  @Test(arguments: ["1d", "36h", "5m", "90s", "2500ms", "0ms"])
  func aDefaultIsWrittenAsItIsTyped(text: String) {
    #expect(DurationArgument(argument: text)?.defaultValueDescription == text)
  }

  @Test(arguments: [
    "", "s", "5", "5 s", "-1s", "1e3s", "infs", "0x10s", "1.2.3s", "5min", "99999999999d", "1,5s", "５s",
  ])
  func durationsThatAreNone(text: String) {
    #expect(DurationArgument(argument: text) == nil)
  }

  @Test(arguments: [
    ("2026-11-21T04:05:06Z", 1_795_233_906.0), ("2026-11-21T04:05:06.250Z", 1_795_233_906.25),
    ("2026-11-21T05:05:06+01:00", 1_795_233_906), ("2026-11-21", 1_795_219_200),
  ])
  func moments(text: String, seconds: Double) throws {
    let date = try #require(MomentArgument(argument: text)?.date)
    #expect(abs(date.timeIntervalSince1970 - seconds) < 0.001)
  }

  @Test func aMomentMayBeADurationAgo() throws {
    let date = try #require(MomentArgument(argument: "2h")?.date)
    #expect(abs(date.timeIntervalSinceNow + 7200) < 60)
    #expect(MomentArgument(argument: "yesterday") == nil)
    #expect(MomentArgument(argument: "2026-13-01") == nil)
  }

  @Test func aRateIsThatOfTheLastSeconds() {
    var rate = RecentRate()
    #expect(rate.perSecond == 0)
    rate.note(100, at: .milliseconds(500))
    #expect(rate.perSecond == 200)
    for second in 1...60 { rate.note(100 + second * 10, at: .seconds(second)) }
    #expect(rate.perSecond == 10)
    for second in 61...70 { rate.note(700, at: .seconds(second)) }
    #expect(rate.perSecond == 0)
  }
}
