internal import COutboxSQLite

/// What ``Outbox/doctor(at:progress:)`` found out about a file.
public struct DoctorReport: Sendable, Equatable {
  /// How bad a finding is.
  public enum Severity: String, Sendable, Codable, CaseIterable {
    /// As it should be.
    case ok
    /// Worth knowing; the outbox keeps its promise.
    case note
    /// Something is wrong, or could lose events.
    case problem
  }

  /// What a finding is about.
  public enum Subject: String, Sendable, Codable, CaseIterable {
    /// The file, those beside it, and its directory.
    case file
    /// The SQLite library of this process.
    case sqlite
    /// What the file's header says.
    case settings
    /// Tables, indexes and views.
    case schema
    /// The log, the ledger, chunks, dead letters and counts.
    case contents
  }

  /// One thing that was looked at.
  public struct Finding: Sendable, Equatable {
    /// How bad it is.
    public var severity: Severity
    /// What it is about.
    public var subject: Subject
    /// What was found, and what it means.
    public var text: String
    /// What to do; nil where there is nothing to do.
    public var advice: String?
  }

  /// Everything that was looked at, in the order of ``Subject``.
  public var findings: [Finding] = []
  /// Whether nothing is wrong.
  public var isSound: Bool { !findings.contains { $0.severity == .problem } }

  mutating func add(_ severity: Severity, _ subject: Subject, _ text: String, advice: String? = nil) {
    findings.append(Finding(severity: severity, subject: subject, text: text, advice: advice))
  }
}

extension Outbox {
  /// Examines an outbox, and explains: the file, SQLite, the schema, the ledger, the chunks.
  ///
  /// It is safe while others append and deliver, works on a file that ``init(at:configuration:logger:)`` refuses, and
  /// changes nothing: it neither migrates nor folds the log into the file. Like every reader of SQLite it makes the files
  /// `-wal` and `-shm` where they are missing. A crash in the middle leaves everything as it is.
  ///
  /// - Parameters:
  ///   - path: The file. It need not be an outbox.
  ///   - progress: Called now and then with the events checked so far and those there are.
  /// - Returns: The findings; it does not throw, for what is wrong is what was asked for.
  public static func doctor(
    at path: String, progress: @Sendable (Int, Int) -> Void = { _, _ in }
  ) async -> DoctorReport {
    await Doctor(thread: ThreadExecutor(name: "outbox-doctor")).examine(path, progress)
  }
}

