@testable import TinybirdOutbox

/// Runs seeds and scripts, and makes the script of a failure short.
enum Simulation {
  struct Failure: Error, CustomStringConvertible {
    var seed: UInt64?
    var violation: String
    var script: SimulationScript

    /// Everything that is needed to run it again: what is behind the first line is a file for `Fixtures/seeds`.
    var description: String {
      let text = (try? script.text()) ?? "\(script)"
      return "seed \(seed.map(String.init) ?? "none"), \(script.steps.count) steps: \(violation)\n\(text)"
    }
  }

  /// Runs a seed: its steps, then the end in which the service is healthy.
  ///
  /// Returns how often each thing happened. Throws a ``Failure`` whose script is as short as it gets.
  @discardableResult
  static func run(seed: UInt64) throws(Failure) -> [String: Int] {
    var generator = StepGenerator(seed: seed)
    let world = SimulatedWorld(generator.scenario)
    var steps: [SimulationStep] = []
    for _ in 0..<generator.stepCount where world.violation == nil {
      let step = generator.next(world)
      steps.append(step)
      world.apply(step)
    }
    world.finish()
    guard let violation = world.violation else { return world.tally }
    let script = SimulationScript(scenario: generator.scenario, steps: steps)
    throw shorten(Failure(seed: seed, violation: violation, script: script))
  }

  static func run(_ script: SimulationScript) throws(Failure) {
    if let violation = violation(of: script) { throw Failure(seed: nil, violation: violation, script: script) }
  }

  private static func violation(of script: SimulationScript) -> String? {
    let world = SimulatedWorld(script.scenario)
    for step in script.steps where world.violation == nil { world.apply(step) }
    world.finish()
    return world.violation
  }

  /// Drops steps, first many at once, for as long as any invariant is still broken.
  private static func shorten(_ failure: Failure) -> Failure {
    var best = failure
    var size = max(1, best.script.steps.count / 2)
    while true {
      var hasDropped = false
      var start = 0
      while start < best.script.steps.count {
        var candidate = best.script
        candidate.steps.removeSubrange(start..<min(start + size, candidate.steps.count))
        if let violation = violation(of: candidate) {
          (best.script, best.violation, hasDropped) = (candidate, violation, true)
        } else {
          start += size
        }
      }
      if size == 1, !hasDropped { return best }
      if !hasDropped { size = max(1, size / 2) }
    }
  }
}

extension SimulatedWorld {
  /// Steps within which everything has ended once the service is healthy: more than any run needs.
  private static let maximumFinishingSteps = 20_000

  /// The service is healthy, commits succeed, holds are resumed: everything must end.
  func finish() {
    service.weather = .clear
    acceptedToken = token
    var resumes = 0
    for _ in 0..<Self.maximumFinishingSteps {
      if violation != nil { return }
      guard let step = finishingStep(&resumes) else { return checkEnd() }
      apply(step)
    }
    let left = store.lanes.indices.filter { !isLeft(store.lanes[$0]) }.map { index in
      "\(index): \(lanes[index].map { "\($0.machine.condition)" } ?? "no lane"), next \(store.lanes[index].record.nextUnbatched), "
        + "\(store.lanes[index].rows.filter { $0.state == .pending }.map(\.batch))"
    }
    require(false, "the service is healthy, and it does not end: \(left)")
  }

  /// What would happen by itself; nil where nothing would.
  private func finishingStep(_ resumes: inout Int) -> SimulationStep? {
    guard isUp else { return .start }
    if isGroupDue { return .takeGroup }
    if group != nil { return .endGroup(succeeds: true) }
    if canLook { return .look }
    for case let lane? in lanes {
      if lane.reading != nil { return .reload(lane: lane.index) }
      if lane.isRunnable(now: now) { return .run(lane: lane.index) }
    }
    if requests.contains(where: { $0.settlement == nil }) { return .answer(request: 0, reply: .honest) }
    for index in store.lanes.indices where needsOperator(index) {
      resumes += 1
      // Operators sleep too.
      return resumes.isMultiple(of: 4) ? .clock(milliseconds: 3_600_000) : .command(lane: index, command: .resume)
    }
    return nextMoment == nil || (isSettled && requests.isEmpty && !isStopping) ? nil : .sleep
  }

