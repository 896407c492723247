internal import Synchronization

/// A value that can be waited for.
public final class Watch<Value: Sendable>: Sendable {
  private struct Inner {
    var value: Value
    var waiting: [(isMet: @Sendable (Value) -> Bool, continuation: CheckedContinuation<Void, Never>)] = []
  }

  private let inner: Mutex<Inner>

  /// Starts with `value`.
  public init(_ value: Value) { inner = Mutex(Inner(value: value)) }

  /// As it is now.
  public var value: Value { inner.withLock { $0.value } }

  /// Changes the value, and wakes those that wait for what it now is.
  public func update(_ change: (inout Value) -> Void) {
    let met = inner.withLock { inner in
      change(&inner.value)
      let met = inner.waiting.filter { $0.isMet(inner.value) }
      inner.waiting.removeAll { $0.isMet(inner.value) }
      return met
    }
    for waiter in met { waiter.continuation.resume() }
  }

  /// Returns once the value is as wanted.
  public func wait(until isMet: @escaping @Sendable (Value) -> Bool) async {
    await withCheckedContinuation { continuation in
      let isMetNow = inner.withLock { inner in
        if isMet(inner.value) { return true }
        inner.waiting.append((isMet, continuation))
        return false
      }
      if isMetNow { continuation.resume() }
    }
  }
}
