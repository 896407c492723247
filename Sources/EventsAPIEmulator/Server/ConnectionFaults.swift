internal import NIOCore
internal import NIOHTTP2

/// What faults do to the connection beneath a request.
///
/// For each, the request has no answer.
struct ConnectionFaults: Sendable {
  /// Thrown to end the handling of a request whose connection or stream a fault has closed.
  struct Closed: Error {}

  /// The channel of the request: an HTTP/1.1 connection, or a stream of an HTTP/2 connection.
  let channel: any Channel

  /// The HTTP/2 connection, where the request came on one.
  ///
  /// A connection's parent is the socket that listens, which has no parent; a stream's parent is a connection.
  private var http2Connection: (any Channel)? {
    guard let parent = channel.parent, parent.parent != nil else { return nil }
    return parent
  }

  /// `2` or `1.1`.
  var httpVersion: String { http2Connection == nil ? "1.1" : "2" }

  /// Closes the whole connection, with what else runs on it.
  func close() {
    (http2Connection ?? channel).close(promise: nil)
  }

  /// Resets the stream with REFUSED_STREAM; on HTTP/1.1 closes the connection.
  func refuseStream() async throws {
    guard let connection = http2Connection else { return close() }
    let frame = HTTP2Frame(streamID: try await streamID, payload: .rstStream(.refusedStream))
    try await connection.writeAndFlush(frame).get()
  }

  /// Sends GOAWAY with the last stream before this one, then closes; on HTTP/1.1 only closes.
  func goAway() async throws {
    guard let connection = http2Connection else { return close() }
    // Streams of a client have odd numbers; 0 stands for "none was processed".
    let last = HTTP2StreamID(max(0, Int(try await streamID) - 2))
    let payload = HTTP2Frame.FramePayload.goAway(lastStreamID: last, errorCode: .noError, opaqueData: nil)
    try await connection.writeAndFlush(HTTP2Frame(streamID: .rootStream, payload: payload)).get()
    connection.close(promise: nil)
  }

  private var streamID: HTTP2StreamID {
    get async throws { try await channel.getOption(HTTP2StreamChannelOptions.streamID).get() }
  }
}
