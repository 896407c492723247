internal import Foundation

/// A proxy that requests go through: by `CONNECT`, so that TLS, and the token inside it, end at the service and not there.
public struct HTTPProxy: Sendable, Equatable, CustomStringConvertible {
  let host: String
  let port: Int
  /// What the proxy is to be told; never shown.
  let credentials: Credentials?

  struct Credentials: Sendable, Equatable {
    var user: String
    var password: String
  }

  /// Takes `http://host:port`, or `host:port`; `http://user:password@host:port` where the proxy asks for that.
  ///
  /// Without a port it is 80. Throws ``OutboxError/Code/invalidConfiguration``, whose message does not quote the URL: it
  /// may hold a password.
  public init(_ text: String) throws(OutboxError) {
    try self.init(text, from: "the proxy")
  }

  fileprivate init(_ text: String, from source: String) throws(OutboxError) {
    let trimmed = String(text.trimmingWhitespace())
    let url = trimmed.contains("://") ? trimmed : "http://" + trimmed
    guard let parts = URLComponents(string: url), let host = parts.host, !host.isEmpty else {
      throw Self.error(source, "it is not a URL with a host")
    }
    guard parts.scheme?.lowercased() == "http" else {
      throw Self.error(source, "its scheme is not http; TLS to the service goes through it all the same")
    }
    guard parts.path.isEmpty || parts.path == "/", parts.query == nil, parts.fragment == nil else {
      throw Self.error(source, "it has a path, a query or a fragment")
    }
    guard (1...65535).contains(parts.port ?? 80) else {
      throw Self.error(source, "its port is not between 1 and 65,535")
    }
    self.host = host.trimmingCharacters(in: ["[", "]"])
    port = parts.port ?? 80
    credentials = parts.user.map { Credentials(user: $0, password: parts.password ?? "") }
  }

  /// Host and port, without a password.
  public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

  private static func error(_ source: String, _ why: String) -> OutboxError {
    OutboxError(
      .invalidConfiguration, "\(source) cannot be used: \(why). Example: http://proxy.example.com:3128")
  }
}

extension HTTPProxy {
  /// Which proxy, if any, requests go through.
  public enum Choice: Sendable, Equatable {
    /// What `HTTPS_PROXY` names, or `https_proxy`, unless the host is one of `NO_PROXY` (or `no_proxy`).
    ///
    /// `NO_PROXY` is a list of names, separated by commas: `example.com` is that host and all below it, `.example.com`
    /// those below it alone, `10.0.0.7` an address, `host:8443` one port, `*` every host. This machine is never reached by
    /// way of a proxy.
    case environment
    /// None, whatever the environment says.
    case direct
    /// This one, for every host.
    case through(HTTPProxy)

    /// The proxy on the way to a host; nil is none.
    func proxy(to baseURL: BaseURL, environment: [String: String]) throws(OutboxError) -> HTTPProxy? {
      switch self {
      case .direct: return nil
      case .through(let proxy): return proxy
      case .environment:
        guard let name = ["HTTPS_PROXY", "https_proxy"].first(where: { environment[$0]?.isEmpty == false }),
          let text = environment[name], !baseURL.isThisMachine
        else { return nil }
        let exceptions = environment["NO_PROXY"] ?? environment["no_proxy"] ?? ""
        guard !exceptions.split(separator: ",").contains(where: { Self.matches($0.trimmingWhitespace(), baseURL) })
        else { return nil }
        return try HTTPProxy(text, from: "the proxy of \(name)")
      }
    }

    private static func matches(_ exception: some StringProtocol, _ baseURL: BaseURL) -> Bool {
      var name = exception.lowercased()
      if name == "*" { return true }
      // A colon of its own is that of a port; an IPv6 address has several.
      if name.hasPrefix("["), let end = name.firstIndex(of: "]") {
        let rest = name[name.index(after: end)...]
        guard rest.isEmpty || rest == ":\(baseURL.port)" else { return false }
        name = String(name[name.index(after: name.startIndex)..<end])
      } else if name.count(where: { $0 == ":" }) == 1, let colon = name.firstIndex(of: ":") {
        guard name[name.index(after: colon)...] == "\(baseURL.port)" else { return false }
        name = String(name[..<colon])
      }
      guard !name.isEmpty else { return false }
      return baseURL.host == name || baseURL.host.hasSuffix(name.hasPrefix(".") ? name : "." + name)
    }
  }
}
