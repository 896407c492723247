internal import COutboxSQLite

/// Copies a damaged outbox whose first pages do not tell where its tables are, or whose log SQLite does not read, and gives
/// the copy pages that do, and a log that it reads.
///
/// Whether each table is where a ``SchemaLayout`` says is for the rows to show: a chunk carries the outbox's id and a
/// checksum.
///
/// For the bytes see *Database File Format* in SQLite's description of its file format.
struct SchemaRebuild {
  let copy: OutboxFile

  /// The largest page: SQLite's layer reads and writes no more than that at once.
  private static let pieceBytes = 64 << 10

  /// The kinds of pages that a tree's first page can be, by its first byte: of an index, inside and a leaf; of a table.
  private static let kinds: [UInt8: Bool] = [0x02: false, 0x0A: false, 0x05: true, 0x0D: true]

  /// Makes the copy; returns what of the log SQLite passes over.
  ///
  /// The copy takes as many bytes as file and log have. Nobody may have the outbox open meanwhile, for there is no
  /// transaction that would keep it still.
  func run(_ file: OutboxFile) throws -> LogScan.Loss? {
    guard let presence = try Presence.alone(file) else {
      throw OutboxError(
        .conflict,
        "the first pages of \(file.shownPath), or its log, are damaged, so that it has to be copied, and a program has it open: end that first"
      )
    }
    let loss = try withExtendedLifetime(presence) {
      try copyBytes(of: file, to: copy)
      guard file.logBytes > 0 else { return nil as LogScan.Loss? }
      let log = try OutboxFile(path: file.path + "-wal", sqliteVFS: file.sqliteVFS)
      let copiedLog = try OutboxFile(path: copy.path + "-wal")
      try copyBytes(of: log, to: copiedLog)
      return try mendLog(RawFile(copiedLog))
    }
    // The log may hold pages of a later schema, and is folded into the copy first; that needs a page 1 too.
    let layouts = try SchemaLayout.all()
    let pageBytes = layouts[0].pageBytes
    try writeFirstPage(pageBytes)
    try foldLog()
    try writeFirstPage(pageBytes)
    let pages = try RawFile(copy)
    let fits = layouts.map { layout in layout.trees.count { $0.isTable == Self.isTable($0, in: pages, pageBytes) } }
    try writeSchema(fits[1] > fits[0] ? layouts[1] : layouts[0])
    return loss
  }

  /// Whether the header of a file is one that this library may have written, and leaves no page out.
  static func isHeaderKnown(_ connection: SQLiteConnection) throws -> Bool {
    let file = try RawFile(of: connection)
    let size = try file.size()
    let header = file.readable(0..<headerBytes)
    let known = firstPage(pageBytes: try SchemaLayout.all()[0].pageBytes, fileBytes: size)
    let pageCount = { (page: [UInt8]) in page[pageCountBytes].reduce(0) { $0 << 8 | Int($1) } }
    return constantBytes.allSatisfy { header[$0] == known[$0] } && pageCount(header) >= pageCount(known)
  }

  /// Nil where its first page is none of a tree.
  private static func isTable(_ tree: SchemaLayout.Tree, in pages: RawFile, _ pageBytes: Int) -> Bool? {
    let offset = (tree.root - 1) * pageBytes
    return kinds[pages.readable(offset..<offset + 1)[0]]
  }

  private func copyBytes(of file: OutboxFile, to copy: OutboxFile) throws {
    try copy.prepare(create: true)
    let (source, target) = (try RawFile(file), try RawFile(copy))
    let size = try source.size()
    for offset in stride(from: 0, to: size, by: Self.pieceBytes) {
      try Salvage.checkCancellation()
      try target.write(source.readable(offset..<min(offset + Self.pieceBytes, size)), at: offset)
    }
  }

  /// Returns what SQLite would have passed over.
  private func mendLog(_ log: RawFile) throws -> LogScan.Loss? {
    let size = try log.size()
    let read: LogScan.Read = { offset, count in offset + count <= size ? log.readable(offset..<offset + count) : nil }
    guard var loss = LogScan.loss(read) else { return nil }
    try LogScan.mend(read) { try log.write($0, at: $1) }
    loss.isMended = true
    return loss
  }

  private func foldLog() throws {
    let connection = try SQLiteConnection(path: copy.path)
    _ = try connection.firstInteger("PRAGMA schema_version")
    try connection.foldLog()
  }

  // MARK: The first page

  private static let headerBytes = 100
  private static let pageCountBytes = 28..<32
  /// Of the header: what it begins with and the page's size, the format of the schema, the encoding of texts.
  private static let constantBytes = [0..<24, 44..<48, 56..<60]

