internal import DequeModule
internal import Synchronization

/// A bound on the bytes that many tasks hold together.
///
/// First come, first served.
final class ByteBudget: Sendable {
  private struct Waiter {
    let byteCount: Int
    let continuation: CheckedContinuation<Void, Never>
  }

  private struct State {
    var free: Int
    var waiters = Deque<Waiter>()
  }

  private let capacity: Int
  private let state: Mutex<State>

  init(capacity: Int) {
    self.capacity = capacity
    state = Mutex(State(free: capacity))
  }

  /// Waits for room and returns what was taken: what is larger than the whole budget gets all of it.
  ///
  /// Give it back with ``release(_:)``. It does not end early when the task is cancelled: who holds a part always gives
  /// it back.
  func acquire(_ byteCount: Int) async -> Int {
    let wanted = min(byteCount, capacity)
    await withCheckedContinuation { continuation in
      let isGranted = state.withLock { state in
        guard state.waiters.isEmpty, state.free >= wanted else {
          state.waiters.append(Waiter(byteCount: wanted, continuation: continuation))
          return false
        }
        state.free -= wanted
        return true
      }
      if isGranted { continuation.resume() }
    }
    return wanted
  }

  func release(_ byteCount: Int) {
    let granted = state.withLock { state in
      state.free += byteCount
      var granted: [Waiter] = []
      while let first = state.waiters.first, state.free >= first.byteCount {
        state.free -= first.byteCount
        granted.append(state.waiters.removeFirst())
      }
      return granted
    }
    for waiter in granted { waiter.continuation.resume() }
  }
}
