internal import Dispatch
internal import Foundation
internal import NIOCore

/// Keeps requests and rows in SQLite, in a file or in memory, on a thread of its own.
///
/// The file is in WAL mode with `synchronous=OFF`: it is consistent whenever the process ends, and other processes can
/// read it meanwhile, but a power cut may damage it. That is the right trade for a server whose data is a test's.
actor SQLiteStorage: RowStorage {
  /// Written to the file as `application_id`, so that no other database is taken for the emulator's: "EVEM".
  static let applicationID = 0x4556_454D
  static let formatVersion = 1

  private let executor = StorageExecutor()
  private let database: SQLiteDatabase

  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  /// Opens or creates the file, or a database in memory where `file` is nil.
  init(file: URL?) throws(EmulatorError) {
    database = try SQLiteDatabase(path: file?.path(percentEncoded: false) ?? ":memory:")
    try Self.prepare(database, name: file?.lastPathComponent ?? "memory")
  }

  private static func prepare(_ database: SQLiteDatabase, name: String) throws(EmulatorError) {
    var applicationID = 0
    var version = 0
    var objects = 0
    try database.run("PRAGMA application_id") { _ in
    } onRow: {
      applicationID = $0.int(0)
    }
    try database.run("PRAGMA user_version") { _ in
    } onRow: {
      version = $0.int(0)
    }
    try database.run("SELECT count(*) FROM sqlite_schema") { _ in
    } onRow: {
      objects = $0.int(0)
    }
    let isNew = objects == 0 && applicationID == 0
    guard isNew || (applicationID == Self.applicationID && version == formatVersion) else {
      throw EmulatorError(.storageFailed, "\(name) is not a file of this emulator; give another, or move it away")
    }
    try database.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-16000")
    guard isNew else { return }
    try database.execute(
      """
      BEGIN IMMEDIATE;
      PRAGMA application_id=\(Self.applicationID);
      PRAGMA user_version=\(formatVersion);
      -- One row for every request. time: milliseconds since 1970. status: NULL where there was no answer.
      CREATE TABLE requests (
        id INTEGER PRIMARY KEY, time INTEGER NOT NULL, data_source TEXT, status INTEGER, committed INTEGER NOT NULL,
        rows INTEGER NOT NULL, quarantined_rows INTEGER NOT NULL, bytes INTEGER NOT NULL, encoding TEXT NOT NULL,
        waits INTEGER NOT NULL, http_version TEXT NOT NULL, fault TEXT);
      -- One row for every row that was committed.
      CREATE TABLE rows (
        id INTEGER PRIMARY KEY, request_id INTEGER NOT NULL REFERENCES requests, data_source TEXT NOT NULL,
        quarantined INTEGER NOT NULL, payload TEXT NOT NULL);
      COMMIT;
      """)
  }

  func record(
    _ request: RecordedRequest, rows: [NDJSONBody.Row], in body: ByteBuffer
  ) throws(EmulatorError) {
    try database.transaction { () throws(EmulatorError) in
      try database.run(
        "INSERT INTO requests VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        bind: { statement in
          statement.bind(Int((request.time.timeIntervalSince1970 * 1000).rounded()), at: 1)
          statement.bind(request.dataSource, at: 2)
          statement.bind(request.status, at: 3)
          statement.bind(request.isCommitted ? 1 : 0, at: 4)
          statement.bind(request.rowCount, at: 5)
          statement.bind(request.quarantinedRowCount, at: 6)
          statement.bind(request.byteCount, at: 7)
          statement.bind(request.isGzip ? "gzip" : "identity", at: 8)
          statement.bind(request.waits ? 1 : 0, at: 9)
          statement.bind(request.httpVersion, at: 10)
          statement.bind(request.fault, at: 11)
        })
      try insert(rows, in: body, of: database.lastInsertID, dataSource: request.dataSource)
    }
  }

  private func insert(
    _ rows: [NDJSONBody.Row], in body: ByteBuffer, of requestID: Int, dataSource: String?
  ) throws(EmulatorError) {
    var failure: EmulatorError?
    body.withUnsafeReadableBytes { bytes in
      do throws(EmulatorError) {
        for row in rows {
          try database.run(
            "INSERT INTO rows VALUES (NULL, ?, ?, ?, ?)",
            bind: { statement in
              statement.bind(requestID, at: 1)
              statement.bind(dataSource, at: 2)
              statement.bind(row.isQuarantined ? 1 : 0, at: 3)
              statement.bind(borrowed: UnsafeRawBufferPointer(rebasing: bytes[row.start..<row.end]), at: 4)
            })
        }
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }

  func requests() throws(EmulatorError) -> [RecordedRequest] {
    var requests: [RecordedRequest] = []
    try database.run(
      """
      SELECT id, time, data_source, status, committed, rows, quarantined_rows, bytes, encoding, waits, http_version,
        fault FROM requests ORDER BY id
      """
    ) { _ in
    } onRow: { row in
      requests.append(
        RecordedRequest(
          id: row.int(0), time: Date(timeIntervalSince1970: Double(row.int(1)) / 1000),
          dataSource: row.optionalText(2), status: row.optionalInt(3), isCommitted: row.int(4) != 0,
          rowCount: row.int(5), quarantinedRowCount: row.int(6), byteCount: row.int(7), isGzip: row.text(8) == "gzip",
          waits: row.int(9) != 0, httpVersion: row.text(10), fault: row.optionalText(11)))
    }
    return requests
  }

  func rows(of dataSource: String) throws(EmulatorError) -> [StoredRow] {
    var rows: [StoredRow] = []
    try database.run("SELECT request_id, payload, quarantined FROM rows WHERE data_source = ? ORDER BY id") {
      $0.bind(dataSource, at: 1)
    } onRow: {
      rows.append(StoredRow(requestID: $0.int(0), payload: $0.text(1), isQuarantined: $0.int(2) != 0))
    }
    return rows
  }

  func deliveries(of dataSource: String) throws(EmulatorError) -> [String: Int] {
    var counts: [String: Int] = [:]
    try database.run("SELECT payload, count(*) FROM rows WHERE data_source = ? GROUP BY payload") {
      $0.bind(dataSource, at: 1)
    } onRow: {
      counts[$0.text(0)] = $0.int(1)
    }
    return counts
  }

  func deliveries(of dataSource: String, byMember member: String) throws(EmulatorError) -> [String: Int] {
    var counts: [String: Int] = [:]
    try database.run(
      """
      SELECT
        CASE WHEN json_valid(payload) THEN
          coalesce((SELECT value FROM json_each(payload) WHERE key = ?2 LIMIT 1), '') ELSE '' END,
        count(*)
      FROM rows WHERE data_source = ?1 GROUP BY 1
      """
    ) {
      $0.bind(dataSource, at: 1)
      $0.bind(member, at: 2)
    } onRow: {
      counts[$0.text(0)] = $0.int(1)
    }
    return counts
  }

  func rowCounts() throws(EmulatorError) -> [String: RowCount] {
    var counts: [String: RowCount] = [:]
    try database.run(
      """
      SELECT data_source, sum(rows), sum(quarantined_rows) FROM requests WHERE committed AND data_source IS NOT NULL
      GROUP BY 1
      """
    ) { _ in
    } onRow: {
      counts[$0.text(0)] = RowCount(all: $0.int(1), quarantined: $0.int(2))
    }
    return counts
  }
}

/// Runs the storage's jobs one after another, off the threads that Swift's tasks share: SQLite's calls block.
private final class StorageExecutor: SerialExecutor {
  private let queue = DispatchQueue(label: "events-api-emulator.storage")

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
  }
}
