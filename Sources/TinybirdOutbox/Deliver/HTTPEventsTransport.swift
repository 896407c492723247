internal import AsyncHTTPClient
internal import Foundation
internal import NIOCore
internal import NIOHTTP1
internal import NIOHTTP2
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// The Events API over HTTP/1.1 or HTTP/2, by async-http-client.
///
/// Redirects are off (a token must not travel), and so are the client's own retries: whether to send again is decided by
/// the verdict table, which knows whether rows may be there.
final class HTTPEventsTransport: EventsTransport {
  /// What is read of an answer: 64 KiB.
  ///
  /// Answers of the Events API have a few hundred bytes.
  static let maximumBodyBytes = 64 << 10

  /// How long connections may take to close: nothing is under way on them any more.
  private static let maximumClosing = Duration.seconds(1)

  private let client: HTTPClient
  private let baseURL: BaseURL
  private let requestTimeout: Duration

  /// `concurrentRequests` connections at most are used to an HTTP/1.1 host.
  init(baseURL: BaseURL, settings: HTTPSettings, concurrentRequests: Int) throws(OutboxError) {
    self.baseURL = baseURL
    requestTimeout = settings.requestTimeout
    var configuration = HTTPClient.Configuration()
    configuration.redirectConfiguration = .disallow
    // The client library lets later requests wait for a connection that is being made, also when the one for which it is
    // made has been given up.
    configuration.timeout = .init(
      connect: TimeAmount(min(settings.connectTimeout, settings.requestTimeout)),
      read: TimeAmount(settings.readTimeout))
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = concurrentRequests
    configuration.decompression = .disabled
    if let proxy = try settings.proxy.proxy(to: baseURL, environment: ProcessInfo.processInfo.environment) {
      configuration.proxy = .server(
        host: proxy.host, port: proxy.port,
        authorization: proxy.credentials.map { .basic(username: $0.user, password: $0.password) })
    }
    if let path = settings.trustedCertificatesPath {
      var tls = TLSConfiguration.makeClientConfiguration()
      do {
        tls.additionalTrustRoots = [.certificates(try NIOSSLCertificate.fromPEMFile(path))]
      } catch {
        throw OutboxError(
          .invalidConfiguration, "cannot read certificates in PEM form from \(path); check the path", cause: error)
      }
      configuration.tlsConfiguration = tls
    }
    client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  /// Closes all connections; one that does not close within a second is left to close by itself.
  ///
  /// Nothing may be sent afterwards.
  func shutdown() async {
    let (isClosed, signal) = AsyncStream.makeStream(of: Void.self)
    // The client library waits for connections that are still being made, and for those that the service gave up by
    // GOAWAY and did not close, which may take for ever. What it throws is a request that is still under way, and the
    // engine has ended them all. In tasks of their own, which a cancellation of this one does not reach.
    Task { [client] in
      try? await client.shutdown()
      signal.finish()
    }
    let timer = Task {
      // Throws where it is cancelled below, when nobody waits for it any more.
      try? await Task.sleep(for: Self.maximumClosing)
      signal.finish()
    }
    await Task { for await _ in isClosed {} }.value
    timer.cancel()
  }

  func send(_ request: EventsRequest) async -> Outcome {
    let progress = RequestProgress()
    return await withTaskGroup(of: Outcome?.self) { group in
      group.addTask { await self.exchange(request, progress) }
      group.addTask { [requestTimeout] in
        // It throws where it is cancelled alone: then the exchange has ended, and nobody looks at this.
        try? await Task.sleep(for: requestTimeout)
        return nil
      }
      let first = await group.next() ?? nil
      group.cancelAll()
      if Task.isCancelled, first?.isAnswer != true { return .noAnswer(.cancelled) }
      return first ?? .noAnswer(progress.hasBegun ? .unknown(.timeout) : .notSent(.timeout))
    }
  }

  private func exchange(_ request: EventsRequest, _ progress: RequestProgress) async -> Outcome {
    var http = HTTPClientRequest(url: baseURL.eventsURL(request.dataSource))
    http.method = .POST
    http.headers.add(name: "Authorization", value: "Bearer \(request.token.value)")
    http.headers.add(name: "Content-Type", value: "application/x-ndjson")
    http.headers.add(name: "User-Agent", value: "tinybird-outbox")
    if request.isGzip { http.headers.add(name: "Content-Encoding", value: "gzip") }
    http.body = .stream(
      TrackedBody(body: request.body, progress: progress), length: .known(Int64(request.body.readableBytes)))
    do {
      let response = try await client.execute(http, deadline: .distantFuture)
      return .answered(await read(response))
    } catch {
      // The client library says "cancelled" for a connection that died in its pool too.
      if Task.isCancelled { return .noAnswer(.cancelled) }
      return .noAnswer(TransportFaults.classify(error, hasBegun: progress.hasBegun))
    }
  }

  private func read(_ response: HTTPClientResponse) async -> Outcome.Answer {
    var body: [UInt8] = []
    var isWhole = true
    do {
      for try await part in response.body {
        body += part.readableBytesView.prefix(Self.maximumBodyBytes - body.count)
        if body.count >= Self.maximumBodyBytes { break }
      }
    } catch {
      isWhole = false
    }
    let reset = response.headers.first(name: "X-RateLimit-Reset")
    // Every answer carries it; only with 429 does it ask for a pause.
    let isLimited = response.status == .tooManyRequests
    return Outcome.Answer(
      status: Int(response.status.code), body: body, isBodyWhole: isWhole,
      retryAfter: RetryAfter.parse(
        retryAfter: response.headers.first(name: "Retry-After"), rateLimitReset: isLimited ? reset : nil, now: .now),
      rateLimitLeft: RetryAfter.limitLeft(
        remaining: response.headers.first(name: "X-RateLimit-Remaining"), reset: reset))
  }
}

extension Outcome {
  fileprivate var isAnswer: Bool {
    if case .answered = self { true } else { false }
  }
}

/// Whether any byte of the events was handed to the connection.
private final class RequestProgress: Sendable {
  private let begun = Mutex(false)
  var hasBegun: Bool { begun.withLock { $0 } }
  func begin() { begun.withLock { $0 = true } }
}

/// A body that notes when the connection first asks for it: before that, no event can have arrived.
private struct TrackedBody: AsyncSequence, Sendable {
  let body: ByteBuffer
  let progress: RequestProgress

