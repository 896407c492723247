/// The batches of a lane that are not settled, in the order of their events.
///
/// Pure bookkeeping of ``LaneStateMachine``.
struct LaneQueue: Equatable {
  private struct Entry: Equatable {
    var batch: Batch
    var isUnderWay = false
    /// Of the request that was started last.
    var startNumber = 0
    var notBefore: LaneTime?
    var immediateRetries = 0
    /// How often it was the probe of an outage or of a hold.
    var probes = 0
    /// Set by a failure: how many batches of the lane had been delivered then.
    var deliveredAtFailure: Int?
    /// Failures while others were delivered.
    var ownFailures = 0
    /// Attempts that count, since this process knows the batch.
    var attemptsHere = 0

    func isReady(_ now: LaneTime) -> Bool { !isUnderWay && (notBefore ?? now) <= now }
  }

  private var entries: [Entry] = []
  private var deliveredCount = 0

  // MARK: Asking

  var isAnyWaiting: Bool { entries.contains { !$0.isUnderWay } }
  var isAnyUnderWay: Bool { entries.contains(where: \.isUnderWay) }
  var underWayCount: Int { entries.count(where: \.isUnderWay) }
  var isEmpty: Bool { entries.isEmpty }

  /// The first batch that may be sent; under strict order only ever the first of all.
  ///
  /// Of a bisection one part is under way at a time. Side by side, the parts of a batch with a few guilty events all over
  /// it are refused one after the other before the first that is small enough to have none: as if every event was.
  /// `place`, in 0..<1, chooses among the parts of a batch of which nothing was delivered yet.
  func nextWaiting(now: LaneTime, isStrict: Bool, partFrom place: Double = 0) -> Batch? {
    if isStrict { return entries.first.flatMap { $0.isReady(now) ? $0.batch : nil } }
    let isBisecting = entries.contains { $0.isUnderWay && $0.batch.isolation != .none }
    let first = entries.first { $0.isReady(now) && !(isBisecting && $0.batch.isolation != .none) }
    guard first?.batch.isolation == .refused else { return first?.batch }
    let parts = entries.filter { $0.isReady(now) && $0.batch.isolation == .refused }.map(\.batch)
    return parts[Int(place * Double(parts.count))]
  }

  /// The first batch that was never tried.
  func firstUntried(now: LaneTime) -> Batch? {
    entries.first { $0.isReady(now) && $0.batch.attempts == 0 && $0.deliveredAtFailure == nil }?.batch
  }

  /// The first of the other batches that were a probe least often.
  func leastProbed(besides id: Batch.ID?, now: LaneTime) -> Batch? {
    entries.filter { $0.isReady(now) && $0.batch.id != id }.min { $0.probes < $1.probes }?.batch
  }

  /// The batch with the fewest bytes, of those that were a probe least often, and tried least often before: so that one
  /// poisoned batch cannot keep a lane held, however often the process is started.
  func smallestWaiting(now: LaneTime) -> Batch? {
    entries.filter { $0.isReady(now) }
      .min {
        ($0.probes, $0.batch.attempts, $0.batch.byteCount) < ($1.probes, $1.batch.attempts, $1.batch.byteCount)
      }?.batch
  }

  /// When the first of the batches that wait for their own moment may be sent.
  func nextMoment(after now: LaneTime) -> LaneTime? {
    entries.compactMap { $0.isUnderWay ? nil : $0.notBefore }.filter { $0 > now }.min()
  }

  func underWay(_ id: Batch.ID) -> Batch? { entries.first { $0.batch.id == id && $0.isUnderWay }?.batch }

  func attemptsHere(_ id: Batch.ID) -> Int { entries.first { $0.batch.id == id }?.attemptsHere ?? 0 }

  func startNumber(_ id: Batch.ID) -> Int? { entries.first { $0.batch.id == id && $0.isUnderWay }?.startNumber }

  // MARK: Changing

