/// Chooses how many chunks go into the next batch: pure, fed with chunk headers in the order of their sequence.
struct BatchBuilder {
  /// A batch that could be formed.
  struct Plan: Equatable, Sendable {
    var sequences: ClosedRange<Int64>
    var eventCount: Int
    var byteCount: Int
  }

  let limits: BatchLimits
  private(set) var plan: Plan?

  init(limits: BatchLimits) {
    self.limits = limits
  }

  /// Offers the next chunk.
  ///
  /// Returns false where the batch is full without it. The first chunk always fits: chunks are never divided when a
  /// batch is formed.
  mutating func offer(firstSequence: Int64, eventCount: Int, byteCount: Int) -> Bool {
    let last = firstSequence + Int64(eventCount) - 1
    guard let current = plan else {
      plan = Plan(sequences: firstSequence...last, eventCount: eventCount, byteCount: byteCount)
      return true
    }
    guard current.byteCount + byteCount <= limits.maximumBytes,
      current.eventCount + eventCount <= limits.maximumEvents,
      firstSequence == current.sequences.upperBound + 1
    else { return false }
    plan = Plan(
      sequences: current.sequences.lowerBound...last,
      eventCount: current.eventCount + eventCount,
      byteCount: current.byteCount + byteCount)
    return true
  }
}
