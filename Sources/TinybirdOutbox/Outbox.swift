public import Logging
public import ServiceLifecycle

/// A durable buffer in front of Tinybird's Events API: one file, from which events are delivered until the service has
/// acknowledged them.
///
/// Once an `append` returns, its events survive a crash of the process, of the machine and a power cut. They reach
/// Tinybird at least once, or are in the dead-letter table with the reason. Nothing is given up silently.
///
/// ```swift
/// var configuration = OutboxConfiguration()
/// configuration.delivery = try DeliveryConfiguration(baseURL: "https://api.tinybird.co", token: token)
/// let outbox = try await Outbox(at: "app.outbox", configuration: configuration)
/// try await outbox.append(Click(page: "/pricing"), to: "clicks")
/// ```
///
/// Appending needs nothing else. Delivery runs in ``run()``, usually as a service of a `ServiceGroup`. Several processes
/// may open one outbox: all append, one delivers, the others stand by.
public final class Outbox: Service, Sendable {
  let file: OutboxFile
  let configuration: OutboxConfiguration
  let door: EventDoor
  let committer: Committer
  let inspector: StoreReader
  let outboxID: OutboxID
  let logger: Logger
  let wakeup: Wakeup
  let housekeeper: Housekeeper
  /// Where the file is that could not be opened and was set aside for this one; nil where that did not happen.
  ///
  /// See ``OutboxConfiguration/setsAsideUnreadableFile``.
  public let setAsidePath: String?
  let writer: StoreWriter
  private let deliveryReader: StoreReader

  /// Opens the outbox at `path`, and makes it, readable and writable for this user alone, if there is none.
  ///
  /// A crash while an outbox is being made leaves no file, or one that the next opening completes.
  ///
  /// - Parameters:
  ///   - path: The file. `-wal`, `-shm`, `-lock`, `-open`, `-reserve`, `-full` and `-aside` are added to it for the files beside it; the directory must be there.
  ///   - configuration: The defaults keep the promise; give it a ``OutboxConfiguration/delivery`` to deliver.
  ///   - logger: Takes warnings that an operator must act on, and little else. It never sees payloads or tokens.
  /// - Throws: ``OutboxError``: not a database, another application's, a newer format, not writable, not found, on a
  ///   network file system.
  public init(
    at path: String, configuration: OutboxConfiguration = OutboxConfiguration(),
    logger: Logger = Logger(label: "tinybird-outbox") { _ in SwiftLogNoOpLogHandler() }
  ) async throws {
    try configuration.validate()
    file = try OutboxFile(
      path: path, sqliteVFS: configuration.sqliteVFS, freeDiskBytes: configuration.freeDiskBytes,
      lockPatience: configuration.lockPatience)
    try NewFile.refuseOutbox(file)
    self.configuration = configuration
    self.logger = logger
    door = EventDoor(configuration)
    wakeup = Wakeup()
    let thread = ThreadExecutor(name: "outbox-writer")
    let limits =
      configuration.spaceLimits
      ?? SpaceLimits(maximumBytes: configuration.maximumBytes, diskBytes: file.diskBytes)
    writer = StoreWriter(file: file, limits: limits, thread: thread, logger: logger) { [wakeup] in wakeup.signal() }
    let isNew = file.sizeBytes() == 0
    let opened = try await Self.open(writer, file, configuration, logger)
    outboxID = opened.id
    setAsidePath = opened.setAsidePath
    let aside = setAsidePath.flatMap { try? OutboxFile(path: $0) }
    Self.warn(of: file.exposures() + (aside?.exposedFiles() ?? []), isNew: isNew, logger)
    committer = Committer(
      writer: writer, thread: thread, maximumWaitingBytes: configuration.maximumWaitingBytes,
      maximumCommitBytes: limits.commitBytes)
    inspector = StoreReader(file: file, outboxID: outboxID, thread: ThreadExecutor(name: "outbox-inspect"))
    deliveryReader = StoreReader(file: file, outboxID: outboxID, thread: ThreadExecutor(name: "outbox-reader"))
    housekeeper = Housekeeper(
      committer: committer, reader: inspector, writer: writer, configuration: configuration, logger: logger)
  }

  /// A directory that others may only list is named when the outbox is made, what is worse at every opening.
  private static func warn(of exposures: [FileExposure], isNew: Bool, _ logger: Logger) {
    for exposure in exposures {
      if case .readableDirectory = exposure, !isNew { continue }
      logger.warning("the outbox is not for this user alone", metadata: ["outbox.exposure": "\(exposure)"])
    }
  }

