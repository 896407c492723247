/// A Tinybird token with the right to append.
///
/// It shows itself to nobody: `description`, mirrors and dumps are redacted.
public struct Token: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// The secret, for the `Authorization` header alone.
  package let value: String

  /// Takes the text of a token; white space around it is dropped.
  ///
  /// Throws ``OutboxError/Code/invalidConfiguration`` where it is empty or cannot stand in an HTTP header.
  public init(_ text: String) throws(OutboxError) {
    let trimmed = text.trimmingWhitespace()
    guard !trimmed.isEmpty else {
      throw OutboxError(.invalidConfiguration, "the token is empty; set TINYBIRD_TOKEN or name a token file")
    }
    guard trimmed.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw OutboxError(
        .invalidConfiguration, "the token holds white space or a character that no token has; copy it again")
    }
    value = String(trimmed)
  }

  /// `[token]`, whatever the token is.
  public var description: String { "[token]" }
  /// `[token]`, whatever the token is.
  public var debugDescription: String { description }
  /// A mirror that shows nothing.
  public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Gives the token for a data source, each time a batch is sent: so that a token can be rotated while the app runs.
public protocol TokenProvider: Sendable {
  /// Called before every request, and every few seconds while the service's answer holds the lane.
  ///
  /// What it throws makes the lane back off; nothing is lost.
  func token(for dataSource: DataSourceName) async throws -> Token
}

/// One token for every data source.
public struct StaticToken: TokenProvider {
  private let value: Token

  /// Takes the token.
  public init(_ token: Token) { value = token }

  /// The one token.
  public func token(for dataSource: DataSourceName) -> Token { value }
}

extension StringProtocol {
  /// Without spaces, tabs and line ends at either side.
  func trimmingWhitespace() -> SubSequence {
    let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0.isNewline }
    guard let first = firstIndex(where: { !isSpace($0) }), let last = lastIndex(where: { !isSpace($0) }) else {
      return self[endIndex..<endIndex]
    }
    return self[first...last]
  }
}
