internal import NIOCore

/// One request to the Events API: a body that is ready to be sent.
struct EventsRequest: Sendable {
  var dataSource: DataSourceName
  var body: ByteBuffer
  var isGzip: Bool
  var token: Token
}

/// The seam to the network: HTTP in earnest, a script in the simulation.
protocol EventsTransport: Sendable {
  /// Sends and says what came back.
  ///
  /// It never throws: every fault is an outcome. A cancelled task yields ``Outcome/NoAnswer/cancelled``.
  func send(_ request: EventsRequest) async -> Outcome
}
