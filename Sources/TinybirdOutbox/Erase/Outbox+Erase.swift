/// What an erasure did.
public struct EraseReport: Sendable, Equatable {
  /// Events that were erased or, in a dry run, would be.
  public var events = 0
  /// Their addresses, in order.
  public var ranges: [AddressRange] = []
  /// How many of them are, or may be, in Tinybird: they are to be deleted there too.
  ///
  /// 0 in a dry run.
  public var eventsInTinybird = 0
  /// Events that could not be searched, because their chunk is damaged.
  public var unreadable: [AddressRange] = []
  /// What else could not be done.
  public var remainders: [Remainder] = []

  /// Whether nothing of the events is left in the outbox's files.
  public var isComplete: Bool { unreadable.isEmpty && remainders.isEmpty }

  /// A place that still holds bytes of what was erased.
  public enum Remainder: String, Sendable, Codable, CaseIterable {
    /// The log: another program reads an old state of the file, and it cannot be emptied before that ends.
    case log
    /// Free pages of the file, and gaps in those that are in use: they could not be overwritten beside that program.
    ///
    /// They stay when the log is gone, until the same is erased once more.
    case freePages = "free_pages"
    /// Free space of the file, which is another application's database too: its `VACUUM` is for that application.
    case sharedDatabase = "shared_database"
  }

  package init() {}
}

extension Outbox {
  /// Erases events for good, wherever the outbox's files hold them: waiting, delivered, dead, deleted before, and in the
  /// log.
  ///
  /// Their addresses stay, and the sequence has no hole. Events that waited, or were dead, are *discarded*; those that
  /// were delivered stay so. Answers of the service may quote any event, also one that was pruned: every excerpt that is
  /// kept for a data source where events are looked for is erased, of dead letters too; their reasons and statuses stay.
  /// Where a request that carries one is under way, its end is waited for.
  ///
  /// Each chunk is a transaction of its own, and so is the writing anew of the file at the end. A crash leaves some of
  /// the events: give the command again. The end holds up appends for as long as it takes to copy all that is in the
  /// outbox, and needs as much free space twice: beside the file, and where SQLite keeps temporary files, which `SQLITE_TMPDIR`
  /// or `TMPDIR` names.
  ///
  /// Not reached: Tinybird itself, backups, exports and salvaged copies, files that were set aside, what a disk keeps of
  /// blocks that it has overwritten.
  ///
  /// - Parameters:
  ///   - selection: Which events.
  ///   - isDryRun: Only find them. Default: false.
  ///   - progress: Called now and then with the events searched so far and those there are.
  /// - Throws: ``OutboxError/Code/diskFull``, also where only that last step has no room, and others that the disk causes;
  ///   give the command again.
  public func erase(
    _ selection: EventSelection, isDryRun: Bool = false, progress: @Sendable (Int, Int) -> Void = { _, _ in }
  ) async throws -> EraseReport {
    var report = EraseReport()
    let lanes = try await inspector.read { try $0.lanes() }
    let work = lanes.flatMap { lane in
      selection.sequences(of: lane.dataSource, upTo: lane.nextSequence - 1).map { (lane, $0) }
    }
    let total = work.reduce(0) { $0 + $1.1.count }
    var searched = 0
    var lock = isDryRun ? nil : try await lockIfIdle()
    defer { withExtendedLifetime(lock) {} }
    for (lane, sequences) in work {
      var next: Int64? = sequences.lowerBound
      while let from = next {
        let step = try await inspector.read {
          try $0.search(selection, from: from, upTo: sequences.upperBound, in: lane.id)
        }
        if !isDryRun { report.eventsInTinybird += try await erase(step.found, of: lane.id, &lock) }
        report.add(step, of: lane.dataSource)
        next = step.next
        progress(searched + Int((next ?? sequences.upperBound + 1) - sequences.lowerBound), total)
      }
      searched += sequences.count
    }
    guard !isDryRun else { return report }
    // Behind the answers to what was under way; also where nothing was found: what was pruned may still be quoted.
    for lane in Set(work.map(\.0.id)) {
      try writer.gate.requireRoom(for: "an erasure")
      try await committer.perform { try EventEraser(transaction: $0).redactAnswers(of: lane) }
    }
    report.remainders = try await StoreRewriter().run(file, housekeeper.gate.limits)
    return report
  }

  /// Where nobody delivers: the lock, so that nobody begins to, and what a crash left under way is under way no more.
  private func lockIfIdle() async throws -> DeliveryLock? {
    guard let lock = try DeliveryLock.tryAcquire(file) else { return nil }
    try await committer.perform { _ = try Ledger(transaction: $0).recoverInterrupted() }
    return lock
  }

  /// Erases what one step has found; returns how many of them are, or may be, in Tinybird.
  private func erase(
    _ runs: [ClosedRange<Int64>], of dataSource: Int64, _ lock: inout DeliveryLock?
  ) async throws -> Int {
    let limits = configuration.delivery?.laneSettings.limits ?? Self.defaultLimits
    while true {
      try writer.gate.requireRoom(for: "an erasure")
      switch try await committer.perform({ try EventEraser(transaction: $0).erase(runs, of: dataSource) }) {
      case .erased(let inTinybird): return inTinybird
      case .unbatched:
        try await committer.perform { try EventEraser(transaction: $0).batchNext(of: dataSource, limits: limits) }
      // The answer settles it, or the next attempt is a moment away; or whoever had sent it was killed.
      case .underWay:
        // Throws where the caller's task is cancelled, between two steps that are whole.
        try await Task.sleep(for: DeliveryEngine.pollInterval)
        if lock == nil { lock = try await lockIfIdle() }
      }
    }
  }
}

extension EraseReport {
  fileprivate mutating func add(_ step: EventSearchStep, of dataSource: DataSourceName) {
    for run in step.found {
      events += run.count
      Self.append(AddressRange(dataSource: dataSource, sequences: run), to: &ranges)
    }
    if let lost = step.unreadable {
      Self.append(AddressRange(dataSource: dataSource, sequences: lost), to: &unreadable)
    }
  }

  private static func append(_ range: AddressRange, to ranges: inout [AddressRange]) {
    if let last = ranges.last, last.dataSource == range.dataSource,
      last.sequences.upperBound + 1 == range.sequences.lowerBound
    {
      let sequences = last.sequences.lowerBound...range.sequences.upperBound
      ranges[ranges.count - 1] = AddressRange(dataSource: range.dataSource, sequences: sequences)
    } else {
      ranges.append(range)
    }
  }
}
