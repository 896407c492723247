@testable import TinybirdOutbox

/// What must hold after every step.
extension SimulatedWorld {
  // MARK: The file, against what the service has

  func checkStore() {
    guard !changed.isEmpty else { return }
    for index in changed where !store.lanes[index].events.isEmpty {
      let lane = store.lanes[index]
      checkRanges(lane, index)
      checkDeadLetters(lane, index)
      require(
        lane.events.count == lane.record.nextSequence - 1 && acknowledged[index] < lane.record.nextSequence,
        "\(index): an acknowledged event has no address")
      checkAgreement(index)
    }
    if settings.isStrict { checkOrder() }
    service.forgetFirstInsertions()
    changed = []
  }

  /// Conservation: the ranges cover every event once, each is in one state, and none is there more often than the
  /// ledger says it may be.
  private func checkRanges(_ lane: StoreModel.Lane, _ index: Int) {
    let ranges = lane.rows.filter { $0.kind == .append }.sorted { $0.sequences.lowerBound < $1.sequences.lowerBound }
    var next: Int64 = 1
    for row in ranges {
      let (first, last) = (row.sequences.lowerBound, row.sequences.upperBound)
      require(first == next, "\(index): the ranges do not tile: \(first) follows \(next - 1)")
      next = last + 1
      guard row.eventCount == Int(last - first) + 1, row.byteCount == lane.byteCount(row.sequences) else {
        return require(false, "\(index): batch \(row.id) does not cover its range")
      }
      require(row.inserted != .no || row.uncertainAttempts == 0, "\(index): batch \(row.id) has forgotten a doubt")
      let isOut = row.state == .pending && row.isSending
      let allowed = row.uncertainAttempts + (isOut || row.state == .delivered ? 1 : 0)
      var sequence = first
      while sequence <= last {
        let count = service.insertions(index, sequence)
        require(
          count <= allowed || row.state == .dead,
          "\(index)/\(sequence) is there \(count) times; the ledger knows of \(allowed), \(row.state)")
        require(row.state != .delivered || count > 0, "\(index)/\(sequence) is delivered and is not there")
        if row.state == .dead { checkDead(lane, index, sequence, row, count) }
        sequence += 1
      }
    }
    require(next == lane.record.nextUnbatched, "\(index): batches end at \(next - 1), not before what is unbatched")
  }

  private func checkDead(
    _ lane: StoreModel.Lane, _ index: Int, _ sequence: Int64, _ row: StoreModel.Row, _ count: Int
  ) {
    guard let letter = lane.deadLetters[sequence] else {
      return require(false, "\(index)/\(sequence) is dead and has no dead letter")
    }
    let replay = letter.replayedBy.flatMap(lane.pending)
    require(
      letter.replayedBy == nil || replay != nil, "\(index)/\(sequence) is replaying in a batch that is not pending")
    let allowed = row.uncertainAttempts + (replay.map { $0.uncertainAttempts + ($0.isSending ? 1 : 0) } ?? 0)
    require(count <= allowed, "\(index)/\(sequence), dead, is there \(count) times; the ledger knows of \(allowed)")
    require(
      letter.inserted != .no || replay != nil || count == 0,
      "\(index)/\(sequence) is said not to be inserted, and is there")
  }

  private func checkDeadLetters(_ lane: StoreModel.Lane, _ index: Int) {
    let dead = lane.rows.reduce(0) { $0 + ($1.kind == .append && $1.state == .dead ? $1.eventCount : 0) }
    require(dead == lane.deadLetters.count, "\(index): \(dead) events are dead, with \(lane.deadLetters.count) letters")
    for row in lane.rows where row.kind == .replay && row.state == .pending {
      let count = lane.deadLetters.values.count { $0.replayedBy == row.id }
      require(count == row.eventCount, "\(index): replay \(row.id) has \(count) of its \(row.eventCount) events")
    }
  }

