internal import Foundation

@testable import TinybirdOutbox

/// What one run of the simulation is made of: enough to repeat it exactly, without the generator that chose it.
///
/// As text it is JSON, one object a line: the scenario, then the steps.
struct SimulationScript: Equatable {
  var scenario: Scenario
  var steps: [SimulationStep]

  init(scenario: Scenario, steps: [SimulationStep]) {
    self.scenario = scenario
    self.steps = steps
  }

  init(text: String) throws {
    let lines = text.split(separator: "\n").map { Data($0.utf8) }
    let decoder = JSONDecoder()
    scenario = try decoder.decode(Scenario.self, from: lines.first ?? Data())
    steps = try lines.dropFirst().map { try decoder.decode(SimulationStep.self, from: $0) }
  }

  func text() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let lines = try [encoder.encode(scenario)] + steps.map(encoder.encode)
    return lines.map { String(decoding: $0, as: UTF8.self) + "\n" }.joined()
  }
}

/// The limits of one run.
struct Scenario: Codable, Equatable {
  /// Of the jitter in waits, and of nothing else.
  var jitterSeed: UInt64
  var laneCount: Int
  var isStrict: Bool
  var maximumInFlight: Int
  var maximumBatchEvents: Int
  var maximumBatchBytes: Int
  var maximumWaitingBytes: Int
  /// A larger request is answered with 413.
  var serviceLimitBytes: Int
  var requestsPerSecond: Double
  /// In the end the operator resumes every lane; else probes have to end what the service made the lane hold.
  var resumesByHand: Bool
  // What scripts that were kept may not know.
  /// The service fails, for ever, on every event whose number divides by this.
  var failingEvery: Int?
  var maximumAttempts: Int?
  var maximumAgeSeconds: Int?
  /// The application's own verdicts.
  var overrides: [Int: StatusVerdict]?
  /// The service takes so many requests a second, and says with each answer how many are left.
  var serviceRequestsPerSecond: Int?

  var laneSettings: LaneSettings {
    LaneSettings(
      limits: BatchLimits(maximumBytes: maximumBatchBytes, maximumEvents: maximumBatchEvents),
      probeLimits: BatchLimits(maximumBytes: 300, maximumEvents: maximumBatchEvents),
      rateLimits: RateLimits(requestsPerSecond: requestsPerSecond, bytesPerSecond: 1e9), retryPolicy: RetryPolicy(),
      isStrict: isStrict, maximumInFlight: isStrict ? 1 : maximumInFlight, holdProbeInterval: .seconds(900),
      tokenCheckInterval: .seconds(200), verdictOverrides: overrides ?? [:], maximumAttempts: maximumAttempts,
      maximumAge: maximumAgeSeconds.map { .seconds($0) })
  }
}

/// One thing that happens.
///
/// Numbers that choose among many are taken modulo how many there are, and a step that finds nothing to do does
/// nothing: so that any steps can be left out of a script.
enum SimulationStep: Codable, Equatable {
  /// A caller appends events of so many bytes each; event number `guilty`, if there is one, is refused by the service
  /// for ever. `isSpread`: one more event goes to the next data source, in the same call.
  case append(lane: Int, count: Int, bytes: Int, guilty: Int, isSpread: Bool)
  case cancel(caller: Int)
  /// The writer takes what is queued, then commits it, or fails.
  case takeGroup
  case endGroup(succeeds: Bool)
  /// It is committed, and nobody who waits for it was told yet: the next `endGroup` does that.
  case storeGroup
  /// The engine looks at what has changed.
  case look
  /// The reading of a lane, after a command, reaches the lane.
  case reload(lane: Int)
  /// The lane's loop goes on, if it is not asleep.
  case run(lane: Int)
  case answer(request: Int, reply: ServiceReply)
  /// The service commits a request that we gave up, or crashed on, long ago.
  case lateCommit(request: Int)
  case clock(milliseconds: Int)
  /// Time passes until the next moment that anybody waits for.
  case sleep
  /// Somebody sets the clock on the wall.
  case wallClock(milliseconds: Int64)
  case command(lane: Int, command: OperatorCommand)
  case weather(now: ServiceWeather)
  case token(change: TokenChange)
  /// The process is killed; a group under way was stored, or was not. Another process starts at once.
  case crash(isStored: Bool)
  case stop
  /// After a shutdown has ended, the next process.
  case start
}

enum OperatorCommand: String, Codable, CaseIterable {
  case hold, resume, resumeReplayingCause, deliverNow, replay, replayThatMayDuplicate, discard, isolate
}

enum TokenChange: String, Codable, CaseIterable {
  /// The service does not take the token any more.
  case revoked
  /// The service takes it again.
  case restored
  /// The application has a new one, which the service takes.
  case replaced
}
