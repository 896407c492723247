public import Foundation
internal import HummingbirdCore
internal import Logging
internal import NIOSSL
public import ServiceLifecycle

/// A server that answers as Tinybird's Events API does, keeps what it accepted, and fails when it is told to.
///
/// ```swift
/// try await EventsAPIEmulator.withRunning { emulator in
///   emulator.faults = [FaultRule(times: 2, do: .answer(503))]
///   try await send(events, to: emulator.baseURL, token: "any")
///   try await emulator.waitForRows(count: events.count)
///   #expect(try await emulator.deliveries(of: "clicks").values.allSatisfy { $0 == 1 })
/// }
/// ```
///
/// It is a `Service`: it listens while ``run()`` runs. The faults, and whether the service is up, may be changed at any
/// time and from any task; each request goes by what is set when it comes.
public final class EventsAPIEmulator: Service {
  /// The server's certificate, for a client to trust, in PEM; nil where the emulator does not speak TLS.
  ///
  /// It names `localhost`, `127.0.0.1` and `::1`.
  public let certificatePEM: String?

  private let configuration: Configuration
  let state: ServiceState
  let storage: any RowStorage
  let progress: Watched<Progress>
  let connections: Connections
  let listener: Listener

  /// Opens the storage and makes the certificate; nothing listens yet.
  ///
  /// - Throws: ``EmulatorError`` of code ``EmulatorError/Code/storageFailed`` where the file cannot be used.
  public init(_ configuration: Configuration = Configuration()) throws {
    self.configuration = configuration
    let certificate = configuration.usesTLS ? try SelfSignedCertificate(now: Date()) : nil
    certificatePEM = certificate?.pem
    state = ServiceState(configuration)
    storage =
      switch configuration.storage {
      case .memory: try SQLiteStorage(file: nil)
      case .file(let url): try SQLiteStorage(file: url)
      case .counting(let eventIDMember): CountingStorage(eventIDMember: eventIDMember)
      }
    progress = Watched(Progress())
    connections = Connections()
    listener = Listener(
      host: configuration.host, port: configuration.port, tls: try certificate?.tlsConfiguration(),
      connections: connections,
      responder: Responder(
        events: EventsRoute(state: state, storage: storage, progress: progress, logger: configuration.logger),
        logger: configuration.logger),
      logger: configuration.logger)
  }

  /// Listens until the task is cancelled or its service group shuts down.
  ///
  /// Open connections are then closed at once, as when the service dies; what was answered is stored.
  ///
  /// - Throws: the error of opening the port.
  public func run() async throws {
    do {
      try await cancelWhenGracefulShutdown { try await self.listener.run() }
    } catch is CancellationError {
      // The service group, or the test, is done with the emulator.
    }
  }

  /// Runs an emulator for as long as `body` takes: it listens before `body` is called, and is gone when this returns.
  ///
  /// - Parameters:
  ///   - configuration: how it listens, what it accepts, and where it keeps what it accepted.
  ///   - body: what is done with it.
  /// - Throws: what `body` throws, or the error of setting the emulator up.
  public static func withRunning<Result: Sendable>(
    _ configuration: Configuration = Configuration(), _ body: (EventsAPIEmulator) async throws -> Result
  ) async throws -> Result {
    let emulator = try EventsAPIEmulator(configuration)
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await emulator.run() }
      try await emulator.listener.waitUntilListening()
      let result = try await body(emulator)
      group.cancelAll()
      return result
    }
  }

  /// Where the emulator listens, such as `http://127.0.0.1:49152`.
  ///
  /// Waits until it does for the first time.
  ///
  /// - Throws: the error of opening the port, `CancellationError`, or ``EmulatorError`` of code
  ///   ``EmulatorError/Code/invalidHost``.
  public var baseURL: URL {
    get async throws {
      let port = try await listener.firstPort()
      var components = URLComponents()
      components.scheme = configuration.usesTLS ? "https" : "http"
      components.host = configuration.host.contains(":") ? "[\(configuration.host)]" : configuration.host
      components.port = port
      guard let url = components.url else {
        throw EmulatorError(.invalidHost, "'\(configuration.host)' is not a host that a URL can name")
      }
      return url
    }
  }
}
