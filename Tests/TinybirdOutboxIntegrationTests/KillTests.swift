import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// `kill -9` of a process that appends and delivers, at named steps and at random moments, over and over on one outbox.
///
/// `OUTBOX_KILL_SEEDS=first:count` chooses the seeds; by default the first four, of 25 kills each.
@Suite struct KillTests {
  private static let killsPerSeed = 25

  static var seeds: Range<UInt64> {
    get throws { try seedRange("OUTBOX_KILL_SEEDS", default: 0..<4) }
  }

  @Test(arguments: try KillTests.seeds) func nothingIsLostAndDuplicatesAreNamed(seed: UInt64) async throws {
    var random = SeededRandom(seed: seed)
    let randomKills = Self.killsPerSeed - KillStep.all.count
    let kills = (KillStep.all + (0..<randomKills).map { $0.isMultiple(of: 2) ? .anyStep : .anyMoment })
      .shuffled(using: &random)
    try await withTemporaryDirectory { directory in
      try await withCountingEmulator { emulator in
        var run = KillRun(path: directory + "/app.outbox", emulator: emulator)
        for (number, step) in kills.enumerated() {
          try await run.kill(at: step, number: number, using: &random)
        }
        let (problems, status) = try await run.finish()
        #expect(problems.prefix(20).isEmpty, "seed \(seed), \(problems.count) problems")
        let arrivals = try await Reckoning(acknowledged: [], emulator: emulator).arrivals()
        print(
          "seed \(seed): \(kills.count) kills, \(run.acknowledged.reduce(0) { $0 + $1.count }) events acknowledged,",
          "\(status.deliveredEvents) delivered, \(status.deadEvents) dead;",
          "\(arrivals.count) arrived, \(arrivals.values.count { $0 > 1 }) more than once")
      }
    }
  }

  /// A process is killed at every eighth step of the making of an outbox, with more seeds than the default at every one;
  /// the next process completes it.
  @Test func anOutboxIsMadeAtLastWhereverItsMakerWasKilled() async throws {
    try await withTemporaryDirectory { directory in
      let stride = try Self.seeds.count > 4 ? 1 : 8
      var step = 1 - stride
      var outcome: CrashChild.Outcome
      repeat {
        step += stride
        let path = directory + "/\(step).outbox"
        outcome = try await CrashChild.run("open", path, ["kill": "@\(step)"])
        let outbox = try await Outbox(at: path)
        try await outbox.append("{}", to: "clicks")
        try await expectSound(outbox)
        await outbox.close()
      } while outcome.signal == SIGKILL
      #expect(outcome.code == 0, "\(outcome.lines)")
      print("the making of an outbox was killed at \(step) steps")
      #expect(step > 50)
    }
  }
}

/// A moment at which a process is killed, and what it does until then.
struct KillStep: Sendable {
  let name: String
  /// The child's plan: see `KillPlan`; nil where the test itself kills.
  var plan: String?
  var mode = "append"
  var options: [String: String] = [:]
  /// What another process does before.
  var prelude = Prelude.none
  /// What the service does meanwhile.
  var service = Service.takesWhatIsGood

  enum Prelude: Sendable {
    case none
    /// It is killed, with commits in the log.
    case leavesLog
    /// It appends events.
    case appends
    /// Also one that the service refuses.
    case appendsBad
    /// And delivers, so that they are dead letters.
    case makesDeadLetters
  }

  enum Service: Sendable {
    case takesWhatIsGood
    case takesEverything
    /// Holds a request when it has come this far; the test kills when it is held.
    case holds(at: FaultMoment)
    /// Whatever; the test kills at a random moment.
    case isWatchedByTheClock
  }

