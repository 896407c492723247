import Testing

@testable import TinybirdOutbox

@Suite struct CommitStateMachineTests {
  /// One input and the action that it must give.
  enum Step {
    case enqueue(CommitStateMachine.ID, Int, CommitStateMachine.EnqueueAction)
    case take([CommitStateMachine.ID])
    case end(CommitStateMachine.GroupEndedAction)
    case cancel(CommitStateMachine.ID, CommitStateMachine.CancelAction)
    case close(refused: [CommitStateMachine.ID])
    case waitingBytes(Int)
  }

  struct Scenario: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let steps: [Step]
    let maximumCommitBytes: Int

    init(_ name: String, maximumCommitBytes: Int = .max, _ steps: [Step]) {
      testDescription = name
      self.maximumCommitBytes = maximumCommitBytes
      self.steps = steps
    }
  }

  /// 100 bytes may wait.
  @Test(arguments: commits + commitLimit + backPressure + endings) func scenario(_ scenario: Scenario) {
    var machine = CommitStateMachine(maximumWaitingBytes: 100, maximumCommitBytes: scenario.maximumCommitBytes)
    for (index, step) in scenario.steps.enumerated() {
      switch step {
      case .enqueue(let id, let byteCount, let action):
        #expect(machine.enqueue(id, byteCount: byteCount) == action, "step \(index)")
      case .take(let group): #expect(machine.takeGroup() == group, "step \(index)")
      case .end(let action): #expect(machine.groupEnded() == action, "step \(index)")
      case .cancel(let id, let action): #expect(machine.cancel(id) == action, "step \(index)")
      case .close(let refused): #expect(machine.close() == refused, "step \(index)")
      case .waitingBytes(let count): #expect(machine.waitingBytes == count, "step \(index)")
      }
    }
  }

  static let commits = [
    Scenario(
      "a lone caller is committed at once",
      [.enqueue(1, 10, .startCommit), .take([1]), .end(.idle), .waitingBytes(0), .enqueue(2, 10, .startCommit)]),
    Scenario(
      "who comes before the writer has begun is in its group",
      [.enqueue(1, 10, .startCommit), .enqueue(2, 10, .wait), .take([1, 2]), .end(.idle)]),
    Scenario(
      "whatever arrives during a commit is the next group, in its order",
      [
        .enqueue(1, 10, .startCommit), .take([1]),
        .enqueue(2, 10, .wait), .enqueue(3, 0, .wait), .enqueue(4, 10, .wait),
        .end(.commitAgain), .take([2, 3, 4]), .end(.idle),
      ]),
    Scenario(
      "a group that nobody joins is the last",
      [
        .enqueue(1, 10, .startCommit), .take([1]), .enqueue(2, 10, .wait), .end(.commitAgain), .take([2]),
        .end(.idle), .enqueue(3, 10, .startCommit), .take([3]), .end(.idle),
      ]),
  ]

  static let commitLimit = [
    Scenario(
      "a commit takes what fits, and the rest is the next", maximumCommitBytes: 50,
      [
        .enqueue(1, 20, .startCommit), .enqueue(2, 30, .wait), .enqueue(3, 1, .wait), .take([1, 2]),
        .enqueue(4, 10, .wait), .end(.commitAgain), .take([3, 4]), .end(.idle),
      ]),
    Scenario(
      "an append larger than a commit is one of its own, in its order", maximumCommitBytes: 50,
      [
        .enqueue(1, 10, .startCommit), .enqueue(2, 60, .wait), .enqueue(3, 10, .wait), .take([1]),
        .end(.commitAgain), .take([2]), .end(.commitAgain), .take([3]), .end(.idle),
      ]),
    Scenario(
      "ledger work joins whatever is taken, but passes nobody", maximumCommitBytes: 50,
      [
        .enqueue(1, 0, .startCommit), .enqueue(2, 60, .wait), .enqueue(3, 0, .wait), .take([1]),
        .end(.commitAgain), .take([2, 3]), .end(.idle),
      ]),
  ]

  static let backPressure = [
    Scenario(
      "exactly the limit fits, a byte more does not",
      [.enqueue(1, 60, .startCommit), .enqueue(2, 40, .wait), .waitingBytes(100), .enqueue(3, 1, .suspend)]),
    Scenario(
      "bytes are held until their commit has ended",
      [
        .enqueue(1, 100, .startCommit), .take([1]), .waitingBytes(100), .enqueue(2, 100, .suspend),
        .end(.commitAgain), .waitingBytes(100), .take([2]), .end(.idle), .waitingBytes(0),
      ]),
    Scenario(
      "an append larger than the limit is taken when nothing else waits, and alone",
      [
        .enqueue(1, 1_000, .startCommit), .waitingBytes(1_000), .enqueue(2, 1, .suspend), .take([1]),
        .end(.commitAgain), .waitingBytes(1), .take([2]), .end(.idle),
      ]),
    Scenario(
      "an append larger than the limit waits until nothing else does, and nobody passes it",
      [
        .enqueue(1, 50, .startCommit), .take([1]), .enqueue(2, 1_000, .suspend), .enqueue(3, 1, .suspend),
        .end(.commitAgain), .take([2]), .waitingBytes(1_000),
        .end(.commitAgain), .take([3]), .end(.idle),
      ]),
    Scenario(
      "the suspended are let in by their order, as many as have room",
      [
        .enqueue(1, 100, .startCommit), .take([1]),
        .enqueue(2, 40, .suspend), .enqueue(3, 60, .suspend), .enqueue(4, 60, .suspend), .enqueue(5, 1, .suspend),
        .end(.commitAgain), .waitingBytes(100), .take([2, 3]),
        .end(.commitAgain), .waitingBytes(61), .take([4, 5]), .end(.idle),
      ]),
    Scenario(
      "who could fit does not pass who was suspended before",
      [.enqueue(1, 90, .startCommit), .enqueue(2, 50, .suspend), .enqueue(3, 5, .suspend), .waitingBytes(90)]),
    Scenario(
      "ledger work is never suspended",
      [
        .enqueue(1, 100, .startCommit), .enqueue(2, 100, .suspend), .enqueue(3, 0, .wait), .take([1, 3]),
        .enqueue(4, 0, .wait), .end(.commitAgain), .take([4, 2]), .end(.idle),
      ]),
    Scenario(
      "ledger work takes no room from an append, however large",
      [.enqueue(1, 0, .startCommit), .enqueue(2, 0, .wait), .enqueue(3, 1_000, .wait), .take([1, 2, 3]), .end(.idle)]),
  ]

  static let endings = [
    Scenario(
      "who is cancelled while suspended is dropped",
      [
        .enqueue(1, 100, .startCommit), .enqueue(2, 10, .suspend), .enqueue(3, 10, .suspend), .cancel(2, .drop),
        .take([1]), .end(.commitAgain), .take([3]), .end(.idle), .waitingBytes(0),
      ]),
    Scenario(
      "who is cancelled when queued, under way, or done is kept",
      [
        .enqueue(1, 10, .startCommit), .cancel(1, .keep), .take([1]), .cancel(1, .keep), .enqueue(2, 10, .wait),
        .cancel(2, .keep), .end(.commitAgain), .cancel(1, .keep), .waitingBytes(10), .take([2]), .end(.idle),
        .waitingBytes(0),
      ]),
    Scenario(
      "a second cancel changes nothing",
      [
        .enqueue(1, 100, .startCommit), .enqueue(2, 10, .suspend), .cancel(2, .drop), .cancel(2, .keep), .take([1]),
        .end(.idle),
      ]),
    Scenario(
      "when the first of the suspended is cancelled, those behind it that fit are let in",
      [
        .enqueue(1, 50, .startCommit), .enqueue(2, 60, .suspend), .enqueue(3, 20, .suspend), .enqueue(4, 90, .suspend),
        .cancel(2, .drop), .waitingBytes(70), .take([1, 3]), .end(.commitAgain), .take([4]), .end(.idle),
      ]),
    Scenario(
      "closing refuses the suspended and all who come, and commits what is queued",
      [
        .enqueue(1, 50, .startCommit), .take([1]), .enqueue(2, 50, .wait), .enqueue(3, 10, .suspend),
        .enqueue(4, 10, .suspend), .close(refused: [3, 4]), .enqueue(5, 10, .refuse), .enqueue(6, 0, .refuse),
        .cancel(3, .keep), .end(.commitAgain), .take([2]), .end(.idle), .waitingBytes(0), .enqueue(7, 1, .refuse),
      ]),
    Scenario(
      "closing an idle machine, and again", [.close(refused: []), .close(refused: []), .enqueue(1, 1, .refuse)]),
    Scenario(
      "impossible: a group that ends before it began, and one that is taken when nobody waits",
      [
        .end(.idle), .take([]), .cancel(1, .keep), .waitingBytes(0), .enqueue(1, 10, .startCommit), .take([1]),
        .end(.idle),
      ]
    ),
  ]
}
