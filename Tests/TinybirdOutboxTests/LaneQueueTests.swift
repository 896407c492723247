import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct LaneQueueTests {
  private static let batches: [Batch] = [
    .sample(1, 1...4), .sample(2, 5...8), .sample(3, 9...12), .sample(4, 13...16), .sample(5, 17...20),
  ]

  private func queue(_ batches: [Batch] = batches, notBefore: [Batch.ID: LaneTime] = [:]) -> LaneQueue {
    var queue = LaneQueue()
    for batch in batches { queue.insert(batch, notBefore: notBefore[batch.id]) }
    return queue
  }

  private func waiting(_ queue: LaneQueue, now: LaneTime = .zero, isStrict: Bool = false) -> [Batch.ID] {
    var queue = queue
    var ids: [Batch.ID] = []
    while let batch = queue.nextWaiting(now: now, isStrict: isStrict) {
      ids.append(batch.id)
      queue.remove(batch.id)
    }
    return ids
  }

  @Test func anEmptyQueue() {
    let queue = LaneQueue()
    #expect(queue.isEmpty && !queue.isAnyWaiting && !queue.isAnyUnderWay)
    #expect(queue.underWayCount == 0)
    #expect(queue.nextWaiting(now: .zero, isStrict: false) == nil)
    #expect(queue.nextWaiting(now: .zero, isStrict: true) == nil)
    #expect(queue.firstUntried(now: .zero) == nil)
    #expect(queue.smallestWaiting(now: .zero) == nil)
    #expect(queue.nextMoment(after: .zero) == nil)
    #expect(queue.underWay(1) == nil)
  }

  /// However they come: by their first event, then by their id.
  @Test(arguments: 0..<20) func keepsTheOrderOfTheEvents(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let more = Self.batches + [.sample(6, 5...6, kind: .replay), .sample(7, 5...20, kind: .resend)]
    let queue = queue(more.shuffled(using: &random))
    #expect(waiting(queue) == [1, 2, 6, 7, 3, 4, 5])
    #expect(waiting(queue, isStrict: true) == [1, 2, 6, 7, 3, 4, 5])
  }

  @Test func whatWaitsForItsMomentLetsOthersPassUnlessTheOrderIsStrict() {
    let queue = queue(notBefore: [1: .seconds(5), 3: .seconds(9)])
    #expect(waiting(queue) == [2, 4, 5])
    #expect(waiting(queue, isStrict: true) == [])
    #expect(waiting(queue, now: .seconds(5)) == [1, 2, 4, 5])
    #expect(waiting(queue, now: .seconds(5), isStrict: true) == [1, 2])
    #expect(waiting(queue, now: .seconds(9), isStrict: true) == [1, 2, 3, 4, 5])
    #expect(queue.nextMoment(after: .zero) == .seconds(5))
    #expect(queue.nextMoment(after: .seconds(5)) == .seconds(9))
    #expect(queue.nextMoment(after: .seconds(9)) == nil)
  }

  @Test func whatIsUnderWayIsNotWaiting() {
    var queue = queue(notBefore: [2: .seconds(5)])
    queue.start(1, number: 1)
    #expect(queue.underWay(1)?.id == 1)
    #expect(queue.underWay(3) == nil)
    #expect(queue.underWayCount == 1 && queue.isAnyUnderWay && queue.isAnyWaiting)
    #expect(waiting(queue) == [3, 4, 5])
    #expect(queue.nextWaiting(now: .zero, isStrict: true) == nil, "nothing overtakes what is under way")
    for id in [2, 3, 4, 5] as [Batch.ID] { queue.start(id, number: 1) }
    #expect(!queue.isAnyWaiting)
    #expect(queue.nextMoment(after: .zero) == nil, "under way, it waits for no moment")
    queue.remove(1)
    #expect(queue.underWayCount == 4)
  }

  /// Of a bisection one part is under way at a time; what is no part goes on beside it.
  @Test func onePartOfABisectionIsUnderWay() {
    var queue = queue([
      .sample(1, 1...4, isolation: .refused), .sample(2, 5...8, isolation: .refused), .sample(3, 9...12),
    ])
    #expect(waiting(queue) == [1, 2, 3])
    queue.start(1, number: 1)
    #expect(waiting(queue) == [3])
    queue.remove(1)
    #expect(waiting(queue) == [2, 3])
    queue.start(3, number: 1)
    #expect(waiting(queue) == [2])
  }

  @Test func theNextNotYetTried() {
    var queue = queue(
      [.sample(1, 1...4, attempts: 2), .sample(2, 5...8), .sample(3, 9...12), .sample(4, 13...16)],
      notBefore: [3: .seconds(5)])
    #expect(queue.firstUntried(now: .zero)?.id == 2)
    queue.start(2, number: 1)
    #expect(queue.firstUntried(now: .zero)?.id == 4)
    _ = queue.noteFailure(4, isServiceWell: false)
    #expect(queue.firstUntried(now: .zero) == nil, "its first attempt failed, though the ledger may not know yet")
    #expect(queue.firstUntried(now: .seconds(5))?.id == 3)
  }

  @Test func theSmallestIsProbedInTurn() {
    var queue = queue(
      [.sample(1, 1...9), .sample(2, 10...11), .sample(3, 12...14), .sample(4, 15...15)], notBefore: [4: .seconds(5)])
    var probes: [Batch.ID] = []
    for _ in 0..<7 {
      guard let id = queue.smallestWaiting(now: .zero)?.id else { break }
      queue.noteProbe(id)
      probes.append(id)
    }
    #expect(probes == [2, 3, 1, 2, 3, 1, 2])
    #expect(queue.smallestWaiting(now: .seconds(5))?.id == 4)
    queue.start(4, number: 1)
    #expect(queue.smallestWaiting(now: .seconds(5))?.id == 3)
  }

  @Test func anAttemptThatEnds() {
    var queue = queue()
    queue.start(1, number: 1)
    func settlement(_ inserted: Inserted, counted: Bool) -> Settlement {
      Settlement(batch: 1, change: .pending(retryAfter: nil), lane: .none, inserted: inserted, isCounted: counted)
    }
    queue.finishAttempt(settlement(.no, counted: true))
    #expect(queue.nextWaiting(now: .zero, isStrict: false).map { [$0.attempts] } == [1])
    #expect(queue.nextWaiting(now: .zero, isStrict: false)?.inserted == .no)
    queue.start(1, number: 1)
    queue.finishAttempt(settlement(.maybe, counted: false))
    queue.start(1, number: 1)
    queue.finishAttempt(settlement(.no, counted: true))
    #expect(queue.nextWaiting(now: .zero, isStrict: false)?.attempts == 2)
    #expect(queue.nextWaiting(now: .zero, isStrict: false)?.inserted == .maybe, "a doubt stays")
  }

  @Test func aDelayIsKeptWhenTheAttemptEnds() {
    var queue = queue()
    queue.start(1, number: 1)
    queue.delay(1, until: .seconds(3))
    #expect(queue.underWay(1) != nil)
    queue.finishAttempt(
      Settlement(batch: 1, change: .pending(retryAfter: nil), lane: .none, inserted: .no, isCounted: true))
    #expect(waiting(queue).first == 2)
    #expect(waiting(queue, now: .seconds(3)).first == 1)
    queue.start(1, number: 1)
    queue.postpone(1, notBefore: .seconds(9))
    #expect(queue.underWay(1) == nil)
    #expect(waiting(queue, now: .seconds(8)).first == 2)
    #expect(queue.nextMoment(after: .seconds(3)) == .seconds(9))
  }

  // MARK: Whose failure it is

  /// A letter f stands for a failure of the batch, s for another that is delivered.
  ///
  /// The own failures that each f is told, 0 for none.
  @Test(
    arguments: [
      ("f", [0]), ("ff", [0, 0]), ("sf", [0]), ("ssssf", [0]), ("fsf", [0, 1]), ("fsff", [0, 1, 0]),
      ("fsfsf", [0, 1, 2]), ("fsffsf", [0, 1, 0, 2]), ("fssssfssf", [0, 1, 2]), ("ffff", [0, 0, 0, 0]),
    ])
  func ownFailures(events: String, told: [Int]) {
    var queue = queue()
    var answers: [Int] = []
    for event in events {
      if event == "s" { queue.noteSuccess() } else { answers.append(queue.noteFailure(1, isServiceWell: false) ?? 0) }
    }
    #expect(answers == told)
  }

  @Test func immediateRetriesAreCountedByBatch() {
    var queue = queue()
    #expect([1, 1, 2, 1].map { queue.countImmediateRetry($0) } == [1, 2, 1, 3])
  }

  // MARK: Reading anew

  @Test func synchronises() {
    var queue = queue(notBefore: [4: .seconds(50)])
    queue.start(1, number: 1)
    queue.start(2, number: 1)
    // 1 is settled by another process, 3 is gone, 4 may go now, 5 has an attempt more, 6 is new.
    let stored: [Batch] = [
      .sample(2, 5...8, attempts: 7), .sample(4, 13...16), .sample(5, 17...20, attempts: 3),
      .sample(6, 2...3, kind: .replay),
    ]
    queue.synchronise(with: stored) { $0.id == 6 ? .seconds(2) : nil }
    #expect(queue.underWayCount == 2)
    #expect(queue.underWay(1) != nil, "it is waited for")
    #expect(queue.underWay(2)?.attempts == 0, "what is under way stays as it is")
    #expect(waiting(queue) == [4, 5])
    #expect(waiting(queue, now: .seconds(2)) == [6, 4, 5])
    queue.remove(1)
    queue.remove(2)
    queue.remove(4)
    #expect(queue.nextWaiting(now: .zero, isStrict: false)?.attempts == 3)
  }

  @Test func synchronisingKeepsWhatIsKnownOfABatch() {
    var queue = queue()
    _ = queue.noteFailure(1, isServiceWell: false)
    queue.noteSuccess()
    queue.synchronise(with: Self.batches) { _ in nil }
    #expect(queue.noteFailure(1, isServiceWell: false) == 1)
    queue.synchronise(with: []) { _ in nil }
    #expect(queue.isEmpty)
  }

  /// Impossible: ids that are not there.
  ///
  /// Nothing changes.
  @Test func strangersChangeNothing() {
    let before = queue()
    var queue = before
    queue.start(99, number: 1)
    queue.remove(99)
    queue.postpone(99, notBefore: .seconds(9))
    queue.delay(99, until: .seconds(9))
    queue.noteProbe(99)
    #expect(queue.noteFailure(99, isServiceWell: false) == nil)
    #expect(queue.countImmediateRetry(99) == 0)
    queue.finishAttempt(
      Settlement(batch: 99, change: .pending(retryAfter: nil), lane: .none, inserted: .yes, isCounted: true))
    #expect(queue == before)
  }
}
