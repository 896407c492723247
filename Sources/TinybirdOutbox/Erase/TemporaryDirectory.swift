#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// Where SQLite keeps files that it needs for a moment, such as the copy that `VACUUM` makes.
struct TemporaryDirectory: Sendable {
  let path: String

  /// The one that SQLite takes: the first of its list that is a directory this user may write to.
  ///
  /// Nil where there is none.
  static var ofSQLite: TemporaryDirectory? {
    let chosen = ["SQLITE_TMPDIR", "TMPDIR"].compactMap { (name: String) in getenv(name).map { String(cString: $0) } }
    return (chosen + ["/var/tmp", "/usr/tmp", "/tmp", "."]).first(where: isUsable).map { TemporaryDirectory(path: $0) }
  }

  private static func isUsable(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && access(path, W_OK | X_OK) == 0
  }

  /// Whether what is written here takes the blocks of that directory's disk.
  func sharesDisk(with directory: String) -> Bool {
    var (own, other) = (stat(), stat())
    return stat(path, &own) == 0 && stat(directory, &other) == 0 && own.st_dev == other.st_dev
  }

  /// What this user may still write here; nil where the file system does not say.
  var freeBytes: Int64? {
    var status = statvfs()
    guard statvfs(path, &status) == 0, status.f_blocks > 0 else { return nil }
    return OutboxFile.bytes(status.f_bavail, status)
  }
}
