import Testing

@testable import TinybirdOutbox

/// Which proxy stands on the way to a host.
@Suite struct HTTPProxyTests {
  private func chosen(
    _ environment: [String: String], to baseURL: String = "https://api.us-east.tinybird.co"
  ) throws -> String? {
    try HTTPProxy.Choice.environment.proxy(to: BaseURL(baseURL), environment: environment)?.description
  }

  @Test(
    arguments: [
      ("http://proxy:3128", "proxy:3128"), ("proxy:3128", "proxy:3128"), ("http://proxy", "proxy:80"),
      ("http://user:secret@proxy:3128/", "proxy:3128"), (" HTTP://10.0.0.1:8080 ", "10.0.0.1:8080"),
      ("http://[fd00::1]:3128", "[fd00::1]:3128"),
    ])
  func isRead(text: String, shown: String) throws {
    let proxy = try HTTPProxy(text)
    #expect(proxy.description == shown)
    #expect("\(proxy)".contains("secret") == false)
    #expect(try chosen(["HTTPS_PROXY": text]) == shown)
    #expect(try chosen(["https_proxy": text]) == shown)
  }

  @Test(
    arguments: [
      "", "http://", "https://proxy:3128", "socks5://proxy:1080", "http://proxy:0", "http://proxy:99999",
      "http://proxy/path", "http://proxy?q", "http://user:secret@", "http://pro xy",
    ])
  func isRefusedWithoutBeingQuoted(text: String) throws {
    let error = #expect(throws: OutboxError.self) { try HTTPProxy(text) }
    #expect(error?.code == .invalidConfiguration)
    #expect(error.map { "\($0)".contains("secret") } == false)
    if !text.isEmpty {
      let named = #expect(throws: OutboxError.self) { try chosen(["https_proxy": text]) }
      #expect(named?.message.contains("https_proxy") == true)
    }
  }

  /// What `NO_PROXY` says, and whether `https://api.us-east.tinybird.co` is reached through the proxy.
  @Test(
    arguments: [
      ("", true), ("*", false), ("api.us-east.tinybird.co", false), ("tinybird.co", false), ("TINYBIRD.CO", false),
      (".tinybird.co", false), (".api.us-east.tinybird.co", true), ("bird.co", true), ("co", false),
      ("example.com", true), ("example.com, tinybird.co", false), ("tinybird.co:443", false),
      ("tinybird.co:8443", true),
      (",", true), (" ", true), (":443", true),
    ])
  func exceptions(list: String, isProxied: Bool) throws {
    #expect((try chosen(["HTTPS_PROXY": "proxy:1", "NO_PROXY": list]) != nil) == isProxied)
    #expect((try chosen(["HTTPS_PROXY": "proxy:1", "no_proxy": list]) != nil) == isProxied)
  }

  @Test(
    arguments: [
      ("10.0.0.7", "https://10.0.0.7", false), ("10.0.0.7", "https://10.0.0.8", true),
      ("fd00::1", "https://[fd00::1]:8443", false), ("[fd00::1]:8443", "https://[fd00::1]:8443", false),
      ("[fd00::1]:443", "https://[fd00::1]:8443", true), ("host:8443", "https://host:8443", false),
      // This machine, whatever is asked for.
      ("", "http://127.0.0.1:8123", false), ("", "https://localhost", false), ("", "https://[::1]:1", false),
    ])
  func hosts(list: String, baseURL: String, isProxied: Bool) throws {
    #expect((try chosen(["HTTPS_PROXY": "proxy:1", "NO_PROXY": list], to: baseURL) != nil) == isProxied)
  }

  @Test func theApplicationHasTheLastWord() throws {
    let url = try BaseURL("https://localhost")
    let (own, environment) = (try HTTPProxy("own:1"), ["HTTPS_PROXY": "other:1"])
    #expect(try HTTPProxy.Choice.direct.proxy(to: BaseURL("https://a.example"), environment: environment) == nil)
    #expect(try HTTPProxy.Choice.through(own).proxy(to: url, environment: environment) == own)
  }

  @Test func withoutAVariableThereIsNone() throws {
    #expect(try chosen([:]) == nil)
    #expect(try chosen(["HTTPS_PROXY": "", "https_proxy": ""]) == nil)
    #expect(try chosen(["HTTP_PROXY": "proxy:1"]) == nil)
  }
}
