/// A file that is made under another name, `.partial`, and gets its own when it is complete.
///
/// One process at a time makes it: it holds the delivery lock of the partial file, which the kernel gives back however the
/// process ends. So what lies there beside a lock file that nobody holds is a crash's, and is cleared away. Anything else
/// of that name is somebody's: an outbox that was ever opened has a file `-open` beside it, others have no lock file.
struct NewFile {
  let file: OutboxFile
  let partial: OutboxFile
  private let lock: DeliveryLock

  private static let partialSuffix = ".partial"
  /// What a copy is called that salvage reads in place of a damaged file.
  static let sourceSuffix = "-source"
  private static let besidePartial = ["", sourceSuffix].flatMap { name in
    ["-journal", "-wal", "-shm", ""].map { name + $0 }
  }

  /// Makes the partial file, empty.
  ///
  /// Throws ``OutboxError/Code/notWritable`` where something is at `path` already, ``OutboxError/Code/conflict`` where it
  /// is being made. `fileSystem` says what a directory lies on: a parameter for tests.
  init(
    at path: String, fileSystem: @escaping @Sendable (String) -> FileSystem = FileSystem.of
  ) throws(OutboxError) {
    file = try OutboxFile(path: path, fileSystem: fileSystem)
    try Self.refuseName(file)
    try Self.refuseTaken(file)
    // It is filled through a log, which wants memory that is shared: see ``FileSystem``.
    if let name = file.networkFileSystem {
      throw OutboxError(
        .networkFileSystem,
        "cannot write \(file.shownPath): \(file.directory) lies on a network file system (\(name)), where SQLite's locks and syncs do not hold; write it to a disk of this machine, then copy the finished file there"
      )
    }
    partial = try OutboxFile(path: path + Self.partialSuffix, fileSystem: fileSystem)
    guard partial.path == file.path + Self.partialSuffix else {
      throw OutboxError(.conflict, "\(partial.shownPath) is a symbolic link, and is not followed; choose another path")
    }
    try file.checkDirectory()
    try Self.refuseForeign(partial)
    guard let lock = try DeliveryLock.tryAcquire(partial) else {
      throw OutboxError(
        .conflict, "\(file.shownPath) is being written by another program; wait for its end, or choose another path")
    }
    self.lock = lock
    // Whoever had the lock before may have finished.
    do throws(OutboxError) {
      try Self.refuseTaken(file)
      // What SQLite would take for the file's own goes first.
      partial.remove(Self.besidePartial)
      try partial.prepare(create: true)
    } catch {
      removePartial()
      throw error
    }
  }

  /// A name that would be a file of another outbox's: SQLite would take it for its own, or a later copy clear it away.
  private static func refuseName(_ file: OutboxFile) throws(OutboxError) {
    let suffixes = OutboxFile.suffixesBeside + [partialSuffix, partialSuffix + sourceSuffix]
    guard let suffix = suffixes.first(where: { file.path.hasSuffix($0) }) else { return }
    throw OutboxError(
      .notWritable,
      "cannot write \(file.shownPath): a name that ends in \(suffix) is for a file beside an outbox; choose another")
  }

  /// A name under which an outbox would be cleared away by what makes a new file beside it.
  static func refuseOutbox(_ file: OutboxFile) throws(OutboxError) {
    let suffixes = [partialSuffix, partialSuffix + sourceSuffix]
    guard let suffix = suffixes.first(where: { file.path.hasSuffix($0) }) else { return }
    throw OutboxError(
      .notWritable,
      "cannot open the outbox \(file.shownPath): a name that ends in \(suffix) is for a backup or a salvaged outbox that is not complete; choose another, or make it anew"
    )
  }

  private static func refuseForeign(_ partial: OutboxFile) throws(OutboxError) {
    let isOurs = partial.size(beside: "-lock") != nil && partial.size(beside: "-open") == nil
    guard !isOurs, let name = besidePartial.first(where: { partial.size(beside: $0) != nil }) else { return }
    throw OutboxError(
      .notWritable,
      "\(partial.shownPath + name) is no file that a backup or a salvage has left, and would be in the way; move it away, or choose another path"
    )
  }

  private static func refuseTaken(_ file: OutboxFile) throws(OutboxError) {
    guard file.condition == nil else {
      throw OutboxError(
        .notWritable,
        "there is something at \(file.shownPath) already, and nothing is written over; choose another path")
    }
    for suffix in ["-wal", "-journal"] where file.size(beside: suffix) ?? 0 > 0 {
      throw OutboxError(
        .notWritable,
        "\(file.shownPath + suffix) is the log of another file, and SQLite would take it for the new one's own; move it away, or choose another path"
      )
    }
  }

  /// Empties the partial file.
  func clear() throws(OutboxError) {
    partial.remove(["-journal", "-wal", "-shm", ""])
    try partial.prepare(create: true)
  }

  /// What stood in the way of filling it from another file; where there was no room, for how much, and where.
  ///
  /// `more` is what it may take besides.
  func explaining(_ error: OutboxError, filledFrom source: OutboxFile, _ more: String = "") -> OutboxError {
    guard error.code == .diskFull else { return error }
    removePartial()
    let free = file.freeDiskBytes.map { ", where \($0) bytes are free" } ?? ""
    return OutboxError(
      .diskFull,
      "there is no room for \(file.shownPath) on the disk of \(file.directory)\(free). It takes about as many bytes as \(source.shownPath) and its log, \(source.sizeBytes() + source.logBytes)\(more). Nothing of it is left: free some space, or choose a path on another disk",
      cause: error)
  }

  /// Gives it its name, durably, and never over a file that came there meanwhile.
  ///
  /// It must be synced already, and closed.
  func finish() throws(OutboxError) {
    try partial.rename(to: file.path)
    do {
      try file.syncDirectory()
    } catch {
      // Whoever is told of an error finds nothing.
      file.remove([""])
      throw error
    }
  }

  /// Takes away what is not complete, after ``finish()`` the lock alone.
  func removePartial() {
    withExtendedLifetime(lock) { partial.remove(Self.besidePartial + ["-lock"]) }
  }
}
