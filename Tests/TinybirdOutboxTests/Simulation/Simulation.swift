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
    for _ in 0..<Self.maximumFinishingSteps {
      if violation != nil { return }
      guard let step = finishingStep() else { return checkEnd() }
      apply(step)
    }
    require(false, "the service is healthy, and it does not end")
  }

  /// What would happen by itself; nil where nothing would.
  private func finishingStep() -> SimulationStep? {
    guard isUp else { return .start }
    if isGroupDue { return .takeGroup }
    if group != nil { return .endGroup(succeeds: true) }
    if canLook { return .look }
    for case let lane? in lanes {
      if lane.reading != nil { return .reload(lane: lane.index) }
      if lane.isRunnable(now: now) { return .run(lane: lane.index) }
    }
    if requests.contains(where: { $0.settlement == nil }) { return .answer(request: 0, reply: .honest) }
    for index in store.lanes.indices where needsOperator(index) { return .command(lane: index, command: .resume) }
    return nextMoment == nil || (isSettled && requests.isEmpty && !isStopping) ? nil : .sleep
  }

  /// Where every event of a bisection is refused, the service is healthy and still no probe is delivered.
  private func needsOperator(_ index: Int) -> Bool {
    let kind = store.lanes[index].record.hold?.kind
    return kind == .byOperator || kind == .everyEventRefused || (kind != nil && scenario.resumesByHand)
  }

  private var isSettled: Bool {
    store.lanes.allSatisfy { lane in
      !lane.record.hasUnbatched && lane.rows.allSatisfy { $0.state != .pending }
    } && lanes.allSatisfy { $0?.machine.isDrained ?? true }
  }

  private func checkEnd() {
    require(callers.isEmpty, "\(callers.count) appends were never answered")
    for (index, lane) in store.lanes.enumerated() {
      require(!lane.record.hasUnbatched, "\(index): events from \(lane.record.nextUnbatched) on are never sent")
      for row in lane.rows { require(row.state != .pending, "\(index): batch \(row.id) is never settled") }
    }
    for case let lane? in lanes {
      require(lane.machine.isDrained, "\(lane.index): all is settled, and the lane does not know it")
    }
  }
}
