import EventsAPIEmulator
import Foundation
import Testing

@Suite("Emulator: scripts in JSON")
struct EmulatorScriptTests {
  private static func script(rule: String) throws -> FaultScript {
    try FaultScript(json: Data("{\"rules\":[\(rule)]}".utf8))
  }

  @Test(
    "Each member of a rule",
    arguments: [
      (#"{"do":{"answer":{"status":503}}}"#, FaultRule(do: .answer(503))),
      (
        #"{"do":{"answer":{"status":429,"body":"{}","headers":{"A":"b"},"commit":"half","retryAfterSeconds":3}}}"#,
        FaultRule(do: .answer(429, body: "{}", headers: ["A": "b"], retryAfter: .seconds(3), commit: .half))
      ),
      (
        #"{"do":{"answer":{"status":503,"retryAfterSeconds":3,"retryAfterAsDate":true}}}"#,
        FaultRule(do: .answer(503, retryAfter: .date(secondsFromNow: 3)))
      ),
      (#"{"do":{"close":{"at":"beforeBody"}}}"#, FaultRule(do: .close(at: .beforeBody))),
      (#"{"do":{"close":{"at":"midAnswer"}}}"#, FaultRule(do: .close(at: .midAnswer))),
      (#"{"do":{"endlessAnswer":{}}}"#, FaultRule(do: .endlessAnswer)),
      (
        #"{"do":{"slowAnswer":{"millisecondsPerByte":20}}}"#,
        FaultRule(do: .slowAnswer(pauseAfterEachByte: .milliseconds(20)))
      ),
      (#"{"do":{"acceptWithoutWaiting":{}}}"#, FaultRule(do: .acceptWithoutWaiting)),
      (#"{"do":{"quarantine":{"rows":3}}}"#, FaultRule(do: .quarantine(rows: 3))),
      (
        #"{"do":{"miscount":{"successfulRows":-1}}}"#,
        FaultRule(do: .miscount(successfulRows: -1, quarantinedRows: 0))
      ),
      (#"{"do":{"refuseStream":{}}}"#, FaultRule(do: .refuseStream)),
      (#"{"do":{"goAway":{}}}"#, FaultRule(do: .goAway)),
      (
        #"{"when":{"dataSource":"clicks","requests":2,"contains":"x"},"times":4,"do":{"goAway":{}}}"#,
        FaultRule(when: FaultCondition(dataSource: "clicks", requests: 2...2, contains: "x"), times: 4, do: .goAway)
      ),
      (
        #"{"when":{"requests":{"from":2}},"do":{"goAway":{}}}"#,
        FaultRule(when: FaultCondition(requests: 2...Int.max), do: .goAway)
      ),
      (
        #"{"when":{"milliseconds":{"from":500,"to":1500}},"do":{"goAway":{}}}"#,
        FaultRule(when: FaultCondition(time: .milliseconds(500)..<(.milliseconds(1500))), do: .goAway)
      ),
      (
        #"{"delay":{"at":"beforeCommit","milliseconds":250}}"#,
        FaultRule(delay: .pause(.milliseconds(250), at: .beforeCommit))
      ),
      (#"{"delay":{"at":"afterCommit","untilReleased":true}}"#, FaultRule(delay: .untilReleased(at: .afterCommit))),
    ] as [(String, FaultRule)])
  func rules(json: String, rule: FaultRule) throws {
    let script = try Self.script(rule: json)
    #expect(script.rules == [rule])
    let written = try FaultScript(json: JSONEncoder().encode(script))
    #expect(written.rules == [rule], "what is written can be read")
  }

  @Test("Presets are answers, so that they can be written")
  func presets() throws {
    let rules = [Fault.partialFailure, .placeholderPage, .emptyAnswer].map { FaultRule(do: $0) }
    #expect(try FaultScript(json: JSONEncoder().encode(FaultScript(rules: rules))).rules == rules)
  }

  @Test(
    "What is wrong is said with its path",
    arguments: [
      ("{", ""),
      (#"{"rule":[]}"#, "unknown member 'rule'; known are dataSources, rules"),
      (
        #"{"rules":[{"do":{"answer":{"status":503}}},{"when":{"datasource":"x"},"do":{"goAway":{}}}]}"#,
        "rules[1].when: unknown member 'datasource'"
      ),
      (#"{"rules":[{"do":{"answer":{}}}]}"#, "rules[0].do.answer: 'status' is missing"),
      (#"{"rules":[{"do":{"answer":{"status":99}}}]}"#, "rules[0].do.answer: 'status' is not in 200...599"),
      (
        #"{"rules":[{"do":{"answer":{"status":503,"headers":{"Retry After":"1"}}}}]}"#,
        "rules[0].do.answer: 'Retry After' is not the name of a header field"
      ),
      (#"{"rules":[{"do":{"explode":{}}}]}"#, "rules[0].do: unknown member 'explode'"),
      (#"{"rules":[{"do":{"goAway":{},"refuseStream":{}}}]}"#, "rules[0].do: a fault is an object with exactly one"),
      (#"{"rules":[{"do":{"close":{"at":"lunch"}}}]}"#, "rules[0].do.close.at"),
      (#"{"rules":[{"do":{"quarantine":{"rows":-1}}}]}"#, "rules[0].do.quarantine: 'rows' is negative"),
      (#"{"rules":[{}]}"#, "rules[0]: a rule needs 'do' or 'delay'"),
      (#"{"rules":[{"times":0,"do":{"goAway":{}}}]}"#, "rules[0]: 'times' is less than 1"),
      (#"{"rules":[{"when":{"requests":{"from":3,"to":2}},"do":{"goAway":{}}}]}"#, "rules[0].when.requests: 'from'"),
      (#"{"rules":[{"when":{"milliseconds":{"from":-1}},"do":{"goAway":{}}}]}"#, "rules[0].when.milliseconds: 'from'"),
      (#"{"rules":[{"delay":{"at":"afterCommit"}}]}"#, "rules[0].delay: a delay needs"),
      (
        #"{"dataSources":{"clicks":{"schema":{"a":"integer"}}}}"#, "dataSources.clicks.schema.a: unknown type 'integer'"
      ),
      (#"{"dataSources":{"clicks":{"rejects":{"member":"a"}}}}"#, "dataSources.clicks.rejects: 'equals' is missing"),
      (#"{"dataSources":{"clicks":{"rejects":{"member":"a","equals":[]}}}}"#, "dataSources.clicks.rejects.equals: not"),
    ])
  func invalid(json: String, message: String) throws {
    let error = #expect(throws: EmulatorError.self) { _ = try FaultScript(json: Data(json.utf8)) }
    #expect(error?.code == .invalidScript)
    #expect(error?.message.hasPrefix(message) == true, "\(error?.message ?? "")")
  }

  @Test("A script from JSON, at work")
  func atWork() async throws {
    let script = try FaultScript(
      json: Data(
        """
        {
          "rules": [{"when": {"dataSource": "clicks", "requests": {"to": 2}}, "do": {"answer": {"status": 503}}}],
          "dataSources": {
            "clicks": {"schema": {"status": "int?"}, "rejects": {"member": "status", "equals": 999}},
            "names": {"rejects": {"member": "name", "equals": "Bobby"}, "mismatch": "refuse"},
            "flags": {"rejects": {"member": "flag", "equals": true}},
            "nulls": {"rejects": {"member": "flag", "equals": null}}
          }
        }
        """.utf8))
    try await EventsAPIEmulator.withRunning { emulator in
      emulator.setScript(script)
      let client = try await EmulatorClient(emulator)
      #expect(try await client.post("{}").status == 503)
      #expect(try await client.post("{}").status == 503)
      #expect(try await client.post("{}").status == 200)
      #expect(try await client.post("{\"status\":null}").body.contains(#""quarantined_rows":0"#))
      #expect(try await client.post("{\"status\":9.5}").body.contains(#""quarantined_rows":1"#))
      #expect(try await client.post("{\"status\":999}").status == 400)
      #expect(try await client.post("{\"name\":\"\\u0042obby\"}", query: "name=names").status == 400)
      #expect(try await client.post("{\"flag\":true}", query: "name=flags").status == 400)
      #expect(try await client.post("{\"flag\":false}", query: "name=flags").status == 202)
      #expect(try await client.post("{\"flag\":null}", query: "name=nulls").status == 400)
    }
  }
}
