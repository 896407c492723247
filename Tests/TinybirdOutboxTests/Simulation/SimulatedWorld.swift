import OutboxTestSupport

@testable import TinybirdOutbox

/// Everything there is: the file, the service, the clocks, and one process at a time that appends and delivers.
///
/// The process does with each action of the machines what `Committer`, `Lane` and `DeliveryEngine` do, except that
/// every point at which those may be suspended is a step of its own.
final class SimulatedWorld {
  let scenario: Scenario
  let settings: LaneSettings

  // What outlives a process.
  var store: StoreModel
  var service: ServiceModel
  var random: SeededRandom
  /// By a clock that nobody sets.
  var time = Duration.zero
  private var wallSkewMilliseconds: Int64 = 0
  /// The token that the application has, and the one that the service takes.
  var token = 0
  var acceptedToken = 0
  /// Calls of `append` that have no answer yet.
  var callers: [SimulatedCaller] = []
  var lastEventID = 0
  /// The lanes of which the file, or what the service has, changed in this step.
  var changed: Set<Int> = []
  /// The highest sequence number that was acknowledged, by lane.
  var acknowledged: [Int64]
  /// The first thing that was not as it must be.
  private(set) var violation: String?
  /// How often each thing happened that a test wants to have seen.
  var tally: [String: Int] = [:]

  // What a process holds in memory.
  var isUp = false
  var isStopping = false
  var startedAt = Duration.zero
  var wallJumped = false
  var graceEnds: LaneTime?
  var committer: CommitStateMachine
  var waiting: [CommitStateMachine.ID: CommitWork] = [:]
  var group: [CommitWork]?
  /// What a group did that is committed, while nobody was told.
  var storedResults: [CommitResult]?
  var isGroupDue = false
  var lastCommitID: CommitStateMachine.ID = 0
  var lastCommittedAppend: CommitStateMachine.ID = 0
  var lanes: [SimulatedLane?]
  var requests: [SimulatedRequest] = []
  var lastRequestID = 0
  var lastJudgeNumber = 0
  var seenVersion: Int?

  init(_ scenario: Scenario) {
    self.scenario = scenario
    settings = scenario.laneSettings
    store = StoreModel(laneCount: scenario.laneCount)
    service = ServiceModel(laneCount: scenario.laneCount)
    random = SeededRandom(seed: scenario.jitterSeed)
    acknowledged = Array(repeating: 0, count: scenario.laneCount)
    committer = CommitStateMachine(
      maximumWaitingBytes: scenario.maximumWaitingBytes, maximumCommitBytes: scenario.maximumWaitingBytes / 2)
    lanes = Array(repeating: nil, count: scenario.laneCount)
    startProcess()
  }

  /// By the process's own clock.
  var now: LaneTime { time - startedAt }
  var wallNow: WallTime {
    WallTime(milliseconds: 1_800_000_000_000 + wallSkewMilliseconds) + time
  }

  func require(_ isTrue: Bool, _ what: @autoclosure () -> String) {
    if !isTrue, violation == nil { violation = what() }
  }

  func count(_ what: String) { tally[what, default: 0] += 1 }

  // MARK: Steps

  /// The invariants are checked after every step, where the step changed what they speak of.
  func apply(_ step: SimulationStep) {
    perform(step)
    checkStore()
    checkMemory()
  }

  private func perform(_ step: SimulationStep) {
    switch step {
    case .append(let lane, let count, let bytes, let guilty, let isSpread):
      append(lane: lane % lanes.count, count: count, bytes: bytes, guilty: guilty, isSpread: isSpread)
    case .cancel(let caller): cancel(caller)
    case .takeGroup: takeGroup()
    case .endGroup(let succeeds): endGroup(succeeds: succeeds)
    case .storeGroup: storeGroup()
    case .look: look()
    case .reload(let lane): lanes[lane % lanes.count].map(finishReading)
    case .run(let lane): lanes[lane % lanes.count].map(run)
    case .answer(let request, let reply):
      let open = requests.indices.filter { requests[$0].settlement == nil }
      if !open.isEmpty { answer(open[request % open.count], reply) }
    case .lateCommit(let request): service.commitLate(request).map { _ = changed.insert($0) }
    case .clock(let milliseconds): pass(.milliseconds(milliseconds))
    case .sleep: nextMoment.map { pass(max(.zero, $0 - now)) }
    case .wallClock(let milliseconds):
      wallSkewMilliseconds += milliseconds
      wallJumped = true
    case .command(let lane, let command): operate(lane % lanes.count, command)
    case .weather(let weather): service.weather = weather
    case .token(let change): changeToken(change)
    case .crash(let isStored): if isUp { crash(isStored: isStored) }
    case .stop: stop()
    case .start: if !isUp { startProcess() }
    }
  }

  /// Time passes, and settles whose wait is over are tried again.
  private func pass(_ duration: Duration) {
    time += duration
    for index in requests.indices {
      guard let at = requests[index].settleAgainAt, at <= now else { continue }
      requests[index].settleAgainAt = nil
      enqueue(.settle(requests[index].id), byteCount: 0)
    }
  }

  /// The next moment that anybody in this process waits for.
  var nextMoment: LaneTime? {
    let sleeps = lanes.compactMap { lane -> LaneTime? in
      if case .asleep(let until?)? = lane?.loop { until } else { nil }
    }
    return (sleeps + requests.compactMap(\.settleAgainAt)).filter { $0 > now }.min()
  }

  private func changeToken(_ change: TokenChange) {
    switch change {
    case .revoked: acceptedToken = -1
    case .restored: acceptedToken = token
    case .replaced:
      token += 1
      acceptedToken = token
    }
  }

  // MARK: The process

  func startProcess() {
    store.recoverInterrupted()
    changed.formUnion(store.lanes.indices)
    isUp = true
    isStopping = false
    startedAt = time
    wallJumped = false
    graceEnds = nil
    committer = CommitStateMachine(
      maximumWaitingBytes: scenario.maximumWaitingBytes, maximumCommitBytes: scenario.maximumWaitingBytes / 2)
    waiting = [:]
    group = nil
    storedResults = nil
    isGroupDue = false
    lastCommitID = 0
    lastCommittedAppend = 0
    lanes = Array(repeating: nil, count: scenario.laneCount)
    requests = []
    seenVersion = nil
  }

  private func crash(isStored: Bool) {
    count("crash")
    // Nobody is told, but what the disk has, it has.
    if isStored, storedResults == nil, let group { _ = applyToStore(group) }
    for request in requests where request.settlement == nil { service.abandon(request) }
    callers = []
    startProcess()
  }

  private func stop() {
    guard isUp, !isStopping else { return }
    count("stop")
    isStopping = true
    graceEnds = now + .seconds(10)
    for case let lane? in lanes {
      lane.machine.stop()
      lane.isSignalled = true
    }
    endShutdown()
  }

  /// When every lane has ended and every answer is written down, the process closes the outbox and is gone.
  func endShutdown() {
    let hasEnded = lanes.allSatisfy { $0 == nil || $0?.loop == .ended }
    guard isStopping, hasEnded, requests.isEmpty, group == nil, !isGroupDue else { return }
    for id in committer.close() { if let work = waiting.removeValue(forKey: id) { refuse(work) } }
    require(waiting.isEmpty, "the outbox closed over work that was queued")
    isUp = false
    isStopping = false
    lanes = Array(repeating: nil, count: scenario.laneCount)
  }
}
