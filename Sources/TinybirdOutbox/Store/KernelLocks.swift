internal import Foundation

/// A lock on a part of a file, as the kernel lists it.
///
/// To ask SQLite's files for their locks would mean opening them behind SQLite's back, and closing them again would drop
/// this process's own. The list is Linux's; elsewhere it is empty, and nothing is known.
struct KernelLock: Equatable, Sendable {
  var process: Int
  var isShared: Bool
  var inode: UInt64
  /// Bytes of the file; to the end of it is ``Int/max``.
  var bytes: ClosedRange<Int>

  /// The record locks of all processes that this one can see; nil where they cannot be known.
  static func all() -> [KernelLock]? {
    (try? String(contentsOfFile: "/proc/locks", encoding: .utf8)).map { parse($0) }
  }

  /// Reads lines such as `12: POSIX  ADVISORY  READ 4711 08:01:131074 124 124`.
  ///
  /// What waits for a lock (`->`) has none, and what is no record lock (`FLOCK`) is not SQLite's.
  static func parse(_ list: String) -> [KernelLock] {
    list.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard fields.count >= 8, ["POSIX", "OFDLCK"].contains(fields[1]), let process = Int(fields[4]),
        let inode = fields[5].split(separator: ":").last.flatMap({ UInt64($0) }), let first = Int(fields[6]),
        let last = fields[7] == "EOF" ? .max : Int(fields[7]), first <= last
      else { return nil }
      return KernelLock(process: process, isShared: fields[3] == "READ", inode: inode, bytes: first...last)
    }
  }
}

extension OutboxFile {
  /// The process that holds the write lock of the log, byte 120 of the `-shm` file; nil where nobody does, or it cannot be
  /// known.
  func logWriter() -> Int? {
    guard let inode = inode(beside: "-shm"), let locks = KernelLock.all() else { return nil }
    return locks.first { $0.inode == inode && !$0.isShared && $0.bytes.contains(120) }?.process
  }

  /// Processes that read the log now, by number.
  ///
  /// A reader of SQLite holds a lock on one of the bytes 124 to 127 of the `-shm` file, its read marks 1 to 4, while its
  /// transaction is open; one on mark 0 does not use the log.
  func logReaders() -> [Int] {
    guard let inode = inode(beside: "-shm"), let locks = KernelLock.all() else { return [] }
    let holders = locks.filter { $0.inode == inode && $0.isShared && $0.bytes.overlaps(124...127) }
    return Set(holders.map(\.process)).sorted()
  }
}
