/// What may lie beside an outbox, and SQLite would destroy or roll back into it without a word.
///
/// So it is looked for before SQLite opens the file, by `stat` alone.
extension OutboxFile {
  /// What is added to an outbox's name for the files beside it.
  static let suffixesBeside = ["-wal", "-shm", "-journal", "-lock", "-open", "-reserve", "-full", asideMarkSuffix]

  /// A new outbox before it has a log: one page of SQLite's, without a table.
  private static let maximumBytesWithoutLog: Int64 = 4096

  /// Refuses what SQLite must not open.
  func refuseStrayFiles() throws(OutboxError) {
    if let fault = lonelyLog {
      throw OutboxError(.damaged, "cannot open the outbox \(shownPath): \(fault). \(Self.lonelyLogAdvice)")
    }
    if hasStrayJournal {
      throw OutboxError(
        .conflict,
        "cannot open the outbox \(shownPath): a -journal lies beside it, which SQLite would roll back into it: all that came after would be lost. It is another file of that name, or another program wrote in another mode and did not finish. Keep a copy of all the files, then move the journal away"
      )
    }
  }

  /// What is wrong where a log lies there without its file, or beside one that has no byte; nil where that is not so.
  ///
  /// SQLite deletes such a log. The log is looked at first: the file of an outbox that another process makes has a page
  /// before there is a log.
  var lonelyLog: String? {
    let logBytes = logBytes
    guard logBytes > 0 else { return nil }
    let fault: String
    switch size(beside: "") {
    case nil: fault = "it is not there"
    case 0: fault = "it has no byte left"
    default: return nil
    }
    return
      "\(fault), but its log \(path)-wal has \(logBytes) bytes, which SQLite would delete, and with them every commit that is in the log alone"
  }

  static let lonelyLogAdvice =
    "If the file was moved or cut short, put it back whole beside its log. Else keep both, away from here, and restore a backup"

  /// Whether there is a journal, and not one that our own making of the file may have left.
  ///
  /// That one SQLite is to roll back; the log, and the second page, come after it. The journal is looked at last: where
  /// another process makes the outbox meanwhile it is gone before they come.
  private var hasStrayJournal: Bool {
    let isMade = logBytes > 0 || size(beside: "") ?? 0 > Self.maximumBytesWithoutLog
    return isMade && size(beside: "-journal") ?? 0 > 0
  }
}
