import OutboxTestSupport

@testable import TinybirdOutbox

/// Chooses the steps of a seed while the world runs, so that most of them have something to do.
///
/// Each seed has a temper of its own: how often the service fails, and in which ways; how often there are crashes,
/// failed commits, commands. A run in which everything fails all the time would see little.
struct StepGenerator {
  private var random: SeededRandom
  private let faultPercent: Int
  private let replies: [ServiceReply]
  private let commitFailurePercent: Int
  private let lifePercent: Int
  private let commandPercent: Int
  private let weatherPercent: Int
  private let guiltyPercent: Int
  private let largestEvent: Int

  let scenario: Scenario
  let stepCount: Int

  /// With each of them everything ends that may.
  private static let overrides: [[Int: StatusVerdict]?] = [
    nil, nil, nil, nil, [500: .deadLetter], [500: .hold], [400: .deadLetter], [404: .retry, 403: .retry],
    [409: .delivered, 402: .deadLetter], [413: .deadLetter, 301: .retry], [422: .retry, 418: .isolate],
    [503: .deadLetterAndHold, 401: .hold],
  ]

  init(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    func pick<Value>(_ values: [Value], _ random: inout SeededRandom) -> Value {
      values[Int.random(in: values.indices, using: &random)]
    }
    faultPercent = pick([0, 20, 50, 90], &random)
    replies = (0..<Int.random(in: 1...12, using: &random)).map { _ in pick(ServiceReply.allCases, &random) }
    commitFailurePercent = pick([0, 0, 5, 30], &random)
    lifePercent = pick([0, 1, 4], &random)
    commandPercent = pick([0, 2, 8], &random)
    weatherPercent = pick([0, 1, 3], &random)
    guiltyPercent = pick([0, 10, 40], &random)
    largestEvent = pick([100, 400, 2_000], &random)
    stepCount = Int.random(in: 40...200, using: &random)
    let isStrict = Int.random(in: 0..<3, using: &random) == 0
    scenario = Scenario(
      jitterSeed: seed, laneCount: Int.random(in: 1...3, using: &random), isStrict: isStrict,
      maximumInFlight: isStrict ? 1 : Int.random(in: 1...4, using: &random),
      maximumBatchEvents: pick([2, 8, 40], &random), maximumBatchBytes: pick([500, 4_000, 100_000], &random),
      maximumWaitingBytes: pick([300, 2_000, 1_000_000], &random),
      serviceLimitBytes: pick([largestEvent / 2, 3_000, 1_000_000, 1_000_000], &random),
      requestsPerSecond: pick([2, 20, .greatestFiniteMagnitude], &random),
      resumesByHand: Bool.random(using: &random), failingEvery: pick([nil, nil, nil, 30, 8], &random),
      maximumAttempts: pick([nil, nil, nil, 1, 4], &random),
      maximumAgeSeconds: pick([nil, nil, nil, nil, 60, 7_200], &random),
      overrides: pick(Self.overrides, &random), serviceRequestsPerSecond: pick([nil, nil, 1, 10], &random))
    self.random = random
  }

  mutating func next(_ world: SimulatedWorld) -> SimulationStep {
    guard world.isUp else { return chance(70) ? .start : .clock(milliseconds: 500) }
    if chance(lifePercent) { return disturb() }
    if chance(commandPercent) {
      let isolates = scenario.failingEvery != nil && chance(30)
      return .command(lane: number(below: 3), command: isolates ? .isolate : element(OperatorCommand.allCases))
    }
    if chance(weatherPercent) {
      return chance(50)
        ? .weather(now: element(ServiceWeather.allCases)) : .token(change: element(TokenChange.allCases))
    }
    if chance(12) { return append() }
    if chance(2) { return .cancel(caller: number(below: 8)) }
    if chance(3), world.service.mayInsertLate { return .lateCommit(request: number(below: 8)) }
    if world.isStopping, chance(25) { return .sleep }
    let isAnyOpen = world.requests.contains { $0.settlement == nil }
    if isAnyOpen, chance(25) {
      return .answer(
        request: number(below: 8), reply: chance(faultPercent) ? element(replies) : .honest)
    }
    return work(world) ?? (isAnyOpen && chance(70) ? .answer(request: number(below: 8), reply: .honest) : rest())
  }

  /// Something that the process does by itself; nil where it has nothing to do.
  private mutating func work(_ world: SimulatedWorld) -> SimulationStep? {
    var steps: [SimulationStep] = []
    if world.isGroupDue { steps.append(.takeGroup) }
    if world.group != nil {
      let mayStore = world.storedResults == nil && chance(30)
      steps.append(mayStore ? .storeGroup : .endGroup(succeeds: !chance(commitFailurePercent)))
    }
    if world.canLook { steps.append(.look) }
    for case let lane? in world.lanes {
      if lane.reading != nil { steps.append(.reload(lane: lane.index)) }
      if lane.isRunnable(now: world.now) { steps.append(.run(lane: lane.index)) }
    }
    return steps.isEmpty ? nil : element(steps)
  }

  private mutating func rest() -> SimulationStep {
    chance(40) ? append() : chance(80) ? .sleep : .clock(milliseconds: number(below: 30_000))
  }

  private mutating func append() -> SimulationStep {
    let count = 1 + number(below: chance(10) ? 24 : 4)
    return .append(
      lane: number(below: 3), count: count, bytes: 10 + number(below: largestEvent),
      guilty: chance(guiltyPercent) ? number(below: count) : -1, isSpread: chance(10))
  }

  private mutating func disturb() -> SimulationStep {
    switch number(below: 10) {
    case 0..<6: .crash(isStored: chance(50))
    case 6..<8: .stop
    default:
      .wallClock(milliseconds: element([-3_600_000, -1_000, 1_000, 60_000, 3_600_000, 86_400_000_000]))
    }
  }

  private mutating func chance(_ percent: Int) -> Bool { number(below: 100) < percent }
  private mutating func number(below limit: Int) -> Int { Int(random.next() % UInt64(limit)) }
  private mutating func element<Value>(_ values: [Value]) -> Value { values[number(below: values.count)] }
}
