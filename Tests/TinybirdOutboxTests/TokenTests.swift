import Testing

@testable import TinybirdOutbox

@Suite struct TokenTests {
  private static let secret = "p.eyJ1IjogImFiY2QifQ.kT3xYzAbCdEfGhIjKlMnOpQrStUvWx"

  /// Every way by which Swift turns a value into text.
  private static func texts(of value: some Any) -> [String] {
    var dumped = ""
    dump(value, to: &dumped)
    var printed = ""
    print(value, to: &printed)
    let mirror = Mirror(reflecting: value)
    return [
      dumped, printed, String(describing: value), String(reflecting: value), "\(value)", "\(mirror)",
      "\(Array(mirror.children))", "\([value])", String(reflecting: [value]), "\(["key": value])",
      "\(Optional(value) as Any)", String(reflecting: Optional(value)),
    ]
  }

  private struct Holder { let token: Token }

  @Test func isShownToNobody() throws {
    let token = try Token(Self.secret)
    for text in Self.texts(of: token) + Self.texts(of: Holder(token: token)) + Self.texts(of: StaticToken(token)) {
      #expect(!text.contains(Self.secret.prefix(8)) && !text.contains(Self.secret.suffix(8)), "a token was shown")
    }
    #expect("\(token)" == "[token]")
    #expect(String(reflecting: token) == "[token]")
    #expect(token.customMirror.children.isEmpty)
  }

  @Test(arguments: ["abc", " abc", "abc\n", "\r\n\tabc \r\n", "abc\u{2028}"]) func whiteSpaceAroundItIsDropped(
    text: String
  ) throws {
    #expect(try Token(text).value == "abc")
  }

  @Test(
    arguments: [
      "", " ", "\r\n", "a b", "a\tb", "a\nb", "a\r\nInjected: header", "a\0", "\0", "a\u{7F}", "tökén", "\u{FEFF}abc",
      "a\u{A0}",
      "Bearer abc",
    ])
  func whatCannotStandInAHeaderIsRefused(text: String) throws {
    let error = try #require(throws: OutboxError.self) { try Token(text) }
    #expect(error.code == .invalidConfiguration)
    for word in ["Bearer", "Injected", "tökén"] { #expect(!"\(error)".contains(word), "a token was shown") }
  }

  @Test func everyVisibleCharacterIsTaken() throws {
    let text = String(decoding: 0x21...0x7E, as: UTF8.self)
    #expect(try Token(text).value == text)
  }

  @Test func tokensAreComparedByTheirSecret() throws {
    #expect(try Token("abc") == Token(" abc "))
    #expect(try Token("abc") != Token("abd"))
    #expect(try Set([Token("abc"), Token("abc"), Token("abd")]).count == 2)
  }

  @Test func aStaticTokenIsForEveryDataSource() throws {
    let provider = StaticToken(try Token("abc"))
    #expect(provider.token(for: "clicks").value == "abc")
    #expect(provider.token(for: "other").value == "abc")
  }
}
