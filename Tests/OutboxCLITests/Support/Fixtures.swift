import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing
import TinybirdOutbox

/// Runs `body` with the tool in a fresh directory, where `OUTBOX_PATH` is `app.outbox`.
func withTool(_ body: (CommandLineTool) async throws -> Void) async throws {
  try await withTemporaryDirectory { directory in
    try await body(CommandLineTool(directory: directory, environment: ["OUTBOX_PATH": "app.outbox"]))
  }
}

/// The same with an emulator as the service.
func withToolAndEmulator(
  _ configuration: EventsAPIEmulator.Configuration = .init(),
  _ body: (CommandLineTool, EventsAPIEmulator) async throws -> Void
) async throws {
  try await EventsAPIEmulator.withRunning(configuration) { emulator in
    let url = try await emulator.baseURL
    try await withTool { tool in
      var tool = tool
      tool.environment["TINYBIRD_BASE_URL"] = url.absoluteString
      tool.environment["TINYBIRD_TOKEN"] = "p.test-token"
      try await body(tool, emulator)
    }
  }
}

extension CommandLineTool {
  /// Makes a file in the tool's directory.
  func file(_ name: String, _ text: String) throws {
    try file(name, Data(text.utf8))
  }

  func file(_ name: String, _ data: Data) throws {
    try data.write(to: URL(filePath: directory).appending(path: name))
  }

  func path(_ name: String) -> String { directory + "/" + name }

  /// Appends the events `{"n":1}`, `{"n":2}` and so on.
  func append(_ count: Int, to dataSource: String = "clicks") async throws {
    let outcome = try await run("append", "--data-source", dataSource, input: Data(events(1...count).utf8))
    try #require(outcome.code == 0, "\(outcome.errors)")
  }

  /// What is in the outbox, read by the library.
  func withOutbox<Value: Sendable>(_ body: (Outbox) async throws -> Value) async throws -> Value {
    var configuration = OutboxConfiguration()
    configuration.createsFile = false
    let outbox = try await Outbox(at: path("app.outbox"), configuration: configuration)
    let value = try await body(outbox)
    await outbox.close()
    return value
  }

  /// The events of `clicks` as they are stored.
  func storedEvents(of dataSource: String = "clicks") async throws -> [String] {
    try await withOutbox { outbox in
      try await outbox.events(in: AddressRange(dataSource), limit: 1_000_000).compactMap(\.json)
    }
  }
}

/// Lines of NDJSON: `{"n":1}` and so on.
func events(_ numbers: ClosedRange<Int>) -> String {
  numbers.map { "{\"n\":\($0)}\n" }.joined()
}

/// What `gzip` makes of a text.
func gzipped(_ text: String) throws -> Data {
  let process = Process()
  process.executableURL = URL(filePath: "/usr/bin/env")
  process.arguments = ["gzip", "-c"]
  let (input, output) = (Pipe(), Pipe())
  process.standardInput = input
  process.standardOutput = output
  try process.run()
  // The texts here are far smaller than what a pipe holds.
  try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
  try input.fileHandleForWriting.close()
  try output.fileHandleForWriting.close()
  let data = try output.fileHandleForReading.readToEnd() ?? Data()
  process.waitUntilExit()
  return data
}
