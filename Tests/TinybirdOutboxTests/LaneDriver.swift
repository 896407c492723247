import Testing

@testable import TinybirdOutbox

extension Batch {
  /// A batch of events of 100 bytes each.
  static func sample(
    _ id: ID, _ sequences: ClosedRange<Int64>, kind: Kind = .append, bytes: Int? = nil, attempts: Int = 0,
    isolation: Isolation = .none, nextAttemptAt: WallTime? = nil
  ) -> Batch {
    Batch(
      id: id, kind: kind, sequences: sequences, eventCount: sequences.count, byteCount: bytes ?? sequences.count * 100,
      inserted: .no, attempts: attempts, isolation: isolation, nextAttemptAt: nextAttemptAt)
  }
}

extension LaneSettings {
  /// The defaults of the library, without rate limits.
  static func sample(isStrict: Bool = false, maximumInFlight: Int = 4, maximumEvents: Int = 10) -> LaneSettings {
    LaneSettings(
      limits: BatchLimits(maximumBytes: 8_000_000, maximumEvents: maximumEvents),
      probeLimits: BatchLimits(maximumBytes: 300, maximumEvents: maximumEvents),
      rateLimits: RateLimits(requestsPerSecond: .infinity, bytesPerSecond: .infinity), retryPolicy: RetryPolicy(),
      isStrict: isStrict, maximumInFlight: isStrict ? 1 : maximumInFlight, holdProbeInterval: .seconds(900))
  }
}

/// What a scripted service answers.
enum Reply: Equatable, Sendable {
  case status(Int, retryAfter: Duration? = nil)
  /// The service takes every row.
  case delivered
  case notSent
  case reset
  case streamRefused
  case cancelled
  case page

