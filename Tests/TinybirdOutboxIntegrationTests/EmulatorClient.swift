import AsyncHTTPClient
import COutboxZlib
import EventsAPIEmulator
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL

/// What a test sees of an answer of the emulator.
struct EmulatorAnswer {
  var status: Int
  var headers: HTTPHeaders
  var body: String
  var httpVersion: HTTPVersion

  func header(_ name: String) -> String? { headers.first(name: name) }
}

/// Sends requests to an emulator as any client would.
struct EmulatorClient {
  let client: HTTPClient
  let baseURL: String

  /// Lives as long as the tests do.
  ///
  /// Redirects are not followed, and a refused connection is not tried again.
  private static let plain: HTTPClient = {
    var configuration = HTTPClient.Configuration()
    configuration.redirectConfiguration = .disallow
    configuration.connectionPool.retryConnectionEstablishment = false
    return HTTPClient(configuration: configuration)
  }()

  /// A client for an emulator without TLS.
  init(_ emulator: EventsAPIEmulator) async throws {
    client = Self.plain
    baseURL = try await emulator.baseURL.absoluteString
  }

  /// Runs `body` with a client of its own, which has no connections yet.
  ///
  /// After a restart a client may still think that an old connection is open: its next request then fails.
  static func withNewClient<Result>(
    _ emulator: EventsAPIEmulator, _ body: (EmulatorClient) async throws -> Result
  ) async throws -> Result {
    try await with(HTTPClient.Configuration(), emulator, body)
  }

  /// Runs `body` with a client of its own that trusts the emulator's certificate.
  static func withTLS<Result>(
    _ emulator: EventsAPIEmulator, httpVersion: HTTPClient.Configuration.HTTPVersion = .automatic,
    _ body: (EmulatorClient) async throws -> Result
  ) async throws -> Result {
    let pem = Array((emulator.certificatePEM ?? "").utf8)
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(pem))
    var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
    configuration.httpVersion = httpVersion
    return try await with(configuration, emulator, body)
  }

  private static func with<Result>(
    _ configuration: HTTPClient.Configuration, _ emulator: EventsAPIEmulator,
    _ body: (EmulatorClient) async throws -> Result
  ) async throws -> Result {
    var configuration = configuration
    configuration.connectionPool.retryConnectionEstablishment = false
    let client = HTTPClient(configuration: configuration)
    do {
      let baseURL = try await emulator.baseURL.absoluteString
      let result = try await body(EmulatorClient(client: client, baseURL: baseURL))
      try await client.shutdown()
      return result
    } catch {
      try await client.shutdown()
      throw error
    }
  }

  private init(client: HTTPClient, baseURL: String) {
    self.client = client
    self.baseURL = baseURL
  }

  /// Posts a body to `/v0/events?<query>`.
  func post(
    _ body: String, query: String = "name=clicks&wait=true", token: String? = "good", headers: [String: String] = [:],
    deadline: Duration = .seconds(20)
  ) async throws -> EmulatorAnswer {
    try await post(bytes: ByteBuffer(string: body), query: query, token: token, headers: headers, deadline: deadline)
  }

  /// Posts bytes to `/v0/events?<query>`.
  func post(
    bytes: ByteBuffer, query: String = "name=clicks&wait=true", token: String? = "good",
    headers: [String: String] = [:], deadline: Duration = .seconds(20)
  ) async throws -> EmulatorAnswer {
    let request = eventsRequest(bytes, query: query, token: token, headers: headers)
    return try await send(request, deadline: deadline)
  }

  /// Posts a body, and gives the answer's body to be read piece by piece.
  func answerBody(_ body: String) async throws -> HTTPClientResponse.Body {
    let request = eventsRequest(ByteBuffer(string: body), query: "name=clicks&wait=true", token: "good", headers: [:])
    return try await client.execute(request, deadline: .now() + .seconds(20)).body
  }

  private func eventsRequest(
    _ body: ByteBuffer, query: String, token: String?, headers: [String: String]
  ) -> HTTPClientRequest {
    var request = HTTPClientRequest(url: "\(baseURL)/v0/events?\(query)")
    request.method = .POST
    request.body = .bytes(body)
    if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
    for (name, value) in headers { request.headers.add(name: name, value: value) }
    return request
  }

  /// Posts a body compressed with gzip.
  func postGzip(_ body: String, query: String = "name=clicks&wait=true") async throws -> EmulatorAnswer {
    try await post(bytes: gzip(body), query: query, headers: ["Content-Encoding": "gzip"])
  }

  /// Sends any request to a path.
  func send(_ method: HTTPMethod, _ path: String) async throws -> EmulatorAnswer {
    var request = HTTPClientRequest(url: baseURL + path)
    request.method = method
    return try await send(request, deadline: .seconds(20))
  }

  private func send(_ request: HTTPClientRequest, deadline: Duration) async throws -> EmulatorAnswer {
    let response = try await client.execute(request, deadline: .now() + TimeAmount(deadline))
    let body = try await response.body.collect(upTo: 1_000_000)
    return EmulatorAnswer(
      status: Int(response.status.code), headers: response.headers, body: String(buffer: body),
      httpVersion: response.version)
  }
}

/// Compresses a text into one gzip member.
func gzip(_ text: String) -> ByteBuffer {
  var stream = z_stream()
  outbox_zlib_deflate_init(&stream, Z_DEFAULT_COMPRESSION, 31)
  defer { deflateEnd(&stream) }
  var input = Array(text.utf8)
  var output = [UInt8](repeating: 0, count: input.count + 1024)
  let count = input.withUnsafeMutableBufferPointer { input in
    output.withUnsafeMutableBufferPointer { output in
      stream.next_in = input.baseAddress
      stream.avail_in = UInt32(input.count)
      stream.next_out = output.baseAddress
      stream.avail_out = UInt32(output.count)
      deflate(&stream, Z_FINISH)
      return output.count - Int(stream.avail_out)
    }
  }
  return ByteBuffer(bytes: output.prefix(count))
}
