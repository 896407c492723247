/// How the bytes of an outbox on disk are shared out between events, log and reserve.
///
/// | | usually | under a small `maximumBytes`, or on a small disk |
/// |---|---|---|
/// | the log is folded when it has grown by | 16 MiB | a sixteenth of it |
/// | appends that share one commit | 8 MiB | a thirty-second |
/// | held back on disk, see ``ReserveFile`` | 32 MiB | an eighth |
///
/// The reserve is larger than what a checkpoint can add to the file, that is the log's growth and one commit. So on a full
/// disk the log can be folded, and what is settled then is written to the log's own blocks.
struct SpaceLimits: Equatable, Sendable {
  /// The smallest budget: 16 MiB.
  static let leastMaximumBytes: Int64 = 16 << 20

  /// A log above this is one that could not begin anew for long: 64 MiB, where it should have a third of that.
  static let notableLogBytes: Int64 = 64 << 20

  /// The most that the outbox may hold on disk; nil where only the disk limits it.
  let maximumBytes: Int64?
  /// Bytes by which the log grows before it is folded into the file.
  let checkpointBytes: Int64
  /// Bytes of appends that one commit takes; a larger append is a commit of its own.
  let commitBytes: Int
  /// Bytes of the reserve file.
  let reserveBytes: Int64

  init(maximumBytes: Int64?, checkpointBytes: Int64, commitBytes: Int, reserveBytes: Int64) {
    self.maximumBytes = maximumBytes
    self.checkpointBytes = checkpointBytes
    self.commitBytes = commitBytes
    self.reserveBytes = reserveBytes
  }

  /// Shares out what there is.
  ///
  /// - Parameters:
  ///   - maximumBytes: The budget.
  ///   - diskBytes: The size of the file system; nil where it is not known.
  init(maximumBytes: Int64?, diskBytes: Int64?) {
    let whole = min(maximumBytes ?? .max, diskBytes ?? .max)
    self.init(
      maximumBytes: maximumBytes, checkpointBytes: min(16 << 20, whole / 16),
      commitBytes: Int(min(8 << 20, whole / 32)), reserveBytes: min(32 << 20, whole / 8))
  }

  /// What the log keeps on disk once it has been folded.
  var journalSizeLimitBytes: Int64 { checkpointBytes + Int64(commitBytes) }

  /// The bytes that events may still take; nil without a budget.
  ///
  /// The log counts as what it may need, or as what it has where a reader of an old state makes it grow. What settling
  /// adds has a share of its own, as large as the log's growth: it is never refused.
  ///
  /// - Parameters:
  ///   - usedBytes: Pages of the file that are not free.
  ///   - logBytes: The log's size.
  func room(usedBytes: Int64, logBytes: Int64) -> Int64? {
    maximumBytes.map { $0 - usedBytes - max(logBytes, journalSizeLimitBytes) - checkpointBytes - reserveBytes }
  }

  /// What `byteCount` bytes of events take in the file: their pages, and a little for rows.
  static func cost(ofAppending byteCount: Int) -> Int64 { Int64(byteCount) + Int64(byteCount) / 64 + 4096 }

  /// The same where they are more than one commit usually takes, else 0.
  ///
  /// A large append takes that twice: in the log, and in the file when the log is folded. Until then as much is held back
  /// for the file; see ``ReserveFile``.
  func cost(ofLargeAppend byteCount: Int) -> Int64 {
    byteCount > commitBytes ? Self.cost(ofAppending: byteCount) : 0
  }

  /// The smallest budget that takes `byteCount` bytes in one call while nothing else is stored.
  ///
  /// A quarter of it, at most 64 MiB, is for the log's growth, for settling and for the reserve.
  static func leastMaximumBytes(forAppending byteCount: Int) -> Int64 {
    let needed = 2 * cost(ofAppending: byteCount) + (1 << 20)
    return max(leastMaximumBytes, needed + min(needed / 3 + 1, 64 << 20))
  }

  /// A file of fewer bytes is not worth shrinking: 16 MiB, or an eighth of a small budget.
  var notableFileBytes: Int64 { min(16 << 20, (maximumBytes ?? .max) / 8) }

  /// Below this room delivered events are pruned before their time, so that appends need not be refused: a tenth of the
  /// budget.
  var pruningRoom: Int64 { (maximumBytes ?? 0) / 10 }
}