  /// Under strict order whatever is there for the first time follows all that went before.
  private func checkOrder() {
    for (index, sequence) in service.firstInsertions {
      let ranges = store.lanes[index].rows.filter { $0.kind == .append }
      guard ranges.contains(where: { $0.state != .dead && $0.sequences.contains(sequence) }) else { continue }
      for range in ranges where range.state == .pending && range.sequences.lowerBound < sequence {
        for earlier in range.sequences where earlier < sequence {
          require(service.insertions(index, earlier) > 0, "\(index)/\(sequence) overtook \(index)/\(earlier)")
        }
      }
    }
  }

  /// Where nothing is outstanding, memory and file say the same of a lane.
  ///
  /// Not where a commit failed and answers were written down in another order than they came: the file then has the
  /// older one's word on the lane until the next.
  private func checkAgreement(_ index: Int) {
    guard let lane = lanes[index], lane.reading == nil, requests(of: lane).isEmpty else { return }
    let record = store.lanes[index].record
    guard record.commandCount == lane.commandCount else { return }
    var hold: LaneRecord.Hold?
    if case .held(let known, _) = lane.machine.condition { hold = known }
    require(hold == record.hold, "\(index): the lane's hold is \(String(describing: hold)), the file's is not")
    // A success of a request that was under way when the hold began is not written over the hold.
    require(
      hold != nil || lane.machine.failures == record.failures,
      "\(index): the lane counts \(lane.machine.failures) failures, the file \(record.failures)")
  }

  // MARK: The process

  func checkMemory() {
    guard isUp else { return }
    if committer.waitingBytes > scenario.maximumWaitingBytes {
      let appends = (group ?? []).count(where: \.isAppend) + (committer.waitingBytes > 0 && group == nil ? 1 : 0)
      require(appends <= 1, "\(committer.waitingBytes) bytes wait, and not for one append alone")
    }
    for case let lane? in lanes {
      let count = requests.count { $0.lane == lane.index } + (lane.loop == .marking ? 1 : 0)
      require(
        lane.machine.queue.underWayCount == count,
        "\(lane.index): \(count) requests are under way, the lane knows of \(lane.machine.queue.underWayCount)")
    }
  }

  /// A request is about to start: `batch`, or a new one.
  func checkStart(_ lane: SimulatedLane, _ batch: Batch?) {
    let open = requests(of: lane)
    let name = "\(lane.index): \(batch.map { "batch \($0.id)" } ?? "a new batch")"
    require(!isStopping, "\(name) was started during a shutdown")
    require(open.count < settings.maximumInFlight, "\(name) makes \(open.count + 1) requests in flight")
    if let reason = lane.watch.reasonNotToStart(batch, isAlone: open.isEmpty, settings, now: now) {
      require(false, "\(name) was started though \(reason)")
    }
    lane.watch.started(at: now)
    let stored = store.lanes[lane.index]
    if let batch {
      guard var row = stored.pending(batch.id)?.batch else {
        return require(false, "\(name) was started, which is not pending")
      }
      row.nextAttemptAt = batch.nextAttemptAt
      // A command that the lane has not read yet.
      if row.isolation == .onDemand { row.isolation = batch.isolation }
      // A delivery that it was not told of yet.
      if row.isolation == .refusedInPart, batch.isolation == .refused { row.isolation = .refused }
      require(row == batch, "\(name) is not what the ledger has: \(batch), \(row)")
      require(!open.contains { $0.batch.id == batch.id }, "\(name) was started while it is in flight")
    }
    guard settings.isStrict, batch?.kind != .replay else { return }
    let first = batch?.sequences.lowerBound ?? stored.record.nextUnbatched
    require(
      !stored.rows.contains { $0.kind == .append && $0.state == .pending && $0.sequences.lowerBound < first },
      "\(name) overtakes a batch that is not settled")
  }

  // MARK: Verdicts