  func outcome(_ batch: Batch) -> Outcome {
    func answered(_ status: Int, _ body: String, _ retryAfter: Duration? = nil) -> Outcome {
      .answered(Outcome.Answer(status: status, body: Array(body.utf8), isBodyWhole: true, retryAfter: retryAfter))
    }
    return switch self {
    case .status(let status, let retryAfter): answered(status, #"{"error":"no"}"#, retryAfter)
    case .delivered: answered(200, #"{"successful_rows":\#(batch.eventCount),"quarantined_rows":0}"#)
    case .page: answered(200, "<html>")
    case .notSent: .noAnswer(.notSent(.connectionRefused))
    case .reset: .noAnswer(.unknown(.connectionClosed))
    case .streamRefused: .noAnswer(.notProcessed)
    case .cancelled: .noAnswer(.cancelled)
    }
  }
}

/// A lane with a ledger in memory: a few lines that do to a settlement what the store does.
final class LaneDriver {
  private(set) var machine: LaneStateMachine
  var now = LaneTime.zero
  /// Stands for luck in every wait.
  var fraction = 0.5
  /// What happens when the ledger is written, before the lane is told so.
  var beforeNews: () -> Void = {}
  private(set) var record: LaneRecord
  /// The batches of the ledger that are not settled.
  private(set) var pending: [Batch.ID: Batch] = [:]
  /// Those whose answer is not written down.
  private var sending: Set<Batch.ID> = []
  private(set) var delivered: [ClosedRange<Int64>] = []
  private(set) var dead: [(sequences: ClosedRange<Int64>, reason: DeadReason)] = []
  private(set) var requestCount = 0
  private var lastID: Batch.ID

  /// How far the wall clock is set wrong.
  var wallSkew = Duration.zero
  static let wallStart = WallTime(milliseconds: 1_800_000_000_000)
  var wallNow: WallTime { Self.wallStart + now + wallSkew }

  init(
    _ batches: [Batch] = [], unbatched: Int64 = 0, settings: LaneSettings = .sample(),
    hold: LaneRecord.Hold? = nil, change: (inout LaneRecord) -> Void = { _ in }
  ) {
    let next = (batches.map(\.sequences.upperBound).max() ?? 0) + 1
    record = LaneRecord(
      id: 1, dataSource: DataSourceName(stored: "clicks"), nextSequence: next + unbatched, nextUnbatched: next,
      failures: 0, retryAt: nil, hold: nil, commandCount: 0)
    change(&record)
    for batch in batches { pending[batch.id] = batch }
    lastID = batches.map(\.id).max() ?? 0
    machine = LaneStateMachine(
      record, batches: batches, settings: settings, now: .zero, wallNow: Self.wallStart)
    // One that begins now; `change` makes one that was there when the process started.
    if let hold { command { $0.hold = hold } }
  }

  var batches: [Batch] { pending.values.sorted { $0.sequences.lowerBound < $1.sequences.lowerBound } }
  var deadSequences: [Int64] { dead.flatMap { Array($0.sequences) }.sorted() }
  var deliveredSequences: [Int64] { delivered.flatMap { Array($0) }.sorted() }

  // MARK: The shell

  func append(_ count: Int64) {
    record.nextSequence += count
    machine.appended()
  }

  func next() -> LaneStateMachine.Action {
    let action = machine.next(now: now)
    if case .send(let batch) = action { sending.insert(batch.id) }
    return action
  }

  /// Forms what ``LaneStateMachine/Action/form(_:)`` asks for; every event is a chunk of 100 bytes.
  func form(_ limits: BatchLimits) -> Batch? {
    let mark = machine.formingMark
    let count = Int(record.nextSequence - record.nextUnbatched)
    guard count > 0 else {
      machine.formed(nil, mark: mark, now: now)
      return nil
    }
    let taken = max(1, min(count, limits.maximumEvents, limits.maximumBytes / 100))
    lastID += 1
    let batch = Batch.sample(lastID, record.nextUnbatched...record.nextUnbatched + Int64(taken) - 1)
    record.nextUnbatched += Int64(taken)
    pending[batch.id] = batch
    sending.insert(batch.id)
    beforeNews()
    machine.formed(batch, mark: mark, now: now)
    return batch
  }

  /// The next request, formed first where that is asked for.
  ///
  /// Nil: there is none now.
  func request() -> Batch? {
    // A machine that is broken fails a test; it does not hang it.
    for _ in 0..<3 where requestCount < Self.maximumRequestCount {
      switch next() {
      case .send(let batch):
        requestCount += 1
        return batch
      case .form(let limits):
        guard let batch = form(limits) else { continue }
        requestCount += 1
        return batch
      case .wait, .finish: return nil
      }
    }
    Issue.record("the lane does not stop asking")
    return nil
  }

  /// No test needs more.
  private static let maximumRequestCount = 100_000

  /// Every request that may start now.
  func requests() -> [Batch] {
    var batches: [Batch] = []
    while let batch = request() { batches.append(batch) }
    return batches
  }

  /// Passes the time until the lane may do something, and returns how long that was.
  ///
  /// Nil: it can do something now, or waits for something to happen.
  func sleep() -> Duration? {
    // A copy is asked: asking may start a request.
    var machine = machine
    guard case .wait(let until?) = machine.next(now: now) else { return nil }
    defer { now = max(now, until) }
    return until - now
  }

  func judge(_ batch: Batch, _ reply: Reply) -> Settlement {
    let outcome = reply.outcome(batch)
    let status: Int? = if case .answered(let answer) = outcome { answer.status } else { nil }
    return machine.judge(batch.id, Verdict(outcome), status: status, now: now, fraction: fraction)
  }

  @discardableResult
  func answer(_ batch: Batch, _ reply: Reply) -> Settlement {
    let settlement = judge(batch, reply)
    commit(settlement)
    return settlement
  }

  func note(_ limit: RateLimitLeft, answerTo batch: Batch) { machine.note(limit, answerTo: batch.id, now: now) }
  /// What no answer led to.
  func machineJudges(_ batch: Batch, _ verdict: Verdict) -> Settlement {
    machine.judge(batch.id, verdict, status: nil, now: now, fraction: fraction)
  }

  /// An operator's command for a batch that waits, or is under way.
  func isolate(_ id: Batch.ID) { command { _ in pending[id]?.isolation = .onDemand } }
  func startFailed(_ batch: Batch) { machine.startFailed(batch.id, now: now) }
  func formingFailed() { machine.formingFailed(now: now) }
  func stop() { machine.stop() }
  func credentialsChanged() { machine.credentialsChanged(now: now) }

  // MARK: The ledger

  /// One transaction, and what the machine is told of it.
  func commit(_ settlement: Settlement) {
    guard var batch = pending[settlement.batch] else { return }
    sending.remove(batch.id)
    batch.attempts += settlement.isCounted ? 1 : 0
    batch.inserted = batch.inserted.combined(with: settlement.inserted)
    change(settlement.lane)
    var parts: [Batch] = []
    switch settlement.change {
    case .delivered:
      pending[batch.id] = nil
      delivered.append(batch.sequences)
      for id in pending.keys where batch.isolation == .refused && pending[id]?.isolation == .refused {
        pending[id]?.isolation = .refusedInPart
      }
    case .pending(let delay):
      batch.nextAttemptAt = delay.map { wallNow + $0 }
      pending[batch.id] = batch
    case .split:
      pending[batch.id] = nil
      let middle = batch.sequences.lowerBound + Int64(batch.eventCount / 2)
      for part in [batch.sequences.lowerBound...middle - 1, middle...batch.sequences.upperBound] {
        lastID += 1
        parts.append(
          .sample(
            lastID, part, kind: batch.kind, attempts: batch.attempts,
            isolation: batch.isolation.ofParts))
      }
      for part in parts { pending[part.id] = part }
    case .dead(let reason):
      pending[batch.id] = nil
      dead.append((batch.sequences, reason))
    }
    beforeNews()
    machine.settled(settlement, parts: parts)
  }

  private func change(_ lane: LaneChange) {
    switch lane {
    case .none: break
    case .open:
      record.failures = 0
      record.retryAt = nil
      if record.hold?.kind != .byOperator { record.hold = nil }
    case .backOff(let failures, let delay):
      record.failures = failures
      record.retryAt = wallNow + delay
    case .hold(let kind, let status):
      record.hold = record.hold ?? LaneRecord.Hold(kind: kind, status: status)
    }
  }

  // MARK: Operators and crashes

  /// A command: it changes what is stored, and the lane reads it anew.
  func command(_ change: (inout LaneRecord) -> Void = { _ in }) {
    change(&record)
    machine.reload(record, batches: batches, sending: sending, now: now, wallNow: wallNow)
  }

  func hold() { command { $0.hold = LaneRecord.Hold(kind: .byOperator, status: nil) } }

  func resume() {
    for id in pending.keys { pending[id]?.nextAttemptAt = nil }
    command {
      $0.hold = nil
      $0.failures = 0
      $0.retryAt = nil
    }
  }

  /// What happens between reading and reloading, as when an append comes just then.
  func reloadStale(_ change: () -> Void) {
    let (record, batches) = (record, batches)
    change()
    machine.reload(record, batches: batches, sending: sending, now: now, wallNow: wallNow)
  }

  /// Every wait of the lane and of its batches is over.
  func deliverNow() {
    for id in pending.keys { pending[id]?.nextAttemptAt = nil }
    command { $0.retryAt = nil }
  }

  /// Another process settled it, and the lane finds out.
  func abandon(_ batch: Batch) {
    abandonInLedger(batch)
    machine.abandoned(batch.id)
  }

  func abandonInLedger(_ batch: Batch) { pending[batch.id] = nil }

  func addToLedger(_ batch: Batch) { pending[batch.id] = batch }

  /// The process ends and another one starts, with a clock of its own.
  func restart() {
    let wall = wallNow
    now = .zero
    wallSkew = .milliseconds(wall.milliseconds - Self.wallStart.milliseconds)
    machine = LaneStateMachine(record, batches: batches, settings: machine.settings, now: now, wallNow: wallNow)
  }
}
