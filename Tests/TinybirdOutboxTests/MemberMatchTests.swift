import Testing

@testable import TinybirdOutbox

@Suite struct MemberMatchTests {
  private func matches(_ event: String, _ text: String) throws -> Bool {
    let match = try MemberMatch(text)
    return Array(event.utf8).withUnsafeBytes { match.matches($0) }
  }

  @Test(
    arguments: [
      (#"{"user_id":4711}"#, "user_id=4711"), (#"{"user_id":"4711"}"#, "user_id=4711"),
      (#" { "a" : [ ] , "user_id" : 4711 } "#, "user_id=4711"), (#"{"ok":true}"#, "ok=true"),
      (#"{"ok":false}"#, "ok=false"), (#"{"n":-1.5e3}"#, "n=-1.5e3"), (#"{"s":""}"#, "s="), (#"{"s":"a=b"}"#, "s=a=b"),
      (#"{"user_id":1,"user_id":4711}"#, "user_id=4711"), (#"{"user\u005fid":"47\u0031\u0031"}"#, "user_id=4711"),
      (#"{"name":"Zoë"}"#, "name=Zoë"), (#"{"name":"Zo\u00eb"}"#, "name=Zoë"), (#"{"x":"\ud83d\ude00"}"#, "x=😀"),
      (#"{"x":"a\"b\\c\n"}"#, "x=a\"b\\c\n"),
      (#"{"user":{"id":4711}}"#, "user.id=4711"), (#"{"user.id":4711}"#, "user.id=4711"),
      (#"{"a":{"b.c":{"d":1}}}"#, "a.b.c.d=1"), (#"{"a.b":{"c":{"d":1}}}"#, "a.b.c.d=1"),
      (#"{"user":{"x":{},"id":4711}}"#, "user.id=4711"), (#"{"user":{"id":1},"user":{"id":4711}}"#, "user.id=4711"),
      (#"{"tags":["x",4711]}"#, "tags=4711"), (#"{"users":[{"id":1},{"id":4711}]}"#, "users.id=4711"),
      (#"{"a":[[[4711]]]}"#, "a=4711"), (#"{"a":[[],{},4711]}"#, "a=4711"), (#"{"a..b":1}"#, "a..b=1"),
    ])
  func found(event: String, text: String) throws {
    #expect(try matches(event, text))
  }

  @Test(
    arguments: [
      ("{}", "user_id=4711"), (#"{"user_id":47110}"#, "user_id=4711"), (#"{"user_id":4711.0}"#, "user_id=4711"),
      (#"{"user_id":"04711"}"#, "user_id=4711"), (#"{"User_id":4711}"#, "user_id=4711"),
      (#"{"x":{"user_id":4711}}"#, "user_id=4711"), (#"{"x":[{"user_id":4711}]}"#, "user_id=4711"),
      (#"{"user_id":{"user_id":4711}}"#, "user_id=4711"), (#"{"user_id":null}"#, "user_id=null"),
      (#"{"user_id":{}}"#, "user_id={}"), (#"{"user_id":[]}"#, "user_id=[]"),
      (#"{"x":"user_id","y":4711}"#, "user_id=4711"),
      (#"{"user":{"id":1},"id":4711}"#, "user.id=4711"), (#"{"user":4711}"#, "user.id=4711"),
      (#"{"user":{"id":{"id":4711}}}"#, "user.id=4711"), (#"{"user_id":"\ud800"}"#, "user_id=4711"),
      ("null", "user_id=4711"), ("4711", "user_id=4711"), ("", "user_id=4711"), ("{", "user_id=4711"),
      (#"{"user_id":4711"#, "user_idx=4711"), (#"{"a":[}"#, "a=1"), ("]", "a=1"), (",", "a=1"), ("{}}", "a=1"),
    ])
  func notFound(event: String, text: String) throws {
    #expect(try !matches(event, text))
  }

  @Test func deepNestingNeedsNoStack() throws {
    let depth = 100_000
    let event = #"{"a":"# + String(repeating: "[", count: depth) + "1" + String(repeating: "]", count: depth) + "}"
    #expect(try matches(event, "a=1"))
    #expect(try !matches(event, "a=2"))
  }

  @Test(arguments: ["", "user_id", "=4711"]) func whatIsNoMatch(text: String) {
    let error = #expect(throws: OutboxError.self) { try MemberMatch(text) }
    #expect(error?.code == .invalidConfiguration)
    #expect(error?.message.contains("4711 ") == false)
  }

  @Test func rangesAreClampedAndJoined() throws {
    let ranges = try ["clicks/5..9", "orders", "clicks/1..3", "clicks/8..20", "clicks/4", "clicks/90"].map {
      try AddressRange($0)
    }
    let selection = EventSelection(ranges: ranges)
    #expect(selection.sequences(of: "clicks", upTo: 12) == [1...12])
    #expect(selection.sequences(of: "clicks", upTo: 0) == [])
    #expect(selection.sequences(of: "others", upTo: 12) == [])
    #expect(EventSelection().sequences(of: "others", upTo: 12) == [1...12])
    #expect(EventSelection(ranges: [ranges[2], ranges[3]]).sequences(of: "clicks", upTo: 12) == [1...3, 8...12])
  }
}
