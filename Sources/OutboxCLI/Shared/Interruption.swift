#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

internal import ArgumentParser
internal import Dispatch
internal import Logging
internal import ServiceLifecycle
internal import Synchronization
internal import TinybirdOutbox

/// SIGINT and SIGTERM: the first asks for a graceful end, a second ends the process at once, which an outbox survives.
enum Interruption {
  /// Runs `body` as a service of a group that the signals shut down.
  ///
  /// Returns the signal that came, if one did.
  static func run(_ body: @escaping @Sendable () async throws -> Void) async throws -> Int32? {
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: [
          ServiceGroupConfiguration.ServiceConfiguration(
            service: ClosureService(body), successTerminationBehavior: .gracefullyShutdownGroup)
        ],
        logger: Logger(label: "outbox-services") { _ in SwiftLogNoOpLogHandler() }))
    let first = FirstSignal()
    let sources = await watch(first) { Task { await group.triggerGracefulShutdown() } }
    defer { for source in sources { source.cancel() } }
    try await group.run()
    return first.number
  }

  /// Runs `body`, which the signals cancel: what it was making is taken away, and the exit code tells of the signal.
  static func cancelling<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
    let first = FirstSignal()
    let running = Mutex<Task<Value, any Error>?>(nil)
    let sources = await watch(first) { running.withLock { $0 }?.cancel() }
    defer { for source in sources { source.cancel() } }
    let task = Task { try await body() }
    running.withLock { $0 = task }
    // It may have come before there was something to cancel.
    if first.number != nil { task.cancel() }
    do {
      return try await task.value
    } catch {
      guard let signal = first.number, let error = error as? OutboxError else { throw error }
      Console.note("outbox: interrupted; \(DisplayWidth.harmless(error.message))")
      throw ExitCode.interrupted(by: signal)
    }
  }

  /// Returns when the signals are watched for: before that they would end the process.
  private static func watch(
    _ first: FirstSignal, _ handler: @escaping @Sendable () -> Void
  ) async -> [any DispatchSourceSignal] {
    var sources: [any DispatchSourceSignal] = []
    for number in [SIGINT, SIGTERM] {
      sources.append(
        await watch(number) {
          guard first.take(number) else { _exit(128 + number) }
          handler()
        })
    }
    return sources
  }

  private static func watch(
    _ number: Int32, _ handler: @escaping @Sendable () -> Void
  ) async -> any DispatchSourceSignal {
    #if canImport(Darwin)
      // There Dispatch sees a signal only after the process's own handling, which would end it.
      signal(number, SIG_IGN)
    #endif
    let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
    source.setEventHandler(handler: handler)
    await withCheckedContinuation { continuation in
      source.setRegistrationHandler { continuation.resume() }
      source.activate()
    }
    return source
  }
}

/// Remembers which signal came first.
private final class FirstSignal: Sendable {
  private let received = Atomic<Int32>(0)

  var number: Int32? {
    let number = received.load(ordering: .acquiring)
    return number == 0 ? nil : number
  }

  /// Whether `number` is the first.
  func take(_ number: Int32) -> Bool {
    received.compareExchange(expected: 0, desired: number, ordering: .acquiringAndReleasing).exchanged
  }
}
