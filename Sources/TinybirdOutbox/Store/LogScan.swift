internal import COutboxSQLite

/// Walks over the frames of SQLite's log, and tells whether commits lie behind one that SQLite cannot read.
///
/// SQLite takes a log up to its first frame whose checksum does not fit, and passes over the rest without a word: that is
/// how the last commit ends that a power cut has torn. But each commit is synced before the next one begins. So where two
/// follow each other behind such a frame, in one unbroken chain of checksums, that was no power cut: the log was
/// damaged, and what was acknowledged would be lost. The last two commits cannot be told from torn ones.
///
/// The same holds for the log's header, which SQLite syncs before the first frame: where that cannot be read, or is of an
/// earlier round than the first frame, SQLite passes over all of the log, and takes it away when it is closed.
///
/// For the bytes see *WAL File Format* in SQLite's description of its file format.
struct LogScan {
  /// What SQLite would pass over.
  struct Loss: Equatable {
    /// The first frame that cannot be read, from 1 on; 0 where the header cannot.
    var frame: Int
    /// Commits behind it, at least.
    var commits: Int
    /// Whether they were read all the same, from a copy: see ``LogScan/mend(_:write:)``.
    var isMended = false

    /// What is damaged, in words.
    var place: String { frame == 0 ? "the header" : "frame \(frame)" }
  }

  private typealias Checksum = (UInt32, UInt32)

  private static let headerBytes = 32
  private static let frameHeaderBytes = 24
  private static let pageSizes = (9...16).map { 1 << $0 }

  private let isBigEndian: Bool
  private let salts: (UInt32, UInt32)
  private let frameBytes: Int

  /// Reads so many bytes from an offset; nil where the log has no more.
  typealias Read = (_ offset: Int, _ count: Int) -> [UInt8]?

  /// Nil where there is no log, or nothing of it is lost.
  static func loss(_ read: Read) -> Loss? {
    guard let header = read(0, headerBytes) else { return nil }
    guard let scan = LogScan(header) else { return lossWithoutHeader(read) }
    guard let first = scan.frame(1, read), scan.isForeign(first) else {
      return scan.loss(after: header.checksum(24), read)
    }
    return scan.longestChain(read).map { Loss(frame: 1, commits: $0.commits) }
  }

  private static func lossWithoutHeader(_ read: Read) -> Loss? {
    withoutHeader(read).map { Loss(frame: 0, commits: $0.commits) }
  }

  /// Without the header nothing says how the frames are to be read, but that they follow each other.
  private static func withoutHeader(_ read: Read) -> (scan: LogScan, commits: Int)? {
    for isBigEndian in [1.bigEndian == 1, 1.bigEndian != 1] {
      for pageBytes in pageSizes {
        let scan = LogScan(isBigEndian: isBigEndian, salts: (0, 0), pageBytes: pageBytes)
        guard let chain = scan.longestChain(read) else { continue }
        return (LogScan(isBigEndian: isBigEndian, salts: chain.salts, pageBytes: pageBytes), chain.commits)
      }
    }
    return nil
  }

  /// Makes of a log with damage one that SQLite reads to its end: for a copy that is salvaged.
  ///
  /// Every frame of the round is kept up to the last commit that is whole in itself, also the damaged one: what is in its
  /// page is for its chunk's checksum to tell. Those whose page number is gone are left out.
  static func mend(_ read: Read, write: (_ bytes: [UInt8], _ offset: Int) throws -> Void) rethrows {
    guard let header = read(0, headerBytes) else { return }
    var scan = LogScan(header)
    if let known = scan, let first = known.frame(1, read), known.isForeign(first) {
      scan = known.longestChain(read).map {
        LogScan(isBigEndian: known.isBigEndian, salts: $0.salts, pageBytes: known.frameBytes - frameHeaderBytes)
      }
    }
    guard let scan = scan ?? withoutHeader(read)?.scan else { return }
    try scan.rewrite(read, write)
  }