  /// Each kind of step once.
  ///
  /// `FEW`, `SOME` and `MANY` in a plan are random numbers up to 6, 30 and 1,500.
  static let all = [
    KillStep(name: "opening", plan: "@SOME"),
    KillStep(name: "before the commit", plan: "statement BEGIN IMMEDIATE@FEW then commit-frame@1"),
    KillStep(name: "a write of the commit", plan: "statement BEGIN IMMEDIATE@2 then wal-write@FEW"),
    KillStep(name: "before the commit's sync", plan: "commit-frame@FEW then wal-sync@1"),
    KillStep(name: "after the commit's sync", plan: "commit-frame@FEW then done wal-sync@1"),
    KillStep(name: "committed and not acknowledged", plan: "commit-frame@FEW then done statement COMMIT@1"),
    KillStep(
      name: "a batch in the commit that forms it", plan: "statement INSERT INTO outbox_batches@1 then wal-write@1"),
    KillStep(name: "formed and not sent", plan: "token@1"),
    KillStep(name: "under way", mode: "deliver", prelude: .appends, service: .holds(at: .beforeCommit)),
    KillStep(
      name: "inserted and not answered", mode: "deliver", prelude: .appends, service: .holds(at: .afterCommit)),
    KillStep(name: "answered and not settled", plan: "statement INSERT INTO outbox_attempts@1"),
    KillStep(name: "in the commit that settles", plan: "statement INSERT INTO outbox_attempts@1 then wal-sync@1"),
    KillStep(name: "settled", plan: "statement INSERT INTO outbox_attempts@1 then done statement COMMIT@1"),
    KillStep(
      name: "events move to the dead letters", plan: "statement INSERT INTO outbox_dead_letters@1 then wal-write@1",
      mode: "deliver", prelude: .appendsBad),
    KillStep(
      name: "a replay begins", plan: "statement UPDATE outbox_dead_letters SET state = 'replaying'@1 then wal-write@1",
      mode: "inspect", prelude: .makesDeadLetters),
    KillStep(
      name: "a replay is settled", plan: "statement DELETE FROM outbox_dead_letters WHERE state = 'replaying'@1",
      mode: "inspect", prelude: .makesDeadLetters, service: .takesEverything),
    KillStep(
      name: "the old log is folded away", plan: "statement PRAGMA wal_checkpoint(RESTART)@1 then database-write@1",
      prelude: .leavesLog),
    KillStep(
      name: "a write of a checkpoint", plan: "statement PRAGMA wal_checkpoint(PASSIVE)@1 then database-write@FEW",
      options: ["size": "600000"]),
    KillStep(
      name: "a checkpoint's sync", plan: "statement PRAGMA wal_checkpoint(PASSIVE)@1 then done database-sync@1",
      options: ["size": "600000"]),
    KillStep(name: "closing", plan: "closing@1 then database-write@1", options: ["calls": "10"]),
  ]

  /// At any call of SQLite.
  static let anyStep = KillStep(name: "any step", plan: "@MANY")
  /// At any time.
  static let anyMoment = KillStep(name: "any moment", service: .isWatchedByTheClock)
}

/// Kills process after process on one outbox, and remembers what each was told.
struct KillRun {
  let path: String
  let emulator: EventsAPIEmulator
  private(set) var acknowledged: [CrashChild.Acknowledgement] = []

  init(path: String, emulator: EventsAPIEmulator) {
    self.path = path
    self.emulator = emulator
  }

