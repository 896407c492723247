/// What ``Outbox/salvage(from:to:progress:)`` could save, and what not.
public struct SalvageReport: Sendable, Equatable {
  /// The new outbox.
  public var path: String
  /// Its data sources, with what became of their events; the sums come out.
  public var dataSources: [VerifyReport.Conservation] = []
  /// Events that could not be read: they are *damaged* in the new outbox, and what bytes there are lie in the old file.
  ///
  /// At most a thousand ranges; ``lostEvents`` counts all.
  public var lost: [AddressRange] = []
  /// How many events could not be read.
  public var lostEvents = 0
  /// What else could not be read, or did not add up, and what was made of it.
  public var problems: [String] = []
  /// What is not carried over in any case, where there was some: replays and resends that waited.
  public var notes: [String] = []

  /// Whether nothing was lost and nothing had to be guessed.
  public var isWhole: Bool { lostEvents == 0 && problems.isEmpty }

  static let maximumRanges = 1000

  mutating func lose(_ sequences: ClosedRange<Int64>, of dataSource: DataSourceName) {
    lostEvents += sequences.count
    if let last = lost.last, last.dataSource == dataSource, last.sequences.upperBound + 1 == sequences.lowerBound {
      lost[lost.count - 1] = AddressRange(
        dataSource: dataSource, sequences: last.sequences.lowerBound...sequences.upperBound)
    } else if lost.count < Self.maximumRanges {
      lost.append(AddressRange(dataSource: dataSource, sequences: sequences))
    }
  }
}

extension Outbox {
  /// Builds a new outbox from all that can be read of a damaged one.
  ///
  /// Addresses stay as they are; the outbox id is a new one. What is known to be delivered, dead, discarded or damaged
  /// stays so. Events whose chunk cannot be read become *damaged*. Events of which only the ledger is lost become pending
  /// and count as maybe inserted: they are sent, perhaps again. Dead letters of a waiting replay are dead again, resends
  /// are dropped, and the log of attempts stays behind. A data source whose name cannot be read is called `salvaged_`
  /// and its number, and is held, so that nothing is sent to a place that nobody chose.
  ///
  /// Where the first pages are damaged, so that SQLite finds no table in the file, a copy is read, `path.partial-source`,
  /// that has new ones: it takes as many bytes as file and log, and no other process may have the outbox open meanwhile.
  /// That helps a file that this library has made, and not an outbox in an app's own database.
  ///
  /// The damaged file and its log are not changed by one byte. Its delivery lock is held meanwhile. The new outbox is
  /// checked as ``verify(progress:)`` does, synced, and only then gets its name: after a crash, an error or a
  /// cancellation there is none. What a crash leaves, `path.partial` and `path.partial-source`, the next salvage to `path` clears away. Do not
  /// deliver from both.
  ///
  /// - Parameters:
  ///   - damaged: The file to read. What it still appends while this runs is not carried over.
  ///   - path: The new file; nothing may be there.
  ///   - progress: Called now and then with the events looked at so far and those there are.
  /// - Throws: ``OutboxError``: ``OutboxError/Code/conflict`` where something is at `path`, or a process delivers from the
  ///   damaged outbox; ``OutboxError/Code/damaged`` or ``OutboxError/Code/notADatabase`` where nothing of an outbox is
  ///   found in it.
  public static func salvage(
    from damaged: String, to path: String, progress: @Sendable (Int, Int) -> Void = { _, _ in }
  ) async throws -> SalvageReport {
    try await salvage(from: OutboxFile(path: damaged), to: path, progress: progress)
  }

  /// The same; the file may lie below a layer of a test's own.
  static func salvage(
    from file: OutboxFile, to path: String, progress: @Sendable (Int, Int) -> Void = { _, _ in }
  ) async throws -> SalvageReport {
    try await SalvageWorker(thread: ThreadExecutor(name: "outbox-salvage")).run(file, path, progress)
  }
}

/// Does the work, on a thread of its own.
private actor SalvageWorker {
  private nonisolated let thread: ThreadExecutor
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  init(thread: ThreadExecutor) {
    self.thread = thread
  }

  func run(
    _ file: OutboxFile, _ path: String, _ progress: @Sendable (Int, Int) -> Void
  ) async throws -> SalvageReport {
    try file.prepare(create: false)
    guard let lock = try DeliveryLock.tryAcquire(file) else {
      throw OutboxError(
        .conflict,
        "a process delivers from \(file.shownPath): end that first, else what it delivers meanwhile would be sent again from the new outbox"
      )
    }
    defer { withExtendedLifetime(lock) {} }
    let target = try NewFile(at: path)
    defer { target.removePartial() }
    var generator = SystemRandomNumberGenerator()
    let id = OutboxID(using: &generator)
    var report = SalvageReport(path: path)
    try withOutboxErrors { try copy(file, to: target.partial, id, &report, progress) }
    try await check(target.partial, id, &report)
    try Salvage.checkCancellation()
    try target.finish()
    return report
  }

  private func copy(
    _ file: OutboxFile, to partial: OutboxFile, _ id: OutboxID, _ report: inout SalvageReport,
    _ progress: (Int, Int) -> Void
  ) throws {
    let connection = try StoreOpening.openForWriting(
      partial, create: true, limits: SpaceLimits(maximumBytes: nil, diskBytes: partial.diskBytes), newID: id, now: .now)
    let rebuild = SchemaRebuild(
      fresh: connection, copy: try OutboxFile(path: partial.path + NewFile.sourceSuffix))
    let source = try SalvageSource.open(file, rebuild: rebuild)
    var salvage = Salvage(
      source: source, target: StoreTransaction(connection: connection, outboxID: id, now: .now), report: report)
    try salvage.run(progress)
    report = salvage.report
  }

  /// An outbox that is not sound must not take the place of one that is damaged.
  private func check(_ partial: OutboxFile, _ id: OutboxID, _ report: inout SalvageReport) async throws {
    let reader = StoreReader(file: partial, outboxID: id, thread: ThreadExecutor(name: "outbox-salvage-check"))
    let result: Result<VerifyReport, OutboxError>
    do {
      result = .success(try await reader.verify { _, _ in })
    } catch {
      result = .failure(error)
    }
    await reader.close()
    let found = try result.get()
    guard found.isSound else {
      throw OutboxError(
        .damaged,
        "what was salvaged does not add up, and was deleted again: \(found.problems.prefix(3).joined(separator: "; ")). Keep the damaged file and report this"
      )
    }
    report.dataSources = found.dataSources
  }
}
