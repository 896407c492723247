import EventsAPIEmulator
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Names, paths and payloads that somebody thought of to do harm.
@Suite(.timeLimit(.minutes(2))) struct HostileInputTests {
  private static let noncharacters = String(decoding: [0xFFFF, 0xFDD0, 0xFFFE] as [UInt16], as: UTF16.self)
  static let texts: [String] = [
    #"'; DROP TABLE outbox_chunks; --"#, #"\" OR 1=1"#, "%s%n%x", "${jndi:ldap://x}", "../../etc/passwd", "\\u0000",
    "\\ud800", "\\udfff\\ud800", "\\ud83d\\ude00", noncharacters, "\u{202E}gnp.exe", "\u{2066}\u{2069}",
    "\u{200B}\u{FEFF}\u{00AD}", "Z" + String(repeating: "\u{0336}", count: 500), "نص", "ﷺ", "👩‍👩‍👧‍👦🏳️‍🌈", "\u{85}\u{9B}31m",
    "\u{2028}\u{2029}", "\u{7F}", "\\b\\f\\n\\r\\t\\/", String(repeating: "9", count: 400), "ı İ ß ﬁ",
  ]

  @Test func naughtyTextsArriveByteForByte() async throws {
    try await withDelivery { outbox, emulator in
      let events = Self.texts.enumerated().map { #"{"n":\#($0),"\#($1)":"\#($1)","x":[1e400,-0.0,1E+2]}"# }
      try await outbox.append(contentsOf: events, to: "clicks")
      #expect(try await outbox.events(in: AddressRange("clicks")).map(\.json) == events)
      try await outbox.deliverUntilEmpty()
      let deliveries = try await emulator.deliveries(of: "clicks")
      #expect(Set(deliveries.keys) == Set(events))
      try await expectSound(outbox)
    }
  }

  @Test(
    arguments: [
      [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF0, 0x80, 0x80, 0x80],
      [0xF4, 0x90, 0x80, 0x80],
      [0xF5, 0x80, 0x80, 0x80], [0xFE], [0xFF], [0x80], [0xE2, 0x82], [0x00], [0x1B], [0x0A],
    ] as [[UInt8]])
  func bytesThatAreNoTextAreRefused(bytes: [UInt8]) async throws {
    try await withOutbox { outbox in
      let event = Array(#"{"a":""#.utf8) + bytes + Array(#""}"#.utf8)
      let error = await #expect(throws: OutboxError.self) { try await outbox.append(event, to: "clicks") }
      #expect(error?.code == .invalidEvent)
      let status = try await outbox.status()
      #expect(status.dataSources.isEmpty)
    }
  }

  @Test func nestingAndLengthAreBounded() async throws {
    try await withOutbox { outbox in
      for (opening, closing) in [("[", "]"), (#"{"a":"#, "}")] {
        let deep =
          #"{"a":"# + String(repeating: opening, count: 100_000) + "1" + String(repeating: closing, count: 100_000)
        let error = await #expect(throws: OutboxError.self) { try await outbox.append(deep + "}", to: "clicks") }
        #expect(error?.code == .invalidEvent)
      }
      let long = Array(#"{"a":""#.utf8) + [UInt8](repeating: 0x61, count: 100_000_000) + Array(#""}"#.utf8)
      let error = await #expect(throws: OutboxError.self) { try await outbox.append(long, to: "clicks") }
      #expect(error?.code == .eventTooLarge)
      let status = try await outbox.status()
      #expect(status.dataSources.isEmpty)
    }
  }

  @Test func deepNestingThatIsAllowedNeedsNoStack() async throws {
    var configuration = OutboxConfiguration()
    configuration.maximumEventDepth = 200_000
    configuration.eventIDField = "id"
    try await withOutbox(configuration) { outbox in
      let deep = #"{"a":"# + String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000) + "}"
      try await outbox.append(deep, to: "clicks")
      let stored = try await outbox.events(in: AddressRange("clicks")).first?.json
      #expect(stored?.hasSuffix(deep.dropFirst()) == true)
      try await expectSound(outbox)
    }
  }

  @Test(arguments: [
    "", " ", "a b", "a;b", "a'b", "a\"b", "a\0b", "a\nb", "1a", "é", "ａ", "a-b", "a.b", "a/b", "../a", "a?b", "a%20b",
    "a&b",
    "\u{202E}a", "a\u{301}", String(repeating: "a", count: 129), String(repeating: "a", count: 10_000_000),
  ])
  func junkIsNoDataSource(name: String) {
    let error = #expect(throws: OutboxError.self) { try DataSourceName(name) }
    #expect(error?.code == .invalidDataSourceName)
    #expect((error?.message.utf8.count ?? 0) < 200)
  }

  @Test(arguments: [
    "it's \"quoted\"", "two\nlines", "tab\tand \u{1B}[31m", "-leading", "--outbox", "file:x?mode=memory&cache=shared",
    "%00",
    "a%2Fb", "?mode=ro", "*", "~", "$HOME", "`id`", "\u{202E}txt", "é", "e\u{301}", "日本語", noncharacters, " ", "a#b",
    String(repeating: "n", count: 240),
  ])
  func anyFileNameIsAFileName(name: String) async throws {
    try await withTemporaryDirectory { directory in
      let path = "\(directory)/\(name)"
      let outbox = try await Outbox(at: path)
      try await outbox.append("{}", to: "clicks")
      await outbox.close()
      let again = try await Outbox(at: path)
      #expect(try await again.status().pendingEvents == 1)
      await again.close()
      let names = try FileManager.default.contentsOfDirectory(atPath: directory)
      #expect(
        names.allSatisfy { $0.utf8.starts(with: name.utf8) } && names.contains { $0.utf8.elementsEqual(name.utf8) })
    }
  }

  @Test func pathsThatCannotBeAreRefused() async throws {
    try await withTemporaryDirectory { directory in
      let paths = [
        "", "\0", "\(directory)/a\0b", "\(directory)/", directory, "\(directory)/" + String(repeating: "n", count: 300),
        directory + String(repeating: "/d", count: 3000), String(repeating: "x", count: 1_000_000), "/dev/null",
        "/proc/self/mem", "/proc/outbox",
      ]
      for path in paths {
        await #expect(throws: OutboxError.self) { _ = try await Outbox(at: path) }
      }
      let files = try FileManager.default.contentsOfDirectory(atPath: directory)
      #expect(files.isEmpty)
    }
  }

  @Test func hostileAnswersAreBoundedAndKept() async throws {
    try await withDelivery { outbox, emulator in
      let bodies = [
        String(repeating: "x", count: 1_000_000), "\u{1B}[2J\u{1B}]0;owned\u{7}\u{9B}31m\u{202E}", "\0\0\0",
        "\r\n\r\nHTTP/1.1 200",
        String(repeating: "[", count: 100_000), #"{"successful_rows":1e999,"quarantined_rows":-5}"#,
      ]
      for body in bodies {
        emulator.faults = [FaultRule(times: 1, do: .answer(400, body: body))]
        try await outbox.append("{}", to: "clicks")
        try await outbox.deliverUntilEmpty()
        emulator.faults = [FaultRule(times: 1, do: .answer(200, body: body))]
        try await outbox.append("{}", to: "clicks")
        try await outbox.deliverUntilEmpty()
        try await outbox.resume("clicks")
        try await outbox.deliverUntilEmpty()
      }
      #expect(try await outbox.deadLetters().count == bodies.count)
      #expect(try await outbox.deadLetters().allSatisfy { ($0.answer?.utf8.count ?? 0) <= 1024 })
      #expect(try await outbox.status().pendingEvents == 0)
      try await expectSound(outbox)
    }
  }
}
