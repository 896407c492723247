/// The beginning of SQLite's log: its header, and the header of its first frame.
///
/// A log that does not begin as one SQLite passes over without a word, and what it holds is not seen. All numbers are
/// big-endian: see *WAL File Format* in SQLite's description of its file format.
struct LogHead: Equatable {
  static let byteCount = headerBytes + 24
  private static let headerBytes = 32

  enum Fault: Equatable {
    /// SQLite sees nothing of the log.
    case noHeader
    /// SQLite sees nothing behind the header.
    case foreignFrame
  }

  /// The first bytes, fewer where the log is shorter.
  let bytes: [UInt8]

  /// What is wrong with it.
  ///
  /// Not where the first frame is of an earlier round of the log: then a crash came before the first frame of this one, and
  /// all that was in the earlier one is in the file. Each round adds 1 to the first of the two salts.
  var fault: Fault? {
    guard bytes.contains(where: { $0 != 0 }) else { return nil }
    guard hasHeader else { return .noHeader }
    guard bytes.count == Self.byteCount else { return nil }
    let (salts, frameSalts) = ((word(16), word(20)), (word(40), word(44)))
    let isOlder = (1...UInt32(UInt16.max)).contains(salts.0 &- frameSalts.0)
    return salts == frameSalts || isOlder ? nil : .foreignFrame
  }

  private var hasHeader: Bool {
    guard bytes.count >= Self.headerBytes, word(0) & ~1 == 0x377F_0682, word(4) == 3_007_000 else { return false }
    // The lowest bit says in which order the checksum takes the bytes of its words.
    let isBigEndian = word(0) & 1 == 1
    var (first, second): (UInt32, UInt32) = (0, 0)
    for offset in stride(from: 0, to: 24, by: 8) {
      let (one, other) = (word(offset), word(offset + 4))
      first &+= (isBigEndian ? one : one.byteSwapped) &+ second
      second &+= (isBigEndian ? other : other.byteSwapped) &+ first
    }
    return first == word(24) && second == word(28)
  }

  private func word(_ offset: Int) -> UInt32 {
    bytes[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
  }
}

extension SQLiteConnection {
  /// The beginning of the log, read through the handle that SQLite has on it; nil where it has none, or it cannot be read.
  func logHead() -> LogHead? {
    (withLog { size, read in read(0, min(size, LogHead.byteCount)).map { LogHead(bytes: $0) } }) ?? nil
  }
}