  /// One that is there already stays as it is: a reading of the ledger may have brought it, before the lane was told
  /// that its own commit has.
  mutating func insert(_ batch: Batch, notBefore: LaneTime?) {
    guard !entries.contains(where: { $0.batch.id == batch.id }) else { return }
    let place = entries.firstIndex { Self.precedes(batch, $0.batch) } ?? entries.endIndex
    var entry = Entry(batch: batch, notBefore: notBefore)
    // A part of one that has failed: if others are delivered from now on, and it fails, it is to blame.
    if batch.isolation == .onDemand { entry.deliveredAtFailure = deliveredCount }
    entries.insert(entry, at: place)
  }

  /// `number` is that of the request, among all of the lane.
  mutating func start(_ id: Batch.ID, number: Int) {
    update(id) {
      $0.isUnderWay = true
      $0.startNumber = number
    }
  }

  mutating func noteProbe(_ id: Batch.ID) { update(id) { $0.probes += 1 } }

  /// The other parts of a batch that was refused know now that not all of it is.
  mutating func removeDelivered(_ id: Batch.ID) {
    let isPart = entries.contains { $0.batch.id == id && $0.batch.isolation == .refused }
    remove(id)
    guard isPart else { return }
    for index in entries.indices where entries[index].batch.isolation == .refused {
      entries[index].batch.isolation = .refusedInPart
    }
  }

  mutating func remove(_ id: Batch.ID) { entries.removeAll { $0.batch.id == id } }

  mutating func postpone(_ id: Batch.ID, notBefore: LaneTime) {
    update(id) {
      $0.isUnderWay = false
      $0.notBefore = notBefore
    }
  }

  /// Not again before then, once the attempt that is under way has ended.
  mutating func delay(_ id: Batch.ID, until moment: LaneTime) { update(id) { $0.notBefore = moment } }

  /// The attempt is written down and the batch waits again.
  mutating func finishAttempt(_ settlement: Settlement) {
    update(settlement.batch) {
      $0.isUnderWay = false
      $0.batch.attempts += settlement.isCounted ? 1 : 0
      $0.attemptsHere += settlement.isCounted ? 1 : 0
      $0.batch.inserted = $0.batch.inserted.combined(with: settlement.inserted)
    }
  }

  mutating func noteSuccess() { deliveredCount += 1 }

  /// Notes a failure.
  ///
  /// Returns the batch's own failures where others were delivered since it last failed, else nil. Once it was to blame it
  /// stays so while nothing else has failed: where little comes, little is delivered in between.
  mutating func noteFailure(_ id: Batch.ID, isServiceWell: Bool) -> Int? {
    var ownFailures: Int?
    let delivered = deliveredCount
    update(id) { entry in
      if let before = entry.deliveredAtFailure, before < delivered || (entry.ownFailures > 0 && isServiceWell) {
        entry.ownFailures += 1
        ownFailures = entry.ownFailures
      }
      entry.deliveredAtFailure = delivered
    }
    return ownFailures
  }

  mutating func countImmediateRetry(_ id: Batch.ID) -> Int {
    var count = 0
    update(id) {
      $0.immediateRetries += 1
      count = $0.immediateRetries
    }
    return count
  }

  /// Takes over what the outbox says is pending.
  ///
  /// What is under way stays as it is, but that an operator may have asked to isolate it.
  mutating func synchronise(with batches: [Batch], notBefore: (Batch) -> LaneTime?) {
    let known = Dictionary(entries.map { ($0.batch.id, $0) }) { first, _ in first }
    let pending = Set(batches.map(\.id))
    entries = batches.map { batch in
      guard var entry = known[batch.id] else { return Entry(batch: batch, notBefore: notBefore(batch)) }
      if entry.isUnderWay {
        entry.batch.isolation = batch.isolation
      } else {
        entry.batch = batch
        entry.notBefore = notBefore(batch)
      }
      return entry
    }
    entries += known.values.filter { $0.isUnderWay && !pending.contains($0.batch.id) }
    entries.sort { Self.precedes($0.batch, $1.batch) }
  }

  private mutating func update(_ id: Batch.ID, _ change: (inout Entry) -> Void) {
    guard let index = entries.firstIndex(where: { $0.batch.id == id }) else { return }
    change(&entries[index])
  }

  private static func precedes(_ left: Batch, _ right: Batch) -> Bool {
    (left.sequences.lowerBound, left.id) < (right.sequences.lowerBound, right.id)
  }
}
