/// The tables and indexes of an outbox, and the page on which each begins.
///
/// SQLite finds each by the schema. In a file that this library has made each begins where it begins in any other: tables
/// and indexes are made in one order, before all else, and with `auto_vacuum` SQLite puts the first page of each at the
/// lowest number that is free of another's. So a fresh outbox tells; and one that was vacuumed, as erasing does, for that
/// makes all tables before the indexes.
struct SchemaLayout {
  /// A table or an index.
  struct Tree: Hashable {
    var type: String
    var name: String
    var table: String
    /// The number of its first page.
    var root: Int
    var sql: String?
    /// Whether its pages are a table's; those of an index, and of a table without row ids, are of another kind.
    var isTable: Bool
  }

  let trees: [Tree]
  let pageBytes: Int

  /// Of a fresh outbox of a format version, and of one that was vacuumed.
  static func all(ofVersion version: Int64 = Schema.formatVersion) throws -> [SchemaLayout] {
    let fresh = try SQLiteConnection(path: ":memory:")
    try Pragmas.applyForCreating(to: fresh)
    for script in Schema.migrations.prefix(Int(version)) { try fresh.executeScript(script) }
    let layout = try SchemaLayout(of: fresh)
    try fresh.execute("VACUUM")
    return [layout, try SchemaLayout(of: fresh)]
  }

  private init(of connection: SQLiteConnection) throws {
    trees = try connection.rows(SQL.selectTreesOfSchema) { row in
      Tree(
        type: row.text(0), name: row.text(1), table: row.text(2), root: row.int(3), sql: row.optionalText(4),
        isTable: row.int(5) != 0)
    }
    pageBytes = Int(try connection.firstInteger(SQL.pageSize) ?? 0)
  }

  /// Whether the schema of a file is that of an outbox of any version; an app's own objects beside it do not count.
  static func isKnown(_ connection: SQLiteConnection) throws -> Bool {
    guard let actual = try SalvageSource.reading({ try SchemaLayout(of: connection) }) else { return false }
    return try (1...Schema.formatVersion).contains { version in
      try all(ofVersion: version).contains { layout in
        let names = Set(layout.trees.map(\.name))
        return Set(layout.trees) == Set(actual.trees.filter { names.contains($0.name) })
      }
    }
  }
}
