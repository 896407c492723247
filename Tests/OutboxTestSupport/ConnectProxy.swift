internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// A proxy that knows `CONNECT` alone, and keeps the heads of the requests that it got.
public final class ConnectProxy: Sendable {
  /// Where it listens, on 127.0.0.1.
  public let port: Int
  private let seen = Mutex<[String]>([])
  /// What a request has to hold to be let through.
  private let password: String?

  /// The heads of the requests that came.
  public var heads: [String] { seen.withLock { $0 } }

  private typealias Connection = NIOAsyncChannel<ByteBuffer, ByteBuffer>

  private init(port: Int, password: String?) {
    (self.port, self.password) = (port, password)
  }

  /// Runs one while `body` does; `password` is what stands behind `Basic `.
  public static func withRunning(
    password: String? = nil, _ body: (ConnectProxy) async throws -> Void
  ) async throws {
    let server = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .bind(host: "127.0.0.1", port: 0) { channel in
        channel.eventLoop.makeCompletedFuture { try Connection(wrappingChannelSynchronously: channel) }
      }
    let proxy = ConnectProxy(port: server.channel.localAddress?.port ?? 0, password: password)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await server.executeThenClose { connections in
          try await withThrowingDiscardingTaskGroup { group in
            for try await connection in connections { group.addTask { try? await proxy.serve(connection) } }
          }
        }
      }
      try await body(proxy)
      group.cancelAll()
    }
  }

  private func serve(_ connection: Connection) async throws {
    try await connection.executeThenClose { inbound, outbound in
      var parts = inbound.makeAsyncIterator()
      var head = ""
      while !head.hasSuffix("\r\n\r\n"), let part = try await parts.next() { head += String(buffer: part) }
      seen.withLock { $0.append(head) }
      let words = head.prefix { $0 != "\r\n" }.split(separator: " ")
      let target = words.dropFirst().first?.split(separator: ":") ?? []
      guard words.first == "CONNECT", target.count == 2, let port = Int(target[1]) else { return }
      if let password, !head.contains("Basic \(password)") {
        try await outbound.write(
          ByteBuffer(string: "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
        return
      }
      let service = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        .connect(host: String(target[0]), port: port) { channel in
          channel.eventLoop.makeCompletedFuture { try Connection(wrappingChannelSynchronously: channel) }
        }
      try await outbound.write(ByteBuffer(string: "HTTP/1.1 200 Connection established\r\n\r\n"))
      try await service.executeThenClose { answers, requests in
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            for try await part in answers { try await outbound.write(part) }
            outbound.finish()
          }
          while let part = try await parts.next() { try await requests.write(part) }
          group.cancelAll()
        }
      }
    }
  }
}