  mutating func kill(at step: KillStep, number: Int, using random: inout some RandomNumberGenerator) async throws {
    try await prepare(step.prelude, writer: "p\(number)")
    var options = ["writer": "k\(number)", "seconds": "60", "bad": "6", "url": try await url]
    options.merge(step.options) { $1 }
    let numbers = ["FEW": 6, "SOME": 30, "MANY": 1500].sorted { $0.key < $1.key }
    options["kill"] = step.plan.map { plan in
      numbers.reduce(plan) { $0.replacing("@\($1.key)", with: "@\(Int.random(in: 1...$1.value, using: &random))") }
    }
    emulator.dataSources = takesEverything(step) ? [:] : Self.refusingBad
    if case .holds(let moment) = step.service {
      emulator.faults = [FaultRule(times: 1, delay: .untilReleased(at: moment))]
    }
    let child = try CrashChild(step.mode, path, options)
    switch step.service {
    case .holds:
      try await emulator.waitForHeldRequests(count: 1)
      child.kill()
    case .isWatchedByTheClock:
      // Not waiting for anything: a kill at no step at all is what is tried.
      try await Task.sleep(for: .milliseconds(Int.random(in: 20...250, using: &random)))
      child.kill()
    case .takesWhatIsGood, .takesEverything: break
    }
    let outcome = try await child.end()
    emulator.releaseHeldRequests()
    #expect(outcome.signal == SIGKILL, "'\(step.name)' was not reached: \(outcome.lines.suffix(3))")
    #expect(outcome.errors.isEmpty)
    acknowledged += try outcome.acknowledgements
    // Before the service refuses those that are replayed again: a lane that is told nothing but refusals holds.
    if takesEverything(step) { try await deliverUntilEmpty() }
  }

  /// Lets a last process deliver what is left, and reckons up: what is wrong, and what became of the events.
  ///
  /// Those that were committed when their caller was killed are among them, so that they are more than were acknowledged.
  mutating func finish() async throws -> (problems: [String], status: OutboxStatus) {
    emulator.dataSources = Self.refusingBad
    try await deliverUntilEmpty()
    let outbox = try await Outbox(at: path)
    let problems = try await Reckoning(acknowledged: acknowledged, emulator: emulator).problems(outbox)
    let status = try await outbox.status()
    await outbox.close()
    return (problems, status)
  }

  private mutating func prepare(_ prelude: KillStep.Prelude, writer: String) async throws {
    var options = ["writer": writer, "calls": "4"]
    switch prelude {
    case .none: return
    case .appends: break
    case .leavesLog: options["kill"] = "done statement COMMIT@3"
    case .appendsBad, .makesDeadLetters: options["bad"] = "1"
    }
    let outcome = try await CrashChild.run("append", path, options)
    #expect(outcome.errors.isEmpty)
    acknowledged += try outcome.acknowledgements
    emulator.dataSources = Self.refusingBad
    if case .makesDeadLetters = prelude { try await deliverUntilEmpty() }
  }

  private func deliverUntilEmpty() async throws {
    let outcome = try await CrashChild.run("deliver", path, ["url": try await url, "until": "empty"])
    #expect(outcome.code == 0, "\(outcome.lines)")
  }

  private var url: String { get async throws { try await emulator.baseURL.absoluteString } }

  private func takesEverything(_ step: KillStep) -> Bool {
    if case .takesEverything = step.service { true } else { false }
  }

  static let refusingBad = [
    "clicks": DataSourceRules(rejects: .member("bad", equals: true)),
    "orders": DataSourceRules(rejects: .member("bad", equals: true)),
  ]
}

/// An emulator that refuses bad events, and counts the others by their identity.
func withCountingEmulator(_ body: (EventsAPIEmulator) async throws -> Void) async throws {
  var configuration = EventsAPIEmulator.Configuration()
  configuration.limits = .withoutRateLimits
  configuration.storage = .counting(eventIDMember: "id")
  configuration.script.dataSources = KillRun.refusingBad
  try await EventsAPIEmulator.withRunning(configuration, body)
}

/// Seeds by an environment variable such as `OUTBOX_KILL_SEEDS=100:40`.
func seedRange(_ variable: String, default seeds: Range<UInt64>) throws -> Range<UInt64> {
  guard let text = ProcessInfo.processInfo.environment[variable] else { return seeds }
  let numbers = text.split(separator: ":").compactMap { UInt64($0) }
  let (first, count) = (numbers.first ?? 0, numbers.last ?? 0)
  try #require(numbers.count == 2 && count > 0 && first <= .max - count, "write first:count, such as 0:2000")
  return first..<first + count
}