  /// Where every event that is left is refused, the service is healthy and still no probe is delivered.
  private func needsOperator(_ index: Int) -> Bool {
    let lane = store.lanes[index]
    guard let kind = lane.record.hold?.kind, !(isStuck(lane) && isLeft(lane)) else { return false }
    return kind == .byOperator || scenario.resumesByHand || (kind == .everyEventRefused && !hasDeliverable(lane))
  }

  private func hasDeliverable(_ lane: StoreModel.Lane) -> Bool {
    func isDeliverable(_ event: StoreModel.Event) -> Bool {
      !event.isGuilty && !event.isFailing && event.byteCount <= scenario.serviceLimitBytes
    }
    /// A refused batch is halved, so that one event is enough; one that the service fails on stays as it is.
    func isDeliverable(_ row: StoreModel.Row) -> Bool {
      let events = lane.sequences(of: row.batch).map(lane.event)
      return events.contains(where: isDeliverable) && !events.contains(where: \.isFailing)
    }
    let pending = lane.rows.filter { $0.state == .pending }
    let first = pending.min { $0.sequences.lowerBound < $1.sequences.lowerBound }
    // Under strict order nothing passes the first.
    if settings.isStrict, let first { return isDeliverable(first) }
    return lane.events.dropFirst(Int(lane.record.nextUnbatched) - 1).contains(where: isDeliverable)
      || pending.contains(where: isDeliverable)
  }

  /// What a service that is well fails on for ever is never given up, unless the application caps attempts or age.
  private func mayStay(_ row: StoreModel.Row, _ lane: StoreModel.Lane) -> Bool {
    guard lane.sequences(of: row.batch).contains(where: { lane.event($0).isFailing }) else { return false }
    let isCapped = settings.maximumAttempts != nil && settings.verdictOverrides[500] != .hold
    return !isCapped && !(settings.maximumAge != nil && row.kind == .append)
      && settings.verdictOverrides[500] != .deadLetter
  }

  /// The rows of a lane that nothing keeps from being settled; under strict order none behind one that may stay.
  private func unsettled(_ lane: StoreModel.Lane) -> [StoreModel.Row] {
    let pending = lane.rows.filter { $0.state == .pending }
    guard settings.isStrict else { return pending.filter { !mayStay($0, lane) } }
    let first = pending.filter { mayStay($0, lane) }.map(\.sequences.lowerBound).min() ?? .max
    return pending.filter { !mayStay($0, lane) && $0.sequences.lowerBound < first }
  }

  private func isStuck(_ lane: StoreModel.Lane) -> Bool {
    lane.rows.contains { $0.state == .pending && mayStay($0, lane) }
  }

  private func mayHaveUnbatched(_ lane: StoreModel.Lane) -> Bool { settings.isStrict && isStuck(lane) }

  /// Whether whatever is pending may stay so.
  private func isLeft(_ lane: StoreModel.Lane) -> Bool {
    unsettled(lane).isEmpty && (!lane.record.hasUnbatched || mayHaveUnbatched(lane))
  }

  private var isSettled: Bool {
    store.lanes.allSatisfy(isLeft)
      && lanes.allSatisfy { lane in lane.map { $0.machine.isDrained || isStuck(store.lanes[$0.index]) } ?? true }
  }

  private func checkEnd() {
    require(callers.isEmpty, "\(callers.count) appends were never answered")
    for (index, lane) in store.lanes.enumerated() {
      require(
        !lane.record.hasUnbatched || mayHaveUnbatched(lane),
        "\(index): events from \(lane.record.nextUnbatched) on are never sent")
      for row in unsettled(lane) { require(false, "\(index): batch \(row.id) is never settled") }
      if isStuck(lane) { count("fails for ever") }
    }
    for case let lane? in lanes {
      require(
        lane.machine.isDrained || isStuck(store.lanes[lane.index]),
        "\(lane.index): all is settled, and the lane does not know it")
    }
  }
}
