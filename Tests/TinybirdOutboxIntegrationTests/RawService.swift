import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import OutboxTestSupport
import Synchronization

/// A service of which a test writes every byte, and that counts what came: for faults that no HTTP server can be told to
/// have.
final class RawService: Sendable {
  /// What has come so far.
  struct Seen: Sendable {
    /// Connections that were accepted.
    var connections = 0
    /// Connections whose script has ended.
    var ended = 0
    /// What scripts have told of with `step`.
    var steps = 0
    /// The heads of HTTP/1.1 requests.
    var heads: [String] = []
    /// Rows that the script stored, duplicates included.
    var rows: [String] = []
  }

  typealias Script = @Sendable (ServedConnection) async throws -> Void
  fileprivate typealias Channel = NIOAsyncChannel<ByteBuffer, ByteBuffer>

  private let channel: any NIOCore.Channel
  fileprivate let watch = Watch(Seen())

  var port: Int { channel.localAddress?.port ?? 0 }
  var seen: Seen { watch.value }

  private init(_ channel: any NIOCore.Channel) { self.channel = channel }

  /// Waits until what has come is as wanted.
  func wait(until isMet: @escaping @Sendable (Seen) -> Bool) async throws {
    let isCancelled = Atomic(false)
    await withTaskCancellationHandler {
      await watch.wait { isMet($0) || isCancelled.load(ordering: .relaxed) }
    } onCancel: {
      isCancelled.store(true, ordering: .relaxed)
      watch.update { _ in }
    }
    try Task.checkCancellation()
  }

  /// Begins to accept connections, where it was made not to.
  func accept() async throws { try await channel.setOption(.autoRead, value: true).get() }

  /// Runs one on loopback while `body` does; a connection is closed when its script ends.
  ///
  /// - Parameters:
  ///   - tls: With it, the script's bytes are encrypted.
  ///   - clear: Of so many connections in the beginning they are not: a script breaks the handshake there.
  ///   - accepts: One that does not accept has room for a single connection in the kernel's queue: further ones are not
  ///     made.
  static func withRunning(
    tls: TLSConfiguration? = nil, clear: Int = 0, accepts: Bool = true, script: @escaping Script,
    _ body: (RawService) async throws -> Void
  ) async throws {
    let count = Atomic(0)
    let context = try tls.map { try NIOSSLContext(configuration: $0) }
    let server = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .serverChannelOption(.backlog, value: accepts ? 256 as Int32 : 0 as Int32)
      .serverChannelOption(.autoRead, value: accepts)
      .bind(host: "127.0.0.1", port: 0) { channel in
        channel.eventLoop.makeCompletedFuture {
          let number = count.add(1, ordering: .relaxed).newValue
          if let context, number > clear {
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
          }
          return try Channel(wrappingChannelSynchronously: channel)
        }
      }
    let service = RawService(server.channel)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await server.executeThenClose { connections in
          try await withThrowingDiscardingTaskGroup { group in
            for try await connection in connections {
              service.watch.update { $0.connections += 1 }
              let number = service.seen.connections
              group.addTask { try? await service.serve(connection, number, script) }
            }
          }
        }
      }
      try await body(service)
      // A script may wait for its client for ever.
      group.cancelAll()
    }
  }

  private func serve(_ channel: Channel, _ number: Int, _ script: Script) async throws {
    defer { watch.update { $0.ended += 1 } }
    try await channel.executeThenClose { inbound, outbound in
      try await script(
        ServedConnection(
          number: number, service: self, channel: channel.channel, outbound: outbound,
          inbound: ServedConnection.Inbound(inbound)))
    }
  }
}

/// One connection to a ``RawService``.
struct ServedConnection {
  /// From 1, in the order in which they were accepted.
  let number: Int
  fileprivate let service: RawService
  fileprivate let channel: any NIOCore.Channel
  fileprivate let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
  let inbound: Inbound

  /// Thrown where the client has closed the connection.
  struct Closed: Error {}

  final class Inbound {
    var iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    var received = ByteBuffer()
    /// What has come of the bodies of HTTP/2 streams.
    var bodies: [UInt32: ByteBuffer] = [:]

    init(_ stream: NIOAsyncChannelInboundStream<ByteBuffer>) { iterator = stream.makeAsyncIterator() }

    func more() async throws {
      guard var piece = try await iterator.next(isolation: #isolation) else { throw Closed() }
      received.writeBuffer(&piece)
    }
  }

  // MARK: Bytes

  /// The next so many bytes.
  func read(_ count: Int) async throws -> ByteBuffer {
    while inbound.received.readableBytes < count { try await inbound.more() }
    return inbound.received.readSlice(length: count) ?? ByteBuffer()
  }

  /// Reads, and drops, whatever comes until the client closes the connection.
  func readToTheEnd() async throws {
    while true {
      inbound.received.clear()
      try await inbound.more()
    }
  }

  func send(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }

  func send(_ bytes: [UInt8]) async throws { try await outbound.write(ByteBuffer(bytes: bytes)) }

  /// Tells the test how far the script is.
  func step() { service.watch.update { $0.steps += 1 } }

  /// Closes our side, and lets the client close its own.
  func closeOutput() async throws { try await channel.close(mode: .output) }

  /// Ends the connection with RST, as a crashed host or a middlebox does.
  func reset() async throws {
    let options = channel as? any SocketOptionProvider
    try await options?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
    try await channel.close()
  }

  // MARK: HTTP/1.1

  /// The head of the next request.
  func readHead() async throws -> String {
    let end = Array("\r\n\r\n".utf8)
    while true {
      if let range = inbound.received.readableBytesView.firstRange(of: end) {
        let count = range.upperBound - inbound.received.readerIndex
        let head = String(buffer: try await read(count))
        service.watch.update { $0.heads.append(head) }
        return head
      }
      try await inbound.more()
    }
  }

  /// The body that a head announces: its events.
  func readBody(_ head: String) async throws -> [String] {
    let length = head.firstMatch(of: /(?i)content-length: (\d+)/).flatMap { Int($0.1) }
    return rows(try await read(length ?? 0))
  }

  /// The events of the next request.
  func readRequest() async throws -> [String] { try await readBody(readHead()) }

  func rows(_ body: ByteBuffer) -> [String] { String(buffer: body).split(separator: "\n").map(String.init) }

  func store(_ rows: [String]) { service.watch.update { $0.rows += rows } }

  /// Answers requests as the service does, until the client closes the connection.
  func serve() async throws {
    while true {
      let rows = try await readRequest()
      store(rows)
      try await send(Self.answer(rows.count))
    }
  }

  /// The body of a 200.
  static func counts(_ rows: Int) -> String { #"{"successful_rows":\#(rows),"quarantined_rows":0}"# }

  /// A 200 as it should be.
  static func answer(_ rows: Int) -> String { answer(length: counts(rows).utf8.count, counts(rows)) }

  /// Bytes of the body for up to nine rows.
  static let length = counts(1).utf8.count

  /// A 200 whose `Content-Length` says `length`.
  static func answer(length: Int, _ body: String) -> String {
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(length)\r\n\r\n\(body)"
  }
}