  private func rewrite(_ read: Read, _ write: ([UInt8], Int) throws -> Void) rethrows {
    let last = lastCommit(read)
    guard last > 0 else { return }
    let pageBytes = frameBytes - Self.frameHeaderBytes
    var header = [0x377F_0682 | (isBigEndian ? 1 : 0), 3_007_000, pageBytes == 65_536 ? 1 : UInt32(pageBytes), 0].bytes
    header += [salts.0, salts.1].bytes
    var before = checksum(of: header[...], after: (0, 0))
    try write(header + [before.0, before.1].bytes, 0)
    var count = 0
    for number in 1...last {
      guard let frame = frame(number, read), frame.word(0) != 0 else { continue }
      before = checksum(of: frame, after: before)
      let start = Array(frame[..<8]) + [salts.0, salts.1, before.0, before.1].bytes
      try write(start + frame[Self.frameHeaderBytes...], Self.headerBytes + count * frameBytes)
      count += 1
    }
    // Nothing goes on behind it.
    let end = Self.headerBytes + count * frameBytes
    if read(end, Self.frameHeaderBytes) != nil { try write([UInt8](repeating: 0, count: Self.frameHeaderBytes), end) }
  }

  /// The last frame that ends a commit and follows the one before it; 0 for none.
  private func lastCommit(_ read: Read) -> Int {
    var (number, last) = (1, 0)
    guard var before = frame(1, read) else { return 0 }
    while let frame = frame(number + 1, read) {
      number += 1
      if follows(frame, before), (frame.word(8), frame.word(12)) == salts, frame.word(4) != 0 { last = number }
      before = frame
    }
    return last
  }

  private init(isBigEndian: Bool, salts: (UInt32, UInt32), pageBytes: Int) {
    self.isBigEndian = isBigEndian
    self.salts = salts
    frameBytes = Self.frameHeaderBytes + pageBytes
  }

  private init?(_ header: [UInt8]) {
    let pageBytes = header.word(8) == 1 ? 65_536 : Int(header.word(8))
    guard header.word(0) & ~1 == 0x377F_0682, (512...65_536).contains(pageBytes) else { return nil }
    self.init(
      isBigEndian: header.word(0) & 1 == 1, salts: (header.word(16), header.word(20)), pageBytes: pageBytes)
    guard header.word(4) == 3_007_000, checksum(of: header[..<24], after: (0, 0)) == header.checksum(24) else {
      return nil
    }
  }

  private func loss(after seed: Checksum, _ read: Read) -> Loss? {
    var (number, before) = (0, seed)
    // What the frame before has, and what it should have: damage may have hit the page or its checksum.
    var expected: Checksum?
    var (firstBad, commits, inChain) = (nil as Int?, 0, 0)
    while let frame = frame(number + 1, read) {
      number += 1
      let stored = frame.checksum(16)
      let hasSalts = frame.word(8) == salts.0 && frame.word(12) == salts.1
      let goesOn =
        hasSalts
        && (self.checksum(of: frame, after: before) == stored
          || expected.map { self.checksum(of: frame, after: $0) == stored } ?? false)
      expected = nil
      if !goesOn {
        if firstBad == nil {
          firstBad = number
          expected = self.checksum(of: frame, after: before)
        }
        inChain = 0
      } else if firstBad != nil, frame.word(4) != 0 {
        inChain += 1
        if inChain > 1 { commits = max(commits, inChain) }
      }
      before = stored
    }
    return firstBad.flatMap { commits > 1 ? Loss(frame: $0, commits: commits) : nil }
  }

  private func frame(_ number: Int, _ read: Read) -> [UInt8]? {
    read(Self.headerBytes + (number - 1) * frameBytes, frameBytes)
  }

