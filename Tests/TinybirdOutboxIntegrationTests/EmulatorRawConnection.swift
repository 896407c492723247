import EventsAPIEmulator
import Foundation
import NIOCore
import NIOPosix

/// A connection on which a test writes and reads bytes itself.
struct RawConnection {
  private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
  private let inbound: Inbound

  /// Reads what comes, piece by piece.
  private final class Inbound {
    var iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    var received = ""

    init(_ stream: NIOAsyncChannelInboundStream<ByteBuffer>) { iterator = stream.makeAsyncIterator() }
  }

  /// Connects to an emulator, and closes the connection after `body`.
  static func with(_ emulator: EventsAPIEmulator, _ body: (RawConnection) async throws -> Void) async throws {
    let url = try await emulator.baseURL
    let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .connect(host: url.host() ?? "", port: url.port ?? 0) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    try await channel.executeThenClose { inbound, outbound in
      try await body(RawConnection(outbound: outbound, inbound: Inbound(inbound)))
    }
  }

  func send(_ text: String) async throws {
    try await outbound.write(ByteBuffer(string: text))
  }

  /// What comes up to and with `end`; what follows is kept for the next call.
  func receive(until end: String) async throws -> String {
    while true {
      if let range = inbound.received.firstRange(of: end) {
        let text = inbound.received[..<range.upperBound]
        inbound.received.removeSubrange(..<range.upperBound)
        return String(text)
      }
      guard let piece = try await inbound.iterator.next(isolation: #isolation) else { return inbound.received }
      inbound.received += String(buffer: piece)
    }
  }
}
