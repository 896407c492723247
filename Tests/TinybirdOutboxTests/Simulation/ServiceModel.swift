@testable import TinybirdOutbox

/// The service: how often it has inserted each event, and what it may still insert of requests that we gave up.
struct ServiceModel {
  private struct Abandoned {
    var lane: Int
    var sequences: [Int64]
  }

  var weather = ServiceWeather.clear
  /// How often each event was inserted: by lane, then by sequence number from 1.
  private(set) var inserted: [[Int]]
  private var abandoned: [Abandoned] = []
  /// The events that were there for the first time since somebody last asked.
  private(set) var firstInsertions: [(lane: Int, sequence: Int64)] = []

  /// The window of one second in which requests are counted, by lane.
  private var windows: [(end: Duration, count: Int)]

  init(laneCount: Int) {
    inserted = Array(repeating: [], count: laneCount)
    windows = Array(repeating: (.zero, 0), count: laneCount)
  }

  /// One more request of a lane; returns what the service says is left of `limit`.
  mutating func countRequest(_ lane: Int, limit: Int, time: Duration) -> RateLimitLeft {
    if windows[lane].end <= time { windows[lane] = (time + .seconds(1), 0) }
    windows[lane].count += 1
    return RateLimitLeft(requests: max(0, limit - windows[lane].count), reset: windows[lane].end - time)
  }

  func insertions(_ lane: Int, _ sequence: Int64) -> Int {
    inserted[lane].count < sequence ? 0 : inserted[lane][Int(sequence) - 1]
  }

  var mayInsertLate: Bool { !abandoned.isEmpty }

  mutating func insert(_ lane: Int, _ sequences: some Collection<Int64>) {
    for sequence in sequences {
      while inserted[lane].count < sequence { inserted[lane].append(0) }
      inserted[lane][Int(sequence) - 1] += 1
      if inserted[lane][Int(sequence) - 1] == 1 { firstInsertions.append((lane, sequence)) }
    }
  }

  mutating func forgetFirstInsertions() { firstInsertions = [] }

  /// We do not wait for this one any more; it may be on its way all the same.
  mutating func abandon(_ request: SimulatedRequest) {
    abandoned.append(Abandoned(lane: request.lane, sequences: request.sequences))
  }

  /// Returns the lane; nil where nothing is on its way.
  mutating func commitLate(_ index: Int) -> Int? {
    guard !abandoned.isEmpty else { return nil }
    let late = abandoned.remove(at: index % abandoned.count)
    insert(late.lane, late.sequences)
    return late.lane
  }

  /// What an honest service says, and does.
  func honestAnswer(
    to request: SimulatedRequest, events: [StoreModel.Event], limit: Int, acceptsToken: Bool
  ) -> ServiceAnswer {
    if let answer = weather.reply?.answer(eventCount: events.count) { return answer }
    guard acceptsToken else { return .status(403) }
    guard request.batch.byteCount <= limit else { return .status(413) }
    guard !events.contains(where: \.isGuilty) else { return .status(400) }
    guard !events.contains(where: \.isFailing) else { return .status(500) }
    return .delivered(successful: events.count)
  }
}