  /// Whether a frame is neither of this round of the log nor of an earlier one, of which a crash may have left it.
  ///
  /// Each round adds 1 to the first of the two salts.
  private func isForeign(_ frame: [UInt8]) -> Bool {
    let isOlder = (1...UInt32(UInt16.max)).contains(salts.0 &- frame.word(8))
    return (frame.word(8), frame.word(12)) != salts && !isOlder
  }

  /// The most commits that follow each other, by their own salts and checksums; nil for less than two.
  private func longestChain(_ read: Read) -> (commits: Int, salts: (UInt32, UInt32))? {
    var (number, inChain) = (1, 0)
    var longest = (commits: 1, salts: salts)
    guard var before = frame(1, read) else { return nil }
    while let frame = frame(number + 1, read) {
      number += 1
      inChain = follows(frame, before) ? inChain + (frame.word(4) != 0 ? 1 : 0) : 0
      if inChain > longest.commits { longest = (inChain, (frame.word(8), frame.word(12))) }
      before = frame
    }
    return longest.commits > 1 ? longest : nil
  }

  private func follows(_ frame: [UInt8], _ before: [UInt8]) -> Bool {
    // A page of zeros behind zeros follows too, and says nothing.
    frame.word(0) != 0 && frame[8..<16] == before[8..<16]
      && checksum(of: frame, after: before.checksum(16)) == frame.checksum(16)
  }

  /// Of the first eight bytes of a frame's header and of its page.
  private func checksum(of frame: [UInt8], after seed: Checksum) -> Checksum {
    checksum(of: frame[Self.frameHeaderBytes...], after: checksum(of: frame[..<8], after: seed))
  }

  private func checksum(of bytes: ArraySlice<UInt8>, after seed: Checksum) -> Checksum {
    var (first, second) = seed
    bytes.withUnsafeBytes { bytes in
      for offset in stride(from: 0, to: bytes.count - 7, by: 8) {
        let one = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
        let other = bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
        first &+= (isBigEndian ? one.bigEndian : one.littleEndian) &+ second
        second &+= (isBigEndian ? other.bigEndian : other.littleEndian) &+ first
      }
    }
    return (first, second)
  }
}

extension [UInt8] {
  fileprivate func word(_ offset: Int) -> UInt32 {
    self[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
  }

  fileprivate func checksum(_ offset: Int) -> (UInt32, UInt32) { (word(offset), word(offset + 4)) }
}

extension [UInt32] {
  fileprivate var bytes: [UInt8] {
    flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * $0)) } }
  }
}

extension SQLiteConnection {
  /// What of the log SQLite would pass over; nothing where the log cannot be read.
  func logLoss() -> LogScan.Loss? {
    guard let loss = scanLog() else { return nil }
    // Others may have begun the log anew in the middle of that: once more, while nobody can. Who may not write, or waits
    // for one who writes for long, looks whether it stays the same.
    guard (try? execute("BEGIN IMMEDIATE")) != nil else { return scanLog() == loss ? loss : nil }
    defer { try? execute("ROLLBACK") }
    return scanLog()
  }

  private func scanLog() -> LogScan.Loss? {
    withLog { size, read in LogScan.loss { offset, count in offset + count <= size ? read(offset, count) : nil } }
      ?? nil
  }

  /// Reads the log through the handle that SQLite has on it; nil where it has none.
  func withLog<Value>(_ body: (_ size: Int, _ read: LogScan.Read) -> Value) -> Value? {
    var opened: UnsafeMutablePointer<sqlite3_file>?
    guard sqlite3_file_control(handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &opened) == SQLITE_OK, let file = opened,
      let methods = file.pointee.pMethods, let sizeOf = methods.pointee.xFileSize, let read = methods.pointee.xRead
    else { return nil }
    var size: sqlite3_int64 = 0
    guard sizeOf(file, &size) == SQLITE_OK else { return nil }
    return body(Int(size)) { offset, count in
      var bytes = [UInt8](repeating: 0, count: count)
      return read(file, &bytes, Int32(count), sqlite3_int64(offset)) == SQLITE_OK ? bytes : nil
    }
  }
}
