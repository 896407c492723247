import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// A lane through hundreds of random answers, commands, faults and restarts.
///
/// After each step nothing is lost, nothing is sent that may not be, and when the service is well again everything
/// arrives.
@Suite struct LaneRandomTests {
  @Test(arguments: 0..<120) func nothingIsLostAndEverythingArrives(seed: UInt64) {
    let walk = Walk(seed: seed)
    for _ in 0..<250 { walk.step() }
    walk.recover()
  }
}

/// One walk.
///
/// The service refuses guilty events with 400, and else does what its mood is.
private final class Walk {
  private var random: SeededRandom
  private let seed: UInt64
  private let lane: LaneDriver
  private let settings: LaneSettings
  private let guilty: Set<Int64>
  private var moods: [Reply] = [.delivered]
  private var underWay: [Batch] = []
  /// Judged, and their transaction is not committed yet.
  private var unsettled: [Settlement] = []
  private var isForming = false
  /// The service asked for a pause until then.
  private var pausedUntil = LaneTime.zero
  private var burnt = 0
  private var holds = 0

  init(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let isStrict = Bool.random(using: &random)
    settings = .sample(
      isStrict: isStrict, maximumInFlight: .random(in: 1...5, using: &random),
      maximumEvents: .random(in: 1...40, using: &random))
    guilty = Set((0..<Int.random(in: 0...20, using: &random)).map { _ in Int64.random(in: 1...600, using: &random) })
    lane = LaneDriver(unbatched: 100, settings: settings)
    self.random = random
    self.seed = seed
  }

  private var comment: Comment { "seed \(seed), at \(lane.now)" }

