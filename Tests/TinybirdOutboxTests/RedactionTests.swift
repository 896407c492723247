import Testing

@testable import TinybirdOutbox

@Suite struct RedactionTests {
  /// The shape of a Tinybird token; it opens nothing.
  private static let secret = "p.eyJ1IjogImFiY2QiLCAiaWQiOiAiMTIzNCJ9.kT-3_xYzAbCdEfGhIjKlMnOpQrStUvWx"
  private static let other = "p.eyJ1IjogInh5eiIsICJpZCI6ICI5ODc2In0.aaaabbbbccccddddeeeeffff"

  /// A body in which `TOKEN` stands for the secret, and the excerpt.
  @Test(
    arguments: [
      ("", nil),
      ("{}", "{}"),
      (#"{"error":"invalid token TOKEN"}"#, #"{"error":"invalid token [token]"}"#),
      ("TOKEN", "[token]"),
      ("TOKENTOKEN", "[token][token]"),
      ("aTOKENb", "a[token]b"),
      ("TOKEN, \"TOKEN\"\nTOKEN", "[token], \"[token]\"\n[token]"),
      ("Bearer TOKEN.", "Bearer [token]."),
      ("?token=TOKEN&wait=true", "?token=[token]&wait=true"),
      // What could hide it from a search by characters.
      ("TOKEN\u{301}", "[token]\u{301}"),
      ("TOKEN\u{200D}", "[token]\u{200D}"),
      ("\u{301}TOKEN", "\u{301}[token]"),
      ("é😀TOKEN😀", "é😀[token]😀"),
      // A NUL ends a C string: what is behind it must not be lost, nor hide.
      ("a\0b", "a b"), ("\0", " "), ("\0TOKEN\0TOKEN\0", " [token] [token] "),
      ("line\r\nline", "line\r\nline"),
      ("schön 🎉 日本", "schön 🎉 日本"),
    ])
  func ownToken(body: String, excerpt: String?) throws {
    // Any token, not only those of Tinybird's shape.
    for secret in [Self.secret, "s3cret/+="] {
      // Byte by byte: a search by characters would not find all of them.
      let bytes = Array(body.utf8).split(separator: Array("TOKEN".utf8), omittingEmptySubsequences: false)
        .joined(separator: secret.utf8)
      #expect(Redaction.excerpt(Array(bytes), token: try Token(secret)) == excerpt)
    }
  }

  /// Words that look like a token go, though it is not the one that was sent: here no token is known.
  @Test(
    arguments: [
      ("invalid token \(other)", "invalid token [token]"),
      ("\(other)", "[token]"),
      ("(\(other))", "([token])"),
      ("token=\(other);", "token=[token];"),
      ("\(other) \(secret)", "[token] [token]"),
      ("\(other)é", "[token]é"), ("é\(other)", "é[token]"), ("\(other)\u{301}", "[token]\u{301}"),
      ("\0\(other)\0", " [token] "),
      // 20 bytes are a token, 19 are not.
      ("p.345678901234567890", "[token]"), ("p.34567890123456789", "p.34567890123456789"),
      ("p.34567890-2345_7.90", "[token]"),
      // What only has some of the shape.
      ("p.m. and p.s.", "p.m. and p.s."), ("P.3456789012345678901234", "P.3456789012345678901234"),
      ("help.345678901234567890123", "help.345678901234567890123"),
      ("p,34567890123456789012", "p,34567890123456789012"),
      ("the_data_source_named_in_the_request", "the_data_source_named_in_the_request"),
      ("..--__..", "..--__.."),
    ])
  func tokenLikeWords(body: String, excerpt: String) {
    #expect(Redaction.excerpt(Array(body.utf8), token: nil) == excerpt)
  }

  @Test func bytesThatAreNoTextAreShownAsSuch() throws {
    #expect(Redaction.excerpt([0x61, 0xFF, 0x62], token: nil) == "a\u{FFFD}b")
    let body = [0xFF] + Array(Self.secret.utf8) + [0xE2, 0x82]
    #expect(Redaction.excerpt(body, token: try Token(Self.secret)) == "\u{FFFD}[token]\u{FFFD}")
  }

  // MARK: Cutting

  private static let limit = Redaction.maximumBytes

  @Test(arguments: [0, 1, 2, 3, 1_000]) func whatIsTooLongIsCut(extra: Int) throws {
    let body = [UInt8](repeating: 0x61, count: Self.limit + extra)
    let excerpt = try #require(Redaction.excerpt(body, token: nil))
    #expect(excerpt.utf8.count == Self.limit)
    #expect(excerpt.hasSuffix("…") == (extra > 0))
  }

  /// Characters of one to four bytes, and of several scalars, at every place where the cut can fall.
  @Test(arguments: ["a", "é", "€", "😀", "e\u{301}", "👩‍👩‍👧‍👧", "🇨🇭", "\r\n"], 0..<26)
  func cutsBetweenCharacters(character: String, offset: Int) throws {
    let text = String(repeating: "x", count: offset) + String(repeating: character, count: 1_200)
    let excerpt = try #require(Redaction.excerpt(Array(text.utf8), token: nil))
    #expect(excerpt.utf8.count <= Self.limit)
    #expect(excerpt.utf8.count > Self.limit - character.utf8.count - 3)
    #expect(excerpt.last == "…")
    #expect(text.hasPrefix(excerpt.dropLast()), "cut inside a character")
    #expect(!excerpt.contains("\u{FFFD}"))
  }

  /// A token that lies across the cut goes whole: nothing of its first half is kept.
  @Test func aTokenAcrossTheCutLeavesNothing() throws {
    for offset in Self.limit - 120..<Self.limit + 10 {
      let body = Array((String(repeating: " ", count: offset) + Self.secret).utf8)
      for token in [nil, try Token(Self.secret)] {
        let excerpt = try #require(Redaction.excerpt(body, token: token))
        #expect(!excerpt.contains("p.") && excerpt.utf8.count <= Self.limit)
      }
    }
  }

  @Test func oneEndlessCharacterIsCutToNothing() {
    let zalgo = "e" + String(repeating: "\u{301}", count: 5_000)
    #expect(Redaction.excerpt(Array(zalgo.utf8), token: nil) == "…")
  }
}
