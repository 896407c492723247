import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Signals that an application handles without `SA_RESTART` end calls of the system with EINTR: nobody notices.
@Suite(.timeLimit(.minutes(5))) struct InterruptedCallTests {
  @Test func anOutboxInAStormOfSignalsLosesNothingAndFailsNothing() async {
    await #expect(processExitsWith: .success) {
      try await EventsAPIEmulator.withRunning { emulator in
        var configuration = OutboxConfiguration()
        configuration.spaceLimits = .checkpointing(every: 8)
        configuration.delivery = try DeliveryConfiguration(
          baseURL: try await emulator.baseURL.absoluteString, token: testToken)
        configuration.delivery?.maximumBatchEvents = 50
        try await withTemporaryDirectory { directory in
          try await withSignalStorm { [configuration] in
            let outbox = try await Outbox(at: directory + "/app.outbox", configuration: configuration)
            let delivering = Task { try await outbox.run() }
            for number in 0..<300 { try await outbox.append(#"{"n":\#(number)}"#, to: "clicks") }
            try await waitUntil(outbox) { $0.deliveredEvents == 300 }
            delivering.cancel()
            try await delivering.value
            try await outbox.append("{}", to: "orders")
            try await outbox.deliverUntilEmpty()
            let status = try await outbox.status()
            try #require(status.deliveredEvents == 301 && status.possibleDuplicates == 0)
            let report = try await outbox.verify()
            try #require(report.isSound)
            await outbox.close()
          }
        }
        let rows = try await emulator.rowCount()
        try #require(rows == 301)
      }
    }
  }

  @Test func signalsDoNotShortenTheWaitForALock() async {
    await #expect(processExitsWith: .success) {
      try await withSignalStorm {
        let start = ContinuousClock.now
        for _ in 0..<100 { sleepMicroseconds(5000) }
        try #require(start.duration(to: .now) >= .milliseconds(500))
      }
    }
  }
}
