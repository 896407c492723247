internal import ArgumentParser
internal import TinybirdOutbox

/// Where the Events API is, and with which token.
///
/// A token is never an argument: arguments are seen by every user of the machine, and kept in shells' histories.
struct ServiceOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The workspace's host. Default: TINYBIRD_BASE_URL.", valueName: "url"))
  var baseURL: String?

  @Option(
    help: ArgumentHelp(
      """
      A file with the token, or with a line 'data source = token' for each data source; it is read again for each \
      request. Default: the token in TINYBIRD_TOKEN.
      """, valueName: "file"))
  var tokenFile: String?

  func delivery() throws -> DeliveryConfiguration {
    guard let url = baseURL ?? Environment["TINYBIRD_BASE_URL"] else {
      throw Failure(
        .configuration,
        "no base URL: set TINYBIRD_BASE_URL, or give --base-url, for example https://api.us-east.tinybird.co")
    }
    return DeliveryConfiguration(baseURL: try BaseURL(url), tokens: try tokens())
  }

  private func tokens() throws -> any TokenProvider {
    if let tokenFile { return try TokenFile(path: tokenFile) }
    guard let token = Environment["TINYBIRD_TOKEN"] else {
      throw Failure(.configuration, "no token: set TINYBIRD_TOKEN, or name a file with --token-file")
    }
    return StaticToken(try Token(token))
  }
}
