@testable import TinybirdOutbox

/// Runs `LaneStateMachine` as `Lane` and `DeliveryEngine` do.
extension SimulatedWorld {
  // MARK: The engine

  func look() {
    // A lane that reads itself anew holds the engine up: what changes meanwhile is seen at its next look.
    guard isUp, canLook else { return }
    seenVersion = store.version
    for index in lanes.indices where store.lanes[index].record.nextSequence > 1 {
      let record = store.lanes[index].record
      guard let lane = lanes[index] else {
        let machine = LaneStateMachine(
          record, batches: store.lanes[index].pendingBatches, settings: settings, now: now, wallNow: wallNow)
        lanes[index] = SimulatedLane(index, machine: machine, record: record)
        continue
      }
      if record.commandCount != lane.commandCount {
        read(lane, hasUnbatched: record.hasUnbatched)
      } else {
        if record.hasUnbatched { lane.machine.appended() }
        lane.isSignalled = true
      }
    }
  }

  var canLook: Bool { !isStopping && seenVersion != store.version && lanes.allSatisfy { $0?.reading == nil } }

  private func read(_ lane: SimulatedLane, hasUnbatched: Bool, tries: Int = 1) {
    lane.reading = SimulatedLane.Reading(
      changeCount: lane.changeCount, record: store.lanes[lane.index].record,
      batches: store.lanes[lane.index].pendingBatches, sending: store.lanes[lane.index].batchesBeingSent, tries: tries,
      hasUnbatched: hasUnbatched)
  }

  func finishReading(_ lane: SimulatedLane) {
    guard let reading = lane.reading else { return }
    if reading.changeCount != lane.changeCount, reading.tries < 10 {
      read(lane, hasUnbatched: reading.hasUnbatched, tries: reading.tries + 1)
      return
    }
    lane.reading = nil
    if reading.changeCount == lane.changeCount {
      lane.machine.reload(
        reading.record, batches: reading.batches, sending: reading.sending, now: now, wallNow: wallNow)
      lane.commandCount = reading.record.commandCount
      lane.watch.reloaded(
        reading, unsettled: requests(of: lane), lastSettled: lane.lastSettled, settings, now: now,
        wallJumped: wallJumped)
    }
    if reading.hasUnbatched { lane.machine.appended() }
    lane.isSignalled = true
  }

  // MARK: The lane's loop

  func run(_ lane: SimulatedLane) {
    guard lane.isRunnable(now: now) else { return }
    switch lane.loop {
    case .planned(nil, let mark):
      lane.changeCount += 1
      lane.machine.formed(nil, mark: mark, now: now)
      lane.watch.probeEnded()
      lane.loop = .ready
    case .planned(let plan?, let mark):
      lane.loop = .forming
      enqueue(.form(lane: lane.index, plan, mark: mark), byteCount: 0)
    case .asleep:
      wake(lane)
    case .ready, .marking, .forming, .ended:
      next(lane)
    }
  }

  private func wake(_ lane: SimulatedLane) {
    lane.isSignalled = false
    lane.loop = .ready
    if let at = nextTokenCheck(lane), at <= now, let known = lane.lastToken?.token {
      lane.lastToken = (token, now)
      if token != known {
        lane.machine.credentialsChanged(now: now)
        lane.watch.credentialsChanged()
        count("new token")
      }
    }
    guard let graceEnds, graceEnds <= now else { return }
    for index in requests.indices where requests[index].lane == lane.index && requests[index].settlement == nil {
      service.abandon(requests[index])
      judge(index, .noAnswer(.cancelled), rows: 0)
      count("cut short")
    }
    lane.loop = .ended
    endShutdown()
  }

  private func next(_ lane: SimulatedLane) {
    switch lane.machine.next(now: now) {
    case .send(let batch):
      checkStart(lane, batch)
      lane.loop = .marking
      enqueue(.mark(lane: lane.index, batch), byteCount: 0)
    case .form(let limits):
      checkStart(lane, nil)
      lane.loop = .planned(store.plan(lane.index, limits), mark: lane.machine.formingMark)
    case .wait(let until):
      require(until.map { $0 > now } ?? true, "the lane asks to be woken at once, for ever")
      lane.loop = .asleep(until: [until, graceEnds, nextTokenCheck(lane)].compactMap { $0 }.min())
    case .finish:
      require(isStopping && requests(of: lane).isEmpty, "the lane finished with a request under way")
      lane.loop = .ended
      endShutdown()
    }
  }

  private func nextTokenCheck(_ lane: SimulatedLane) -> LaneTime? {
    guard lane.machine.isHeldByService, graceEnds == nil, let last = lane.lastToken else { return nil }
    return last.at + settings.tokenCheckInterval
  }

  func requests(of lane: SimulatedLane) -> [SimulatedRequest] { requests.filter { $0.lane == lane.index } }

  // MARK: One request

  func marked(_ lane: SimulatedLane, _ batch: Batch) {
    lane.changeCount += 1
    lane.loop = .ready
    send(batch, from: lane.index)
  }

  func startFailed(_ lane: SimulatedLane, _ batch: Batch) {
    count("start failed")
    lane.machine.startFailed(batch.id, now: now)
    lane.watch.probeEnded()
    lane.loop = .ready
  }

  func formed(_ lane: SimulatedLane, _ batch: Batch, mark: Int) {
    lane.changeCount += 1
    lane.machine.formed(batch, mark: mark, now: now)
    lane.loop = .ready
    send(batch, from: lane.index)
  }

