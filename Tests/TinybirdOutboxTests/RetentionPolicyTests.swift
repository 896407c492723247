import Testing

@testable import TinybirdOutbox

@Suite struct RetentionPolicyTests {
  private static let limits = SpaceLimits(
    maximumBytes: 1000, checkpointBytes: 40, commitBytes: 20, reserveBytes: 60)
  private let opened = WallTime(milliseconds: 1_000_000_000)

  /// An hour, and 500 bytes.
  private func policy() -> RetentionPolicy {
    RetentionPolicy(keepsFor: .seconds(3600), keepsBytes: 500, limits: Self.limits, openedAt: opened)
  }

  private func look(
    after monotonic: Duration, wall: Duration? = nil, kept: Int64 = 0, room: Int64? = nil, isDiskFull: Bool = false
  ) -> RetentionPolicy.Look {
    RetentionPolicy.Look(
      wall: opened + (wall ?? monotonic), monotonic: monotonic, keptBytes: kept, room: room, isDiskFull: isDiskFull)
  }

  @Test func whatIsOlderThanTheAgeGoes() {
    var policy = policy()
    #expect(policy.goal(look(after: .seconds(10))).settledUpTo == opened + .seconds(10 - 3600))
    #expect(policy.goal(look(after: .seconds(7200))).settledUpTo == opened + .seconds(3600))
  }

  struct Space: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var kept: Int64 = 0
    var room: Int64?
    var isDiskFull = false
    let excess: Int64
  }

  @Test(arguments: [
    Space(testDescription: "inside the size", kept: 500, excess: 0),
    Space(testDescription: "beyond the size", kept: 520, excess: 20),
    Space(testDescription: "a tenth of the budget left", room: 100, excess: 0),
    Space(testDescription: "less than that: up to a fifth", room: 99, excess: 101),
    Space(testDescription: "over the budget", room: -50, excess: 250),
    Space(testDescription: "the disk is full: what the reserve wants", isDiskFull: true, excess: 100),
    Space(testDescription: "the largest need counts", kept: 900, room: 99, isDiskFull: true, excess: 400),
  ])
  func theOldestGoWhereSpaceIsShort(space: Space) {
    var policy = policy()
    let goal = policy.goal(
      look(after: .zero, kept: space.kept, room: space.room, isDiskFull: space.isDiskFull))
    #expect(goal.excessBytes == space.excess)
  }

  @Test(arguments: [Duration.seconds(7200), .seconds(-7200), .seconds(61), .seconds(-61)])
  func aJumpOfTheWallClockPausesPruningByAgeForOneLook(jump: Duration) {
    var policy = policy()
    let jumped = policy.goal(look(after: .seconds(10), wall: .seconds(10) + jump, kept: 600))
    #expect(jumped == Pruner.Goal(settledUpTo: .distantPast, excessBytes: 100), "size is pruned all the same")
    let next = policy.goal(look(after: .seconds(20), wall: .seconds(20) + jump))
    #expect(next.settledUpTo == opened + .seconds(20 - 3600) + jump)
  }

  @Test func aClockThatIsSteeredIsNoJump() {
    var policy = policy()
    #expect(policy.goal(look(after: .seconds(10), wall: .seconds(69))).settledUpTo == opened + .seconds(69 - 3600))
    #expect(policy.goal(look(after: .seconds(20), wall: .seconds(20))).settledUpTo == opened + .seconds(20 - 3600))
  }
}

@Suite struct SpaceLimitsTests {
  @Test(
    arguments: [
      (nil, nil, Int64(16 << 20), 8 << 20, Int64(32 << 20)),
      (1 << 30, 1 << 40, 16 << 20, 8 << 20, 32 << 20),
      (64 << 20, 1 << 40, 4 << 20, 2 << 20, 8 << 20),
      (nil, 16 << 20, 1 << 20, 1 << 19, 2 << 20),
    ] as [(Int64?, Int64?, Int64, Int, Int64)])
  func sharesAreCutToTheBudgetAndTheDisk(
    maximum: Int64?, disk: Int64?, checkpoint: Int64, commit: Int, reserve: Int64
  ) {
    let limits = SpaceLimits(maximumBytes: maximum, diskBytes: disk)
    #expect(
      limits
        == SpaceLimits(
          maximumBytes: maximum, checkpointBytes: checkpoint, commitBytes: commit, reserveBytes: reserve))
    #expect(
      limits.reserveBytes > limits.checkpointBytes + Int64(limits.commitBytes),
      "or the log could not be folded on a full disk")
  }

  @Test func theLeastBudgetOfALargeAppendIsNamed() {
    #expect(SpaceLimits.leastMaximumBytes(forAppending: 1_000_000) == SpaceLimits.leastMaximumBytes)
    for byteCount in [7_000_000, 10_000_000, 200_000_000] {
      let least = SpaceLimits.leastMaximumBytes(forAppending: byteCount)
      let limits = SpaceLimits(maximumBytes: least, diskBytes: nil)
      let cost = limits.cost(ofLargeAppend: byteCount)
      let room = limits.room(usedBytes: 0, logBytes: cost + limits.checkpointBytes) ?? 0
      #expect(room >= cost && room < cost + (2 << 20), "enough, and little more: \(room)")
    }
    #expect(SpaceLimits(maximumBytes: nil, diskBytes: nil).cost(ofLargeAppend: 8 << 20) == 0)
  }

  @Test func theLogCountsAsWhatItMayNeedOrAsWhatItHas() {
    let limits = SpaceLimits(maximumBytes: 1000, checkpointBytes: 40, commitBytes: 20, reserveBytes: 60)
    #expect(limits.room(usedBytes: 300, logBytes: 0) == 540)
    #expect(limits.room(usedBytes: 300, logBytes: 200) == 400)
    #expect(SpaceLimits(maximumBytes: nil, diskBytes: nil).room(usedBytes: 300, logBytes: 0) == nil)
  }
}
