internal import HTTPTypes
internal import HummingbirdCore

/// What the head of a request for `/v0/events` says.
struct EventsRequestHead {
  /// The item `name` of the query; nil where it is missing or empty.
  let dataSource: String?
  /// The bearer token, else the item `token` of the query.
  let token: String?
  /// Whether the query has `wait=true`.
  let waits: Bool
  /// Whether the body is compressed with gzip.
  ///
  /// Any other encoding is read as it comes, and fails as NDJSON.
  let isGzip: Bool
  /// What `Content-Length` promises.
  let contentLength: Int?
  /// Whether the client waits for a `100 Continue` before it sends the body.
  let expectsContinue: Bool

  init(_ request: Request) {
    let query = request.uri.queryParameters
    dataSource = query["name"].flatMap { $0.isEmpty ? nil : String($0) }
    waits = query["wait"] == "true"
    token =
      Self.bearerToken(request.headers[.authorization]) ?? query["token"].flatMap { $0.isEmpty ? nil : String($0) }
    isGzip = request.headers[.contentEncoding]?.lowercased() == "gzip"
    contentLength = request.headers[.contentLength].flatMap { Int($0) }
    expectsContinue = request.headers[.expect]?.lowercased() == "100-continue"
  }

  private static func bearerToken(_ field: String?) -> String? {
    guard let field, field.prefix(7).lowercased() == "bearer " else { return nil }
    let token = field.dropFirst(7).drop { $0 == " " }
    return token.isEmpty ? nil : String(token)
  }
}
