/// What an operator's command did.
public struct ReplayReport: Sendable, Equatable {
  /// Events that are to be sent again.
  public var events: Int
  /// Batches that they are in.
  public var batches: Int
  /// Dead letters that were left alone because they may be in Tinybird already.
  public var leftBecauseMaybeInserted: Int

  package init(events: Int = 0, batches: Int = 0, leftBecauseMaybeInserted: Int = 0) {
    self.events = events
    self.batches = batches
    self.leftBecauseMaybeInserted = leftBecauseMaybeInserted
  }
}

/// Commands of an operator.
///
/// They are rows in the outbox: whichever process delivers finds them within a moment.
extension Outbox {
  /// Sends dead letters again.
  ///
  /// They are *replaying* until the service has answered: delivered ones leave the table, refused ones return with one
  /// attempt more. A crash changes nothing of that.
  ///
  /// - Parameters:
  ///   - filter: Which.
  ///   - mayDuplicate: Also those that may be in Tinybird already. Default: false; they are counted and left alone.
  public func replay(
    matching filter: DeadLetterFilter, mayDuplicate: Bool = false
  ) async throws -> ReplayReport {
    var filter = filter
    filter.isReplaying = false
    let limits = configuration.delivery?.laneSettings.limits ?? Self.defaultLimits
    var report = ReplayReport()
    var after: Int64? = 0
    // In steps, so that a million dead letters hold nobody's commit up for long.
    while let key = after {
      try writer.gate.requireRoom(for: "a replay")
      let (doubted, step) = try await committer.perform { [filter] in
        // In a restored backup every dead letter may have been replayed since.
        let doubted = try $0.doubtIfRestored(limits: limits)
        let step = try DeadLetterTable(transaction: $0).startReplay(
          matching: filter, after: key, mayDuplicate: mayDuplicate, limits: limits)
        return (doubted, step)
      }
      if let doubted { logger.warnOfRestoring(doubted, file) }
      report.events += step.report.events
      report.batches += step.report.batches
      report.leftBecauseMaybeInserted += step.report.leftBecauseMaybeInserted
      after = step.next
    }
    return report
  }

  /// Sends delivered events once more, for example after rows were lost in Tinybird.
  ///
  /// They stay delivered and are counted once; every row of them will be there twice unless the first was removed.
  /// Returns how many events that are.
  public func resend(_ range: AddressRange) async throws -> ReplayReport {
    try writer.gate.requireRoom(for: "sending events once more")
    return try await committer.perform { try Ledger(transaction: $0).resend(range) }
  }

  /// Throws dead letters away, for good.
  ///
  /// Returns how many.
  public func discard(matching filter: DeadLetterFilter) async throws -> Int {
    var filter = filter
    filter.isReplaying = false
    var count = 0
    while true {
      let step = try await committer.perform { [filter] in
        try DeadLetterTable(transaction: $0).discard(matching: filter)
      }
      count += step
      if step == 0 { return count }
    }
  }

  /// Gives a dead letter another JSON, which is checked as an append checks it; the old one is gone.
  ///
  /// Replay it afterwards.
  public func repair(_ address: Address, with json: some RawJSON) async throws {
    var packer = EventPacker()
    try json.withJSONBytes { try door.admit($0, to: address.dataSource, index: 0, into: &packer) }
    guard let bytes = packer.finish().pieces.first?.bytes.dropLast() else { return }
    try await committer.perform { try DeadLetterTable(transaction: $0).repair(address, with: Array(bytes)) }
  }

  /// Stops sending to a data source; appends go on.
  ///
  /// What is under way may still be answered.
  public func hold(_ dataSource: DataSourceName) async throws {
    try await committer.perform { try Ledger(transaction: $0).command(.hold, dataSource) }
  }

