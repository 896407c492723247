// The code of README.md and of the DocC articles. What stands between `// example: name` and `// end` is the text of a
// block there, less its indentation; parts of the same name belong together. `ReadmeTests` compares.

import EventsAPIEmulator
import OutboxTestSupport
import Testing
// `.sigterm`: only where MemberImportVisibility is on, as in this package, does that want an import of its own.
import UnixSignals

// example: readme
import Foundation
import Logging
import ServiceLifecycle
import TinybirdOutbox

// end

private struct App {
  var directory: String
  var baseURL: String
  var token: String
  var logger: Logger
}

private func readme(_ app: App) async throws {
  let (directory, baseURL, token, logger) = (app.directory, app.baseURL, app.token, app.logger)

  // example: readme
  struct Click: Codable {
    var page: String
    var at: Date
  }

  var configuration = OutboxConfiguration()
  configuration.delivery = try DeliveryConfiguration(baseURL: baseURL, token: token)
  let outbox = try await Outbox(at: "\(directory)/app.outbox", configuration: configuration)

  // Returns when the event is on disk and synced, whether Tinybird can be reached or not.
  try await outbox.append(Click(page: "/pricing", at: .now), to: "clicks")

  // Delivers for as long as the app runs.
  let services = ServiceGroup(services: [outbox], gracefulShutdownSignals: [.sigterm], logger: logger)
  try await services.run()
  // end
}

private struct Click: Codable {
  var page: String
  var at: Date
}

private func landingPage(token: String) async throws {
  // example: landing page
  var configuration = OutboxConfiguration()
  configuration.delivery = try DeliveryConfiguration(baseURL: "https://api.us-east.tinybird.co", token: token)
  let outbox = try await Outbox(at: "app.outbox", configuration: configuration)

  let receipt = try await outbox.append(Click(page: "/pricing", at: .now), to: "clicks")
  print("stored:", receipt)  // stored: clicks/1
  // end
}

@Suite struct ReadmeExampleTests {
  @Test func theReadmeDelivers() async throws {
    try await withTemporaryDirectory { directory in
      try await EventsAPIEmulator.withRunning { emulator in
        let app = App(
          directory: directory, baseURL: try await emulator.baseURL.absoluteString, token: "p.readme",
          logger: Logger(label: "readme") { _ in SwiftLogNoOpLogHandler() })
        let running = Task { try await readme(app) }
        try await emulator.waitForRows(count: 1)
        running.cancel()
        _ = await running.result
        let events = try await emulator.rows(of: "clicks").map(\.payload)
        #expect(events.count == 1)
        #expect(events.allSatisfy { $0.contains(#""page":"/pricing""#) && $0.contains(#""at":"20"#) })
      }
    }
  }
}
