internal import Foundation

/// Where the Events API is: a regional host such as `https://api.us-east.tinybird.co`.
public struct BaseURL: Sendable, Hashable, CustomStringConvertible {
  private let text: String
  /// In small letters, an IPv6 address without its brackets.
  let host: String
  let port: Int

  /// Takes the URL without a path, as Tinybird shows it for a workspace.
  ///
  /// `http://` is accepted for this machine alone (127.0.0.0/8, `::1`, `localhost`): a token must not travel in the
  /// clear. Throws ``OutboxError/Code/invalidConfiguration``.
  public init(_ text: String) throws(OutboxError) {
    let trimmed = text.trimmingWhitespace()
    guard let parts = URLComponents(string: String(trimmed)), let scheme = parts.scheme?.lowercased(),
      let host = parts.host, !host.isEmpty
    else {
      throw Self.error("it is not a URL with a host")
    }
    guard parts.user == nil, parts.password == nil, parts.query == nil, parts.fragment == nil else {
      throw Self.error("it holds a user, a query or a fragment; a token belongs in TINYBIRD_TOKEN or a token file")
    }
    switch scheme {
    case "https": break
    case "http" where Self.isLoopback(host): break
    case "http":
      throw Self.error("http:// would send the token in the clear to \(host); use https:// (http is for loopback only)")
    default: throw Self.error("the scheme '\(scheme)' is not https")
    }
    guard host.utf8.allSatisfy(Self.isAllowedInHost) else {
      throw Self.error("its host has a character that no host name has; write other scripts as xn--…")
    }
    guard (1...65535).contains(parts.port ?? 443) else {
      throw Self.error("its port is not between 1 and 65,535")
    }
    guard parts.path.isEmpty || parts.path == "/" else {
      throw Self.error("it has a path; give the host alone, the outbox adds /v0/events")
    }
    let bracketed = host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
    self.host = Self.plain(host)
    port = parts.port ?? (scheme == "https" ? 443 : 80)
    self.text = "\(scheme)://\(bracketed)" + (parts.port.map { ":\($0)" } ?? "")
  }

  /// The endpoint for one data source.
  func eventsURL(_ dataSource: DataSourceName) -> String {
    // A name is letters, digits and underscores: nothing to escape.
    "\(text)/v0/events?name=\(dataSource.rawValue)&wait=true"
  }

  /// The URL, without anything secret.
  public var description: String { text }

  /// Whether it is a name or an address of the machine that asks.
  var isThisMachine: Bool { Self.isLoopback(host) }

  private static func plain(_ host: String) -> String { host.lowercased().trimmingCharacters(in: ["[", "]"]) }

  private static func isLoopback(_ host: String) -> Bool {
    let plain = plain(host)
    let numbers = plain.split(separator: ".", omittingEmptySubsequences: false)
    // As it is printed, not only as it can be read: resolvers take `0127` for an octal number, which is another network.
    let isAddress = numbers.count == 4 && numbers.allSatisfy { text in UInt8(text).map { "\($0)" == text } ?? false }
    return plain == "localhost" || plain == "::1" || (isAddress && numbers[0] == "127")
  }

  /// Letters, digits, `.`, `-`, `_`, and `[`, `]` and `:` of an IPv6 address.
  ///
  /// What was percent-encoded is not a host.
  private static func isAllowedInHost(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: ".-_[]:".utf8.contains(byte)
    }
  }

  private static func error(_ why: String) -> OutboxError {
    OutboxError(
      .invalidConfiguration,
      "the base URL cannot be used: \(why). Example: https://api.us-east.tinybird.co (TINYBIRD_BASE_URL)")
  }
}
