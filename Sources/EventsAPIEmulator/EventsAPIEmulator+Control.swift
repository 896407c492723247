extension EventsAPIEmulator {
  /// The rules by which requests go wrong.
  ///
  /// Setting them starts their clock and their counts again.
  public var faults: [FaultRule] {
    get { state.script.rules }
    set { state.changeScript { $0.rules = newValue } }
  }

  /// What each data source takes, by its name.
  ///
  /// Setting it leaves the clock and the counts of the faults alone.
  public var dataSources: [String: DataSourceRules] {
    get { state.dataSources }
    set { state.dataSources = newValue }
  }

  /// The tokens that are good.
  public var tokens: TokenPolicy {
    get { state.tokens }
    set { state.tokens = newValue }
  }

  /// Replaces the faults and the data sources.
  ///
  /// Starts the clock and the counts of the faults again.
  public func setScript(_ script: FaultScript) {
    state.script = script
  }

  /// Takes the service down: every connection is closed, and each new one as soon as it is accepted.
  public func goDown() {
    connections.refuse(.outage)
  }

  /// Takes the service down: every request is answered with `status`, before all faults.
  public func goDown(answering status: Int) {
    state.outageStatus = status
  }

  /// Brings the service back after ``goDown()`` or ``goDown(answering:)``.
  public func comeBack() {
    state.outageStatus = nil
    connections.accept(.outage)
  }

  /// Closes the port and all connections: new ones are refused by the system, as when the service's process has died.
  ///
  /// Returns when that is so.
  public func stopListening() async throws {
    try await listener.stop()
  }

  /// Listens again, on the same port, after ``stopListening()``.
  ///
  /// Returns when the port is open.
  ///
  /// - Throws: the error of opening the port, which also ends ``run()``; ``EmulatorError`` of code
  ///   ``EmulatorError/Code/notRunning``.
  public func startListening() async throws {
    try await listener.start()
  }

  /// Lets go on what faults hold with ``FaultDelay/untilReleased(at:)`` at this moment.
  public func releaseHeldRequests() {
    progress.update { $0.releases += 1 }
  }
}