  /// What an answer may do to rows, told from the table anew.
  func checkVerdict(
    _ settlement: Settlement, _ outcome: Outcome, _ request: SimulatedRequest, rows: Int, _ hold: HoldKind?
  ) {
    let status = outcome.status
    let isSingle = request.batch.eventCount == 1
    let row = store.lanes[request.lane].pending(request.batch.id)
    let override = status.flatMap { settings.verdictOverrides[$0] }
    let isFailureOnDemand =
      row?.isolation == .onDemand
      && ([408, 409, 425].contains(status) || 500..<600 ~= status ?? 0 || override == .retry)
    let isAllowed =
      switch (settlement.change, override) {
      case (.split, _) where isFailureOnDemand: !isSingle
      case (.dead(.isolated), _): isFailureOnDemand && isSingle
      case (.dead(.attemptsExhausted), _): mayExhaust(outcome, override, request.batch, settlement)
      case (.pending, _) where mustExhaust(outcome, override, request.batch, settlement): false
      case (let change, let override?): isAs(override, change, isSingle: isSingle, hold)
      case (.delivered, nil): status == 200 && rows == request.sequences.count
      case (.split, nil): (status == 400 || status == 413) && !isSingle
      case (.dead(let reason), nil): mayBury(reason, status, isSingle: isSingle, hold)
      // The twentieth in a row holds the lane.
      case (.pending, nil): status != 422 && (status != 413 || settlement.lane != .none || hold != nil)
      }
    require(settlement.batch == request.batch.id, "the answer to \(request.batch.id) settles \(settlement.batch)")
    require(isAllowed, "\(settlement.change) of batch \(request.batch.id), after \(outcome)")
    require(rows == 0 || settlement.inserted != .no, "inserted: no, with \(rows) rows, after \(outcome)")
    let isFree = status == 429 || outcome == .noAnswer(.cancelled) || outcome == .noAnswer(.notProcessed)
    require(settlement.isCounted || isFree, "the attempt does not count, after \(outcome)")
    if case .hold(_, _) = settlement.lane {
      let holds = [200, 202, 299, 301, 307, 400, 401, 402, 403, 404, 413, 418]
      require(
        holds.contains(status ?? 0) || isFailureOnDemand || override == .hold || override == .deadLetterAndHold,
        "the lane is held, after \(outcome)")
    }
  }

  /// The application's own word on a status.
  private func isAs(_ override: StatusVerdict, _ change: BatchChange, isSingle: Bool, _ hold: HoldKind?) -> Bool {
    switch override {
    case .delivered: if case .delivered = change { true } else { false }
    case .retry, .hold: if case .pending = change { true } else { false }
    case .isolate: change == (isSingle ? .dead(.refused) : .split)
    case .deadLetter: change == .dead(.refused)
    case .deadLetterAndHold: change == .dead(.requestRefused) || hold != nil
    }
  }

  /// Whether it is a failure that the application's cap on attempts may end.
  private func mayExhaust(
    _ outcome: Outcome, _ override: StatusVerdict?, _ batch: Batch, _ settlement: Settlement
  ) -> Bool {
    guard let maximum = settings.maximumAttempts, settlement.isCounted else { return false }
    let isFailure =
      switch outcome {
      case .noAnswer(let kind): kind != .cancelled
      case .answered(let answer):
        override == .retry || [200, 202, 299, 408, 409, 425].contains(answer.status) || 500..<600 ~= answer.status
      }
    return isFailure && batch.attempts + 1 >= maximum
  }

  private func mustExhaust(
    _ outcome: Outcome, _ override: StatusVerdict?, _ batch: Batch, _ settlement: Settlement
  ) -> Bool {
    guard mayExhaust(outcome, override, batch, settlement), batch.isolation == .none, override ?? .retry == .retry
    else { return false }
    return switch outcome {
    case .noAnswer(let kind): kind != .notProcessed
    case .answered(let answer): 500..<600 ~= answer.status || override == .retry
    }
  }

  private func mayBury(_ reason: DeadReason, _ status: Int?, isSingle: Bool, _ hold: HoldKind?) -> Bool {
    switch (status, reason) {
    // Where every event is refused, none is to blame.
    case (400, .refused), (413, .tooLarge): isSingle && hold != .everyEventRefused
    case (422, .partlyInserted): true
    case (401, .requestRefused), (402, .requestRefused), (403, .requestRefused), (404, .requestRefused),
      (418, .requestRefused):
      hold == nil
    default: false
    }
  }
}

extension CommitWork {
  var isAppend: Bool { if case .append = self { true } else { false } }
}
