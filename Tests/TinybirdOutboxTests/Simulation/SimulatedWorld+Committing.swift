@testable import TinybirdOutbox

/// One call of `append` that waits for its receipt.
struct SimulatedCaller {
  struct Part {
    var lane: Int
    var events: [StoreModel.Event]
  }

  var id: CommitStateMachine.ID
  var parts: [Part]
}

/// What waits for a commit.
enum CommitWork {
  case append(SimulatedCaller)
  case mark(lane: Int, Batch)
  case form(lane: Int, BatchBuilder.Plan, mark: Int)
  case settle(SimulatedRequest.ID)
  case command(lane: Int, OperatorCommand)
}

/// What one piece of work did inside the transaction.
enum CommitResult {
  /// The first sequence number of each part.
  case appended([Int64])
  case formed(Batch)
  case settled([Batch])
  case done
  /// It conflicts with what is stored: another process would have to be at work.
  case conflict
}

/// Runs `CommitStateMachine` as `Committer` and `StoreWriter` do.
extension SimulatedWorld {
  func append(lane: Int, count: Int, bytes: Int, guilty: Int, isSpread: Bool) {
    guard isUp else { return }
    var parts = [SimulatedCaller.Part(lane: lane, events: events(count, bytes, guilty))]
    if isSpread, lanes.count > 1 {
      parts.append(SimulatedCaller.Part(lane: (lane + 1) % lanes.count, events: events(1, bytes, -1)))
    }
    let caller = SimulatedCaller(id: lastCommitID + 1, parts: parts)
    callers.append(caller)
    enqueue(.append(caller), byteCount: parts.reduce(0) { $0 + $1.events.reduce(0) { $0 + $1.byteCount } })
  }

  private func events(_ count: Int, _ bytes: Int, _ guilty: Int) -> [StoreModel.Event] {
    (0..<count).map { index in
      lastEventID += 1
      let isFailing = scenario.failingEvery.map { lastEventID.isMultiple(of: $0) } ?? false
      return StoreModel.Event(id: lastEventID, byteCount: bytes, isGuilty: index == guilty, isFailing: isFailing)
    }
  }

  func operate(_ lane: Int, _ command: OperatorCommand) {
    // A data source is there from its first event on.
    guard isUp, store.lanes[lane].record.nextSequence > 1 else { return }
    enqueue(.command(lane: lane, command), byteCount: 0)
  }

  func enqueue(_ work: CommitWork, byteCount: Int) {
    lastCommitID += 1
    waiting[lastCommitID] = work
    switch committer.enqueue(lastCommitID, byteCount: byteCount) {
    case .startCommit:
      require(!isGroupDue && group == nil, "a second commit was started beside the first")
      isGroupDue = true
    case .wait: break
    case .suspend:
      require(byteCount > 0, "work on the ledger was suspended")
      count("suspended")
    case .refuse:
      waiting[lastCommitID] = nil
      require(!isUp, "an open outbox refused work")
    }
  }

  func cancel(_ index: Int) {
    guard !callers.isEmpty else { return }
    let caller = callers[index % callers.count]
    guard committer.cancel(caller.id) == .drop else { return }
    count("cancelled")
    require(waiting.removeValue(forKey: caller.id) != nil, "an append was dropped that is in a commit")
    callers.removeAll { $0.id == caller.id }
  }

  func takeGroup() {
    guard isGroupDue else { return }
    isGroupDue = false
    group = committer.takeGroup().compactMap { id in
      let work = waiting.removeValue(forKey: id)
      require(work != nil, "\(id) was taken into two commits, or into one after it was dropped")
      if case .append? = work {
        require(id > lastCommittedAppend, "append \(id) was overtaken by \(lastCommittedAppend)")
        lastCommittedAppend = id
      }
      return work
    }
  }

  func storeGroup() {
    guard storedResults == nil, let group else { return }
    storedResults = applyToStore(group)
  }

  func endGroup(succeeds: Bool) {
    if succeeds { storeGroup() }
    guard let group else { return }
    let results = storedResults
    (self.group, storedResults) = (nil, nil)
    // The writer tells everybody before it looks for the next group.
    for (index, work) in group.enumerated() { finish(work, results?[index]) }
    switch committer.groupEnded() {
    case .commitAgain: isGroupDue = true
    case .idle: require(waiting.isEmpty, "the writer sleeps, and \(waiting.count) wait for it")
    }
    endShutdown()
  }

  /// One transaction.
  func applyToStore(_ group: [CommitWork]) -> [CommitResult] {
    var copy = store
    let starts = copy.lanes.map(\.record.nextSequence)
    let results = group.map { work -> CommitResult in
      switch work {
      case .append(let caller):
        return .appended(
          caller.parts.map { part in
            let first = copy.lanes[part.lane].record.nextSequence
            copy.append(part.events, to: part.lane, chunkStart: starts[part.lane], now: wallNow)
            return first
          })
      case .mark(let lane, let batch): return copy.markSending(batch.id, of: lane) ? .done : .conflict
      case .form(let lane, let plan, _): return copy.form(plan, of: lane).map { .formed($0) } ?? .conflict
      case .settle(let id):
        guard let request = requests.first(where: { $0.id == id }), let settlement = request.settlement,
          let parts = copy.settle(settlement, of: request.lane, now: wallNow)
        else { return .conflict }
        return .settled(parts)
      case .command(let lane, let command):
        copy.perform(command, lane, limits: settings.limits)
        return .done
      }
    }
    copy.version += 1
    store = copy
    for work in group { changed.formUnion(lanes(of: work)) }
    return results
  }

  private func lanes(of work: CommitWork) -> [Int] {
    switch work {
    case .append(let caller): caller.parts.map(\.lane)
    case .mark(let lane, _), .form(let lane, _, _), .command(let lane, _): [lane]
    case .settle(let id): requests.filter { $0.id == id }.map(\.lane)
    }
  }

  /// Tells whoever waited; a nil result is a commit that failed.
  private func finish(_ work: CommitWork, _ result: CommitResult?) {
    if case .conflict? = result { require(false, "\(work) conflicts with the ledger") }
    switch (work, result) {
    case (.append(let caller), .appended(let firsts)?): acknowledge(caller, firsts)
    case (.append(let caller), _): callers.removeAll { $0.id == caller.id }
    case (.mark(let lane, let batch), .done?): lanes[lane].map { marked($0, batch) }
    case (.mark(let lane, let batch), _): lanes[lane].map { startFailed($0, batch) }
    case (.form(let lane, _, let mark), .formed(let batch)?): lanes[lane].map { formed($0, batch, mark: mark) }
    case (.form(let lane, _, _), _): lanes[lane].map(formingFailed)
    case (.settle(let id), .settled(let parts)?): settled(id, parts)
    case (.settle(let id), _): settleAgain(id)
    case (.command, _): break
    }
  }

  private func acknowledge(_ caller: SimulatedCaller, _ firsts: [Int64]) {
    callers.removeAll { $0.id == caller.id }
    for (part, first) in zip(caller.parts, firsts) {
      let last = first + Int64(part.events.count) - 1
      require(
        store.lanes[part.lane].record.nextSequence > last
          && part.events.elementsEqual(store.lanes[part.lane].events[Int(first) - 1..<Int(last)]),
        "the receipt of append \(caller.id) names other events")
      acknowledged[part.lane] = max(acknowledged[part.lane], last)
    }
  }

  func refuse(_ work: CommitWork) {
    if case .append(let caller) = work { callers.removeAll { $0.id == caller.id } }
  }
}
