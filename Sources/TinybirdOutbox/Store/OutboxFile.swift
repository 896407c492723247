#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// The path of an outbox: looks at it, makes the file, and names what lies beside it.
///
/// Only `stat` and an exclusive create touch the path. A plain open and close of a database that any connection of this
/// process has open would drop SQLite's locks on it.
struct OutboxFile: Sendable {
  /// Absolute and without symbolic links: two names of one outbox must lead to one lock, and nothing that SQLite reads as
  /// a URI may begin it.
  let path: String
  /// The path as it was given, for people.
  let shownPath: String
  /// The operating system layer that SQLite opens it through; nil is SQLite's own.
  let sqliteVFS: String?
  /// How long it is waited for a lock while nobody writes: see ``LockWait``.
  let lockPatience: Duration
  /// What is free on the disk of a test's own layer.
  private let freeBytesOfLayer: (@Sendable () -> Int64)?
  private let kindOfFileSystem: @Sendable (String) -> FileSystem

  /// Finds out where `path` leads.
  ///
  /// The directory must be there, the file need not. `fileSystem` says what a directory lies on: a parameter for tests.
  init(
    path: String, sqliteVFS: String? = nil, freeDiskBytes: (@Sendable () -> Int64)? = nil,
    lockPatience: Duration = LockWait.patience,
    fileSystem: @escaping @Sendable (String) -> FileSystem = FileSystem.of
  ) throws(OutboxError) {
    shownPath = path
    self.sqliteVFS = sqliteVFS
    self.lockPatience = lockPatience
    freeBytesOfLayer = freeDiskBytes
    kindOfFileSystem = fileSystem
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw OutboxError(.notFound, "the path of the outbox is empty or holds a NUL byte")
    }
    if let resolved = Self.resolve(path) {
      self.path = resolved
      return
    }
    guard Self.resolveLink(path) == nil else {
      throw OutboxError(.notFound, "cannot open the outbox \(path): it is a symbolic link to a file that is not there")
    }
    let directory = Self.directory(of: path)
    guard let resolved = Self.resolve(directory) else {
      throw OutboxError(
        .notWritable,
        "cannot open the outbox \(path): its directory \(directory) is not there (\(systemMessage())); make it first")
    }
    self.path = Self.join(resolved, Self.name(of: path))
  }

  /// Where the process that delivers keeps its `flock`.
  var lockPath: String { path + "-lock" }
  /// Who has it open: see ``Presence``.
  var presencePath: String { path + "-open" }
  /// Blocks that are held back for a full disk: see ``ReserveFile``.
  var reservePath: String { path + "-reserve" }

  /// The directory that the file lies in, absolute.
  var directory: String { Self.directory(of: path) }

  private static func directory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// What follows the last slash.
  static func name(of path: String) -> Substring {
    path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
  }

  private static func join(_ directory: String, _ name: Substring) -> String {
    directory == "/" ? "/\(name)" : "\(directory)/\(name)"
  }

  /// The path of a file in the same directory.
  func sibling(_ name: Substring) -> String { Self.join(directory, name) }

  private static func resolve(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// Where a symbolic link points, whether or not that is there; nil where `path` is none.
  static func resolveLink(_ path: String) -> String? {
    var target = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink(path, &target, target.count)
    return count < 0 ? nil : String(decoding: target.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Refuses a place where no outbox may lie.
  func checkDirectory() throws(OutboxError) {
    var status = stat()
    guard stat(directory, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw OutboxError(.notWritable, "cannot open the outbox \(shownPath): \(directory) is not a directory")
    }
    if let name = networkFileSystem {
      throw OutboxError(
        .networkFileSystem,
        "cannot open the outbox \(shownPath): \(directory) lies on a network file system (\(name)), where locks and syncs do not hold what the outbox promises; keep it on a disk of this machine"
      )
    }
  }

  /// The kind of network file system that the directory lies on, if it does.
  var networkFileSystem: String? { kindOfFileSystem(directory).networkName }

  /// Whether this user may write to it and beside it.
  var isWritable: Bool { access(path, R_OK | W_OK) == 0 && access(directory, W_OK | X_OK) == 0 }

  static let unwritable =
    "this user may not write to it or to its directory (reading needs that too, for the files -wal and -shm beside it); check owner and mode, or look at a copy of it and its -wal"

  /// Whether the files that SQLite needs can be made where they are missing; some file systems do not say how many.
  var hasRoomForFiles: Bool {
    let missing = ["-wal", "-shm"].count { size(beside: $0) == nil }
    return fileSystem.map { $0.f_files == 0 || UInt64($0.f_favail) >= UInt64(missing) } ?? true
  }

  var noRoomForFiles: String {
    "the disk of \(directory) takes no more files (it has no free inode), and SQLite needs -wal and -shm beside it; delete some files and it works again"
  }

  /// What is added to the name of the file for those beside it; `-reserve` is the longest.
  private static let longestSuffix = 8

  /// SQLite would make the file, and then say that it cannot open it.
  private func checkName() throws(OutboxError) {
    // PATH_MAX counts the byte behind the end.
    let most = min(
      Int(NAME_MAX) - Self.longestSuffix, Int(PATH_MAX) - 1 - Self.longestSuffix - directory.utf8.count - 1)
    guard Self.name(of: path).utf8.count <= most else {
      throw OutboxError(
        .notWritable,
        "cannot open the outbox \(shownPath): its name is too long; with what is added to it for the files beside it, it may have \(max(0, most)) bytes here"
      )
    }
  }

  /// Makes sure that a file is there; one that is made has mode 0600.
  func prepare(create: Bool) throws(OutboxError) {
    try checkDirectory()
    try checkName()
    var status = stat()
    if stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFREG else {
        throw OutboxError(.notADatabase, "cannot open the outbox \(shownPath): it is not a regular file")
      }
      guard status.st_nlink == 1 else {
        throw OutboxError(
          .conflict,
          "cannot open the outbox \(shownPath): the file has \(status.st_nlink) names (hard links), and SQLite would keep a log for each; remove the others"
        )
      }
      guard isWritable else {
        throw OutboxError(.notWritable, "cannot open the outbox \(shownPath): \(Self.unwritable)")
      }
      // SQLite would say that it cannot open the file, and not why.
      guard hasRoomForFiles else {
        throw OutboxError(.diskFull, "cannot open the outbox \(shownPath): \(noRoomForFiles)")
      }
      try refuseStrayFiles()
      return
    }
    // While another process sets the outbox aside its log comes after it.
    if create || asideMark == nil {
      try waitUntilSetAside()
      try refuseStrayFiles()
    }
    guard create else {
      throw OutboxError(
        .notFound, "there is no outbox at \(shownPath); check the path, or append a first event to make one")
    }
    try createFile()
  }

  /// The log of an outbox that another process sets aside may still lie here, and SQLite would delete it.
  ///
  /// A process that died over it is not waited for: the next opening finishes its work.
  private func waitUntilSetAside() throws(OutboxError) {
    for _ in 0..<5_000 {
      guard asideMark != nil else { return }
      sleepMicroseconds(1_000)
    }
    throw OutboxError(
      .busy,
      "cannot make the outbox \(shownPath): another process sets the old one aside, or has died over it; try again")
  }

  /// `O_EXCL`: where this succeeds nobody had the file open, so closing it drops nobody's lock.
  private func createFile() throws(OutboxError) {
    let descriptor = retryingInterrupted { open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) }
    guard descriptor >= 0 else {
      if errno == EEXIST { return }
      throw OutboxError(
        errno == ENOSPC || errno == EDQUOT ? .diskFull : .notWritable,
        "cannot make the outbox \(shownPath): \(systemMessage()); check that this user may write to \(directory)")
    }
    close(descriptor)
  }

  /// Makes the directory entries durable: a synced file whose name is lost is lost too.
  func syncDirectory() throws(OutboxError) {
    let descriptor = retryingInterrupted { open(directory, O_RDONLY | O_CLOEXEC) }
    guard descriptor >= 0 else {
      throw OutboxError(.inputOutput, "cannot open the directory \(directory) to sync it: \(systemMessage())")
    }
    defer { close(descriptor) }
    guard retryingInterrupted({ fsync(descriptor) }) == 0 else {
      throw OutboxError(.inputOutput, "cannot sync the directory \(directory): \(systemMessage())")
    }
  }

  /// The bytes of database, log and shared memory file on disk.
  func sizeBytes() -> Int64 {
    ["", "-wal", "-shm"].reduce(0) { $0 + (size(beside: $1) ?? 0) }
  }

  /// The bytes of the log on disk.
  var logBytes: Int64 { size(beside: "-wal") ?? 0 }

  /// The bytes that are held back.
  var reserveBytes: Int64 { size(beside: "-reserve") ?? 0 }

  /// The size of the file system; nil where it does not say.
  var diskBytes: Int64? { fileSystem.map { Self.bytes($0.f_blocks, $0) } }

  /// What this user may still write there; nil where it does not say.
  var freeDiskBytes: Int64? { freeBytesOfLayer?() ?? fileSystem.map { Self.bytes($0.f_bavail, $0) } }

  private var fileSystem: statvfs? {
    var status = statvfs()
    return statvfs(directory, &status) == 0 && status.f_blocks > 0 ? status : nil
  }

  static func bytes(_ blocks: fsblkcnt_t, _ status: statvfs) -> Int64 {
    let (bytes, isTooLarge) = UInt64(blocks).multipliedReportingOverflow(by: UInt64(status.f_frsize))
    return isTooLarge ? .max : Int64(clamping: bytes)
  }
}

extension OutboxFile {
  /// What `stat` says of the file.
  struct Condition {
    var isRegular: Bool
    var isOwn: Bool
    var linkCount: Int
  }

  /// Nil where there is no file.
  var condition: Condition? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    return Condition(
      isRegular: status.st_mode & S_IFMT == S_IFREG, isOwn: status.st_uid == geteuid(), linkCount: Int(status.st_nlink))
  }

  /// The size of a file beside this one, by what is added to its name; nil where there is none.
  func size(beside suffix: String) -> Int64? {
    var status = stat()
    return stat(path + suffix, &status) == 0 ? Int64(status.st_size) : nil
  }

  /// Its number in the file system; nil where there is none.
  func inode(beside suffix: String) -> UInt64? {
    var status = stat()
    return stat(path + suffix, &status) == 0 ? UInt64(status.st_ino) : nil
  }
}

/// The words for the calling thread's `errno`.
func systemMessage() -> String { String(cString: strerror(errno)) }
