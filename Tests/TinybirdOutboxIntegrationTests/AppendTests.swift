import Dispatch
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct AppendTests {
  struct Click: Codable, Sendable {
    var page: String
    var at: Date
  }

  @Test func valuesAndRawJSONAreStoredAsTheyAre() async throws {
    try await withOutbox { outbox in
      let date = Date(timeIntervalSince1970: 1_763_697_845.25)
      try await outbox.append(["at": date], to: "clicks")
      try await outbox.append(Click(page: "/a/b", at: date), to: "pages")
      try await outbox.append("{ \"big\": 123456789012345678901234567890,\r\n\t\"d\": 1.10 }", to: "clicks")
      try await outbox.append(Data(#"{"data":true}"#.utf8), to: "clicks")
      try await outbox.append(Array(#"{"bytes":[]}"#.utf8), to: "clicks")
      let events = try await outbox.events(in: AddressRange("clicks"))
      #expect(
        events.map(\.json) == [
          #"{"at":"2025-11-21T04:04:05.250Z"}"#,
          "{ \"big\": 123456789012345678901234567890,  \t\"d\": 1.10 }",
          #"{"data":true}"#, #"{"bytes":[]}"#,
        ])
      let page = try #require(try await outbox.events(in: AddressRange("pages/1")).first?.json)
      let decoder = JSONDecoder()
      decoder.dateDecodingStrategy = .custom {
        try Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(
          $0.singleValueContainer().decode(String.self))
      }
      let decoded = try decoder.decode(Click.self, from: Data(page.utf8))
      #expect(decoded.page == "/a/b" && decoded.at == date)
      #expect(events.map(\.address.description) == ["clicks/1", "clicks/2", "clicks/3", "clicks/4"])
    }
  }

  @Test func whatIsQueuedWhenTheOutboxIsClosedIsCommitted() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/app.outbox"
      let outbox = try await Outbox(at: path)
      let isCommitting = Watch(false)
      let gate = DispatchSemaphore(value: 0)
      let first = Task {
        try await outbox.committer.perform { _ in
          isCommitting.update { $0 = true }
          gate.wait()
        }
      }
      await isCommitting.wait { $0 }
      let queued = (1...5).map { number in Task { try await outbox.append(event(number), to: "clicks") } }
      while outbox.committer.waitingCount < queued.count { await Task.yield() }
      let closing = Task { await outbox.close() }
      // The reader's end comes right before that of the writer, which then waits behind the commit that is under way.
      while (try? await outbox.status()) != nil { await Task.yield() }
      gate.signal()
      try await first.value
      for task in queued { #expect(try await task.value.description.hasPrefix("clicks/")) }
      await closing.value
      let again = try await Outbox(at: path)
      #expect(try await again.status().dataSources.first { $0.dataSource == "clicks" }?.pendingEvents == 5)
      await again.close()
    }
  }

  @Test func manyEventsAcrossDataSourcesAreOneCommit() async throws {
    try await withOutbox { outbox in
      let receipt = try await outbox.append(contentsOf: [
        OutboxEvent(#"{"n":1}"#, to: "clicks"), OutboxEvent(#"{"n":1}"#, to: "orders"),
        OutboxEvent(["n": 2], to: "clicks"),
      ])
      #expect(receipt.description == "clicks/1..2, orders/1")
      #expect(receipt.count == 3)
      #expect(try await outbox.append(contentsOf: [String](), to: "clicks").ranges.isEmpty)
    }
  }

  @Test func oneBadEventRefusesTheWholeCall() async throws {
    try await withOutbox { outbox in
      let error = await #expect(throws: OutboxError.self) {
        try await outbox.append(contentsOf: ["{}", #"{"secret":}"#, "{}"], to: "clicks")
      }
      #expect(error?.code == .invalidEvent)
      #expect(error?.eventIndex == 1)
      #expect(error?.message.contains("secret") == false, "no payload in an error")
      #expect(error?.message.contains("byte 10") == true)
      #expect(try await outbox.status().dataSources.isEmpty)
      try await outbox.append("{}", to: "clicks")
      #expect(try await outbox.status().pendingEvents == 1)
    }
  }

  @Test func concurrentCallersShareCommitsAndGetTheirOwnAddresses() async throws {
    try await withOutbox { outbox in
      let addresses = try await withThrowingTaskGroup(of: (Int, AppendReceipt).self) { group in
        for caller in 0..<500 {
          group.addTask { (caller, try await outbox.append(#"{"caller":\#(caller)}"#, to: "clicks")) }
        }
        return try await group.reduce(into: [Int: Int64]()) { $0[$1.0] = $1.1.ranges[0].sequences.lowerBound }
      }
      #expect(Set(addresses.values) == Set(1...500), "no hole, no repeat")
      for event in try await outbox.events(in: AddressRange("clicks"), limit: 1000) {
        let caller = try #require(addresses.first { $0.value == event.address.sequence }?.key)
        #expect(event.json == #"{"caller":\#(caller)}"#)
      }
      let chunks = try SQLiteShell(outbox.file.path).run("SELECT count(*) FROM outbox_chunks")[0][0].flatMap { Int($0) }
      #expect((chunks ?? 500) < 250, "group commit put callers together, \(chunks ?? 0) chunks")
      #expect(try await outbox.verify().isSound)
    }
  }

  @Test func chunksHoldAboutAMebibyte() async throws {
    try await withOutbox { outbox in
      let event = #"{"x":"\#(String(repeating: "y", count: 1000))"}"#
      try await outbox.append(contentsOf: Array(repeating: event, count: 5000), to: "clicks")
      let sizes = try SQLiteShell(outbox.file.path).run("SELECT byte_count FROM outbox_chunks").compactMap {
        Int($0[0] ?? "")
      }
      #expect(sizes.count == 5)
      #expect(sizes.allSatisfy { $0 <= EventPacker.maximumChunkBytes })
      #expect(sizes.reduce(0, +) == 5000 * (event.utf8.count + 1))
    }
  }

  @Test func limitsOfSizeAndDepth() async throws {
    var configuration = OutboxConfiguration()
    configuration.maximumEventBytes = 20
    configuration.maximumEventDepth = 2
    try await withOutbox(configuration) { outbox in
      try await outbox.append(#"{"a":"1234567890ab"}"#, to: "clicks")
      let large = await #expect(throws: OutboxError.self) {
        try await outbox.append(#"{"a":"1234567890abc"}"#, to: "clicks")
      }
      #expect(large?.code == .eventTooLarge)
      try await outbox.append(#"{"a":[1]}"#, to: "clicks")
      let deep = await #expect(throws: OutboxError.self) { try await outbox.append(#"{"a":[[1]]}"#, to: "clicks") }
      #expect(deep?.code == .invalidEvent)
    }
  }

  @Test func eventsGetAnIDWhereOneIsAskedFor() async throws {
    var configuration = OutboxConfiguration()
    configuration.eventIDField = "event_id"
    try await withOutbox(configuration) { outbox in
      try await outbox.append(#"{"a":1}"#, to: "clicks")
      try await outbox.append(#"{"event_id":"mine"}"#, to: "clicks")
      try await outbox.append("{}", to: "clicks")
      let events = try await outbox.events(in: AddressRange("clicks")).map { try #require($0.json) }
      #expect(events[0].wholeMatch(of: #/\{"event_id":"[0-9a-f-]{36}","a":1\}/#) != nil)
      #expect(events[1] == #"{"event_id":"mine"}"#)
      #expect(events[2].wholeMatch(of: #/\{"event_id":"[0-9a-f-]{36}"\}/#) != nil)
    }
  }

  @Test func backPressureSuspendsAndLosesNothing() async throws {
    var configuration = OutboxConfiguration()
    configuration.maximumWaitingBytes = 200
    try await withOutbox(configuration) { outbox in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for caller in 0..<200 {
          group.addTask {
            try await outbox.append(#"{"caller":\#(caller),"x":"................................"}"#, to: "clicks")
          }
        }
        try await group.waitForAll()
      }
      #expect(try await outbox.status().pendingEvents == 200)
      let largest = try SQLiteShell(outbox.file.path).run("SELECT max(byte_count) FROM outbox_chunks")[0][0]
      #expect(try #require(Int(largest ?? "")) <= 200)
    }
  }

  @Test func aClosedOutboxRefuses() async throws {
    try await withTemporaryDirectory { directory in
      let outbox = try await Outbox(at: directory + "/app.outbox")
      await outbox.close()
      let error = await #expect(throws: OutboxError.self) { try await outbox.append("{}", to: "clicks") }
      #expect(error?.code == .closed)
      let second = await #expect(throws: OutboxError.self) { try await outbox.status() }
      #expect(second?.code == .closed)
    }
  }

  @Test func theViewsShowEventsAndRanges() async throws {
    try await withOutbox { outbox in
      try await outbox.append(contentsOf: [#"{"a":[1,2]}"#, #"{"b":"x,y"}"#], to: "clicks")
      let shell = try SQLiteShell(outbox.file.path)
      #expect(
        try shell.run("SELECT data_source, sequence, payload FROM outbox_events ORDER BY sequence") == [
          ["clicks", "1", #"{"a":[1,2]}"#], ["clicks", "2", #"{"b":"x,y"}"#],
        ])
      #expect(
        try shell.run("SELECT data_source, first, last, state, encoding FROM outbox_ranges") == [
          ["clicks", "1", "2", "pending", "plain"]
        ])
    }
  }
}

/// Runs `body` with a fresh outbox, which is closed and removed afterwards.
func withOutbox(
  _ configuration: OutboxConfiguration = OutboxConfiguration(), _ body: (Outbox) async throws -> Void
) async throws {
  try await withTemporaryDirectory { directory in
    try await withOutbox(at: directory + "/app.outbox", configuration, body)
  }
}

/// Runs `body` with the outbox at a path, which is closed afterwards.
func withOutbox(
  at path: String, _ configuration: OutboxConfiguration = OutboxConfiguration(), _ body: (Outbox) async throws -> Void
) async throws {
  let outbox = try await Outbox(at: path, configuration: configuration)
  do {
    try await body(outbox)
  } catch {
    await outbox.close()
    throw error
  }
  await outbox.close()
}
