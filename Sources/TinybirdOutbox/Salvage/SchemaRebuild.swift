internal import COutboxSQLite

/// Copies a damaged outbox whose first pages no longer tell where its tables are, and gives the copy pages that do.
///
/// SQLite finds each table by the schema, whose tree begins on page 1. In a file that this library has made each begins
/// where it begins in any other: tables and indexes are made in one order, before all else, and with `auto_vacuum` SQLite
/// puts the first page of each at the lowest number that is free of another's. So a fresh outbox tells; and one that
/// was vacuumed, as erasing does, for that makes all tables before the indexes. Whether it is right is for the rows to
/// show: a chunk carries the outbox's id and a checksum.
///
/// For the bytes see *Database File Format* in SQLite's description of its file format.
struct SchemaRebuild {
  /// A fresh outbox, in whose schema the pages stand.
  let fresh: SQLiteConnection
  let copy: OutboxFile

  /// The largest page: SQLite's layer reads and writes no more than that at once.
  private static let pieceBytes = 64 << 10

  /// A table or an index.
  private struct Tree {
    var type: String
    var name: String
    var table: String
    /// The number of its first page.
    var root: Int
    var sql: String?
  }

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
        "the first pages of \(file.shownPath) are damaged, so that it has to be copied, and a program has it open: end that first"
      )
    }
    let (layouts, isTable) = try layouts()
    try withExtendedLifetime(presence) {
      try copyBytes(of: file, to: copy)
      guard file.logBytes > 0 else { return }
      let log = try OutboxFile(path: file.path + "-wal", sqliteVFS: file.sqliteVFS)
      try copyBytes(of: log, to: try OutboxFile(path: copy.path + "-wal"))
    }
    // The log may hold pages of a later schema, and is folded into the copy first; that needs a page 1 too.
    try writeFirstPage()
    let loss = try foldLog()
    try writeFirstPage()
    let pages = try RawFile(copy)
    let fits = try layouts.map { trees in
      try trees.count { tree in try isTable[tree.name] == Self.isTable(tree, in: pages, pageBytes: pageBytes) }
    }
    try writeSchema(fits[1] > fits[0] ? layouts[1] : layouts[0])
    return loss
  }

  private var pageBytes: Int { get throws { Int(try fresh.firstInteger("PRAGMA page_size") ?? 0) } }

  /// Where the trees of a fresh outbox begin, and of one that was vacuumed; and which are a table's.
  private func layouts() throws -> ([[Tree]], isTable: [String: Bool]) {
    try copy.prepare(create: true)
    defer { copy.remove(["-wal", "-shm", ""]) }
    try fresh.execute("VACUUM INTO ?1", copy.path)
    let vacuumed = try Self.trees(SQLiteConnection(path: copy.path))
    let pages = try RawFile(copy)
    let isTable = try vacuumed.map { ($0.name, try Self.isTable($0, in: pages, pageBytes: pageBytes) ?? false) }
    return ([try Self.trees(fresh), vacuumed], Dictionary(isTable) { first, _ in first })
  }

  private static func trees(_ connection: SQLiteConnection) throws -> [Tree] {
    try connection.rows(SQL.selectTreesOfSchema) { row in
      Tree(type: row.text(0), name: row.text(1), table: row.text(2), root: row.int(3), sql: row.optionalText(4))
    }
  }

  /// Nil where its first page is none of a tree.
  private static func isTable(_ tree: Tree, in pages: RawFile, pageBytes: Int) throws -> Bool? {
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

  private func foldLog() throws -> LogScan.Loss? {
    let connection = try SQLiteConnection(path: copy.path)
    _ = try connection.firstInteger("PRAGMA schema_version")
    let loss = connection.logLoss()
    try connection.foldLog()
    return loss
  }

  /// The page 1 of a database without a table, in WAL mode, whose pages are those that are there.
  private func writeFirstPage() throws {
    let pageBytes = try pageBytes
    let file = try RawFile(copy)
    var page = [UInt8](repeating: 0, count: pageBytes)
    page.replaceSubrange(0..<16, with: Array("SQLite format 3\0".utf8))
    // 65,536 is written as 1.
    page.put(UInt16(pageBytes == 65_536 ? 1 : pageBytes), at: 16)
    page.replaceSubrange(18..<24, with: [2, 2, 0, 64, 32, 32])
    page.put(UInt32((try file.size() + pageBytes - 1) / pageBytes), at: 28)
    // The number of changes, which must be that at 92 for the number of pages to count; schema, its format, UTF-8.
    for offset in [24, 40, 56, 92] { page.put(UInt32(1), at: offset) }
    page.put(UInt32(4), at: 44)
    page.put(UInt32(sqlite3_libversion_number()), at: 96)
    // The root of the schema's tree: a leaf without a row.
    page[100] = 0x0D
    page.put(UInt16(truncatingIfNeeded: pageBytes), at: 105)
    try file.write(page, at: 0)
  }

  /// Writes the rows of the schema; SQLite finds the room behind the last page.
  private func writeSchema(_ trees: [Tree]) throws {
    let connection = try SQLiteConnection(path: copy.path)
    try connection.execute(SQL.readDamagedSchema)
    try connection.execute("BEGIN IMMEDIATE")
    for tree in trees {
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
    connection = try SQLiteConnection(path: file.path, vfs: file.sqliteVFS)
    var opened: UnsafeMutablePointer<sqlite3_file>?
    let code = sqlite3_file_control(connection.handle, "main", SQLITE_FCNTL_FILE_POINTER, &opened)
    guard code == SQLITE_OK, let opened, let methods = opened.pointee.pMethods else {
      throw Self.error(code, "opening \(file.path)")
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