  /// Ends a hold, whoever made it, and sends at once.
  ///
  /// - Parameters:
  ///   - dataSource: Whose lane.
  ///   - replayingCause: Also replay the batch that was refused when the service made us hold. Default: false.
  @discardableResult
  public func resume(_ dataSource: DataSourceName, replayingCause: Bool = false) async throws -> ReplayReport {
    var report = ReplayReport()
    if replayingCause {
      let lane = try await status().dataSources.first { $0.dataSource == dataSource }?.lane
      if case .held(_, _, _, let batch?)? = lane { report = try await replay(matching: DeadLetterFilter(batch)) }
    }
    try await committer.perform { try Ledger(transaction: $0).command(.resume, dataSource) }
    return report
  }

  /// Finds the events that the service fails on, of batches that keep failing.
  ///
  /// Such a batch is *parked*: it is tried for ever, by itself, and the others pass it. From now on it is halved by each
  /// 500 (or another 5xx, but no 503, which is nobody's fault), until the guilty events are alone. One that has failed
  /// three times while others were delivered becomes a dead letter with the reason ``DeadReason/isolated``; under strict
  /// order, where nothing can pass it, after five. They may be in Tinybird, like all that was answered with a 500. After
  /// twenty such answers in a row the service counts as away, and nothing is halved before it takes something.
  ///
  /// A crash changes nothing of that: it is noted on the batches. What was delivered once, and is sent once more, is left.
  ///
  /// - Returns: How many batches hold any of these events and wait.
  public func isolate(_ range: AddressRange) async throws -> Int {
    try await committer.perform { try Ledger(transaction: $0).isolate(range) }
  }

  /// Cuts every wait of a data source short: the next attempt is now.
  ///
  /// A hold stays.
  public func deliverNow(_ dataSource: DataSourceName) async throws {
    try await committer.perform { try Ledger(transaction: $0).command(.deliverNow, dataSource) }
  }

  /// The limits of batches where the outbox has no delivery of its own.
  static let defaultLimits = BatchLimits(maximumBytes: 8_000_000, maximumEvents: 50_000)
}

extension Ledger {
  enum Command: Sendable {
    case hold
    case resume
    case deliverNow
  }

  func command(_ command: Command, _ dataSource: DataSourceName) throws {
    let id = try number(of: dataSource)
    let connection = transaction.connection
    switch command {
    case .hold: try connection.execute(SQL.holdByOperator, id, transaction.now.milliseconds)
    case .resume:
      try connection.execute(SQL.resumeLane, id)
      try connection.execute(SQL.deliverBatchesNow, id)
    case .deliverNow:
      try connection.execute(SQL.deliverLaneNow, id)
      try connection.execute(SQL.deliverBatchesNow, id)
    }
  }

  func isolate(_ range: AddressRange) throws -> Int {
    let id = try number(of: range.dataSource)
    let connection = transaction.connection
    try connection.execute(SQL.isolate, id, range.sequences.lowerBound, range.sequences.upperBound)
    let count = connection.changedRowCount
    // A lane has its batches in memory.
    try connection.execute(SQL.bumpCommandCount, id)
    return count
  }

  /// A resend row for each delivered range that `range` meets.
  func resend(_ range: AddressRange) throws -> ReplayReport {
    let id = try number(of: range.dataSource)
    var report = ReplayReport()
    let chunks = ChunkTable(connection: transaction.connection, outboxID: transaction.outboxID)
    for delivered in try deliveredRanges(overlapping: range.sequences, of: id) {
      let part = delivered.clamped(to: range.sequences)
      // What was erased since cannot be sent.
      for (part, byteCount) in try chunks.unerased(part, in: id) {
        // The operator's word makes duplicates of them, whatever becomes of the request.
        try replace(part, of: id, with: .delivered, inserted: nil, uncertainAttempts: 1)
        _ = try insert(
          kind: .resend, dataSource: id, sequences: part, eventCount: part.count, byteCount: byteCount)
        report.events += part.count
        report.batches += 1
      }
    }
    try transaction.connection.execute(SQL.bumpCommandCount, id)
    return report
  }

  func number(of dataSource: DataSourceName) throws -> Int64 {
    let found = try transaction.connection.firstInteger(SQL.selectSequence, dataSource.rawValue)
    guard let found else {
      throw OutboxError(
        .notFound, "the outbox has no data source '\(dataSource)'; `outbox status` lists those that it has")
    }
    return found
  }
}

