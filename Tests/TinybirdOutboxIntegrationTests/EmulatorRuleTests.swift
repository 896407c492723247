import EventsAPIEmulator
import Testing

@Suite("Emulator: which requests a rule applies to, and what a data source takes")
struct EmulatorRuleTests {
  @Test("By number, counted for the rule's data source or for all")
  func numbers() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [
        FaultRule(when: FaultCondition(dataSource: "clicks", requests: 2...3), do: .answer(500)),
        FaultRule(when: FaultCondition(request: 5), do: .answer(502)),
      ]
      let client = try await EmulatorClient(emulator)
      var statuses: [Int] = []
      for name in ["views", "clicks", "clicks", "clicks", "clicks", "clicks"] {
        statuses.append(try await client.post("{}", query: "name=\(name)&wait=true").status)
      }
      #expect(statuses == [200, 200, 500, 500, 502, 200])
    }
  }

  @Test("By a text in the body, also where it is compressed; the first rule that matches wins")
  func contains() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.faults = [
        FaultRule(when: FaultCondition(contains: "\"status\":999"), times: 2, do: .answer(400)),
        FaultRule(when: FaultCondition(request: 2), do: .answer(503)),
      ]
      let client = try await EmulatorClient(emulator)
      #expect(try await client.postGzip("{\"status\":999}").status == 400)
      #expect(try await client.postGzip("{\"status\":200}").status == 503)
      #expect(try await client.post("{\"a\":1}\n{\"status\":999}").status == 400)
      #expect(try await client.post("{\"status\":999}").status == 200, "used up")
    }
  }

  @Test("Setting faults starts their counts again")
  func countsStartAgain() async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      let client = try await EmulatorClient(emulator)
      for _ in 0..<2 {
        emulator.faults = [FaultRule(when: FaultCondition(request: 2), do: .answer(503))]
        #expect(try await client.post("{}").status == 200)
        #expect(try await client.post("{}").status == 503)
      }
    }
  }

  @Test("Rows that do not fit the schema go to the quarantine, or refuse the request", arguments: [false, true])
  func schema(refuses: Bool) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.dataSources["clicks"] = DataSourceRules(
        schema: ["timestamp": .dateTime, "status": .int, "referrer": .string.nullable],
        mismatch: refuses ? .refuse : .quarantine)
      let client = try await EmulatorClient(emulator)
      let good = #"{"timestamp":"2015-05-17T10:05:03Z","status":200,"extra":[1]}"#
      let bad = #"{"timestamp":"2015-05-17T10:05:03Z","status":"200"}"#
      #expect(try await client.post(good).status == 200)
      let answer = try await client.post(good + "\n" + bad)
      if refuses {
        #expect(answer.status == 400)
        #expect(answer.body.contains("Line 2: 'status' has the wrong type"))
      } else {
        #expect(answer.body == #"{"successful_rows":1,"quarantined_rows":1}"#)
        #expect(try await emulator.rows(of: "clicks").last { $0.isQuarantined }?.payload == bad)
      }
      #expect(try await client.post(bad, query: "name=views&wait=true").status == 200)
    }
  }

  @Test(
    "A rejected event refuses the whole request",
    arguments: [
      EventPredicate.member("status", equals: 999), .code { $0.contains("999") },
    ])
  func rejects(predicate: EventPredicate) async throws {
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.dataSources["clicks"] = DataSourceRules(rejects: predicate)
      let client = try await EmulatorClient(emulator)
      let answer = try await client.post("{\"status\":200}\n{\"status\":999}")
      #expect(answer.status == 400)
      #expect(answer.body.contains("Line 2"))
      #expect(try await client.post("{\"status\":200}").status == 200)
      #expect(try await emulator.rowCount() == 1)
    }
  }
}
