import Testing

@testable import TinybirdOutbox

/// What is learned of an event that is accepted, and how it is copied.
@Suite struct JSONValidatorObjectTests {
  @Test(arguments: [
    ("{}", 1, true), ("{ }", 1, true), (" {}", 2, true), ("\r\n\t {\n}", 5, true), (#"{"a":1}"#, 1, false),
    (#"  { "a":1}"#, 3, false), (#"{"a":{}}"#, 1, false),
  ])
  func saysWhereTheContentStarts(_ text: String, _ offset: Int, _ isEmpty: Bool) throws {
    let object = try validate(text)
    #expect(object.contentOffset == offset)
    #expect(object.isEmpty == isEmpty)
  }

  @Test(arguments: [
    (#"{"event_id":1}"#, true), (#"{"a":1,"event_id":null}"#, true), (#"{ "event_id" : [] , "a":1}"#, true),
    (#"{"event_id":1,"event_id":2}"#, true), (#"{"a":{},"b":[{}],"event_id":""}"#, true),
    (#"{"event\u005fid":1}"#, true), (#"{"event\u005Fid":1}"#, true), (#"{"\u0065vent_\u0069d":1}"#, true),
    ("{}", false), (#"{"a":1}"#, false), (#"{"a":"event_id"}"#, false), (#"{"a":{"event_id":1}}"#, false),
    (#"{"a":[{"event_id":1}]}"#, false), (#"{"Event_id":1}"#, false), (#"{"event_id ":1}"#, false),
    (#"{"event_i":1}"#, false), (#"{"event_idd":1}"#, false), (#"{"":1}"#, false), (#"{"event\\u005fid":1}"#, false),
    (#"{"event\n_id":1}"#, false), (#"{"event_id\u0000":1}"#, false), (#"{"event_id\ud800":1}"#, false),
  ])
  func findsTheMember(_ text: String, _ hasMember: Bool) throws {
    #expect(try validate(text, JSONValidator(memberName: "event_id")).hasMember == hasMember)
    #expect(try !validate(text).hasMember)
  }

  @Test(arguments: [
    ("😀", #"{"😀":1}"#, true), ("😀", #"{"\ud83d\ude00":1}"#, true), ("😀", #"{"\uD83D\uDE00":1}"#, true),
    ("😀", #"{"\ud83d":1}"#, false), ("😀", #"{"\ude00\ud83d":1}"#, false), ("😀", #"{"\ud83d\ud83d\ude00":1}"#, false),
    ("😀", #"{"\ud83dx\ude00":1}"#, false), ("😀", #"{"\ud83d\n":1}"#, false),
    ("😀", #"{"\ud83dxxde00":1}"#, false), ("😀", #"{"\ud83d\nde00":1}"#, false),
    ("😀", #"{"\ud83d":1,"\ude00":1}"#, false),
    ("🐽", #"{"\ud83d\udc3d":1}"#, true), ("🐽", #"{"\ud83d\ud83d":1}"#, false), ("🐽", #"{"\ud83d\u003d":1}"#, false),
    ("\u{10FFFF}", #"{"\udbff\udfff":1}"#, true),
    ("\u{10000}", #"{"\ud800\udc00":1}"#, true), ("\u{FFFD}", #"{"\ud800":1}"#, false), ("é", #"{"\u00e9":1}"#, true),
    ("é", #"{"\u00E9":1}"#, true), ("é", #"{"e\u0301":1}"#, false), ("", #"{"":1}"#, true), ("", "{}", false),
    ("a\"b", #"{"a\"b":1}"#, true), ("a\"b", #"{"a\u0022b":1}"#, true), ("a\\b", #"{"a\\b":1}"#, true),
    ("a/b", #"{"a\/b":1}"#, true), ("a/b", #"{"a/b":1}"#, true), ("\u{8}\u{C}\n\r\t", #"{"\b\f\n\r\t":1}"#, true),
    ("\0", #"{"\u0000":1}"#, true), ("9AF", #"{"\u0039\u0041\u0046":1}"#, true), ("ꯍ", #"{"\uABCD":1}"#, true),
    ("ꯍ", #"{"\uabcd":1}"#, true),
  ])
  func comparesWhatANameMeans(_ name: String, _ text: String, _ hasMember: Bool) throws {
    #expect(try validate(text, JSONValidator(memberName: name)).hasMember == hasMember)
  }

  @Test(arguments: [
    ("{\n}", "{ }"), ("\r\n{}\r\n", "  {}  "), ("{\"a\"\n:\r1}\n", "{\"a\" : 1} "),
    ("{\r\n\t\"a\": [\n1,\r\n2\n]\r\n}", "{  \t\"a\": [ 1,  2 ]  }"),
    ("{\"a\":1,\n\"b\\n\":\"\\r\"}", "{\"a\":1, \"b\\n\":\"\\r\"}"),
  ])
  func lineBreaksBecomeSpaces(_ text: String, _ stored: String) throws {
    let object = try validate(text)
    #expect(object.hasLineBreaks)
    #expect(copy(text, object) == "before\n" + stored)
  }

  @Test(arguments: [
    "{}", " { \t} ", #"{"a":"\n\r\u000a"}"#, #"{"id":123456789012345678901234567890,"a":1.10,"b":1E400}"#,
    "{\"u\":\"\u{85}\u{2028}\"}",
  ])
  func allElseStaysByteForByte(_ text: String) throws {
    let object = try validate(text)
    #expect(!object.hasLineBreaks)
    #expect(copy(text, object) == "before\n" + text)
  }

  private func copy(_ text: String, _ object: ValidatedObject) -> String {
    var output = Array("before\n".utf8)
    Array(text.utf8).withUnsafeBytes { object.append($0, to: &output) }
    return String(decoding: output, as: UTF8.self)
  }
}