extension DeadLetterTable {
  private static let stepCount = 10_000

  /// Puts up to ten thousand dead letters into replay batches.
  ///
  /// `next` is where to go on, nil at the end.
  func startReplay(
    matching filter: DeadLetterFilter, after key: Int64, mayDuplicate: Bool, limits: BatchLimits
  ) throws -> (report: ReplayReport, next: Int64?) {
    var report = ReplayReport()
    let ledger = Ledger(transaction: transaction)
    let letters = try transaction.connection.rows(
      SQL.selectDeadKeys, bindings: filter.bindings(after: key, limit: Self.stepCount)
    ) { (key: $0.int64(0), byteCount: $0.figure(1), inserted: Inserted(rawValue: $0.text(2)) ?? .maybe) }
    var rest = letters[...]
    while let first = rest.first {
      guard mayDuplicate || first.inserted == .no else {
        report.leftBecauseMaybeInserted += 1
        rest = rest.dropFirst()
        continue
      }
      let dataSource = SequenceKey(stored: first.key).dataSource
      var byteCount = 0
      let batch = rest.prefix { letter in
        defer { byteCount += letter.byteCount }
        return SequenceKey(stored: letter.key).dataSource == dataSource
          && letter.inserted == first.inserted
          && (letter.key == first.key || byteCount + letter.byteCount <= limits.maximumBytes)
      }.prefix(limits.maximumEvents)
      rest = rest.dropFirst(batch.count)
      try open(Array(batch.map(\.key)), batch.reduce(0) { $0 + $1.byteCount }, first.inserted, dataSource, ledger)
      report.events += batch.count
      report.batches += 1
    }
    return (report, letters.count == Self.stepCount ? letters.last?.key : nil)
  }

  private func open(
    _ keys: [Int64], _ byteCount: Int, _ inserted: Inserted, _ dataSource: Int64, _ ledger: Ledger
  ) throws {
    guard let first = keys.first, let last = keys.last else { return }
    let batch = try ledger.insert(
      kind: .replay, dataSource: dataSource,
      sequences: ClosedRange(between: SequenceKey(stored: first).sequence, and: SequenceKey(stored: last).sequence),
      eventCount: keys.count, byteCount: byteCount, inserted: inserted)
    for key in keys { try transaction.connection.execute(SQL.startReplaying, key, batch.id) }
    try transaction.connection.execute(SQL.bumpCommandCount, dataSource)
  }

  /// Throws up to ten thousand dead letters away.
  ///
  /// Returns how many.
  func discard(matching filter: DeadLetterFilter) throws -> Int {
    let keys = try transaction.connection.rows(
      SQL.selectDeadKeys, bindings: filter.bindings(after: 0, limit: Self.stepCount)
    ) { SequenceKey(stored: $0.int64(0)) }
    let ledger = Ledger(transaction: transaction)
    for (dataSource, keys) in Dictionary(grouping: keys, by: \.dataSource) {
      for run in keys.map(\.sequence).joinedRuns() {
        try ledger.replace(run, of: dataSource, with: .discarded, inserted: nil)
      }
    }
    for key in keys { try transaction.connection.execute(SQL.deleteDeadLetter, key.stored) }
    return keys.count
  }

  func repair(_ address: Address, with json: [UInt8]) throws {
    let dataSource = try transaction.connection.firstInteger(SQL.selectSequence, address.dataSource.rawValue) ?? 0
    let key = dataSource > 0 ? try SequenceKey(dataSource: dataSource, sequence: address.sequence).stored : 0
    try json.withUnsafeBytes {
      try transaction.connection.execute(
        SQL.repairDeadLetter, key, BorrowedText(bytes: $0), transaction.now.milliseconds,
        Int64(Repair(key: key, at: transaction.now).checksum($0)))
    }
    guard transaction.connection.changedRowCount == 1 else {
      throw OutboxError(
        .notFound, "\(address) is not a dead letter that waits; `outbox dead-letters` lists those that do")
    }
  }
}
