internal import Synchronization

/// A value that tasks can wait on: they sleep until a change makes it what they want.
final class Watched<Value: Sendable>: Sendable {
  private struct Waiter {
    var isFulfilled: @Sendable (Value) -> Bool
    var continuation: CheckedContinuation<Value, any Error>
  }

  private struct Inner {
    var value: Value
    var nextID = 0
    var waiters: [Int: Waiter] = [:]
  }

  private let inner: Mutex<Inner>

  init(_ value: Value) {
    inner = Mutex(Inner(value: value))
  }

  var value: Value { inner.withLock { $0.value } }

  /// Changes the value, and wakes those whose wish is fulfilled by it.
  @discardableResult
  func update<Result: Sendable>(_ change: (inout Value) -> Result) -> Result {
    let (result, value, woken) = inner.withLock { inner in
      let result = change(&inner.value)
      let fulfilled = inner.waiters.filter { $0.value.isFulfilled(inner.value) }
      for id in fulfilled.keys { inner.waiters[id] = nil }
      return (result, inner.value, fulfilled.values.map(\.continuation))
    }
    for continuation in woken { continuation.resume(returning: value) }
    return result
  }

  /// Waits until `isFulfilled` holds, and gives the value that fulfilled it.
  ///
  /// - Throws: `CancellationError` where the task is cancelled first.
  @discardableResult
  func wait(until isFulfilled: @escaping @Sendable (Value) -> Bool) async throws -> Value {
    let id = inner.withLock { inner in
      inner.nextID += 1
      return inner.nextID
    }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let outcome: Result<Value, any Error>? = inner.withLock { inner in
          // A cancellation that came before found no waiter to resume: it is seen here, under the same lock.
          if Task.isCancelled { return .failure(CancellationError()) }
          if isFulfilled(inner.value) { return .success(inner.value) }
          inner.waiters[id] = Waiter(isFulfilled: isFulfilled, continuation: continuation)
          return nil
        }
        if let outcome { continuation.resume(with: outcome) }
      }
    } onCancel: {
      let waiter = inner.withLock { $0.waiters.removeValue(forKey: id) }
      waiter?.continuation.resume(throwing: CancellationError())
    }
  }
}
