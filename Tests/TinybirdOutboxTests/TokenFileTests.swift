import Testing

@testable import TinybirdOutbox

@Suite struct TokenFileTests {
  private func parse(_ text: String) throws(OutboxError) -> [String: String] {
    try TokenFile.parse(text, "/etc/tokens").mapValues(\.value)
  }

  /// A file and the tokens by data source.
  @Test(
    arguments: [
      ("p.abc", ["*": "p.abc"]),
      ("p.abc\n", ["*": "p.abc"]),
      ("  p.abc \r\n", ["*": "p.abc"]),
      ("\n\n# the app's token\np.abc\n\n", ["*": "p.abc"]),
      ("clicks = p.abc", ["clicks": "p.abc"]),
      ("clicks=p.abc\nviews=p.def", ["clicks": "p.abc", "views": "p.def"]),
      ("\tclicks\t=\tp.abc\t\r\nviews = p.def\r\n", ["clicks": "p.abc", "views": "p.def"]),
      ("clicks = p.abc\n* = p.def", ["clicks": "p.abc", "*": "p.def"]),
      ("clicks = p.abc\np.def", ["clicks": "p.abc", "*": "p.def"]),
      ("clicks = p.abc\n# clicks = p.old\n  # views = p.def", ["clicks": "p.abc"]),
      // Only the first = divides.
      ("clicks = p.abc==", ["clicks": "p.abc=="]), ("* = a=b", ["*": "a=b"]),
      ("clicks = #abc", ["clicks": "#abc"]),
    ])
  func parses(text: String, tokens: [String: String]) throws {
    #expect(try parse(text) == tokens)
  }

  /// A file, and what its error must name so that the line is found.
  @Test(
    arguments: [
      ("", "holds no token"), ("\n\n", "holds no token"), ("# only a comment\n", "holds no token"),
      ("clicks =", "line 1"), ("clicks = p.abc\n\nviews =  \n", "line 3"), ("=", "line 1"), ("= p.secret", "line 1"),
      ("p.secret\np.secret", "line 2"), ("clicks = p.abc\nclicks = p.secret", "line 2"),
      ("* = p.abc\np.secret", "line 2"),
      ("p.secret with words", "line 1"), ("clicks = p.secret with words", "line 1"),
      ("# c\nclicks = p.\u{1}secret", "line 2"),
      ("my clicks = p.secret", "line 1"), ("clicks.v2 = p.secret", "line 1"), ("\n1clicks = p.secret", "line 2"),
      ("** = p.secret", "line 1"), ("clicks = p.abc\n\u{FEFF}views = p.secret", "line 2"),
      // A token that ends with = looks like a line for a data source.
      ("p.secret=", "line 1"),
    ])
  func refuses(text: String, naming part: String) throws {
    let error = try #require(throws: OutboxError.self) { try parse(text) }
    #expect(error.code == .invalidConfiguration)
    #expect(error.message.contains(part) && error.message.contains("/etc/tokens"), "\(error.message)")
    #expect(!error.message.contains("secret"), "a token was shown")
  }
}
