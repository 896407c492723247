import Foundation
import NIOCore
import Testing

@testable import EventsAPIEmulator

@Suite("Emulator: JSON and NDJSON")
struct EmulatorJSONTests {
  private static func check(_ bytes: [UInt8]) -> JSONScanner.Fault? {
    bytes.withUnsafeBytes { bytes in
      do throws(JSONScanner.Fault) {
        try JSONScanner.scanObject(bytes)
        return nil
      } catch {
        return error
      }
    }
  }

  @Test(
    "JSON objects",
    arguments: [
      "{}", " { } ", #"{"a":1}"#, #"{"a":-0.5e+10,"b":[1,[],{}],"c":{"d":null},"e":true,"f":false}"#,
      #"{"\u00e9\"\\\/\b\f\n\r\t":"é😀\ud83d"}"#, "{\t\"a\"\r:\n1 , \"a\" : 2}", #"{"":0}"#, #"{"a":1E5,"b":0}"#,
    ])
  func objects(text: String) {
    #expect(Self.check(Array(text.utf8)) == nil)
  }

  @Test(
    "What is not one JSON object",
    arguments: [
      ("", 0), ("[]", 0), ("1", 0), ("null", 0), ("{", 1), ("{}x", 2), ("{} {}", 3), (#"{"a"}"#, 4), (#"{"a":}"#, 5),
      (#"{"a":1,}"#, 7), (#"{,}"#, 1), (#"{a:1}"#, 1), (#"{"a":01}"#, 6), (#"{"a":1.}"#, 7), (#"{"a":.5}"#, 5),
      (#"{"a":+1}"#, 5), (#"{"a":1e}"#, 7), (#"{"a":-}"#, 6), (#"{"a":tru}"#, 5), (#"{"a":True}"#, 5),
      (#"{"a":NaN}"#, 5), (#"{"a":"b}"#, 8), (#"{"a":"\x"}"#, 7), (#"{"a":"\u12g4"}"#, 10), (#"{"a":[1,]}"#, 8),
      (#"{"a":[1}"#, 7), (#"{"a":1 "b":2}"#, 7), (#"{"a":'b'}"#, 5), ("{\"a\":\"\t\"}", 6), (#"{"a":1/**/}"#, 6),
      ("{\0", 1), ("{\"a\":1\0}", 6),
    ])
  func notObjects(text: String, offset: Int) {
    #expect(Self.check(Array(text.utf8))?.offset == offset)
  }

  @Test(
    "Bytes that are not UTF-8",
    arguments: [
      [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xC3, 0x28], [0xE0, 0x9F, 0xBF], [0xE2, 0x82], [0xED, 0xA0, 0x80],
      [0xF0, 0x8F, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF],
    ] as [[UInt8]])
  func notUTF8(bytes: [UInt8]) {
    let line = Array("{\"a\":\"".utf8) + bytes + Array("\"}".utf8)
    #expect(Self.check(line)?.reason == "not valid UTF-8")
    #expect(String(validating: bytes, as: UTF8.self) == nil, "the standard library agrees")
  }

  @Test("Nesting has a limit")
  func depth() {
    func nested(_ depth: Int) -> [UInt8] {
      // The object itself is the first level.
      Array(
        ("{\"a\":" + String(repeating: "[", count: depth - 1) + String(repeating: "]", count: depth - 1) + "}").utf8)
    }
    #expect(Self.check(nested(JSONScanner.maximumDepth)) == nil)
    #expect(Self.check(nested(JSONScanner.maximumDepth + 1))?.reason.contains("nested") == true)
  }

  @Test("Every cut of a good line is refused, without reading past its end")
  func everyCut() {
    let line = Array(#"{"a":[-1.5e3,"é\u00e9",null,true,{"b":{}}]}"#.utf8)
    #expect(Self.check(line) == nil)
    for length in line.indices { #expect(Self.check(Array(line.prefix(length))) != nil, "\(length) bytes") }
  }

  @Test(
    "Lines of a body",
    arguments: [
      ("{}", ["{}"]), ("{}\n", ["{}"]), ("{}\n{\"a\":1}", ["{}", "{\"a\":1}"]), ("\n\n{}\n \n{}\n\n", ["{}", "{}"]),
      ("{}\r\n{}\r\n", ["{}\r", "{}\r"]),
    ])
  func lines(text: String, lines: [String]) throws {
    let buffer = ByteBuffer(string: text)
    let body = try NDJSONBody(buffer, rules: DataSourceRules(), malformedLine: .refuseRequest)
    #expect(body.rows.map { Array(buffer.readableBytesView[$0.start..<$0.end]) } == lines.map { Array($0.utf8) })
  }

  @Test(
    "Types of columns",
    arguments: [
      (ColumnType.string, "\"x\"", true), (.string, "1", false), (.int, "-12", true), (.int, "1.0", false),
      (.int, "1e3", false), (.int, "\"1\"", false), (.float, "1", true), (.float, "1.5", true),
      (.float, "\"x\"", false),
      (.bool, "true", true), (.bool, "0", false), (.array, "[1]", true), (.array, "{}", false), (.object, "{}", true),
      (.object, "[]", false), (.int, "null", false), (.int.nullable, "null", true), (.int.nullable, "\"x\"", false),
      (.dateTime, "\"2015-05-17T10:05:03Z\"", true), (.dateTime, "\"2015-05-17 10:05:03\"", true),
      (.dateTime, "\"2015-05-17T10:05:03.123456+02:00\"", true), (.dateTime, "\"2015-05-17T10:05:03-0230\"", true),
      (.dateTime, "\"2015-05-17\"", false), (.dateTime, "\"2015-13-17T10:05:03Z\"", false),
      (.dateTime, "\"2015-05-17T24:05:03Z\"", false), (.dateTime, "\"2015-05-17T10:05:03.Z\"", false),
      (.dateTime, "\"2015-05-17T10:05:03Zx\"", false), (.dateTime, "\"2015-05-17T10:05:03+2\"", false),
      (.dateTime, "1431857103", false), (.dateTime, "\"\"", false),
    ])
  func columns(type: ColumnType, value: String, isGood: Bool) throws {
    let rules = DataSourceRules(schema: ["a": type])
    let body = try NDJSONBody(ByteBuffer(string: "{\"a\":\(value)}"), rules: rules, malformedLine: .refuseRequest)
    #expect(body.rows.map(\.isQuarantined) == [!isGood])
  }

  @Test("A member that is missing: bad where it is required, good where it may be null")
  func missing() throws {
    for (type, isQuarantined) in [(ColumnType.int, true), (.int.nullable, false)] {
      let rules = DataSourceRules(schema: ["a": type, "b": .string])
      let body = try NDJSONBody(ByteBuffer(string: "{\"b\":\"\"}"), rules: rules, malformedLine: .refuseRequest)
      #expect(body.rows.map(\.isQuarantined) == [isQuarantined])
    }
  }

  @Test("A member that comes twice does not stand in for one that is missing")
  func twice() throws {
    let rules = DataSourceRules(schema: ["a": .int, "b": .int])
    let body = try NDJSONBody(ByteBuffer(string: "{\"a\":1,\"a\":2}"), rules: rules, malformedLine: .refuseRequest)
    #expect(body.rows.map(\.isQuarantined) == [true])
  }
}

@Suite("Emulator: rate limits, schedules and dates, without a clock")
struct EmulatorPureTests {
  @Test("A fixed window starts anew each second")
  func fixedWindow() {
    var window = RateLimitWindow(kind: .fixed, maximumRequests: 2, maximumBytes: 100)
    func admit(_ bytes: Int, _ milliseconds: Int) -> RateLimitWindow.Decision {
      window.admit(byteCount: bytes, at: .milliseconds(milliseconds))
    }
    #expect(admit(10, 1200) == .init(isAdmitted: true, limit: 2, remaining: 1, resetSeconds: 1))
    #expect(admit(10, 1900) == .init(isAdmitted: true, limit: 2, remaining: 0, resetSeconds: 1))
    #expect(admit(10, 1999) == .init(isAdmitted: false, limit: 2, remaining: 0, resetSeconds: 1))
    #expect(admit(100, 2000) == .init(isAdmitted: true, limit: 2, remaining: 1, resetSeconds: 1))
    #expect(admit(1, 2001) == .init(isAdmitted: false, limit: 2, remaining: 1, resetSeconds: 1))
    #expect(admit(101, 3000).isAdmitted == false)
    #expect(admit(100, 3000).isAdmitted)
  }

  @Test("A sliding window forgets a request exactly a second after it")
  func slidingWindow() {
    var window = RateLimitWindow(kind: .sliding, maximumRequests: 2, maximumBytes: 100)
    func admit(_ milliseconds: Int) -> Bool { window.admit(byteCount: 10, at: .milliseconds(milliseconds)).isAdmitted }
    #expect(admit(1200))
    #expect(admit(1900))
    #expect(!admit(2000))
    #expect(!admit(2199))
    #expect(admit(2200))
    #expect(!admit(2899))
    #expect(admit(2900))
  }

  @Test("A window of time is open at its start and closed before its end")
  func timeWindow() {
    let rule = FaultRule.outage(during: .milliseconds(100)..<(.milliseconds(200)))
    var schedule = FaultSchedule(rules: [rule], start: .seconds(5))
    let choices = [5000, 5099, 5100, 5199, 5200].map { milliseconds in
      let arrival = schedule.arrive(dataSource: "clicks", at: .milliseconds(milliseconds))
      return schedule.choose(for: arrival, body: .notRead)
    }
    #expect(choices == [.noFault, .noFault, .rule(rule), .rule(rule), .noFault])
    #expect(rule.fault == .close(at: .beforeBody))
    #expect(FaultRule.outage(during: .zero..<(.seconds(1)), status: 503).fault == .answer(503))
  }

  @Test("A rule that asks for a text is decided when the body is there, and not before a rule that comes first")
  func textInBody() {
    let first = FaultRule(when: FaultCondition(request: 1), do: .answer(500))
    let second = FaultRule(when: FaultCondition(contains: "x"), times: 1, do: .answer(400))
    let third = FaultRule(do: .answer(503))
    var schedule = FaultSchedule(rules: [first, second, third], start: .zero)
    let arrivals = (0..<3).map { _ in schedule.arrive(dataSource: nil, at: .zero) }
    #expect(schedule.choose(for: arrivals[0], body: .notRead) == .rule(first))
    #expect(schedule.choose(for: arrivals[1], body: .notRead) == .needsBody)
    #expect(schedule.choose(for: arrivals[1], body: .read("y")) == .rule(third))
    #expect(schedule.choose(for: arrivals[1], body: .read(nil)) == .rule(third))
    #expect(schedule.choose(for: arrivals[1], body: .read("axb")) == .rule(second))
    #expect(schedule.choose(for: arrivals[2], body: .notRead) == .rule(third), "the second is used up")
  }

  @Test(
    "HTTP dates",
    arguments: [
      (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
      (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"), (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
    ])
  func httpDates(seconds: Int, text: String) {
    #expect(HTTPDate.text(Date(timeIntervalSince1970: Double(seconds) + 0.9)) == text)
  }

  @Test("A wait ends with the change that fulfils it, at once where it is fulfilled, and with its task")
  func watched() async throws {
    let watched = Watched(0)
    async let atThree = watched.wait { $0 >= 3 }
    for _ in 0..<3 { watched.update { $0 += 1 } }
    #expect(try await atThree == 3)
    #expect(try await watched.wait { $0 == 3 } == 3)
    let waiting = Task { try await watched.wait { $0 > 100 } }
    waiting.cancel()
    await #expect(throws: CancellationError.self) { try await waiting.value }
  }
}
