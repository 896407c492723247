internal import Synchronization

/// A bound on the bytes of request bodies that all lanes hold together.
///
/// A lane that holds none always has room for one request, so that lanes do not wait for each other: what is held may
/// exceed the bound by one batch a lane.
final class ByteBudget: Sendable {
  typealias LaneID = Int64

  private struct State {
    var free: Int
    /// Requests that hold a part, by lane.
    var requests: [LaneID: Int] = [:]
    var waiting: [LaneID: Wakeup] = [:]
  }

  private let state: Mutex<State>

  init(capacity: Int) {
    state = Mutex(State(free: capacity))
  }

  /// Whether a lane may start a request now; if not, `wakeup` is signalled when it may.
  func hasRoom(for lane: LaneID, orWake wakeup: Wakeup) -> Bool {
    state.withLock { state in
      if state.free > 0 || state.requests[lane] == nil { return true }
      state.waiting[lane] = wakeup
      return false
    }
  }

  /// A request of the lane holds so many bytes; give them back with ``release(_:for:)``.
  func take(_ byteCount: Int, for lane: LaneID) {
    state.withLock { state in
      state.free -= byteCount
      state.requests[lane, default: 0] += 1
    }
  }

  /// A request holds `byteCount` bytes in place of `before`.
  func resize(from before: Int, to byteCount: Int) {
    wake { $0.free += before - byteCount }
  }

  /// A request of the lane has ended.
  func release(_ byteCount: Int, for lane: LaneID) {
    wake { state in
      state.free += byteCount
      let left = (state.requests[lane] ?? 0) - 1
      state.requests[lane] = left > 0 ? left : nil
    }
  }

  private func wake(_ change: (inout State) -> Void) {
    let woken = state.withLock { state in
      change(&state)
      guard state.free > 0 else { return [:] as [LaneID: Wakeup] }
      defer { state.waiting = [:] }
      return state.waiting
    }
    for wakeup in woken.values { wakeup.signal() }
  }
}
