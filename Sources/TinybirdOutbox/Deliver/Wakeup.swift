internal import Synchronization

/// Something happened: look again. Signals that come while nobody waits are kept as one.
final class Wakeup: Sendable {
  private struct State {
    var isSignalled = false
    var waiter: CheckedContinuation<Void, Never>?
  }

  private let state = Mutex(State())

  func signal() {
    let waiter = state.withLock { state in
      state.isSignalled = state.waiter == nil
      defer { state.waiter = nil }
      return state.waiter
    }
    waiter?.resume()
  }

  /// Returns at the next signal, at `deadline`, or when the task is cancelled. One waiter at a time.
  func wait(until deadline: ContinuousClock.Instant?) async {
    guard let deadline else {
      await waitForSignal()
      return
    }
    await withTaskGroup(of: Void.self) { group in
      group.addTask { try? await Task.sleep(until: deadline, clock: .continuous) }
      group.addTask { await self.waitForSignal() }
      await group.next()
      group.cancelAll()
    }
  }

  private func waitForSignal() async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = state.withLock { state in
          guard !state.isSignalled, !Task.isCancelled else {
            // A cancelled wait leaves the signal for the next.
            if !Task.isCancelled { state.isSignalled = false }
            return true
          }
          state.waiter = continuation
          return false
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      let waiter = state.withLock { state in
        defer { state.waiter = nil }
        return state.waiter
      }
      waiter?.resume()
    }
  }
}
