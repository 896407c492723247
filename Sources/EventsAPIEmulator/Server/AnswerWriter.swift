internal import HTTPTypes
internal import HummingbirdCore
internal import NIOCore

/// Writes an answer to a connection: whole, or as a fault wants it.
enum AnswerWriter {
  /// How the body is written.
  enum Manner {
    case whole
    /// Half of the body, then what the closure does; where it returns, the rest.
    case interrupted(@Sendable () async throws -> Void)
    /// A byte at a time.
    case slow(pause: Duration)
    /// Blanks, without an end.
    case endless
  }

  /// The blanks of an endless body, at a time.
  private static let endlessPiece = ByteBuffer(repeating: UInt8(ascii: " "), count: 16 * 1024)

  /// Writes the answer.
  ///
  /// Off every actor, as hummingbird's writer is.
  @concurrent
  static func write(
    _ answer: ServiceAnswer, in manner: Manner, to writer: consuming ResponseWriter
  ) async throws {
    var head = HTTPResponse(status: .init(code: answer.status), headerFields: answer.headers)
    let body = ByteBuffer(string: answer.body)
    switch manner {
    case .whole:
      head.headerFields[.contentLength] = String(body.readableBytes)
      try await writer.write(response: head, body: ResponseBody(byteBuffer: body))

    case .interrupted(let interruption):
      head.headerFields[.contentLength] = String(body.readableBytes)
      var rest = body
      let half = rest.readSlice(length: body.readableBytes / 2) ?? ByteBuffer()
      var bodyWriter = try await writer.writeHead(head)
      try await bodyWriter.write(half)
      try await interruption()
      try await bodyWriter.write(rest)
      try await bodyWriter.finish(nil)

    case .slow(let pause):
      head.headerFields[.contentLength] = String(body.readableBytes)
      var bodyWriter = try await writer.writeHead(head)
      for byte in body.readableBytesView {
        try await bodyWriter.write(ByteBuffer(bytes: [byte]))
        // Throws where the connection or the emulator ends, and the answer with it.
        try await Task.sleep(for: pause)
      }
      try await bodyWriter.finish(nil)

    case .endless:
      var bodyWriter = try await writer.writeHead(head)
      while true {
        try Task.checkCancellation()
        try await bodyWriter.write(endlessPiece)
      }
    }
  }
}
