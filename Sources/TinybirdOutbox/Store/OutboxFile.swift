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
  let path: String
  /// The operating system layer that SQLite opens it through; nil is SQLite's own.
  var sqliteVFS: String?

  /// Where the process that delivers keeps its `flock`.
  var lockPath: String { path + "-lock" }

  private var directory: String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// Makes sure that a file is there; one that is made has mode 0600.
  func prepare(create: Bool) throws(OutboxError) {
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw OutboxError(.notFound, "the path of the outbox is empty or holds a NUL byte")
    }
    var status = stat()
    guard stat(directory, &status) == 0 else {
      throw OutboxError(
        .notWritable,
        "cannot open the outbox \(path): its directory \(directory) is not there (\(systemMessage())); make it first"
      )
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw OutboxError(.notWritable, "cannot open the outbox \(path): \(directory) is not a directory")
    }
    if stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFREG else {
        throw OutboxError(.notADatabase, "cannot open the outbox \(path): it is not a regular file")
      }
      guard access(path, R_OK | W_OK) == 0, access(directory, W_OK | X_OK) == 0 else {
        throw OutboxError(
          .notWritable,
          "cannot open the outbox \(path): this user may not write to it or to its directory (reading needs that too, for the files -wal and -shm beside it); check owner and mode"
        )
      }
      return
    }
    guard create else {
      throw OutboxError(.notFound, "there is no outbox at \(path); check the path, or append a first event to make one")
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
        "cannot make the outbox \(path): \(systemMessage()); check that this user may write to \(directory)")
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
