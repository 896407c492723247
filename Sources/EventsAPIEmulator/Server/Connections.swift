internal import HummingbirdCore
internal import Logging
internal import NIOCore
internal import Synchronization

/// The connections that are open, and whether new ones are let in.
final class Connections: Sendable {
  /// Why connections are closed as soon as they are accepted.
  enum Refusal: Hashable {
    /// A test has taken the service down.
    case outage
    /// The emulator stops listening; what was accepted meanwhile must not stay.
    case stopping
  }

  private struct Inner {
    var open: [ObjectIdentifier: any Channel] = [:]
    var refusals: Set<Refusal> = []
  }

  private let inner = Mutex(Inner())

  /// Remembers a connection until it is closed, and says whether it may stay.
  func admit(_ channel: any Channel) -> Bool {
    let id = ObjectIdentifier(channel)
    let isAdmitted = inner.withLock { inner in
      inner.open[id] = channel
      return inner.refusals.isEmpty
    }
    channel.closeFuture.whenComplete { _ in
      self.inner.withLock { $0.open[id] = nil }
    }
    return isAdmitted
  }

  /// Closes every connection, and each new one as soon as it is accepted.
  func refuse(_ reason: Refusal) {
    let open = inner.withLock { inner in
      inner.refusals.insert(reason)
      return Array(inner.open.values)
    }
    for channel in open { channel.close(promise: nil) }
  }

  /// Takes a refusal back.
  func accept(_ reason: Refusal) {
    inner.withLock { _ = $0.refusals.remove(reason) }
  }
}

/// A child channel of hummingbird's that reports to ``Connections``.
struct ObservedChildChannel<Base: ServerChildChannel>: ServerChildChannel {
  let base: Base
  let connections: Connections

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Base.Value> {
    base.setup(channel: channel, logger: logger)
  }

  func handle(value: Base.Value, logger: Logger) async {
    if !connections.admit(value.channel) { value.channel.close(promise: nil) }
    // Also when it is closed at once: the base has to take the channel's streams apart.
    await base.handle(value: value, logger: logger)
  }
}
