import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@Suite("Emulator: what is stored")
struct EmulatorStorageTests {
  @Test("Deliveries say which events came and how often; rows are in the order in which they came")
  func deliveries() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let client = try await EmulatorClient(emulator)
      _ = try await client.post("{\"id\":\"x\",\"n\":1}\n{\"id\":\"y\",\"n\":2}")
      _ = try await client.post("{\"id\":\"y\",\"n\":2}\n{\"n\":3}\n{\"id\":7}")
      _ = try await client.post("{\"id\":\"x\",\"n\":1}", query: "name=views")
      #expect(
        try await emulator.deliveries(of: "clicks")
          == ["{\"id\":\"x\",\"n\":1}": 1, "{\"id\":\"y\",\"n\":2}": 2, "{\"n\":3}": 1, "{\"id\":7}": 1])
      #expect(try await emulator.deliveries(of: "clicks", byMember: "id") == ["x": 1, "y": 2, "": 1, "7": 1])
      #expect(try await emulator.deliveries(of: "clicks", byMember: "a\"b") == ["": 5])
      #expect(try await emulator.deliveries(of: "views") == ["{\"id\":\"x\",\"n\":1}": 1])
      #expect(try await emulator.deliveries(of: "nothing").isEmpty)
      #expect(try await emulator.rowCount(of: "clicks") == 5)
      #expect(try await emulator.rowCount() == 6)
      let rows = try await emulator.rows(of: "clicks")
      #expect(rows.map(\.requestID) == [1, 1, 2, 2, 2])
      #expect(rows[3].payload == "{\"n\":3}")
    }
  }

  @Test("Payloads are kept byte for byte")
  func bytes() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let payload = "{ \"n\" : 12345678901234567890.10 , \"é\":\"\\u00e9 \u{1F600}\" }"
      _ = try await EmulatorClient(emulator).post(payload + "\r\n")
      // CR is white space of JSON: it belongs to the line.
      #expect(try await emulator.rows(of: "clicks").map(\.payload) == [payload + "\r"])
    }
  }

  @Test("The log has every request")
  func requests() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let client = try await EmulatorClient(emulator)
      let before = Date()
      _ = try await client.post("{}\n{}")
      _ = try await client.post("{}", query: "name=views")
      _ = try await client.post("nonsense", query: "")
      let requests = try await emulator.requests()
      #expect(requests.map(\.id) == [1, 2, 3])
      #expect(requests.map(\.dataSource) == ["clicks", "views", nil])
      #expect(requests.map(\.status) == [200, 202, 400])
      #expect(requests.map(\.isCommitted) == [true, true, false])
      #expect(requests.map(\.rowCount) == [2, 1, 0])
      #expect(requests.map(\.byteCount) == [5, 2, 8])
      #expect(requests.map(\.waits) == [true, false, false])
      #expect(requests.allSatisfy { !$0.isGzip && $0.httpVersion == "1.1" && $0.fault == nil })
      #expect(requests.allSatisfy { abs($0.time.timeIntervalSince(before)) < 60 })
    }
  }

  @Test("A file is created with the emulator, and continued by the next")
  func file() async throws {
    try await withTemporaryDirectory { directory in
      var configuration = EventsAPIEmulator.Configuration()
      configuration.storage = .file(URL(filePath: directory).appending(path: "emulator.sqlite"))
      for round in 1...3 {
        try await EventsAPIEmulator.withRunning(configuration) { emulator in
          let client = try await EmulatorClient(emulator)
          #expect(try await client.post("{\"a\":1}\n{\"round\":\(round)}").status == 200)
          #expect(try await emulator.requests().map(\.id) == Array(1...round))
          #expect(try await emulator.deliveries(of: "clicks")["{\"a\":1}"] == round)
        }
      }
    }
  }

  @Test("A file that is not the emulator's is refused and left alone")
  func foreignFile() async throws {
    try await withTemporaryDirectory { directory in
      let file = URL(filePath: directory).appending(path: "other")
      let content = Data("this is no database, but it is somebody's".utf8)
      try content.write(to: file)
      var configuration = EventsAPIEmulator.Configuration()
      configuration.storage = .file(file)
      let error = #expect(throws: EmulatorError.self) { _ = try EventsAPIEmulator(configuration) }
      #expect(error?.code == .storageFailed)
      #expect(try Data(contentsOf: file) == content)
      configuration.storage = .file(URL(filePath: directory).appending(path: "missing/emulator.sqlite"))
      #expect(throws: EmulatorError.self) { _ = try EventsAPIEmulator(configuration) }
    }
  }

  @Test("A database of another application, or of another format, is refused", arguments: [60, 68])
  func foreignDatabase(changedByte: Int) async throws {
    try await withTemporaryDirectory { directory in
      let file = URL(filePath: directory).appending(path: "emulator.sqlite")
      var configuration = EventsAPIEmulator.Configuration()
      configuration.storage = .file(file)
      // It closes the file at once: nothing else holds it.
      _ = try EventsAPIEmulator(configuration)
      // The SQLite header has the user version at byte 60 and the application id at byte 68.
      var content = try Data(contentsOf: file)
      content[changedByte] ^= 1
      try content.write(to: file)
      let error = #expect(throws: EmulatorError.self) { _ = try EventsAPIEmulator(configuration) }
      #expect(error?.code == .storageFailed)
      #expect(error?.message.contains("emulator.sqlite is not a file of this emulator") == true)
    }
  }

  @Test("The counting storage keeps counts, the log, and counts by event id")
  func counting() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.storage = .counting(eventIDMember: "id")
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      emulator.faults = [FaultRule(when: FaultCondition(request: 2), do: .quarantine(rows: 1))]
      let client = try await EmulatorClient(emulator)
      _ = try await client.post("{\"id\":\"x\"}\n{\"id\":\"y\",\"sub\":{\"id\":\"no\"}}\n{\"id\":5}\n{}")
      _ = try await client.post("{\"id\":\"y\"}")
      #expect(try await emulator.deliveries(of: "clicks", byMember: "id") == ["x": 1, "y": 2, "5": 1, "": 1])
      #expect(try await emulator.rowCount(of: "clicks") == 5)
      #expect(try await emulator.quarantinedRowCount() == 1)
      #expect(try await emulator.requests().map(\.rowCount) == [4, 1])
      #expect(try await emulator.requests().map(\.id) == [1, 2])
      let error = await #expect(throws: EmulatorError.self) { try await emulator.deliveries(of: "clicks") }
      #expect(error?.code == .payloadsNotKept)
      await #expect(throws: EmulatorError.self) { try await emulator.rows(of: "clicks") }
      await #expect(throws: EmulatorError.self) { try await emulator.deliveries(of: "clicks", byMember: "other") }
    }
  }

  @Test("Waiting for requests and rows ends when they are there, and when the task is cancelled")
  func waiting() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let client = try await EmulatorClient(emulator)
      async let arrivals: Void = emulator.waitForArrivals(count: 2)
      async let requests: Void = emulator.waitForRequests(count: 2)
      async let rows: Void = emulator.waitForRows(count: 3)
      async let clicks: Void = emulator.waitForRows(count: 2, of: "clicks")
      _ = try await client.post("{}\n{}")
      _ = try await client.post("{}", query: "name=views")
      _ = try await (arrivals, requests, rows, clicks)
      let waiting = Task { try await emulator.waitForRows(count: 1_000_000) }
      waiting.cancel()
      await #expect(throws: CancellationError.self) { try await waiting.value }
    }
  }
}
