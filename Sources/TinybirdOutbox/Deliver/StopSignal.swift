internal import Synchronization

/// A request to stop that, once made, stays made.
final class StopSignal: Sendable {
  private let isRequested = Mutex(false)

  var isSet: Bool { isRequested.withLock { $0 } }

  func set() { isRequested.withLock { $0 = true } }
}
