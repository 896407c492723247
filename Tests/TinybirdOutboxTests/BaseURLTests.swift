import Testing

@testable import TinybirdOutbox

@Suite struct BaseURLTests {
  /// What is given, and what is kept.
  @Test(
    arguments: [
      ("https://api.tinybird.co", "https://api.tinybird.co"),
      ("https://api.us-east.tinybird.co/", "https://api.us-east.tinybird.co"),
      (" https://api.tinybird.co\n", "https://api.tinybird.co"),
      ("HTTPS://api.tinybird.co", "https://api.tinybird.co"),
      ("https://api.tinybird.co:8443", "https://api.tinybird.co:8443"),
      ("https://api.tinybird.co:8443/", "https://api.tinybird.co:8443"),
      ("https://api.tinybird.co:", "https://api.tinybird.co"),
      ("https://my_proxy", "https://my_proxy"),
      ("https://192.0.2.1", "https://192.0.2.1"),
      ("https://[2001:db8::1]", "https://[2001:db8::1]"),
      ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
      ("https://localhost:1", "https://localhost:1"), ("https://localhost:65535", "https://localhost:65535"),
      // Plain HTTP, on this machine alone.
      ("http://localhost:7181", "http://localhost:7181"), ("http://LOCALHOST", "http://LOCALHOST"),
      ("http://127.0.0.1:7181", "http://127.0.0.1:7181"), ("http://127.255.0.9", "http://127.255.0.9"),
      ("http://[::1]:7181", "http://[::1]:7181"), ("http://[::1]/", "http://[::1]"),
    ])
  func takes(text: String, kept: String) throws {
    let url = try BaseURL(text)
    #expect("\(url)" == kept)
    #expect(url.eventsURL("clicks") == kept + "/v0/events?name=clicks&wait=true")
  }

  /// What is refused, and a word that says why.
  @Test(
    arguments: [
      // Not a URL with a host.
      ("", "host"), (" ", "host"), ("api.tinybird.co", "host"), ("localhost:7181", "host"), ("https://", "host"),
      ("https:///v0", "host"), ("//api.tinybird.co", "host"), ("https:api.tinybird.co", "host"),
      ("https://a b", "host"),
      ("https://a\\b", "host"), ("https://a\nb", "host"), ("https://a\0b", "host"),
      // Plain HTTP would show the token.
      ("http://api.tinybird.co", "in the clear"), ("HTTP://api.tinybird.co", "in the clear"),
      ("http://localhost.example.com", "in the clear"), ("http://127.0.0.1.example.com", "in the clear"),
      ("http://127.1", "in the clear"), ("http://127.0.0.256", "in the clear"), ("http://127.0.0", "in the clear"),
      ("http://128.0.0.1", "in the clear"), ("http://0.0.0.0", "in the clear"), ("http://10.0.0.1", "in the clear"),
      ("http://[::2]", "in the clear"), ("http://[::ffff:127.0.0.1]", "in the clear"), ("http://[::]", "in the clear"),
      // Octal for a resolver: 87.0.0.1.
      ("http://0127.0.0.1", "in the clear"), ("http://127.0.0.01", "in the clear"),
      ("http://+127.0.0.1", "in the clear"),
      // Other schemes.
      ("ftp://api.tinybird.co", "ftp"), ("ws://localhost", "ws"), ("file://localhost/etc", "file"),
      // A secret, or more than the host.
      ("https://user@api.tinybird.co", "user"), ("https://user:secret@api.tinybird.co", "user"),
      ("https://:secret@api.tinybird.co", "user"), ("https://@api.tinybird.co", "user"),
      ("http://user@localhost", "user"),
      ("https://api.tinybird.co?token=secret", "query"), ("https://api.tinybird.co/?", "query"),
      ("https://api.tinybird.co#secret", "fragment"),
      ("https://api.tinybird.co/v0/events", "path"), ("https://api.tinybird.co//", "path"),
      ("https://api.tinybird.co/%2E", "path"),
      // Ports.
      ("https://localhost:0", "port"), ("https://localhost:65536", "port"), ("https://localhost:99999", "port"),
      ("https://localhost:-1", "host"), ("https://localhost:8a", "host"),
      // No host has these; percent-encoded they would become a path, or another host.
      ("https://example.com%2Fapi.tinybird.co", "host"), ("https://example.com%3Fx", "host"), ("https://a,b", "host"),
      ("https://münchen.example", "xn--"), ("https://[fe80::1%25en0]", "host"),
    ])
  func refuses(text: String, naming part: String) throws {
    let error = try #require(throws: OutboxError.self) { try BaseURL(text) }
    #expect(error.code == .invalidConfiguration)
    #expect(error.message.contains(part), "\(error.message)")
    #expect(!error.message.contains("secret"), "a secret was shown")
  }

  @Test func equalWhenTheyAreTheSamePlace() throws {
    #expect(try BaseURL("https://api.tinybird.co/") == BaseURL("HTTPS://api.tinybird.co"))
    #expect(try BaseURL("https://api.tinybird.co") != BaseURL("https://api.tinybird.co:8443"))
  }
}
