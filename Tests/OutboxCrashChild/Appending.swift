import TinybirdOutbox

/// Appends, and says what was acknowledged.
///
/// Options: `writer` begins the identity of each event, `tasks` append at once (1), each makes `calls` (10), or goes on
/// for `seconds`; `size` is the bytes of padding of an event (40), and in each `bad`-th call of four events one is such that
/// the service is told to refuse it.
struct Appending: Sendable {
  private let outbox: Outbox
  private let writer: String
  private let tasks: Int
  private let calls: Int
  private let end: ContinuousClock.Instant?
  private let padding: String
  private let badEvery: Int

  init(_ outbox: Outbox, _ options: [String: String]) {
    self.outbox = outbox
    writer = options["writer"] ?? "w"
    tasks = options["tasks"].flatMap(Int.init) ?? 1
    end = options["seconds"].flatMap(Int.init).map { .now + .seconds($0) }
    calls = options["calls"].flatMap(Int.init) ?? (end == nil ? 10 : .max)
    padding = String(repeating: "x", count: options["size"].flatMap(Int.init) ?? 40)
    badEvery = options["bad"].flatMap(Int.init) ?? .max
  }

  func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<tasks {
        group.addTask {
          var call = 0
          while call < calls, end.map({ .now < $0 }) ?? true {
            // Beside a good one in its chunk: a lane that is told nothing but refusals holds.
            let isBad = call % 4 == 3 && (call / 4 + 1).isMultiple(of: badEvery)
            try await append("\(writer).\(task).\(call)", count: 1 + call % 4, isBad: isBad)
            call += 1
          }
        }
      }
      try await group.waitForAll()
    }
  }

  /// One call: its events carry its name and size, so that it can be told whether it is there as a whole.
  private func append(_ call: String, count: Int, isBad: Bool) async throws {
    let events = (0..<count).map { index in
      OutboxEvent(
        #"{"id":"\#(call).\#(index)","of":\#(count),"bad":\#(isBad && index == 1),"pad":"\#(padding)"}"#,
        to: index.isMultiple(of: 3) ? "clicks" : "orders")
    }
    let receipt = try await outbox.append(contentsOf: events)
    OutboxCrashChild.say("ack \(call) \(count) \(receipt)")
  }
}
