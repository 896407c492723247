import COutboxCrashVFS
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// A disk that a test can fill to its last block.
final class SmallDisk: Sendable {
  enum Kind: String, CaseIterable, Sendable {
    /// A real file system in memory, where this user may mount one.
    case tmpfs
    /// The machine in memory, everywhere.
    case machine
  }

  static let byteCount: Int64 = 24 << 20

  /// The kinds that this system has: the machine at least.
  static let kinds: [Kind] = canMount() ? Kind.allCases : [.machine]

  let directory: String
  let machine: CrashMachine?

  var path: String { directory + "/a.outbox" }
  private var filler: String { directory + "/filler" }

  private init(_ kind: Kind, directory: String) throws {
    self.directory = directory
    machine = kind == .machine ? try CrashMachine() : nil
    if let machine {
      machine.setDisk(Self.byteCount, reservePath: path + "-reserve")
    }
  }

  /// Runs `body` on a fresh disk, which is gone afterwards.
  static func with(_ kind: Kind, _ body: (SmallDisk) async throws -> Void) async throws {
    try await withTemporaryDirectory { directory in
      if kind == .tmpfs { try #require(mount(directory)) }
      defer { if kind == .tmpfs { run("/bin/umount", "-l", directory) } }
      try await body(SmallDisk(kind, directory: directory))
    }
  }

  func open(_ change: (inout OutboxConfiguration) -> Void = { _ in }) async throws -> Outbox {
    var configuration = OutboxConfiguration()
    configuration.spaceLimits = SpaceLimits(maximumBytes: nil, diskBytes: Self.byteCount)
    if let machine {
      configuration.sqliteVFS = machine.vfs
      configuration.freeDiskBytes = { machine.freeDiskBytes }
    }
    change(&configuration)
    return try await Outbox(at: path, configuration: configuration)
  }

  /// Another program takes every block that is free.
  func fill() throws {
    if let machine {
      machine.setDisk(machine.usedBytes, reservePath: path + "-reserve")
      return
    }
    let file = FileManager.default
    if !file.fileExists(atPath: filler) { try Data().write(to: URL(fileURLWithPath: filler)) }
    let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: filler))
    defer { try? handle.close() }
    for size in [1 << 16, 1 << 12, 1] {
      let block = Data(repeating: 1, count: size)
      repeat { try handle.seekToEnd() } while (try? handle.write(contentsOf: block)) != nil
    }
  }

  /// Another program takes all but so many bytes.
  func leave(_ byteCount: Int64) throws {
    if let machine {
      machine.setDisk(machine.usedBytes + byteCount, reservePath: path + "-reserve")
      return
    }
    try fill()
    let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: filler))
    defer { try? handle.close() }
    try handle.truncate(atOffset: try handle.seekToEnd() - UInt64(byteCount))
  }

  /// The other program gives them back.
  func empty() throws {
    if let machine {
      machine.setDisk(Self.byteCount, reservePath: path + "-reserve")
    } else if FileManager.default.fileExists(atPath: filler) {
      try FileManager.default.removeItem(atPath: filler)
    }
  }

  /// Bytes that the outbox's files take.
  var usedBytes: Int64 {
    if let machine { return machine.usedBytes }
    return ["", "-wal", "-shm", "-reserve"].reduce(0) { sum, suffix in
      let attributes = try? FileManager.default.attributesOfItem(atPath: path + suffix)
      return sum + (attributes?[.size] as? Int64 ?? 0)
    }
  }

  private static func mount(_ directory: String) -> Bool {
    run("/bin/mount", "-t", "tmpfs", "-o", "size=\(byteCount),mode=700", "tmpfs", directory)
  }

  /// Only root may, and not everywhere.
  private static func canMount() -> Bool {
    let probe = FileManager.default.temporaryDirectory.appendingPathComponent("outbox-mount-\(UUID().uuidString)").path
    guard (try? FileManager.default.createDirectory(atPath: probe, withIntermediateDirectories: true)) != nil else {
      return false
    }
    defer { try? FileManager.default.removeItem(atPath: probe) }
    return mount(probe) && run("/bin/umount", probe)
  }

  @discardableResult
  private static func run(_ tool: String, _ arguments: String...) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: tool)
    process.arguments = arguments
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }
}
