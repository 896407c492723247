import COutboxCrashVFS
import Foundation
import Synchronization
import Testing

@testable import TinybirdOutbox

/// A computer in memory whose disk can fail and whose power can go: see `COutboxCrashVFS.h`.
///
/// Unchecked: the pointer never changes, and every function of the C side takes the machine's own mutex.
final class CrashMachine: @unchecked Sendable {
  /// How much of what was not synced survives a power cut.
  enum Survivors: Sendable {
    case nothing
    /// A random part of the sectors, truncations and names.
    case random(seed: UInt64)
    case everything
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    var name: String
    var operation: outbox_crash_operation
    var file: outbox_crash_file?
    var code: Int32
    var nth: Int64 = 1
    /// How many calls in a row fail.
    var times: Int64 = 1
    /// As Linux does when a sync fails: what was not written counts as clean.
    var dropsPages = false

    var testDescription: String { times == 1 ? name : "\(name), \(times) times" }
  }

  struct OutOfMemory: Error {}

  /// The name under which SQLite knows the machine.
  let vfs: String
  private let pointer: OpaquePointer
  private let cutHandlers = CutHandlers()
  /// Whether no outbox was opened on it yet.
  private let isFresh = Mutex(true)

  convenience init() throws {
    try self.init { outbox_crash_start($0) }
  }

  private init(_ make: (String) -> OpaquePointer?) throws {
    vfs = "crash-\(UUID().uuidString)"
    guard let made = make(vfs) else { throw OutOfMemory() }
    pointer = made
    outbox_crash_on_cut(
      made,
      { context in
        guard let context else { return }
        Unmanaged<CutHandlers>.fromOpaque(context).takeUnretainedValue().run()
      }, Unmanaged.passUnretained(cutHandlers).toOpaque())
  }

  deinit {
    outbox_crash_on_cut(pointer, nil, nil)
    outbox_crash_stop(pointer)
  }

  // MARK: Power

  var isOff: Bool { outbox_crash_is_off(pointer) }

  func cut() { outbox_crash_cut(pointer) }

  /// Cuts the power at the `nth` call of a kind from now, before or after what it does.
  func cut(at operation: outbox_crash_operation, _ nth: Int, after: Bool) {
    outbox_crash_cut_at(pointer, operation, Int64(nth), after)
  }

  /// Calls `body` when the power goes, on the thread that it goes on.
  func onCut(_ body: @escaping @Sendable () -> Void) { cutHandlers.add(body) }

  /// The machine with what is left on the disk.
  func restarted(_ survivors: Survivors) throws -> CrashMachine {
    let (kind, seed): (outbox_crash_survivors, UInt64) =
      switch survivors {
      case .nothing: (OUTBOX_CRASH_NOTHING, 0)
      case .random(let seed): (OUTBOX_CRASH_RANDOM_SECTORS, seed)
      case .everything: (OUTBOX_CRASH_EVERYTHING, 0)
      }
    return try CrashMachine { outbox_crash_restart(pointer, $0, kind, seed) }
  }

  /// The machine after `kill -9` of its processes: the kernel keeps what it has.
  func killed() throws -> CrashMachine { try CrashMachine { outbox_crash_kill(pointer, $0) } }

  // MARK: Faults

  func set(_ fault: Fault?) {
    guard let fault else {
      outbox_crash_set_fault(pointer, nil)
      return
    }
    var raw = outbox_crash_fault(
      operation: fault.operation, file: fault.file.map { Int32($0.rawValue) } ?? -1, nth: fault.nth,
      times: fault.times, code: fault.code, drops_pages: fault.dropsPages)
    outbox_crash_set_fault(pointer, &raw)
  }

  /// How many calls have failed by the fault that was set last.
  var faultHits: Int64 { outbox_crash_fault_hits(pointer) }

  // MARK: Looking

  func count(_ operation: outbox_crash_operation, _ file: outbox_crash_file) -> Int {
    Int(outbox_crash_count(pointer, operation, file))
  }

  /// Syncs of all files and of the directory.
  var syncCount: Int {
    [OUTBOX_CRASH_DATABASE, OUTBOX_CRASH_WAL, OUTBOX_CRASH_JOURNAL, OUTBOX_CRASH_DIRECTORY]
      .reduce(0) { $0 + count(OUTBOX_CRASH_SYNC, $1) }
  }

  /// Transactions that were written to the log.
  var commitFrames: Int { Int(outbox_crash_commit_frames(pointer)) }
  /// Starts and restarts of the log.
  var logHeaders: Int { Int(outbox_crash_log_headers(pointer)) }

  /// Gives it a disk of so many bytes; blocks of the real file at `reservePath` count as taken.
  func setDisk(_ bytes: Int64, reservePath: String) { outbox_crash_set_disk(pointer, bytes, reservePath) }
  /// Bytes that files and shared memory take.
  var freeDiskBytes: Int64 { outbox_crash_free_bytes(pointer) }
  var usedBytes: Int64 { outbox_crash_used_bytes(pointer) }

  func hasFile(_ path: String) -> Bool { outbox_crash_has_file(pointer, path) }

  func contents(of path: String) -> Data {
    var data = Data(count: outbox_crash_copy_file(pointer, path, nil, 0))
    data.withUnsafeMutableBytes { _ = outbox_crash_copy_file(pointer, path, $0.baseAddress, $0.count) }
    return data
  }

  // MARK: An outbox on it

  /// Opens the outbox at `path` on this machine.
  ///
  /// `stat` of the library sees the real, empty file at `path`, which stands for the name in the directory: where the
  /// machine has lost the name, the file is removed first.
  func open(_ path: String, checkpointPages: Int64 = 24) async throws -> Outbox {
    if !hasFile(path) { try? FileManager.default.removeItem(atPath: path) }
    // Those who had it open on the machine before this one are dead, and have left this process's locks behind.
    if isFresh.withLock({ exchange(&$0, with: false) }) { try? FileManager.default.removeItem(atPath: path + "-open") }
    var configuration = OutboxConfiguration()
    configuration.sqliteVFS = vfs
    configuration.spaceLimits = .checkpointing(every: checkpointPages)
    return try await Outbox(at: path, configuration: configuration)
  }
}

extension SpaceLimits {
  /// Small enough that a short test sees checkpoints, and a reserve.
  static func checkpointing(every pages: Int64) -> SpaceLimits {
    SpaceLimits(maximumBytes: nil, checkpointBytes: pages * 4096, commitBytes: 8 << 20, reserveBytes: 1 << 20)
  }
}

/// What is done when the power goes.
private final class CutHandlers: Sendable {
  private let bodies = Mutex<[@Sendable () -> Void]>([])

  func add(_ body: @escaping @Sendable () -> Void) { bodies.withLock { $0.append(body) } }

  func run() {
    for body in bodies.withLock({ $0 }) { body() }
  }
}