  func step() {
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<40: ask()
    case 40..<70: answer()
    case 70..<80: settleOne()
    case 80..<86: lane.append(.random(in: 0...30, using: &random))
    case 86..<91: lane.now += .milliseconds(Int64.random(in: 0...2_000, using: &random))
    case 91..<94: if underWay.isEmpty, !isForming { _ = lane.sleep() }
    case 94..<96: changeMood()
    case 96: command()
    case 97: restart()
    default: fault()
    }
    check()
  }

  private func changeMood() {
    let all: [Reply] = [
      .delivered, .delivered, .delivered, .status(500), .status(503, retryAfter: .seconds(3)),
      .status(503, retryAfter: .zero),
      .status(429), .status(429, retryAfter: .seconds(5)), .status(403), .status(404), .status(307), .page,
      .status(202),
      .status(408), .status(413), .streamRefused, .reset, .notSent, .status(422),
    ]
    moods = (0..<Int.random(in: 1...3, using: &random)).compactMap { _ in all.randomElement(using: &random) }
  }

  // MARK: Asking

  private func ask() {
    let before = lane.machine
    switch lane.next() {
    case .send(let batch):
      checkStart(before)
      #expect(lane.batches.contains { $0.id == batch.id }, comment)
      #expect(!underWay.contains { $0.id == batch.id } && !unsettled.contains { $0.batch == batch.id }, comment)
      if settings.isStrict { #expect(batch.id == lane.batches.first?.id, comment) }
      underWay.append(batch)
    case .form(let limits):
      checkStart(before)
      if settings.isStrict { #expect(lane.batches.isEmpty, comment) }
      guard Int.random(in: 0..<8, using: &random) > 0 else { return lane.formingFailed() }
      isForming = true
      // Others may be answered, and asked for, while it is being formed.
      if Bool.random(using: &random) { ask() }
      if Bool.random(using: &random) { answer() }
      isForming = false
      if let batch = lane.form(limits) { underWay.append(batch) }
    case .wait(let until):
      if let until { #expect(until > lane.now, comment) }
    case .finish: Issue.record("it was not stopped")
    }
  }

  /// What must be so whenever a request starts.
  private func checkStart(_ before: LaneStateMachine) {
    let count = underWay.count + unsettled.count + (isForming ? 1 : 0)
    #expect(count < settings.maximumInFlight, comment)
    #expect(lane.now >= pausedUntil, comment)
    switch before.condition {
    case .open: break
    case .backingOff(let until):
      #expect(until <= lane.now, comment)
      #expect(lane.machine.condition == .probing, comment)
    case .probing: Issue.record("a second probe, \(comment)")
    case .held(let hold, let probeAt):
      #expect(hold.kind != .byOperator && count == 0, comment)
      if let probeAt { #expect(probeAt <= lane.now, comment) }
    }
  }

  // MARK: Answering

  private func reply(to batch: Batch) -> Reply {
    let mood = moods.randomElement(using: &random) ?? .delivered
    if mood == .delivered, guilty.contains(where: batch.sequences.contains) { return .status(400) }
    return mood
  }

  private func answer() {
    guard let index = underWay.indices.randomElement(using: &random) else { return }
    let batch = underWay.remove(at: index)
    let reply = reply(to: batch)
    let wasHeld = if case .held = lane.machine.condition { true } else { false }
    let settlement = lane.judge(batch, reply)
    if case .status(429, let after?) = reply, after > .zero { pausedUntil = max(pausedUntil, lane.now + after) }
    if settlement.change == .dead(.requestRefused) {
      burnt += 1
      #expect(!wasHeld, comment)
    }
    if case .hold = settlement.lane { holds += 1 }
    #expect(burnt <= holds, comment)
    #expect((settlement.inserted == .yes) == (settlement.change.isDelivered), comment)
    if case .dead(.refused) = settlement.change {
      #expect(batch.eventCount == 1 && guilty.contains(batch.sequences.lowerBound), comment)
    }
    unsettled.append(settlement)
    // Mostly the ledger is quick.
    if Int.random(in: 0..<4, using: &random) > 0 { settleOne() }
  }

  private func settleOne() {
    guard !unsettled.isEmpty else { return }
    lane.commit(unsettled.removeFirst())
  }

  // MARK: Operators and faults

  private func command() {
    switch Int.random(in: 0..<4, using: &random) {
    case 0: lane.hold()
    case 1:
      pausedUntil = .zero
      lane.resume()
    case 2:
      pausedUntil = .zero
      lane.deliverNow()
    default: lane.command()
    }
    // Read before an answer was written down: the answer still counts.
    let isHeld = if case .held = lane.machine.condition { true } else { false }
    let last = unsettled.last { $0.lane != .none }
    if case .hold? = last?.lane { #expect(isHeld, comment) }
  }

  /// A crash: what was under way is pending, and so is what was answered and not settled.
  private func restart() {
    guard !isForming else { return }
    underWay = []
    unsettled = []
    // The pause is in the ledger, if its answer was settled.
    pausedUntil = .zero
    lane.restart()
  }

  private func fault() {
    guard let batch = underWay.popLast() else { return lane.credentialsChanged() }
    lane.startFailed(batch)
  }

  // MARK: Invariants

  /// Delivered, dead and pending ranges, and what is not in a batch, tile all that was ever appended.
  private func check() {
    let ranges = (lane.delivered + lane.dead.map(\.sequences) + lane.batches.map(\.sequences))
      .sorted { $0.lowerBound < $1.lowerBound }
    var next: Int64 = 1
    for range in ranges {
      #expect(range.lowerBound == next, comment)
      next = range.upperBound + 1
    }
    #expect(next == lane.record.nextUnbatched, comment)
    if settings.isStrict { #expect(underWay.count + unsettled.count <= 1, comment) }
    #expect(lane.machine.queue.underWayCount == underWay.count + unsettled.count, comment)
  }

  /// The service is well, but for the guilty events, and the operator resumes: all is settled soon.
  func recover() {
    moods = [.delivered]
    var turns = 0
    while turns < 20_000 {
      turns += 1
      if case .held = lane.machine.condition, underWay.isEmpty, unsettled.isEmpty {
        pausedUntil = .zero
        lane.resume()
      }
      ask()
      answer()
      settleOne()
      if lane.machine.isDrained { break }
      if underWay.isEmpty { _ = lane.sleep() }
    }
    check()
    #expect(lane.machine.isDrained && lane.batches.isEmpty, comment)
    let dead = Set(lane.deadSequences)
    #expect(guilty.filter { $0 < lane.record.nextSequence }.isSubset(of: dead), comment)
  }
}

extension BatchChange {
  fileprivate var isDelivered: Bool {
    if case .delivered = self { true } else { false }
  }
}
