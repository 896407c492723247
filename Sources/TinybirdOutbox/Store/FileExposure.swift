#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// What other users of the machine can do to an outbox that is meant for one.
enum FileExposure: Equatable, Sendable, CustomStringConvertible {
  /// They can read or write a file of it: every event is theirs.
  case file(path: String, mode: UInt16)
  /// They can make and, without the sticky bit, replace files beside it.
  case writableDirectory(path: String, mode: UInt16)
  /// They can see its name and size, and nothing more.
  case readableDirectory(path: String, mode: UInt16)

  var description: String {
    switch self {
    case .file(let path, let mode):
      "other users may read or write \(path) (mode \(Self.octal(mode))); chmod 600 it"
    case .writableDirectory(let path, let mode):
      "other users may write to \(path) (mode \(Self.octal(mode))), and so replace the outbox or plant a log beside it; "
        + "keep it in a directory of mode 700"
    case .readableDirectory(let path, let mode):
      "other users may list \(path) (mode \(Self.octal(mode))): they see the outbox's name and size, not its events; "
        + "keep it in a directory of mode 700 if that is too much"
    }
  }

  private static func octal(_ mode: UInt16) -> String {
    let digits = String(mode, radix: 8)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
  }
}

extension OutboxFile {
  /// What of the outbox, as it is now, others can reach; the most serious first.
  ///
  /// What cannot be looked at is passed over: opening the file reports that.
  func exposures() -> [FileExposure] {
    var found = exposedFiles()
    if let mode = Self.mode(of: directory) {
      if mode & 0o022 != 0 {
        found.append(.writableDirectory(path: directory, mode: mode))
      } else if mode & 0o044 != 0 {
        found.append(.readableDirectory(path: directory, mode: mode))
      }
    }
    return found
  }

  /// The files of the outbox that others can read or write; one that was set aside keeps its mode.
  func exposedFiles() -> [FileExposure] {
    ([path] + Self.suffixesBeside.map { path + $0 }).compactMap { path in
      guard let mode = Self.mode(of: path), mode & 0o066 != 0 else { return nil }
      return .file(path: path, mode: mode)
    }
  }

  private static func mode(of path: String) -> UInt16? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    return UInt16(truncatingIfNeeded: status.st_mode & 0o7777)
  }
}
