internal import Synchronization

/// Something happened: look again.
///
/// Signals that come while nobody waits are kept as one.
final class Wakeup: Sendable {
  private struct State {
    var isSignalled = false
    var nextID = 0
    var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
  }

  private let state = Mutex(State())

  /// Wakes all who wait.
  func signal() {
    let waiters = state.withLock { state in
      state.isSignalled = state.waiters.isEmpty
      defer { state.waiters = [:] }
      return state.waiters
    }
    for waiter in waiters.values { waiter.resume() }
  }

  /// Returns at the next signal, at `deadline`, or when the task is cancelled.
  func wait(until deadline: ContinuousClock.Instant?) async {
    guard let deadline else {
      await waitForSignal()
      return
    }
    await withTaskGroup(of: Void.self) { group in
      // Whichever comes first; it throws where it was the other.
      group.addTask { try? await Task.sleep(until: deadline, clock: .continuous) }
      group.addTask { await self.waitForSignal() }
      await group.next()
      group.cancelAll()
    }
  }

  private func waitForSignal() async {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = state.withLock { state in
          // A cancelled wait leaves the signal for the next.
          if Task.isCancelled { return true }
          if state.isSignalled {
            state.isSignalled = false
            return true
          }
          state.waiters[id] = continuation
          return false
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      let waiter = state.withLock { $0.waiters.removeValue(forKey: id) }
      waiter?.resume()
    }
  }
}
