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

  /// More events that can be read, or else fewer things that were lost or guessed.
  ///
  /// That the schema had to be a new one is no such thing.
  func savesMore(than other: SalvageReport) -> Bool {
    let (one, two) = (readableEvents, other.readableEvents)
    return one > two || (one == two && problems.count - 1 < other.problems.count)
  }

  private var readableEvents: Int { dataSources.reduce(0) { $0 + $1.appended - $1.damaged } }

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
  /// Where header or schema, on the first pages, are not as this library makes them, a copy is read too,
  /// `path.partial-source`, that has new ones, and what saves more is kept: it takes as many bytes as file and log, and no
  /// other process may have the outbox open meanwhile. That helps a file that this library has made, and not an outbox in
  /// an app's own database.
  ///
  /// The damaged file and its log are not changed by one byte. Its delivery lock is held meanwhile. The new outbox is
  /// checked as ``verify(progress:)`` does, synced, and only then gets its name: after a crash, an error or a
  /// cancellation there is none. What a crash leaves, `path.partial` and
  /// `path.partial-source`, the next salvage to `path` clears away. Do not deliver from both.
  ///
  /// - Parameters:
  ///   - damaged: The file to read. What it still appends while this runs is not carried over.
  ///   - path: The new file; nothing may be there.
  ///   - progress: Called now and then with the events looked at so far and those there are.
  /// - Throws: ``OutboxError``: ``OutboxError/Code/notWritable`` where something is at `path`; ``OutboxError/Code/conflict``
  ///   where a process delivers from the damaged outbox, or has one open whose schema is damaged; ``OutboxError/Code/damaged`` or ``OutboxError/Code/notADatabase`` where nothing of an outbox is
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
    let report: SalvageReport
    do {
      report = try await build(file, target, id, progress)
    } catch let error as OutboxError {
      throw target.explaining(error, filledFrom: file, ", and as many again where it has to make a new schema")
    }
    try Salvage.checkCancellation()
    try target.finish()
    return report
  }

  /// Reads the file, or a copy with a new schema, or where either may show more both, and keeps what holds more.
  private func build(
    _ file: OutboxFile, _ target: NewFile, _ id: OutboxID, _ progress: @Sendable (Int, Int) -> Void
  ) async throws -> SalvageReport {
    let rebuild = SchemaRebuild(copy: try OutboxFile(path: target.partial.path + NewFile.sourceSuffix))
    let source: SalvageSource
    switch try withOutboxErrors({ try SalvageSource.open(file) }) {
    case .success(let opened): source = opened
    case .failure(let refusal):
      guard let rebuilt = try withOutboxErrors({ try SalvageSource.open(file, rebuild: rebuild) }) else {
        throw Self.nothingFound(in: file, refusal)
      }
      return try await fill(target, id, from: rebuilt, progress)
    }
    let report = try await fill(target, id, from: source, progress)
    guard !report.isWhole, try withOutboxErrors({ try source.mayCopyShowMore }),
      let rebuilt = try withOutboxErrors({
        try SalvageSource.open(file, rebuild: rebuild, isSchemaDoubtful: source.isSchemaDoubtful)
      })
    else { return report }
    let other = try await fill(target, id, from: rebuilt, progress)
    return other.savesMore(than: report) ? other : try await fill(target, id, from: source, progress)
  }

  private static func nothingFound(in file: OutboxFile, _ refusal: OutboxError) -> OutboxError {
    guard refusal.code == .notADatabase else { return refusal }
    return OutboxError(
      .notADatabase,
      "nothing of \(file.shownPath) can be salvaged: it is not an SQLite database, and nothing lies where an outbox has its tables. Check the path; if it was an outbox, keep a copy and restore a backup",
      cause: refusal)
  }

  private func fill(
    _ target: NewFile, _ id: OutboxID, from source: SalvageSource, _ progress: @Sendable (Int, Int) -> Void
  ) async throws -> SalvageReport {
    var report = SalvageReport(path: target.file.path)
    try target.clear()
    try withOutboxErrors { try copy(source, to: target.partial, id, &report, progress) }
    try await check(target.partial, id, &report)
    return report
  }

  private func copy(
    _ source: SalvageSource, to partial: OutboxFile, _ id: OutboxID, _ report: inout SalvageReport,
    _ progress: (Int, Int) -> Void
  ) throws {
    let connection = try StoreOpening.openForWriting(
      partial, create: true, limits: SpaceLimits(maximumBytes: nil, diskBytes: partial.diskBytes), newID: id, now: .now)
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
