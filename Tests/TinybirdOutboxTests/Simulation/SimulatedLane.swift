@testable import TinybirdOutbox

/// The memory of one lane's shell.
final class SimulatedLane {
  /// Where the lane's loop stands.
  enum Loop: Equatable {
    case ready
    case asleep(until: LaneTime?)
    /// A batch is being marked as sent.
    case marking
    /// What to form was read; nil where there was nothing.
    case planned(BatchBuilder.Plan?, mark: Int)
    case forming
    case ended
  }

  /// A reading of lane and batches after a command, on its way to the lane.
  struct Reading {
    var changeCount: Int
    var record: LaneRecord
    var batches: [Batch]
    var sending: Set<Batch.ID>
    var tries = 1
    /// What the engine had seen.
    var hasUnbatched: Bool
  }

  let index: Int
  var machine: LaneStateMachine
  var commandCount: Int64
  var changeCount = 0
  var loop = Loop.ready
  var isSignalled = false
  var reading: Reading?
  var lastToken: (token: Int, at: LaneTime)?
  var watch: LaneWatch
  /// The last answer that is written down, by the order of the answers.
  var lastSettled = 0

  init(_ index: Int, machine: LaneStateMachine, record: LaneRecord) {
    self.index = index
    self.machine = machine
    commandCount = record.commandCount
    watch = LaneWatch(hold: record.hold?.kind)
  }

  func isRunnable(now: LaneTime) -> Bool {
    switch loop {
    case .ready, .planned: true
    case .asleep(let until): isSignalled || until.map { $0 <= now } ?? false
    case .marking, .forming, .ended: false
    }
  }
}

/// A request from the moment it leaves until its answer is settled.
struct SimulatedRequest {
  typealias ID = Int

  let id: ID
  let lane: Int
  let batch: Batch
  let sequences: [Int64]
  let token: Int
  /// Counts the requests of this lane and process.
  let startNumber: Int
  /// Set by the answer.
  var settlement: Settlement?
  var judgedAt = LaneTime.zero
  /// Counts the answers of this process.
  var judgeNumber = 0
  var settleFailures = 0
  /// When to try to write the answer down again.
  var settleAgainAt: LaneTime?
  /// Its settlement waits for a commit, or to be tried again.
  var isSettling = false
}
