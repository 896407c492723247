import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct BatchBuilderTests {
  struct Chunk: Sendable {
    let first: Int64
    let events: Int
    let bytes: Int
    init(_ first: Int64, _ events: Int, _ bytes: Int) {
      self.first = first
      self.events = events
      self.bytes = bytes
    }
  }

  /// Chunks that are offered, how many are taken, and the batch.
  ///
  /// Limits: 1,000 bytes, 10 events.
  @Test(
    arguments: [
      ([], 0, nil),
      ([Chunk(1, 1, 100)], 1, plan(1...1, 1, 100)),
      ([Chunk(1, 2, 100), Chunk(3, 3, 200), Chunk(6, 1, 50)], 3, plan(1...6, 6, 350)),
      // Exactly the bytes; one more is too many.
      ([Chunk(1, 1, 600), Chunk(2, 1, 400)], 2, plan(1...2, 2, 1_000)),
      ([Chunk(1, 1, 600), Chunk(2, 1, 401)], 1, plan(1...1, 1, 600)),
      // Exactly the events; one more is too many.
      ([Chunk(1, 4, 10), Chunk(5, 6, 10)], 2, plan(1...10, 10, 20)),
      ([Chunk(1, 4, 10), Chunk(5, 7, 10)], 1, plan(1...4, 4, 10)),
      // The first is taken whatever its size, and then goes alone.
      ([Chunk(1, 1, 5_000)], 1, plan(1...1, 1, 5_000)),
      ([Chunk(1, 1, 5_000), Chunk(2, 1, 1)], 1, plan(1...1, 1, 5_000)),
      ([Chunk(1, 500, 100), Chunk(501, 1, 1)], 1, plan(1...500, 500, 100)),
      // A large one behind small ones waits for the next batch.
      ([Chunk(1, 1, 1), Chunk(2, 1, 5_000)], 1, plan(1...1, 1, 1)),
      // Not from the start of the sequence; up to its end.
      ([Chunk(901, 5, 10), Chunk(906, 5, 10)], 2, plan(901...910, 10, 20)),
      (
        [Chunk(SequenceKey.maximumSequence, 1, 10)], 1,
        plan(SequenceKey.maximumSequence...SequenceKey.maximumSequence, 1, 10)
      ),
      // Impossible: a hole, an overlap, a repetition. The range of a batch covers what is in it, so it ends before.
      ([Chunk(1, 2, 10), Chunk(4, 1, 10)], 1, plan(1...2, 2, 10)),
      ([Chunk(1, 2, 10), Chunk(2, 1, 10)], 1, plan(1...2, 2, 10)),
      ([Chunk(1, 2, 10), Chunk(1, 2, 10)], 1, plan(1...2, 2, 10)),
    ] as [([Chunk], Int, BatchBuilder.Plan?)])
  func builds(chunks: [Chunk], taken: Int, plan: BatchBuilder.Plan?) {
    var builder = BatchBuilder(limits: BatchLimits(maximumBytes: 1_000, maximumEvents: 10))
    let accepted = chunks.map { builder.offer(firstSequence: $0.first, eventCount: $0.events, byteCount: $0.bytes) }
    #expect(accepted.prefix { $0 }.count == taken)
    #expect(builder.plan == plan)
  }

  private static func plan(_ sequences: ClosedRange<Int64>, _ events: Int, _ bytes: Int) -> BatchBuilder.Plan {
    BatchBuilder.Plan(sequences: sequences, eventCount: events, byteCount: bytes)
  }

  /// Chunk after chunk into batch after batch: they tile the sequence, and every batch but a lone chunk keeps the limits.
  @Test(arguments: 0..<20) func batchesTile(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let limits = BatchLimits(maximumBytes: 1_000, maximumEvents: 10)
    var builder = BatchBuilder(limits: limits)
    var plans: [BatchBuilder.Plan] = []
    var next: Int64 = 1
    var byteCount = 0
    var chunksInPlan = 0
    func offer(_ chunk: Chunk) -> Bool {
      builder.offer(firstSequence: chunk.first, eventCount: chunk.events, byteCount: chunk.bytes)
    }
    func close() {
      guard let plan = builder.plan else { return }
      #expect(chunksInPlan == 1 || (plan.byteCount <= 1_000 && plan.eventCount <= 10))
      plans.append(plan)
      builder = BatchBuilder(limits: limits)
      chunksInPlan = 0
    }
    for _ in 0..<200 {
      let chunk = Chunk(next, .random(in: 1...12, using: &random), .random(in: 1...1_100, using: &random))
      if !offer(chunk) {
        close()
        let isTaken = offer(chunk)
        #expect(isTaken, "the first is always taken")
      }
      chunksInPlan += 1
      next += Int64(chunk.events)
      byteCount += chunk.bytes
    }
    close()
    #expect(plans.first?.sequences.lowerBound == 1)
    #expect(plans.last?.sequences.upperBound == next - 1)
    for (left, right) in zip(plans, plans.dropFirst()) {
      #expect(left.sequences.upperBound + 1 == right.sequences.lowerBound)
    }
    #expect(plans.allSatisfy { $0.sequences.count == $0.eventCount })
    #expect(plans.reduce(0) { $0 + $1.byteCount } == byteCount)
  }
}
