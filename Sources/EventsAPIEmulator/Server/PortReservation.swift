#if os(Linux)
  #if canImport(Glibc)
    internal import Glibc
  #elseif canImport(Musl)
    internal import Musl
  #endif

  /// Keeps a port for the emulator while it does not listen, so that it can listen on the same port again.
  ///
  /// It is a socket that is bound but never listens. As long as it is there, Linux gives the port to nobody who asks for
  /// any free one, nor to an outgoing connection; connecting to it is refused; and the emulator may listen on it, since
  /// both sockets have `SO_REUSEADDR`. Other systems do not allow the second binding; there the port is not kept.
  final class PortReservation: Sendable {
    /// The port that is kept.
    let port: Int
    private let descriptor: CInt

    /// Keeps `port`, or a free one where it is 0; nil where the port cannot be had.
    init?(host: String, port: Int) {
      var hints = addrinfo()
      hints.ai_flags = AI_PASSIVE
      hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
      var addresses: UnsafeMutablePointer<addrinfo>?
      guard getaddrinfo(host, String(port), &hints, &addresses) == 0, let address = addresses?.pointee else {
        return nil
      }
      defer { freeaddrinfo(addresses) }
      descriptor = socket(address.ai_family, address.ai_socktype | CInt(SOCK_CLOEXEC.rawValue), address.ai_protocol)
      guard descriptor >= 0 else { return nil }
      var yes: CInt = 1
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<CInt>.size))
      guard bind(descriptor, address.ai_addr, address.ai_addrlen) == 0, let bound = Self.port(of: descriptor) else {
        close(descriptor)
        return nil
      }
      self.port = bound
    }

    deinit { close(descriptor) }

    private static func port(of descriptor: CInt) -> Int? {
      var storage = sockaddr_storage()
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      let result = withUnsafeMutablePointer(to: &storage) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
      }
      guard result == 0 else { return nil }
      // The port lies at the same place in the addresses of IPv4 and IPv6, in network byte order.
      return withUnsafeBytes(of: &storage) {
        Int(UInt16(bigEndian: $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
      }
    }
  }
#else
  /// Elsewhere a second socket cannot be bound to the port: nothing is kept.
  final class PortReservation: Sendable {
    let port: Int

    init?(host: String, port: Int) { nil }
  }
#endif
