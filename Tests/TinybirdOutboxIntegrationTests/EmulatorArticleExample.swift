// The Swift example of the emulator's article, word for word: `EmulatorArticleTests` compares.

import EventsAPIEmulator
import Foundation
import Testing
import TinybirdOutbox

@Test func ordersArriveInSpiteOfAnOutage() async throws {
  let directory = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
  try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: directory) }

  try await EventsAPIEmulator.withRunning { emulator in
    emulator.faults = [
      FaultRule(times: 2, do: .answer(503)),
      FaultRule(times: 1, do: .close(at: .afterCommit)),
    ]

    var configuration = OutboxConfiguration()
    configuration.delivery = try DeliveryConfiguration(
      baseURL: try await emulator.baseURL.absoluteString, token: "any")
    configuration.delivery?.retryPolicy = RetryPolicy(firstDelay: .milliseconds(5))
    let outbox = try await Outbox(at: directory.appending(path: "app.outbox").path(), configuration: configuration)
    try await outbox.append(#"{"order":1}"#, to: "orders")
    try await outbox.deliverUntilEmpty()
    await outbox.close()

    // The answer to the third request was lost after its rows were stored: the fourth brings them again.
    let deliveries = try await emulator.deliveries(of: "orders")
    #expect(deliveries == [#"{"order":1}"#: 2])
    let requests = try await emulator.requests()
    #expect(requests.map(\.status) == [503, 503, nil, 200])
  }
}
