internal import HummingbirdCore
internal import NIOCore

/// The body of a request, as it came and decompressed.
struct RequestContent {
  /// Why there is no decompressed body.
  enum Problem: Error, Equatable {
    case tooLarge(limit: Int)
    case invalidGzip
  }

  /// How many bytes came.
  let byteCount: Int
  /// The bytes that the limits count.
  let countedByteCount: Int
  /// What the service reads, or why it cannot.
  let result: Result<ByteBuffer, Problem>

  /// The decompressed body, where there is one.
  var decompressed: ByteBuffer? { try? result.get() }

  /// The decompressed body as text, where there is one.
  var text: String? { decompressed.map { String(buffer: $0) } }

  /// Reads the body to its end, also where it is too large: a client must be able to send it before it reads the answer.
  init(
    _ request: Request, _ head: EventsRequestHead, limits: EventsAPIEmulator.Limits, facts: EventsAPIEmulator.OpenFacts
  ) async throws {
    var received = ByteBuffer()
    received.reserveCapacity(min(head.contentLength ?? 0, limits.requestBytes))
    var byteCount = 0
    for try await piece in request.body {
      byteCount += piece.readableBytes
      if byteCount <= limits.requestBytes { received.writeImmutableBuffer(piece) }
    }
    // A body that the client or a fault cuts short throws, but the end of the task looks like the end of the body.
    try Task.checkCancellation()
    self.byteCount = byteCount
    guard byteCount <= limits.requestBytes else {
      countedByteCount = byteCount
      result = .failure(.tooLarge(limit: limits.requestBytes))
      return
    }
    let limit = facts.countedBytes == .decompressed ? limits.requestBytes : limits.decompressedBytes
    result = Self.decompress(received, isGzip: head.isGzip, limit: limit)
    countedByteCount =
      facts.countedBytes == .decompressed ? (try? result.get().readableBytes) ?? byteCount : byteCount
  }

  private static func decompress(_ body: ByteBuffer, isGzip: Bool, limit: Int) -> Result<ByteBuffer, Problem> {
    guard isGzip else { return .success(body) }
    do throws(GzipBody.Fault) {
      return .success(try GzipBody.inflate(body, limit: limit))
    } catch {
      switch error {
      case .tooLarge: return .failure(.tooLarge(limit: limit))
      case .invalid: return .failure(.invalidGzip)
      }
    }
  }
}
