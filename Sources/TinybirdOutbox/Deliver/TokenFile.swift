internal import Foundation

/// Tokens from a file: one token, or a line `data source = token` for each data source, `* = token` for all others.
///
/// Lines that start with `#` are comments.
///
/// The file is read for each request, so that a token is rotated by replacing the file.
public struct TokenFile: TokenProvider {
  private let path: String

  /// Names the file.
  ///
  /// Throws where it cannot be read or understood now.
  public init(path: String) throws(OutboxError) {
    self.path = path
    _ = try read()
  }

  /// Reads the file and returns the line for `dataSource`, else that for `*`.
  public func token(for dataSource: DataSourceName) throws -> Token {
    let tokens = try read()
    guard let token = tokens[dataSource.rawValue] ?? tokens["*"] else {
      throw OutboxError(
        .invalidConfiguration,
        "the token file \(path) has no line for the data source \(dataSource); add '\(dataSource) = …' or '* = …'")
    }
    return token
  }

  /// The tokens by data source, `*` for all others.
  package func read() throws(OutboxError) -> [String: Token] {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw OutboxError(.invalidConfiguration, "cannot read the token file \(path); check path and mode")
    }
    guard let text = String(data: data, encoding: .utf8) else {
      throw OutboxError(.invalidConfiguration, "the token file \(path) is not UTF-8 text")
    }
    return try Self.parse(text, path)
  }

  /// The tokens by data source; a file with a lone token gives it to `*`.
  static func parse(_ text: String, _ path: String) throws(OutboxError) -> [String: Token] {
    var tokens: [String: Token] = [:]
    var number = 0
    for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
      number += 1
      let line = line.trimmingWhitespace()
      guard !line.isEmpty, !line.hasPrefix("#") else { continue }
      let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = parts.count == 2 ? String(parts[0].trimmingWhitespace()) : "*"
      guard tokens[name] == nil else {
        throw OutboxError(
          .invalidConfiguration, "line \(number) of the token file \(path) gives '\(name)' a second token")
      }
      do throws(OutboxError) {
        if name != "*" { _ = try DataSourceName(name) }
        tokens[name] = try Token(String(parts[parts.count - 1]))
      } catch {
        throw OutboxError(.invalidConfiguration, "line \(number) of the token file \(path): \(error.message)")
      }
    }
    guard !tokens.isEmpty else {
      throw OutboxError(.invalidConfiguration, "the token file \(path) holds no token")
    }
    return tokens
  }
}
