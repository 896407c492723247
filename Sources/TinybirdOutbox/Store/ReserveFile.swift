#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// Blocks of the disk that are held back in a file beside the outbox, so that on a full disk everything but an append
/// still succeeds: what is settled or pruned has to be written too.
///
/// - no file: nothing was appended yet. The first append makes it.
/// - whole: appends are taken.
/// - broken into, which the empty file `-full` beside it says: the disk was found full, and a part of the blocks was given to
///   SQLite. Appends are refused until the reserve could be filled again, so that they cannot eat what settling needs.
///   Only a part at a time, because another program may take what is given free.
///
/// Every process looks at the file itself, so that all are in the same state. A crash leaves one of them.
struct ReserveFile: Sendable {
  private let file: OutboxFile
  private let limits: SpaceLimits

  init(_ file: OutboxFile, limits: SpaceLimits) {
    self.file = file
    self.limits = limits
  }

  /// The disk was found full, and there has been no room since.
  ///
  /// Not told by the size: processes with other budgets hold back other amounts.
  var isBrokenInto: Bool { file.size(beside: Self.fullSuffix) != nil }

  private static let fullSuffix = "-full"

  private var heldBytes: Int64? { file.size(beside: "-reserve") }

  /// Gives a quarter of the blocks to whoever writes next.
  ///
  /// Returns false where none were left to give.
  func release() -> Bool {
    guard let held = heldBytes, held > 0, let descriptor = openOwn(file.reservePath, O_RDWR) else { return false }
    defer { close(descriptor) }
    markFull()
    return ftruncate(descriptor, off_t(max(0, held - max(1, limits.reserveBytes / 4)))) == 0
  }

  /// Gives back what one large append had held besides.
  ///
  /// Not while it is broken into: filling it again does that.
  func trim() {
    guard heldBytes ?? 0 > limits.reserveBytes, !isBrokenInto, let descriptor = openOwn(file.reservePath, O_RDWR) else {
      return
    }
    defer { close(descriptor) }
    _ = ftruncate(descriptor, off_t(limits.reserveBytes))
  }

  /// An entry of the directory, which takes no block; without it the housekeeper does not hurry, and no more.
  private func markFull() {
    if let marker = openOwn(file.path + Self.fullSuffix, O_RDWR | O_CREAT) { close(marker) }
  }

  /// Never through a symbolic link: what lies behind one is not ours to cut.
  private func openOwn(_ path: String, _ flags: Int32) -> Int32? {
    let descriptor = retryingInterrupted { open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0o600) }
    return descriptor < 0 ? nil : descriptor
  }

  enum Outcome: Equatable {
    case whole
    /// The disk, or this user's quota, has no room for it.
    case noRoom
    /// The file system cannot hold blocks back: `errno`.
    case failed(Int32)
  }

  /// Holds blocks back for a commit of `byteCount` bytes of appends.
  ///
  /// Filling wants room for one checkpoint besides, so that the first append behind it does not find the disk full again.
  func hold(forAppending byteCount: Int) -> Outcome {
    let wanted = limits.reserveBytes + limits.cost(ofLargeAppend: byteCount)
    let held = heldBytes ?? 0
    if held >= wanted, !isBrokenInto { return .whole }
    guard let descriptor = openOwn(file.reservePath, O_RDWR | O_CREAT) else { return Self.outcome(errno) }
    defer { close(descriptor) }
    let hasRoom = file.freeDiskBytes.map { $0 >= wanted - held + limits.checkpointBytes } ?? true
    let outcome = hasRoom ? Self.outcome(Self.allocate(descriptor, off_t(wanted))) : .noRoom
    switch outcome {
    case .whole:
      if held > wanted { _ = ftruncate(descriptor, off_t(wanted)) }
      unlink(file.path + Self.fullSuffix)
    case .noRoom:
      _ = ftruncate(descriptor, off_t(held))
      // A large append alone may be refused without the disk being full for others.
      if held < limits.reserveBytes { markFull() }
    case .failed: unlink(file.reservePath)
    }
    return outcome
  }

  private static func outcome(_ code: Int32) -> Outcome {
    switch code {
    case 0: .whole
    case ENOSPC, EDQUOT: .noRoom
    default: .failed(code)
    }
  }

  /// Returns 0, or the error's number.
  private static func allocate(_ descriptor: Int32, _ byteCount: off_t) -> Int32 {
    #if canImport(Darwin)
      var request = fstore_t(
        fst_flags: UInt32(F_ALLOCATEALL), fst_posmode: F_PEOFPOSMODE, fst_offset: 0, fst_length: byteCount,
        fst_bytesalloc: 0)
      guard fcntl(descriptor, F_PREALLOCATE, &request) != -1, ftruncate(descriptor, byteCount) == 0 else {
        return errno
      }
      return 0
    #else
      var code = EINTR
      while code == EINTR { code = posix_fallocate(descriptor, 0, byteCount) }
      return code
    #endif
  }
}
