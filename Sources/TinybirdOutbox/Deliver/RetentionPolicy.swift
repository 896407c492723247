/// Decides what may be pruned: by age, by size, and earlier where space is short.
///
/// Only delivered and discarded events are ever concerned: see ``Pruner``.
struct RetentionPolicy: Sendable {
  /// What one look at outbox and clocks shows.
  struct Look: Sendable {
    var wall: WallTime
    /// Of a clock that nobody sets, since the outbox was opened.
    var monotonic: Duration
    /// NDJSON bytes of what could be pruned.
    var keptBytes: Int64
    /// What appends may still take; nil without a budget.
    var room: Int64?
    /// The reserve was spent, and appends are refused.
    var isDiskFull: Bool
  }

  /// By how much the wall clock may differ from the monotonic one between two looks: a minute.
  ///
  /// What steers it (NTP) stays far below; what is above was set by hand, or after a sleep.
  static let toleratedDrift = Duration.seconds(60)

  private let keepsFor: Duration
  private let keepsBytes: Int64
  private let limits: SpaceLimits
  private var lastWall: WallTime
  private var lastMonotonic = Duration.zero

  /// - Parameter openedAt: The wall clock when the monotonic one was zero.
  init(keepsFor: Duration, keepsBytes: Int64, limits: SpaceLimits, openedAt: WallTime) {
    self.keepsFor = keepsFor
    self.keepsBytes = keepsBytes
    self.limits = limits
    lastWall = openedAt
  }

  /// What to prune now.
  ///
  /// Where the wall clock has jumped since the last look, nothing goes for its age: that waits for the next look.
  mutating func goal(_ look: Look) -> Pruner.Goal {
    let drift = Duration.milliseconds(look.wall.milliseconds - lastWall.milliseconds) - (look.monotonic - lastMonotonic)
    lastWall = look.wall
    lastMonotonic = look.monotonic
    let hasJumped = drift > Self.toleratedDrift || drift < .zero - Self.toleratedDrift
    return Pruner.Goal(
      settledUpTo: hasJumped ? .distantPast : look.wall + (.zero - keepsFor), excessBytes: excess(look))
  }

  private func excess(_ look: Look) -> Int64 {
    let overSize = look.keptBytes - keepsBytes
    let overBudget = isShort(look.room) ? Self.excess(over: limits, room: look.room) : 0
    // As much as the reserve wants before appends are taken again.
    let overDisk = look.isDiskFull ? limits.reserveBytes + limits.checkpointBytes : 0
    return max(0, overSize, overBudget, overDisk)
  }

  /// What has to go before the budget leaves room for a while.
  static func excess(over limits: SpaceLimits, room: Int64?) -> Int64 {
    room.map { max(0, 2 * limits.pruningRoom - $0) } ?? 0
  }

  /// Whether the budget leaves so little that appends may soon be refused.
  func isShort(_ room: Int64?) -> Bool { room.map { $0 < limits.pruningRoom } ?? false }
}
