internal import Logging

/// Decides whether appends may be stored: while the reserve is whole, and inside the byte budget.
///
/// Everything else (settling, pruning, an operator's commands) passes by it.
struct SpaceGate: Sendable {
  let limits: SpaceLimits
  let reserve: ReserveFile
  private let file: OutboxFile

  init(_ file: OutboxFile, limits: SpaceLimits) {
    self.file = file
    self.limits = limits
    reserve = ReserveFile(file, limits: limits)
  }

  /// Whether the appends of a commit may be stored.
  enum Admission {
    case granted
    /// The file system cannot hold blocks back, which is no reason to refuse events.
    case grantedWithoutReserve
    case refused(OutboxError)
  }

  /// Refuses appends while the disk has no room for the reserve.
  func admission(ofAppending byteCount: Int) -> Admission {
    switch reserve.hold(forAppending: byteCount) {
    case .whole: .granted
    case .failed: .grantedWithoutReserve
    case .noRoom:
      .refused(
        OutboxError(
          .diskFull,
          "the disk of \(file.shownPath) is full: \(limits.reserveBytes >> 20) MiB must be free as a reserve, so that what is stored can still be settled, and \(limits.checkpointBytes >> 20) MiB besides. Nothing was stored and nothing old was deleted; free some space and it works again"
        ))
    }
  }

  /// Refuses an operator's work in bulk on a full disk: what is held back there is for settling.
  func requireRoom(for work: String) throws(OutboxError) {
    guard reserve.isBrokenInto, reserve.hold(forAppending: 0) == .noRoom else { return }
    throw OutboxError(
      .diskFull,
      "the disk of \(file.shownPath) is full, and what is left is held back for settling: \(work) needs room. Free some space and give the command again; what is done stays done"
    )
  }

  /// The bytes that appends of this transaction may take; nil where there is no budget.
  ///
  /// - Parameters:
  ///   - byteCount: The bytes that it appends. Default: 0, no more than one commit usually takes.
  ///   - logBytes: What the log holds, as far as the caller knows.
  ///   - unfoldedBytes: What of the log is not in the file yet, so that the commit is written behind it.
  func room(
    in connection: SQLiteConnection, forAppending byteCount: Int = 0, logBytes: Int64 = 0, unfoldedBytes: Int64 = 0
  ) throws -> Int64? {
    guard limits.maximumBytes != nil else { return nil }
    let use = try SpaceUse(of: connection)
    let large = limits.cost(ofLargeAppend: byteCount)
    // What is free inside the file is room for a large append too, but the log beside it then needs room of its own.
    let usedBytes = large > 0 ? max(use.usedBytes, use.usedBytes + use.freeBytes - large) : use.usedBytes
    return limits.room(usedBytes: usedBytes, logBytes: max(logBytes, file.logBytes, unfoldedBytes + large))
  }

  /// Why an append of `byteCount` bytes has no room in the budget.
  func budgetRefusal(ofAppending byteCount: Int) -> OutboxError {
    let least = SpaceLimits.leastMaximumBytes(forAppending: byteCount)
    if let maximumBytes = limits.maximumBytes, limits.cost(ofLargeAppend: byteCount) > 0, maximumBytes < least {
      return OutboxError(
        .outboxFull,
        "\(byteCount) bytes in one call are too many for the outbox \(file.shownPath) with its limit of \(maximumBytes) bytes: they need twice their size, in the log and in the file. Nothing was stored; give fewer events a call, or set maximumBytes to at least \(least)"
      )
    }
    return OutboxError(
      .outboxFull,
      "the outbox \(file.shownPath) is full: its limit of \(limits.maximumBytes ?? 0) bytes is reached. Nothing was stored and nothing old was deleted; it works again when events have been delivered, or with a larger maximumBytes"
    )
  }
}

/// How the pages of the file are used, as one transaction sees it.
struct SpaceUse: Equatable, Sendable {
  var pages: Int64
  var freePages: Int64
  var pageBytes: Int64

  init(of connection: SQLiteConnection) throws {
    pages = try connection.firstInteger(SQL.pageCount) ?? 0
    freePages = try connection.firstInteger(SQL.freePageCount) ?? 0
    pageBytes = try connection.firstInteger(SQL.pageSize) ?? 4096
  }

  var usedBytes: Int64 { (pages - freePages) * pageBytes }
  var freeBytes: Int64 { freePages * pageBytes }
}
