internal import TinybirdOutbox

/// Reads inputs one after the other, on a thread of its own, and hands their lines over in batches.
///
/// A batch is what had come while the one before was stored, as in group commit: lines of a slow program are stored as
/// they come, one by one if need be, and those of a fast one share commits. Never more than two batches are in memory.
actor InputReader {
  /// Where an input comes from.
  private enum Source {
    /// A path, `-` for standard input.
    case named(String)
    /// Something that can be read only once, copied.
    case spooled(name: String, Spool)
  }

  private nonisolated let thread = ThreadExecutor(name: "outbox-input")
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  private nonisolated let doorbell: Doorbell
  private let maximumLineBytes: Int
  private var sources: [Source]
  private var next = 0
  private var current: InputFile?

  /// Reads `names`, where `-` is standard input, and keeps no line that is longer than `maximumLineBytes`.
  init(_ names: [String], maximumLineBytes: Int) throws {
    sources = names.map { .named($0) }
    self.maximumLineBytes = maximumLineBytes
    doorbell = try Doorbell()
  }

  /// Calls `body` with each batch; while it runs the next one is gathered.
  ///
  /// After ``stop()`` it ends with the lines that were read already.
  nonisolated func forEachBatch(_ body: (LineBatch) async throws -> Void) async throws {
    doorbell.isWanted = true
    var batch = try await gather()
    while let current = batch {
      doorbell.isWanted = false
      async let following = gather()
      do {
        try await body(current)
      } catch {
        // `following` is awaited before this scope is left.
        stop()
        throw error
      }
      doorbell.isWanted = true
      batch = try await following
    }
  }

  /// Reads nothing more.
  nonisolated func stop() {
    doorbell.isStopped = true
  }

  /// Copies what can be read only once, so that ``rewind()`` is possible.
  func spoolStreams() throws {
    for (index, source) in sources.enumerated() {
      guard case .named(let name) = source, name == InputPath.standardInput || InputPath.regularSize(name) == nil else {
        continue
      }
      let input = try InputFile(name, number: index, maximumLineBytes: maximumLineBytes)
      let spool = try Spool(copying: input.descriptor, name: input.name, until: doorbell)
      sources[index] = .spooled(name: input.name, spool)
    }
  }

  /// Starts again with the first input.
  func rewind() {
    current = nil
    next = 0
  }

  /// The next batch: full, or all that is there when it is wanted; nil at the end.
  private func gather() throws -> LineBatch? {
    var batch = LineBatch()
    while !batch.isFull, let input = try openInput() {
      switch doorbell.wait(for: input.descriptor, hasLines: !batch.isEmpty) {
      case .ready:
        if try !input.read(into: &batch) { current = nil }
      case .dry: return batch
      case .stopped: return batch.isEmpty ? nil : batch
      }
    }
    return batch.isEmpty ? nil : batch
  }

  private func openInput() throws -> InputFile? {
    if let current { return current }
    guard next < sources.count else { return nil }
    switch sources[next] {
    case .named(let name): current = try InputFile(name, number: next, maximumLineBytes: maximumLineBytes)
    case .spooled(let name, let spool):
      current = InputFile(
        name, try spool.rewound(), closesDescriptor: false, number: next, maximumLineBytes: maximumLineBytes)
    }
    next += 1
    return current
  }
}
