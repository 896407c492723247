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

  /// Finds out where `path` leads.
  ///
  /// The directory must be there, the file need not.
  init(path: String, sqliteVFS: String? = nil) throws(OutboxError) {
    shownPath = path
    self.sqliteVFS = sqliteVFS
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
    let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    self.path = resolved == "/" ? "/\(name)" : "\(resolved)/\(name)"
  }

  /// Where the process that delivers keeps its `flock`.
  var lockPath: String { path + "-lock" }

  private var directory: String { Self.directory(of: path) }

  private static func directory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private static func resolve(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// Where a symbolic link points, whether or not that is there; nil where `path` is none.
  private static func resolveLink(_ path: String) -> String? {
    var target = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink(path, &target, target.count)
    return count < 0 ? nil : String(decoding: target.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Makes sure that a file is there; one that is made has mode 0600.
  func prepare(create: Bool) throws(OutboxError) {
    var status = stat()
    guard stat(directory, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw OutboxError(.notWritable, "cannot open the outbox \(shownPath): \(directory) is not a directory")
    }
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
      guard access(path, R_OK | W_OK) == 0, access(directory, W_OK | X_OK) == 0 else {
        throw OutboxError(
          .notWritable,
          "cannot open the outbox \(shownPath): this user may not write to it or to its directory (reading needs that too, for the files -wal and -shm beside it); check owner and mode"
        )
      }
      return
    }
    guard create else {
      throw OutboxError(
        .notFound, "there is no outbox at \(shownPath); check the path, or append a first event to make one")
    }
    try createFile()
  }

  /// `O_EXCL`: where this succeeds nobody had the file open, so closing it drops nobody's lock.
  private func createFile() throws(OutboxError) {
    let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
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
    let descriptor = open(directory, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw OutboxError(.inputOutput, "cannot open the directory \(directory) to sync it: \(systemMessage())")
    }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else {
      throw OutboxError(.inputOutput, "cannot sync the directory \(directory): \(systemMessage())")
    }
  }

  /// The bytes of database, log and shared memory file on disk.
  func sizeBytes() -> Int64 {
    ["", "-wal", "-shm"].reduce(0) { sum, suffix in
      var status = stat()
      return stat(path + suffix, &status) == 0 ? sum + Int64(status.st_size) : sum
    }
  }
}

/// The words for the calling thread's `errno`.
func systemMessage() -> String { String(cString: strerror(errno)) }
