import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Thousands of random steps against a reference that is too plain to be wrong.
@Suite struct CommitStateMachineModelTests {
  private typealias ID = CommitStateMachine.ID

  private struct Entry {
    let id: ID
    let byteCount: Int
  }

  private struct Reference {
    let limit: Int
    let commitLimit: Int
    var suspended: [Entry] = []
    var queued: [Entry] = []
    var underWay: [Entry] = []
    var isClosed = false

    var held: [Entry] { queued + underWay }
    var heldBytes: Int { held.reduce(0) { $0 + $1.byteCount } }
    var isIdle: Bool { queued.isEmpty && underWay.isEmpty }
    func hasRoom(_ byteCount: Int) -> Bool { heldBytes == 0 || heldBytes + byteCount <= limit }

    mutating func letIn() {
      while let first = suspended.first, hasRoom(first.byteCount) { queued.append(suspended.removeFirst()) }
    }

    mutating func enqueue(_ id: ID, _ byteCount: Int) -> CommitStateMachine.EnqueueAction {
      if isClosed { return .refuse }
      if byteCount > 0, !suspended.isEmpty || !hasRoom(byteCount) {
        suspended.append(Entry(id: id, byteCount: byteCount))
        return .suspend
      }
      defer { queued.append(Entry(id: id, byteCount: byteCount)) }
      return isIdle ? .startCommit : .wait
    }

    mutating func take() {
      repeat {
        guard let next = queued.first else { return }
        let bytes = underWay.reduce(0) { $0 + $1.byteCount }
        guard underWay.isEmpty || next.byteCount == 0 || bytes + next.byteCount <= commitLimit else { return }
        underWay.append(queued.removeFirst())
      } while true
    }

    mutating func cancel(_ id: ID) -> CommitStateMachine.CancelAction {
      guard let index = suspended.firstIndex(where: { $0.id == id }) else { return .keep }
      suspended.remove(at: index)
      letIn()
      return .drop
    }

    mutating func close() -> [ID] {
      isClosed = true
      defer { suspended = [] }
      return suspended.map(\.id)
    }
  }

  @Test(arguments: 0..<30) func agreesWithTheReference(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let limit = [1, 100, 1_000].randomElement(using: &random) ?? 1
    let commitLimit = [.max, limit, limit / 3].randomElement(using: &random) ?? 1
    var machine = CommitStateMachine(maximumWaitingBytes: limit, maximumCommitBytes: commitLimit)
    var reference = Reference(limit: limit, commitLimit: commitLimit)
    var committed: [Entry] = []
    var notCommitted: [ID] = []
    var nextID: ID = 0

    func takeOrEnd() {
      if reference.underWay.isEmpty {
        reference.take()
        #expect(machine.takeGroup() == reference.underWay.map(\.id))
      } else {
        committed += reference.underWay
        reference.underWay = []
        reference.letIn()
        #expect(machine.groupEnded() == (reference.isIdle ? .idle : .commitAgain))
      }
    }

    for step in 0..<2_000 {
      switch Int.random(in: 0..<100, using: &random) {
      case 0..<50:
        nextID += 1
        let byteCount = [0, 1, limit / 10, limit / 2, limit, limit + 1, limit * 7].randomElement(using: &random) ?? 0
        let action = reference.enqueue(nextID, byteCount)
        #expect(machine.enqueue(nextID, byteCount: byteCount) == action)
        if action == .refuse { notCommitted.append(nextID) }
      case 50..<70:
        let id = reference.suspended.randomElement(using: &random)?.id ?? .random(in: 0...nextID, using: &random)
        let action = reference.cancel(id)
        #expect(machine.cancel(id) == action)
        if action == .drop { notCommitted.append(id) }
      case 70 where step > 1_500:
        let refused = reference.close()
        #expect(machine.close() == refused)
        notCommitted += refused
      default:
        if !reference.isIdle { takeOrEnd() }
      }
      #expect(machine.waitingBytes == reference.heldBytes)
      let isAlone = reference.held.count { $0.byteCount > 0 } == 1
      #expect(machine.waitingBytes <= limit || isAlone, "above the limit, and not alone")
      if let first = reference.suspended.first {
        #expect(!reference.hasRoom(first.byteCount), "suspended while there is room")
      }
    }
    while !reference.isIdle { takeOrEnd() }

    #expect((committed.map(\.id) + notCommitted).sorted() == Array(1..<(nextID + 1)), "lost, or committed twice")
    let appends = committed.filter { $0.byteCount > 0 }.map(\.id)
    #expect(appends == appends.sorted(), "an append passed another")
    #expect(machine.waitingBytes == 0)
  }
}
