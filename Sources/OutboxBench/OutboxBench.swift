internal import ArgumentParser

/// How fast this machine's disk takes events, with the outbox and without.
///
/// The contenders of a case run in turn, round by round, on one file system, so that what the machine does besides falls
/// on all of them; what is printed are medians over the rounds, with the spread.
@main
struct OutboxBench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "outbox-bench",
    abstract: "Measure appending on this disk: the outbox beside hand-written SQLite and a bare file.",
    discussion: """
      Every contender syncs before it counts an event as stored. Example:

        outbox-bench --directory /var/lib/app --rounds 7
      """)

  @Option(help: "Where the files are made; they are removed afterwards.")
  var directory = "."

  @Option(help: "How often each contender runs.")
  var rounds = 5

  @Option(help: "Seconds that a contender runs in a round.")
  var seconds = 1.0

  func validate() throws {
    guard rounds >= 1 else { throw ValidationError("--rounds must be at least 1") }
    guard seconds > 0 else { throw ValidationError("--seconds must be above 0") }
  }

  func run() async throws {
    let events = SampleEvents.bookings(count: 10_000)
    let byteCount = events.reduce(0) { $0 + $1.utf8.count } / events.count
    print("events of \(byteCount) bytes; \(rounds) rounds of \(seconds) s each; directory \(directory)")
    for `case` in AppendCase.all {
      let results = try await `case`.run(
        events, rounds: rounds, duration: .seconds(seconds), directory: directory)
      print("\n\(`case`.name)")
      print(ResultTable(results).text)
    }
  }
}
