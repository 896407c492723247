import NIOCore
import Synchronization

@testable import TinybirdOutbox

/// The service as the tests of power cuts and disk faults need it: in this process, with an answer at once.
///
/// It refuses batches with an event that says `"bad":true`, until it is told to accept them, and answers the first
/// request of each data source with 503.
final class ScriptedService: EventsTransport {
  private struct State {
    var accepted: [String: Int] = [:]
    var knownDataSources: Set<DataSourceName> = []
    var acceptsBad = false
  }

  private let state = Mutex(State())

  /// Accept from now on what was refused.
  func acceptEverything() { state.withLock { $0.acceptsBad = true } }

  /// Takes events without a request.
  func accept(_ jsons: [String]) {
    state.withLock { state in
      for json in jsons { state.accepted[json, default: 0] += 1 }
    }
  }

  /// How often an event has arrived.
  func arrivals(of json: String) -> Int { state.withLock { $0.accepted[json] ?? 0 } }

  func send(_ request: EventsRequest) async -> Outcome {
    let lines = String(buffer: request.body).split(separator: "\n").map(String.init)
    return state.withLock { state in
      if state.knownDataSources.insert(request.dataSource).inserted { return Self.answer(503, "") }
      if !state.acceptsBad, lines.contains(where: { $0.contains(#""bad":true"#) }) { return Self.answer(400, "") }
      for line in lines { state.accepted[line, default: 0] += 1 }
      return Self.answer(200, #"{"successful_rows":\#(lines.count),"quarantined_rows":0}"#)
    }
  }

  private static func answer(_ status: Int, _ body: String) -> Outcome {
    .answered(Outcome.Answer(status: status, body: Array(body.utf8), isBodyWhole: true, retryAfter: nil))
  }
}

extension Outbox {
  /// Delivers to `service` until every lane is empty, through the engine that `run()` uses.
  ///
  /// On a `machine` a power cut stops it, as it would stop the process.
  func deliver(
    to service: any EventsTransport, on machine: CrashMachine? = nil,
    _ change: (inout DeliveryConfiguration) -> Void = { _ in }
  ) async throws {
    var delivery = try DeliveryConfiguration(baseURL: "http://127.0.0.1", token: "t")
    delivery.retryPolicy = RetryPolicy(
      firstDelay: .milliseconds(1), burstAttempts: 1000, firstProbeDelay: .milliseconds(1),
      maximumDelay: .milliseconds(2))
    delivery.rateLimits.requestsPerSecond = 100_000
    change(&delivery)
    let stopping = StopSignal()
    let (committer, wakeup) = (committer, wakeup)
    machine?.onCut {
      stopping.set()
      committer.close()
      wakeup.signal()
    }
    let engine = DeliveryEngine(
      file: file,
      dependencies: LaneDependencies(
        committer: committer, reader: inspector, transport: service, tokens: delivery.tokens,
        budget: ByteBudget(capacity: delivery.maximumBodyBytes), settings: delivery.laneSettings,
        compressionLevel: nil, shutdownGrace: .zero, logger: logger, start: .now,
        stopping: stopping, didChange: { wakeup.signal() }),
      housekeeper: housekeeper, wakeup: wakeup)
    if machine?.isOff ?? false { return }
    try await engine.run(until: .empty) { _ in }
  }
}
