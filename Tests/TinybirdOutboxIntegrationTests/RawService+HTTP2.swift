import NIOCore

/// HTTP/2 by hand: just as many frames as an answer without a body takes, and what no HTTP server can be told to send.
extension ServedConnection {
  typealias StreamID = UInt32

  private enum FrameType {
    static let data: UInt8 = 0
    static let headers: UInt8 = 1
    static let resetStream: UInt8 = 3
    static let settings: UInt8 = 4
    static let ping: UInt8 = 6
    static let goAway: UInt8 = 7
  }

  private static let endStream: UInt8 = 0x1
  private static let acknowledgement: UInt8 = 0x1
  private static let endHeaders: UInt8 = 0x4
  /// `:status: 200`, from HPACK's static table.
  private static let status200: [UInt8] = [0x88]

  /// Reads the client's preface, and sends ours.
  func beginHTTP2() async throws {
    _ = try await read(24)
    try await sendFrame(FrameType.settings, on: 0, [])
  }

  /// The events of the next request that is complete, and its stream.
  ///
  /// Bodies have to be small: nothing is said of the windows.
  func readStream() async throws -> (id: StreamID, rows: [String]) {
    while true {
      var frame = try await readFrame()
      guard frame.type == FrameType.data else { continue }
      inbound.bodies[frame.stream, default: ByteBuffer()].writeBuffer(&frame.payload)
      if frame.flags & Self.endStream != 0, let body = inbound.bodies.removeValue(forKey: frame.stream) {
        return (frame.stream, rows(body))
      }
    }
  }

  /// Returns once the client has taken in everything that was sent.
  func waitUntilSeen() async throws {
    try await sendFrame(FrameType.ping, on: 0, [UInt8](repeating: 0, count: 8))
    while true {
      let frame = try await readFrame()
      if frame.type == FrameType.ping, frame.flags & Self.acknowledgement != 0 { return }
    }
  }

  private func readFrame() async throws -> (type: UInt8, flags: UInt8, stream: StreamID, payload: ByteBuffer) {
    let head = Array(try await read(9).readableBytesView)
    let payload = try await read(head[..<3].reduce(0) { $0 << 8 | Int($1) })
    let (type, flags) = (head[3], head[4])
    if type == FrameType.settings, flags & Self.acknowledgement == 0 {
      try await sendFrame(FrameType.settings, flags: Self.acknowledgement, on: 0, [])
    }
    return (type, flags, head[5...].reduce(0) { $0 << 8 | StreamID($1) }, payload)
  }

  /// Answers requests as the service does, until the client closes the connection.
  func serveStreams() async throws {
    while true {
      let stream = try await readStream()
      store(stream.rows)
      try await answer(stream.id)
    }
  }

  /// 200 with no body.
  func answer(_ stream: StreamID) async throws {
    try await sendFrame(FrameType.headers, flags: Self.endHeaders | Self.endStream, on: stream, Self.status200)
  }

  /// 200 that announces ten bytes, and has none.
  func answerWithoutItsBody(_ stream: StreamID) async throws {
    // A literal under the name 28 of the static table, content-length.
    let length: [UInt8] = [0x0F, 0x0D, 2] + Array("10".utf8)
    try await sendFrame(FrameType.headers, flags: Self.endHeaders | Self.endStream, on: stream, Self.status200 + length)
  }

  /// Ends a stream with INTERNAL_ERROR, which says nothing of the rows.
  func failStream(_ stream: StreamID) async throws {
    try await sendFrame(FrameType.resetStream, on: stream, [0, 0, 0, 2])
  }

  /// Says that no stream after `last` was or will be looked at.
  func goAway(last: StreamID) async throws {
    try await sendFrame(FrameType.goAway, on: 0, Self.bytes(last) + [0, 0, 0, 0])
  }

  private func sendFrame(_ type: UInt8, flags: UInt8 = 0, on stream: StreamID, _ payload: [UInt8]) async throws {
    try await send(Self.bytes(StreamID(payload.count)).suffix(3) + [type, flags] + Self.bytes(stream) + payload)
  }

  private static func bytes(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian, Array.init) }
}
