#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

internal import Foundation

/// Puts a file that cannot be opened as an outbox out of the way, so that a new one can take its place.
///
/// Only on the app's explicit wish, and only where the file itself is at fault: see ``OutboxError/isUnreadableFile``.
///
/// Several files are renamed, and a new file must never find the old one's log beside it. So a mark, a symbolic link that
/// holds the new name, stands beside the outbox from before the first step until after the last. No new file is made while
/// it stands; what a crash leaves half done the next opening finishes. It is a name and no path: the directory may have been
/// renamed meanwhile, or be mounted elsewhere.
struct SettingAside {
  let file: OutboxFile

  /// The file comes first: while it has its name it also has its log.
  static let suffixes = ["", "-wal", "-shm", "-journal"]

  /// How often, and how long between, the lock is asked for that another process holds while it does the same.
  private static let tries = 250
  private static let wait = Duration.milliseconds(20)

  /// Renames file and log, unless `writer` can open it now that it is this process's turn.
  ///
  /// Returns where the old file is, or nil where another process was faster. A crash leaves the old file in its place, or
  /// what ``finishInterrupted()`` finishes.
  func run(unlessOpenedBy writer: StoreWriter) async throws -> String? {
    guard let lock = try await acquireLock() else {
      throw OutboxError(
        .conflict,
        "the outbox \(file.shownPath) cannot be opened, and is not set aside because another process delivers from it; end that process first"
      )
    }
    defer { withExtendedLifetime(lock) {} }
    if let aside = try finish() { return aside }
    do {
      _ = try await writer.open(create: true)
      return nil
    } catch {
      guard error.isUnreadableFile else { throw error }
    }
    guard let presence = try Presence.alone(file) else {
      throw OutboxError(
        .conflict,
        "the outbox \(file.shownPath) cannot be opened, and is not set aside because another process has it open: what that one still appends would go aside with it. End it first"
      )
    }
    defer { withExtendedLifetime(presence) {} }
    let aside = file.path + ".aside-" + Self.stamp(.now)
    try mark(aside)
    // A log may have lost its file.
    if file.condition != nil { try file.rename(to: aside) }
    return try finish()
  }

  /// Finishes what another process began and did not live to end.
  ///
  /// Returns where the old file is, or nil where there was nothing to finish.
  func finishInterrupted() async throws -> String? {
    guard file.asideMark != nil, let lock = try await acquireLock() else { return nil }
    return try withExtendedLifetime(lock) { try finish() }
  }

  /// Waits for another process that does the same; nil where one goes on holding it, because it delivers.
  private func acquireLock() async throws -> DeliveryLock? {
    for _ in 0..<Self.tries {
      if let lock = try DeliveryLock.tryAcquire(file) { return lock }
      // Throws where the caller's task is cancelled, before anything was renamed.
      try await Task.sleep(for: Self.wait)
    }
    return nil
  }

  /// A time as in `20261121T105501250Z`.
  private static func stamp(_ time: WallTime) -> String {
    let format = Date.ISO8601FormatStyle(timeZoneSeparator: .omitted)
      .year().month().day().dateSeparator(.omitted).time(includingFractionalSeconds: true).timeSeparator(.omitted)
    return time.date.formatted(format).filter { $0 != "." } + "Z"
  }

  /// Notes, durably, that the outbox is to be known as `aside`, a path in its own directory.
  func mark(_ aside: String) throws(OutboxError) {
    guard symlink(String(OutboxFile.name(of: aside)), file.asideMarkPath) == 0 else {
      throw OutboxError(.notWritable, "cannot make \(file.asideMarkPath), to set the outbox aside: \(systemMessage())")
    }
    try file.syncDirectory()
  }

  /// Renames what has not followed the file yet, and ends it; only under the lock.
  ///
  /// Where the outbox is in its place nothing was done yet, and nothing is: a log stays with its file.
  private func finish() throws(OutboxError) -> String? {
    guard let aside = file.asideMark else { return nil }
    let isBegun = file.condition == nil
    if isBegun {
      for suffix in Self.suffixes.dropFirst() where file.size(beside: suffix) != nil {
        try file.rename(suffix, to: aside + suffix)
      }
      try file.syncDirectory()
    }
    file.remove([OutboxFile.asideMarkSuffix])
    try file.syncDirectory()
    return isBegun ? aside : nil
  }
}

extension OutboxError {
  /// The file itself is at fault, and no other program, no permission and no disk that will be well again.
  var isUnreadableFile: Bool { code == .notADatabase || code == .damaged }
}

extension OutboxFile {
  static let asideMarkSuffix = "-aside"

  /// Stands there while files are set aside: a symbolic link to the old file's new name.
  var asideMarkPath: String { path + Self.asideMarkSuffix }

  /// The path under which the outbox is being set aside; nil where it is not.
  var asideMark: String? { Self.resolveLink(asideMarkPath).map { sibling(Self.name(of: $0)) } }

  /// Renames this file, or the one that `suffix` names beside it, but never over another.
  func rename(_ suffix: String = "", to target: String) throws(OutboxError) {
    guard renameWithoutReplacing(path + suffix, target) == 0 else {
      if errno == EEXIST {
        throw OutboxError(
          .conflict,
          "cannot rename \(path + suffix): there is something at \(target) already, and nothing is written over; move it away and try again"
        )
      }
      throw OutboxError(.notWritable, "cannot rename \(path + suffix) to \(target): \(systemMessage())")
    }
  }

  /// Deletes files that nobody has open; what is not there does not matter.
  func remove(_ suffixes: [String]) {
    for suffix in suffixes { unlink(path + suffix) }
  }
}