  /// Opens the file, or sets it aside and makes a new one where that was asked for.
  private static func open(
    _ writer: StoreWriter, _ file: OutboxFile, _ configuration: OutboxConfiguration, _ logger: Logger
  ) async throws -> (id: OutboxID, setAsidePath: String?) {
    let settingAside = SettingAside(file: file)
    if let aside = try await settingAside.finishInterrupted() {
      warn(ofSettingAside: file, to: aside, because: "another process died while it set the outbox aside", logger)
      return (try await writer.open(create: configuration.createsFile), aside)
    }
    let failure: OutboxError
    do {
      return (try await writer.open(create: configuration.createsFile), nil)
    } catch {
      failure = error
    }
    guard failure.isUnreadableFile, configuration.setsAsideUnreadableFile, file.condition?.isRegular ?? true else {
      throw failure
    }
    let aside = try await settingAside.run(unlessOpenedBy: writer)
    if let aside { warn(ofSettingAside: file, to: aside, because: failure.message, logger) }
    return (try await writer.open(create: true), aside)
  }

  private static func warn(
    ofSettingAside file: OutboxFile, to aside: String, because reason: String, _ logger: Logger
  ) {
    logger.critical(
      "the outbox could not be opened and was set aside; a new one is begun. What was pending in the old one is delivered by nobody: see `outbox doctor`",
      metadata: ["outbox.path": "\(file.shownPath)", "outbox.aside": "\(aside)", "outbox.error": "\(reason)"])
  }

  /// Closes the outbox: appends that wait are committed, later ones throw ``OutboxError/Code/closed``.
  ///
  /// Call it when ``run()`` has returned. Without it the file is closed when the process ends, and nothing is lost.
  public func close() async {
    committer.close()
    await deliveryReader.close()
    await inspector.close()
    await writer.close()
  }

  // MARK: Delivering

  /// Delivers until the service group shuts down, or the task is cancelled.
  ///
  /// Where another process delivers from this outbox, it stands by and takes over within a second of that one's end.
  /// After a shutdown request nothing new is sent; what is under way has
  /// ``DeliveryConfiguration/shutdownGrace`` to be answered. A crash at any moment loses nothing: what was under way is
  /// sent again, and counted as a possible duplicate.
  ///
  /// - Throws: ``OutboxError/Code/invalidConfiguration`` without a ``OutboxConfiguration/delivery``.
  public func run() async throws {
    try await deliver(until: .shutdown, stopping: StopSignal()) { _ in }
  }

  /// Delivers until nothing is pending in any lane that may send.
  ///
  /// Events of a held lane stay: see ``status()``.
  ///
  /// - Parameter whileWaiting: Called once if another process delivers, with its number where it is known; this one
  ///   waits for it.
  public func deliverUntilEmpty(whileWaiting: @Sendable (Int64?) -> Void = { _ in }) async throws {
    try await deliver(until: .empty, stopping: StopSignal(), whileWaiting)
  }

  /// Delivers until the goal is reached, `stopping` is set, or the task is cancelled.
  ///
  /// `http` takes the place of what the configuration says: a test of a time-out cannot wait for one that it allows.
  func deliver(
    until goal: DeliveryEngine.Goal, stopping: StopSignal, http: HTTPSettings? = nil,
    _ whileWaiting: @Sendable (Int64?) -> Void
  ) async throws {
    guard let delivery = configuration.delivery else {
      throw OutboxError(
        .invalidConfiguration,
        "the outbox has no delivery configuration; set configuration.delivery with base URL and token")
    }
    let transport = try HTTPEventsTransport(
      baseURL: delivery.baseURL, settings: http ?? delivery.http,
      concurrentRequests: max(8, delivery.laneSettings.maximumInFlight * 8))
    let engine = DeliveryEngine(
      file: file, dependencies: dependencies(delivery, transport, stopping), housekeeper: housekeeper, wakeup: wakeup)
    let result: Result<Void, any Error>
    do {
      try await withGracefulShutdownHandler {
        try await engine.run(until: goal, whileWaiting: whileWaiting)
      } onGracefulShutdown: { [wakeup] in
        stopping.set()
        wakeup.signal()
      }
      result = .success(())
    } catch {
      result = .failure(error)
    }
    await transport.shutdown()
    try result.get()
  }

  private func dependencies(
    _ delivery: DeliveryConfiguration, _ transport: any EventsTransport, _ stopping: StopSignal
  ) -> LaneDependencies {
    LaneDependencies(
      committer: committer, reader: deliveryReader, transport: transport, tokens: delivery.tokens,
      budget: ByteBudget(capacity: delivery.maximumBodyBytes), settings: delivery.laneSettings,
      compressionLevel: delivery.compresses ? delivery.compressionLevel : nil,
      shutdownGrace: delivery.shutdownGrace, logger: logger, start: .now, stopping: stopping,
      didChange: { [wakeup] in wakeup.signal() })
  }
}
