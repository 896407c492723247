internal import HummingbirdCore
internal import HummingbirdHTTP2
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import ServiceLifecycle

/// Listens on a port while it runs; stops, and starts again on the same port, when it is told to.
struct Listener: Sendable {
  /// What the listener is told, and what it does.
  struct State: Sendable {
    /// Whether it is to listen: false between ``stop()`` and ``start()``.
    var isWanted = true
    /// Whether `run()` runs.
    var isRunning = false
    /// Whether a server is there, from before its port is open until its last connection is closed.
    var isServing = false
    /// Whether the port is open.
    var isListening = false
    /// The port, once it has been open.
    var port: Int?
    /// Why `run()` is over, where it failed.
    var failure: (any Error)?
  }

  let host: String
  /// The port to listen on; 0 for a free one, which is then kept.
  let port: Int
  let tls: TLSConfiguration?
  let connections: Connections
  let responder: Responder
  let logger: Logger
  let state = Watched(State())

  /// Listens until the task is cancelled, but for the times between ``stop()`` and ``start()``.
  func run() async throws {
    state.update { state in
      state.isRunning = true
      state.failure = nil
    }
    defer {
      state.update { state in
        state.isRunning = false
        state.isServing = false
        state.isListening = false
      }
    }
    let reservation = PortReservation(host: host, port: state.value.port ?? port)
    do {
      while true {
        try await state.wait { $0.isWanted }
        try await serve(on: state.value.port ?? reservation?.port ?? port)
      }
    } catch is CancellationError {
      return
    } catch {
      state.update { $0.failure = error }
      throw error
    }
  }

  /// Stops listening, and waits until the port and all connections are closed.
  func stop() async throws {
    state.update { $0.isWanted = false }
    try await state.wait { !$0.isServing }
  }

  /// Listens again on the same port, and waits until it is open.
  func start() async throws {
    let isRunning = state.update { state in
      state.isWanted = true
      return state.isRunning
    }
    guard isRunning else { throw EmulatorError(.notRunning, "run() is over, or has not begun") }
    try await waitUntilListening()
  }

  /// Waits until the port is open.
  func waitUntilListening() async throws {
    let state = try await state.wait { $0.isListening || $0.failure != nil }
    if let failure = state.failure { throw failure }
  }

  /// Waits until the port has been open once, and gives it; also while the listener is stopped.
  func firstPort() async throws -> Int {
    let state = try await state.wait { $0.port != nil || $0.failure != nil }
    if let port = state.port { return port }
    throw state.failure ?? CancellationError()
  }

  private func serve(on port: Int) async throws {
    state.update { $0.isServing = true }
    connections.accept(.stopping)
    let server = try makeServer(port: port)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      group.addTask { try await state.wait { !$0.isWanted } }
      let firstToEnd = await group.nextResult()
      // Before the children are cancelled and waited for: what still runs on a connection ends with it.
      connections.refuse(.stopping)
      group.cancelAll()
      try firstToEnd?.get()
    }
    logger.info("The Events API emulator has stopped listening")
    state.update { state in
      state.isServing = false
      state.isListening = false
    }
  }

  private func makeServer(port: Int) throws -> any Service {
    // hummingbird writes "started" at info and what a cut connection brings about at error: neither is news here.
    var quietLogger = logger
    quietLogger.logLevel = .critical
    let configuration = ServerConfiguration(address: .hostname(host, port: port))
    let onServerRunning: @Sendable (any Channel) async -> Void = { channel in
      let port = channel.localAddress?.port ?? port
      logger.info("The Events API emulator listens", metadata: ["host": "\(host)", "port": "\(port)"])
      state.update { state in
        state.port = port
        state.isListening = true
      }
    }
    func observed(_ base: some ServerChildChannel) -> any Service {
      ObservedChildChannel(base: base, connections: connections).server(
        configuration: configuration, onServerRunning: onServerRunning,
        eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: quietLogger)
    }
    let respond: HTTPChannelHandler.Responder = { request, writer, channel in
      try await responder.respond(to: request, writer: writer, channel: channel)
    }
    guard let tls else { return observed(HTTP1Channel(responder: respond)) }
    return observed(try HTTP2UpgradeChannel(tlsConfiguration: tls, responder: respond))
  }
}