  func formingFailed(_ lane: SimulatedLane) {
    count("forming failed")
    lane.machine.formingFailed(now: now)
    lane.watch.probeEnded()
    lane.loop = .ready
  }

  func send(_ batch: Batch, from lane: Int) {
    lastRequestID += 1
    let startNumber = lanes[lane]?.watch.sent() ?? 0
    requests.append(
      SimulatedRequest(
        id: lastRequestID, lane: lane, batch: batch, sequences: store.lanes[lane].sequences(of: batch), token: token,
        startNumber: startNumber))
    if isExpired(batch) {
      judge(requests.count - 1, .expired, nil, rows: 0)
    } else {
      lanes[lane]?.lastToken = (token, now)
    }
  }

  func isExpired(_ batch: Batch) -> Bool {
    guard let age = settings.maximumAge, let committedAt = batch.committedAt else { return false }
    return wallNow.duration(since: committedAt) >= age
  }

  func answer(_ index: Int, _ reply: ServiceReply) {
    let request = requests[index]
    let events = request.sequences.map { store.lanes[request.lane].event($0) }
    let answer =
      reply.answer(eventCount: events.count)
      ?? service.honestAnswer(
        to: request, events: events, limit: scenario.serviceLimitBytes, acceptsToken: request.token == acceptedToken)
    let inserted: ArraySlice<Int64>
    switch answer.rows {
    case .none: inserted = []
    case .firstHalf: inserted = request.sequences.prefix((request.sequences.count + 1) / 2)
    case .all: inserted = request.sequences[...]
    case .later:
      inserted = []
      service.abandon(request)
    }
    if !inserted.isEmpty {
      service.insert(request.lane, inserted)
      changed.insert(request.lane)
    }
    judge(index, withLimit(answer.outcome, request.lane), rows: inserted.count)
  }

  /// The answer with what it says of the service's limit.
  private func withLimit(_ outcome: Outcome, _ lane: Int) -> Outcome {
    guard let limit = scenario.serviceRequestsPerSecond, case .answered(var answer) = outcome else { return outcome }
    answer.rateLimitLeft = service.countRequest(lane, limit: limit, time: time)
    return .answered(answer)
  }

  private func judge(_ index: Int, _ outcome: Outcome, rows: Int) {
    let request = requests[index]
    if case .answered(let answer) = outcome, let left = answer.rateLimitLeft, let lane = lanes[request.lane] {
      count("told what is left")
      lane.machine.note(left, answerTo: request.batch.id, now: now)
      lane.watch.noted(left, answerTo: request.startNumber, settings, now: now)
    }
    judge(index, Verdict(outcome, overrides: settings.verdictOverrides), outcome, rows: rows)
  }

  /// `outcome` is nil where nothing was asked.
  private func judge(_ index: Int, _ verdict: Verdict, _ outcome: Outcome?, rows: Int) {
    let request = requests[index]
    guard let lane = lanes[request.lane] else { return }
    var settlement = lane.machine.judge(
      request.batch.id, verdict, status: outcome?.status, now: now, fraction: .random(in: 0..<1, using: &random))
    if outcome == nil { settlement.isCounted = false }
    count(verdict.name)
    if case .dead(let reason) = settlement.change { count("dead: \(reason.rawValue)") }
    if request.batch.isolation == .refusedInPart { count("refused in part") }
    if let outcome {
      checkVerdict(settlement, outcome, request, rows: rows, lane.watch.hold)
    } else {
      require(settlement.change == .dead(.expired), "\(settlement.change) of a batch that has waited too long")
    }
    lane.watch.judged(settlement, outcome, settings, now: now)
    requests[index].settlement = settlement
    requests[index].judgedAt = now
    lastJudgeNumber += 1
    requests[index].judgeNumber = lastJudgeNumber
    settleNext(of: lane)
  }

  /// A lane's answers are written down one after the other, in the order in which they were judged.
  private func settleNext(of lane: SimulatedLane) {
    let judged = requests.indices.filter { requests[$0].lane == lane.index && requests[$0].settlement != nil }
    guard let first = judged.min(by: { requests[$0].judgeNumber < requests[$1].judgeNumber }),
      !judged.contains(where: { requests[$0].isSettling })
    else { return }
    requests[first].isSettling = true
    enqueue(.settle(requests[first].id), byteCount: 0)
  }

  func settleAgain(_ id: SimulatedRequest.ID) {
    guard let index = requests.firstIndex(where: { $0.id == id }) else { return }
    count("settled again")
    requests[index].settleFailures += 1
    let delay = settings.retryPolicy.delay(
      failures: requests[index].settleFailures, fraction: .random(in: 0..<1, using: &random))
    requests[index].settleAgainAt = now + max(.milliseconds(1), min(delay, .seconds(5)))
  }

  func settled(_ id: SimulatedRequest.ID, _ parts: [Batch]) {
    guard let index = requests.firstIndex(where: { $0.id == id }), let settlement = requests[index].settlement,
      let lane = lanes[requests[index].lane]
    else { return require(false, "an answer was settled twice") }
    let number = requests.remove(at: index).judgeNumber
    require(number > lane.lastSettled, "an answer was written down after a later one")
    lane.lastSettled = number
    lane.changeCount += 1
    lane.machine.settled(settlement, parts: parts)
    lane.isSignalled = true
    settleNext(of: lane)
  }
}