  /// The page 1 of a database without a table, in WAL mode, whose pages are those that are there.
  private static func firstPage(pageBytes: Int, fileBytes: Int) -> [UInt8] {
    var page = [UInt8](repeating: 0, count: pageBytes)
    page.replaceSubrange(0..<16, with: Array("SQLite format 3\0".utf8))
    // 65,536 is written as 1.
    page.put(UInt16(pageBytes == 65_536 ? 1 : pageBytes), at: 16)
    page.replaceSubrange(18..<24, with: [2, 2, 0, 64, 32, 32])
    page.put(UInt32((fileBytes + pageBytes - 1) / pageBytes), at: pageCountBytes.lowerBound)
    // The number of changes, which must be that at 92 for the number of pages to count; schema, its format, UTF-8.
    for offset in [24, 40, 56, 92] { page.put(UInt32(1), at: offset) }
    page.put(UInt32(4), at: 44)
    page.put(UInt32(sqlite3_libversion_number()), at: 96)
    // The root of the schema's tree: a leaf without a row.
    page[headerBytes] = 0x0D
    page.put(UInt16(truncatingIfNeeded: pageBytes), at: headerBytes + 5)
    return page
  }

  private func writeFirstPage(_ pageBytes: Int) throws {
    let file = try RawFile(copy)
    try file.write(Self.firstPage(pageBytes: pageBytes, fileBytes: try file.size()), at: 0)
  }

  /// Writes the rows of the schema; SQLite finds the room behind the last page.
  private func writeSchema(_ layout: SchemaLayout) throws {
    let connection = try SQLiteConnection(path: copy.path)
    try connection.execute(SQL.readDamagedSchema)
    try connection.execute("BEGIN IMMEDIATE")
    for tree in layout.trees {
      try connection.execute(SQL.insertSchemaObject, tree.type, tree.name, tree.table, tree.root, tree.sql)
    }
    try connection.execute("COMMIT")
    try connection.foldLog()
  }
}

/// The bytes of a file, through the handle that SQLite has on it: a plain open and close would drop the locks of an app
/// that has it open.
private struct RawFile {
  private let connection: SQLiteConnection
  private let file: UnsafeMutablePointer<sqlite3_file>
  private let methods: sqlite3_io_methods

  /// A log is opened as a database would be: nothing of it is read before it is asked for.
  init(_ file: OutboxFile) throws {
    try self.init(of: SQLiteConnection(file))
  }

  /// The file of a connection.
  init(of connection: SQLiteConnection) throws {
    self.connection = connection
    var opened: UnsafeMutablePointer<sqlite3_file>?
    let code = sqlite3_file_control(connection.handle, "main", SQLITE_FCNTL_FILE_POINTER, &opened)
    guard code == SQLITE_OK, let opened, let methods = opened.pointee.pMethods else {
      throw Self.error(code, "opening a file")
    }
    (self.file, self.methods) = (opened, methods.pointee)
  }

  func size() throws -> Int {
    var size: sqlite3_int64 = 0
    let code = methods.xFileSize(file, &size)
    guard code == SQLITE_OK else { throw Self.error(code, "looking at the size of a file") }
    return Int(size)
  }

  /// The bytes of a range, with zeros in place of those that the disk does not give.
  func readable(_ range: Range<Int>) -> [UInt8] {
    if let bytes = read(range) { return bytes }
    let sectorBytes = 512
    return stride(from: range.lowerBound, to: range.upperBound, by: sectorBytes).flatMap { offset in
      let part = offset..<min(offset + sectorBytes, range.upperBound)
      return read(part) ?? [UInt8](repeating: 0, count: part.count)
    }
  }

  private func read(_ range: Range<Int>) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: range.count)
    let code = methods.xRead(file, &bytes, Int32(range.count), sqlite3_int64(range.lowerBound))
    return code == SQLITE_OK ? bytes : nil
  }

  func write(_ bytes: [UInt8], at offset: Int) throws {
    let code = methods.xWrite(file, bytes, Int32(bytes.count), sqlite3_int64(offset))
    guard code == SQLITE_OK else { throw Self.error(code, "writing a copy of the damaged file") }
  }

  private static func error(_ code: Int32, _ doing: String) -> SQLiteError {
    SQLiteError(code: code, message: String(cString: sqlite3_errstr(code)), doing: doing)
  }
}

extension [UInt8] {
  /// Writes a number, its highest byte first.
  fileprivate mutating func put(_ number: some FixedWidthInteger, at offset: Int) {
    Swift.withUnsafeBytes(of: number.bigEndian) { replaceSubrange(offset..<offset + $0.count, with: $0) }
  }
}
