public import struct Foundation.Date

/// What pruning has taken out of the file.
public struct PruneReport: Sendable, Equatable {
  /// Events, delivered or discarded.
  public var events: Int
  /// NDJSON bytes of these.
  public var bytes: Int64

  package init(events: Int, bytes: Int64) {
    self.events = events
    self.bytes = bytes
  }
}

extension Outbox {
  /// Takes delivered and discarded events out of the file, and gives free space back to the disk where more than half of
  /// the file is free.
  ///
  /// An outbox that delivers does this on its own, by ``OutboxConfiguration/keepsDeliveredFor`` and
  /// ``OutboxConfiguration/keepsDeliveredBytes``. What is pruned stays in all counts, and can no longer be looked at or
  /// sent once more. Pending events, dead letters, damaged chunks, and batches with a warning that nobody has
  /// acknowledged stay. It goes in small steps, so that appends go on; a crash leaves whole steps.
  ///
  /// - Parameters:
  ///   - date: Only events that were settled before this moment. Default: all.
  ///   - progress: Called now and then with the events that are gone so far.
  @discardableResult
  public func prune(
    settledBefore date: Date? = nil, progress: @Sendable (Int) -> Void = { _ in }
  ) async throws -> PruneReport {
    let settledUpTo = date.map { WallTime($0) } ?? .now
    let done = try await housekeeper.prune(Pruner.Goal(settledUpTo: settledUpTo), progress: progress)
    return PruneReport(events: done.events, bytes: done.bytes)
  }

  /// Notes that somebody has looked at the delivered batches of a range whose counts did not match what was sent, or that
  /// had rows in quarantine: status no longer names them, and they may be pruned.
  ///
  /// Returns how many batches that were.
  @discardableResult
  public func acknowledgeWarnings(in range: AddressRange) async throws -> Int {
    try await committer.perform { try Ledger(transaction: $0).acknowledgeWarnings(in: range) }
  }
}

extension Ledger {
  func acknowledgeWarnings(in range: AddressRange) throws -> Int {
    let id = try number(of: range.dataSource)
    try transaction.connection.execute(
      SQL.acknowledgeWarnings, id, range.sequences.lowerBound, range.sequences.upperBound,
      transaction.now.milliseconds)
    return transaction.connection.changedRowCount
  }
}
