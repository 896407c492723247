/// What is known of whether rows reached the data source.
public enum Inserted: String, Sendable, Codable, CaseIterable {
  /// No row is there.
  case no
  /// Some or all rows may be there: sending them again can duplicate.
  case maybe
  /// All rows are there, in the data source or in its quarantine.
  case yes

  /// What is known after a further attempt that taught `answer`.
  ///
  /// A doubt is never taken back by a later refusal, only by an acknowledgement.
  func combined(with answer: Inserted) -> Inserted {
    switch (self, answer) {
    case (_, .yes), (.yes, _): .yes
    case (.maybe, _), (_, .maybe): .maybe
    case (.no, .no): .no
    }
  }
}

/// A range of one data source that is sent in one request, as the lane knows it.
struct Batch: Equatable, Sendable {
  typealias ID = Int64

  enum Kind: String, Sendable {
    /// Events on their first way to the service.
    case append
    /// Dead letters that an operator sends again.
    case replay
    /// Delivered events that an operator sends once more.
    case resend
  }

  let id: ID
  let kind: Kind
  /// For a replay the hull of its dead letters, which need not be neighbours.
  let sequences: ClosedRange<Int64>
  let eventCount: Int
  let byteCount: Int
  var inserted: Inserted
  var attempts: Int
  var isolation: Isolation
  /// The stored moment before which it is not tried again.
  var nextAttemptAt: WallTime?
  /// When its first event was appended; nil where an operator sends events again, or the chunk is damaged.
  var committedAt: WallTime?

  /// Whether it is halved until the guilty events are alone; the numbers are stored.
  enum Isolation: Int, Sendable {
    case none
    /// Part of a batch that the service refused.
    case refused
    /// An operator asked for it, because it keeps failing: see ``Outbox/isolate(_:)``.
    case onDemand
    /// Part of a batch that the service refused, and of which it took another part: not every event is refused.
    case refusedInPart

    /// Of the parts of a batch that is halved.
    var ofParts: Isolation { self == .none ? .refused : self }

    /// What is stored by a later version counts as none.
    init(stored: Int) { self = Self(rawValue: stored) ?? .none }
  }
}

/// The most that one batch may hold.
struct BatchLimits: Equatable, Sendable {
  /// NDJSON bytes before compression.
  ///
  /// An event that is larger goes alone.
  var maximumBytes: Int
  var maximumEvents: Int
}