/// Examines one file, on a thread of its own.
private actor Doctor {
  private nonisolated let thread: ThreadExecutor
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  private var report = DoctorReport()
  /// What helps where a part cannot be read.
  private static let rescue =
    "keep a copy of the file and its -wal; `outbox doctor --salvage` builds a new outbox of what can be read"

  init(thread: ThreadExecutor) {
    self.thread = thread
  }

  func examine(_ path: String, _ progress: @Sendable (Int, Int) -> Void) async -> DoctorReport {
    do {
      let file = try OutboxFile(path: path)
      guard examineFile(file) else { return report }
      examineLibrary()
      if let id = try examineDatabase(file) { await examineContents(file, id, progress) }
    } catch let error as OutboxError {
      report.add(.problem, .file, error.finding)
    } catch {
      report.add(.problem, .file, "\(error)", advice: Self.rescue)
    }
    return report
  }

  // MARK: Outside

  /// Returns whether there is something that SQLite may open.
  private func examineFile(_ file: OutboxFile) -> Bool {
    guard let condition = file.condition else {
      if let aside = file.asideMark {
        report.add(
          .problem, .file, "a program died while it set the outbox aside, to \(aside)",
          advice: "the next program that opens the outbox finishes that")
      } else if let fault = file.lonelyLog {
        report.add(.problem, .file, fault, advice: OutboxFile.lonelyLogAdvice)
        return false
      }
      report.add(.problem, .file, "there is no file at \(file.shownPath)", advice: "check the path")
      return false
    }
    guard condition.isRegular else {
      report.add(.problem, .file, "\(file.shownPath) is not a regular file", advice: "check the path")
      return false
    }
    if let fault = file.lonelyLog {
      report.add(.problem, .file, "\(fault). It was not opened", advice: OutboxFile.lonelyLogAdvice)
      return false
    }
    guard file.isWritable else {
      report.add(.problem, .file, "\(file.shownPath): \(OutboxFile.unwritable)")
      return false
    }
    guard file.hasRoomForFiles else {
      report.add(.problem, .file, "\(file.shownPath): \(file.noRoomForFiles)")
      return false
    }
    let before = report.findings.count
    for exposure in file.exposures() {
      if case .readableDirectory = exposure {
        report.add(.note, .file, exposure.description)
      } else {
        report.add(.problem, .file, exposure.description)
      }
    }
    if let network = FileSystem.of(file.path).networkName {
      report.add(
        .problem, .file, "it lies on \(network), where SQLite's log is not safe, so that it is not opened",
        advice: "move it to a disk of this machine while no program uses it")
    }
    if !condition.isOwn { report.add(.note, .file, "it belongs to another user than the one that asks") }
    if condition.linkCount > 1 {
      report.add(
        .problem, .file, "it has \(condition.linkCount) names (hard links), and SQLite would keep a log for each",
        advice: "remove the others")
    }
    if file.logBytes > SpaceLimits.notableLogBytes {
      let readers = file.logReaders().map { "\($0)" }.joined(separator: ", ")
      report.add(
        .note, .file,
        "its log has \(file.logBytes) bytes: \(readers.isEmpty ? "some program" : "process \(readers)") reads an old state of it",
        advice: "end that transaction; the next commits fold the log in")
    }
    if file.size(beside: "-journal") ?? 0 > 0 {
      report.add(
        .problem, .file,
        "a -journal lies beside it: another program wrote in another mode and did not finish. It was not opened, for "
          + "SQLite would roll that back", advice: "keep a copy of all its files before anything opens it")
      return false
    }
    examineSpace(file)
    if report.findings.count == before {
      report.add(.ok, .file, "\(file.shownPath), \(file.sizeBytes()) bytes, private")
    }
    return true
  }

  /// Tells what stands in the way of an append: a full disk, or a reserve that cannot be held back.
  private func examineSpace(_ file: OutboxFile) {
    let limits = SpaceLimits(maximumBytes: nil, diskBytes: file.diskBytes)
    let needed = limits.reserveBytes + limits.checkpointBytes
    let free = file.freeDiskBytes ?? .max
    if ReserveFile(file, limits: limits).isBrokenInto {
      report.add(
        .problem, .file, "the disk was found full: appends are refused, and everything else goes on",
        advice: "see that \(needed >> 20) MiB are free; then appends are taken again by themselves")
    } else if OutboxFile.resolveLink(file.reservePath) != nil {
      report.add(
        .problem, .file, "\(file.reservePath) is a symbolic link, so that no blocks are held back for a full disk",
        advice: "remove the link; the next append makes the file")
    } else if file.reserveBytes == 0, free < needed {
      report.add(
        .problem, .file,
        "the disk has \(free) bytes free, too few to hold \(limits.reserveBytes) back: appends are refused",
        advice: "see that \(needed >> 20) MiB are free; then appends are taken again by themselves")
    } else if file.reserveBytes == 0, file.size(beside: "-open") != nil {
      // A copy that no program has opened has none either.
      report.add(
        .note, .file,
        "no blocks are held back for a full disk: nothing was appended here yet, or the file system cannot",
        advice: "if that is so after an append too, see that the disk never gets full: settling would have to wait")
    }
  }

  private func examineLibrary() {
    let version = String(cString: sqlite3_libversion())
    if sqlite3_libversion_number() < 3_051_003 {
      report.add(
        .note, .sqlite,
        "SQLite \(version) is older than 3.51.3 and can damage a log that one connection restarts while another "
          + "checkpoints. The outbox guards its own checkpoints against it",
        advice: "let no other program checkpoint the file: in the sqlite3 shell, PRAGMA wal_autocheckpoint = 0")
    } else {
      report.add(.ok, .sqlite, "SQLite \(version)")
    }
  }

  // MARK: Inside

  /// Returns the outbox's id where the contents can be examined.
  private func examineDatabase(_ file: OutboxFile) throws -> OutboxID? {
    do {
      let connection = try StoreOpening.openForReading(file)
      defer { examineLog(connection) }
      guard let version = try examineVersion(connection) else { return nil }
      try examineSettings(connection)
      guard try examineSchema(connection, version) else { return nil }
      return try withOutboxErrors { try StoreOpening.readID(connection, file) }
    } catch let error as OutboxError {
      report.add(.problem, .contents, error.finding, advice: error.code == .damaged ? Self.rescue : nil)
    } catch let error as SQLiteError {
      let isReadable = error.primaryCode != SQLITE_NOTADB
      report.add(
        .problem, .settings,
        isReadable ? "SQLite cannot read it: \(error)" : "it is not an SQLite database, or its first page is gone",
        advice: isReadable ? Self.rescue : "check the path; if it was an outbox, \(Self.rescue)")
    }
    return nil
  }

  /// What is wrong with a log SQLite does not say.
  private func examineLog(_ connection: SQLiteConnection) {
    if let loss = connection.logLoss() {
      report.add(
        .problem, .contents,
        "\(loss.place) of the -wal beside it is damaged: SQLite passes over it and over at least \(loss.commits) commits behind it, which were acknowledged",
        advice:
          "keep a copy of both files: nothing is appended to it meanwhile. Then `outbox doctor --salvage` makes a new one of what can be read, also behind the damage"
      )
      return
    }
    let what: String
    switch connection.logHead()?.fault {
    case nil: return
    case .noHeader: what = "the -wal beside it is not a log of SQLite's"
    case .foreignFrame: what = "the -wal beside it does not go on as it begins"
    }
    report.add(
      .problem, .contents,
      "\(what): SQLite passes over it, and commits that were in it alone are lost, or were never there",
      advice:
        "keep a copy of both files before anything is appended, for that writes over the log; what is in the file is examined here without it"
    )
  }

  private func examineVersion(_ connection: SQLiteConnection) throws -> Int64? {
    guard try connection.firstInteger(SQL.metaTableExists) != nil else {
      let isEmpty = try connection.firstInteger(SQL.countSchemaObjects) == 0
      report.add(
        .problem, .schema,
        isEmpty
          ? "there is no table in it: an outbox that was never completed" : "it is another application's database",
        advice: isEmpty ? "the first append completes it" : "check the path")
      return nil
    }
    let version = try connection.firstInteger(SQL.selectMeta, "format_version") ?? 0
    switch version {
    case 1..<Schema.formatVersion:
      report.add(
        .note, .schema,
        "its format is version \(version); this program brings it to \(Schema.formatVersion) when it opens it")
    case Schema.formatVersion: report.add(.ok, .schema, "its format is version \(version)")
    case Schema.formatVersion...:
      report.add(
        .problem, .schema, "its format is version \(version), this program knows \(Schema.formatVersion)",
        advice: "upgrade the program that opens it")
      return nil
    default:
      report.add(.problem, .schema, "its format version is \(version), which is none", advice: Self.rescue)
      return nil
    }
    return version
  }

  private func examineSettings(_ connection: SQLiteConnection) throws {
    let before = report.findings.count
    if try connection.firstRow("PRAGMA journal_mode", body: { $0.text(0) }) != "wal" {
      report.add(
        .note, .settings, "its journal mode is not WAL: another program has changed that",
        advice: "the next opening sets it back")
    }
    let isOwnFile = try connection.firstInteger(SQL.applicationID) == Schema.applicationID
    if isOwnFile, try connection.firstInteger("PRAGMA auto_vacuum") != 2 {
      report.add(
        .note, .settings, "auto_vacuum is not INCREMENTAL, so that the file cannot shrink",
        advice: "PRAGMA auto_vacuum = 2; VACUUM; while no program uses it")
    }
    if !isOwnFile {
      report.add(.note, .settings, "it lives in another application's database, whose settings are not judged")
    }
    if report.findings.count == before { report.add(.ok, .settings, "WAL, can shrink, marked as an outbox") }
  }

  /// Compares every object of ours with what the same version makes in memory.
  ///
  /// Returns whether the contents can be examined.
  private func examineSchema(_ connection: SQLiteConnection, _ version: Int64) throws -> Bool {
    let fresh = try SQLiteConnection(path: ":memory:")
    for script in Schema.migrations.prefix(Int(version)) { try fresh.executeScript(script) }
    let (wanted, actual) = (try objects(fresh), try objects(connection))
    var isUsable = true
    for (name, sql) in wanted.sorted(by: { $0.key < $1.key }) where actual[name] != sql {
      let isMissing = actual[name] == nil
      if isMissing, sql.hasPrefix("CREATE TABLE") { isUsable = false }
      report.add(
        .problem, .schema, "\(name) is \(isMissing ? "missing" : "not as this version makes it")",
        advice: isMissing ? Self.rescue : "some program has changed the schema; keep a copy, and ask who")
    }
    for name in actual.keys.sorted() where wanted[name] == nil {
      report.add(.note, .schema, "\(name) is not of this version's making")
    }
    return isUsable
  }

  private func objects(_ connection: SQLiteConnection) throws -> [String: String] {
    Dictionary(try connection.rows(SQL.selectOwnObjects) { ($0.text(0), $0.text(1)) }) { first, _ in first }
  }

  private func examineContents(_ file: OutboxFile, _ id: OutboxID, _ progress: @Sendable (Int, Int) -> Void) async {
    let reader = StoreReader(file: file, outboxID: id, thread: ThreadExecutor(name: "outbox-doctor-reader"))
    do {
      let found = try await reader.verify(progress: progress)
      for problem in found.problems { report.add(.problem, .contents, problem, advice: Self.rescue) }
      let damaged = found.dataSources.reduce(0) { $0 + $1.damaged }
      if damaged > 0 {
        report.add(
          .note, .contents, "\(damaged) events are damaged and set apart; everything else goes on",
          advice: "to see which: outbox list --state damaged")
      }
      if found.isSound {
        report.add(
          .ok, .contents, "\(found.checkedEvents) events in \(found.checkedChunks) chunks; ledger and counts add up")
      }
    } catch {
      report.add(.problem, .contents, error.finding, advice: Self.rescue)
    }
    await reader.close()
  }
}

extension OutboxError {
  /// What an error of a damaged file ends with.
  static let seeDoctor = ". Keep a copy and run `outbox doctor`"

  /// The message for who has done that.
  fileprivate var finding: String {
    message.hasSuffix(Self.seeDoctor) ? String(message.dropLast(Self.seeDoctor.count)) : message
  }
}
