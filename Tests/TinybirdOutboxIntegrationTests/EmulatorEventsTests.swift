import EventsAPIEmulator
import NIOCore
import NIOHTTP1
import Testing

@Suite("Emulator: requests and answers")
struct EmulatorEventsTests {
  @Test(
    "wait=true is answered 200, anything else 202; unknown items of the query are ignored",
    arguments: [
      ("name=clicks&wait=true", 200),
      ("name=clicks", 202),
      ("name=clicks&wait=false", 202),
      ("wait=true&utm=x&name=clicks&format=ndjson", 200),
    ])
  func waiting(query: String, status: Int) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let answer = try await EmulatorClient(emulator).post("{\"a\":1}\n{\"a\":2}\n", query: query)
      #expect(answer.status == status)
      #expect(answer.body == #"{"successful_rows":2,"quarantined_rows":0}"#)
      #expect(answer.header("Content-Type") == "application/json")
      #expect(try await emulator.deliveries(of: "clicks") == ["{\"a\":1}": 1, "{\"a\":2}": 1])
    }
  }

  @Test("Every answer to a good token tells the rate limit")
  func rateLimitHeaders() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let client = try await EmulatorClient(emulator)
      for answer in [try await client.post("{}"), try await client.post("not JSON")] {
        #expect(answer.header("X-RateLimit-Limit") == "100")
        #expect(answer.header("X-RateLimit-Remaining").flatMap { Int($0) }.map((0..<100).contains) == true)
        #expect(answer.header("X-RateLimit-Reset") == "1")
      }
    }
  }

  @Test(
    "The token comes as a bearer token or in the query",
    arguments: [
      ("good", "name=clicks", 202),
      (nil, "name=clicks&token=good", 202),
      (nil, "name=clicks", 403),
      ("unknown", "name=clicks", 403),
      ("limited", "name=clicks", 202),
      ("limited", "name=views", 403),
    ] as [(String?, String, Int)])
  func tokens(token: String?, query: String, status: Int) async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.tokens = .only(["good": .allDataSources, "limited": .dataSources(["clicks"])])
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      let answer = try await EmulatorClient(emulator).post("{}", query: query, token: token)
      #expect(answer.status == status)
      if status == 403 {
        #expect(answer.body.contains(token ?? "No token"), "the service repeats the token that it refuses")
        #expect(answer.body.contains("documentation"))
        #expect(try await emulator.rowCount() == 0)
      }
    }
  }

  @Test("Tokens can be changed while it runs")
  func changedTokens() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let client = try await EmulatorClient(emulator)
      #expect(try await client.post("{}", token: "old").status == 200)
      emulator.tokens = .only("new")
      #expect(try await client.post("{}", token: "old").status == 403)
      #expect(try await client.post("{}", token: "new").status == 200)
    }
  }

  @Test(
    "Requests that are not requests for events",
    arguments: [
      (.GET, "/", 200), (.GET, "/v0/events", 405), (.GET, "/v0/nothing", 404), (.POST, "/", 404),
    ] as [(HTTPMethod, String, Int)])
  func otherRequests(method: HTTPMethod, path: String, status: Int) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let answer = try await EmulatorClient(emulator).send(method, path)
      #expect(answer.status == status)
      #expect(answer.header("Content-Type") == "application/json")
      #expect(status == 200 || answer.body.hasPrefix(#"{"error":"#))
      #expect(try await emulator.requests().isEmpty)
    }
  }

  @Test(
    "Bodies that are refused as a whole, with the line that is to blame",
    arguments: [
      ("name=&wait=true", "{}", "name="),
      ("wait=true", "{}", "name="),
      ("name=clicks", "{\"a\":1}\n{\"a\":}\n", "Line 2"),
      ("name=clicks", "[1]", "Line 1"),
      ("name=clicks", "{} {}", "Line 1"),
      ("name=clicks", "{\n\"a\":1}", "Line 1"),
      ("name=clicks", "", "no events"),
      ("name=clicks", "\n \r\n", "no events"),
      ("name=no-such-name", "{}", "no-such-name"),
    ])
  func refusedBodies(query: String, body: String, expected: String) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let answer = try await EmulatorClient(emulator).post(body, query: query)
      #expect(answer.status == 400)
      #expect(answer.body.contains(expected))
      #expect(answer.body.hasPrefix(#"{"error":""#))
      #expect(answer.body.contains(#""documentation":"https://"#))
      #expect(try await emulator.rowCount() == 0)
      #expect(try await emulator.requests().map(\.isCommitted) == [false])
    }
  }

  @Test("A body that is not UTF-8 is refused")
  func notUTF8() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let body = ByteBuffer(bytes: Array("{\"a\":\"".utf8) + [0xC3, 0x28] + Array("\"}".utf8))
      let answer = try await EmulatorClient(emulator).post(bytes: body)
      #expect(answer.status == 400)
      #expect(answer.body.contains("UTF-8"))
    }
  }

  @Test("A malformed line can go to the quarantine instead")
  func malformedLineQuarantined() async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.openFacts.malformedLine = .quarantineLine
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      let answer = try await EmulatorClient(emulator).post("{\"a\":1}\n{\"a\":}\r\n\n{\"a\":3}")
      #expect(answer.status == 200)
      #expect(answer.body == #"{"successful_rows":2,"quarantined_rows":1}"#)
      let rows = try await emulator.rows(of: "clicks")
      #expect(rows.map(\.isQuarantined) == [false, true, false])
      #expect(try await emulator.quarantinedRowCount(of: "clicks") == 1)
    }
  }

  @Test("gzip is decompressed; more than one member too")
  func gzipBodies() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let client = try await EmulatorClient(emulator)
      #expect(try await client.postGzip("{\"a\":1}\n").status == 200)
      var members = gzip("{\"a\":2}\n")
      members.writeImmutableBuffer(gzip("{\"a\":3}"))
      #expect(try await client.post(bytes: members, headers: ["Content-Encoding": "gzip"]).status == 200)
      #expect(try await emulator.rows(of: "clicks").map(\.payload) == ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"])
      let requests = try await emulator.requests()
      #expect(requests.map(\.isGzip) == [true, true])
      #expect(requests.last?.byteCount == members.readableBytes)
    }
  }

  @Test("Bad gzip is refused: not gzip, cut short, something behind it")
  func badGzip() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let client = try await EmulatorClient(emulator)
      let good = gzip("{\"a\":1}\n")
      var cut = good
      cut.moveWriterIndex(to: good.writerIndex - 4)
      var followed = good
      followed.writeString("{}")
      for body in [ByteBuffer(string: "{\"a\":1}"), cut, followed, ByteBuffer()] {
        let answer = try await client.post(bytes: body, headers: ["Content-Encoding": "gzip"])
        #expect(answer.status == 400)
        #expect(answer.body.contains("gzip"))
      }
      #expect(try await emulator.rowCount() == 0)
    }
  }

  @Test("An unknown data source is created, or refused, as the switch says", arguments: [nil, 400, 404])
  func unknownDataSource(status: Int?) async throws {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.script.dataSources["known"] = DataSourceRules()
    if let status { configuration.openFacts.unknownDataSource = .refuse(status: status) }
    try await EventsAPIEmulator.withRunning(configuration) { emulator in
      let client = try await EmulatorClient(emulator)
      #expect(try await client.post("{}", query: "name=known&wait=true").status == 200)
      #expect(try await client.post("{}", query: "name=unknown&wait=true").status == status ?? 200)
    }
  }

  @Test("Any content type is taken")
  func contentType() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let client = try await EmulatorClient(emulator)
      #expect(try await client.post("{}", headers: ["Content-Type": "text/plain"]).status == 200)
    }
  }
}