  struct Iterator: AsyncIteratorProtocol {
    var body: ByteBuffer?
    let progress: RequestProgress

    mutating func next() async -> ByteBuffer? {
      progress.begin()
      defer { body = nil }
      return body
    }
  }

  func makeAsyncIterator() -> Iterator { Iterator(body: body, progress: progress) }
}

/// Names the faults of the client library.
enum TransportFaults {
  static func classify(_ error: any Error, hasBegun: Bool) -> Outcome.NoAnswer {
    if let stream = error as? NIOHTTP2Errors.StreamClosed, stream.errorCode == .refusedStream { return .notProcessed }
    let fault = fault(error)
    return hasBegun ? .unknown(fault) : .notSent(fault)
  }

  private static func fault(_ error: any Error) -> TransportFault {
    switch error {
    case let error as HTTPClientError: fault(error)
    case let error as NIOConnectionError:
      error.connectionErrors.isEmpty && (error.dnsAError != nil || error.dnsAAAAError != nil)
        ? .nameResolution : .connectionRefused
    case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError: .tls
    case let error as IOError: error.errnoCode == ECONNREFUSED ? .connectionRefused : .connectionClosed
    case is ChannelError: .connectionClosed
    case is HTTPParserError: .invalidAnswer
    default: .other
    }
  }

  private static func fault(_ error: HTTPClientError) -> TransportFault {
    switch error {
    case .connectTimeout, .getConnectionFromPoolTimeout: .connectTimeout
    case .tlsHandshakeTimeout, .serverOfferedUnsupportedApplicationProtocol("h2"): .tls
    case .readTimeout, .writeTimeout, .deadlineExceeded: .timeout
    case .remoteConnectionClosed, .uncleanShutdown, .cancelled: .connectionClosed
    case .proxyAuthenticationRequired, .invalidProxyResponse, .httpProxyHandshakeTimeout: .proxy
    default: .other
    }
  }
}

extension TimeAmount {
  fileprivate init(_ duration: Duration) {
    self = .milliseconds(duration.wholeMilliseconds)
  }
}
