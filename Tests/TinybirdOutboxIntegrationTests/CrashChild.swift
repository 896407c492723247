import Foundation
import OutboxTestSupport
import Synchronization
import TinybirdOutbox

/// A process of `OutboxCrashChild`: what it says goes to a file, and is read when it has ended, however it ended.
final class CrashChild: Sendable {
  /// How it ended.
  struct Outcome: Sendable {
    /// What it printed.
    let lines: [String]
    /// The signal that ended it, or nil.
    let signal: Int32?
    /// Its exit code, where no signal ended it.
    let code: Int32?

    /// The calls that it was told are durable.
    var acknowledgements: [Acknowledgement] { get throws { try lines.compactMap(Acknowledgement.init(line:)) } }
    /// What went wrong, in its own words.
    var errors: [String] { lines.filter { $0.hasPrefix("error ") || $0.hasPrefix("problem ") } }
  }

  /// The line `ack 3.0.17 3 clicks/1..2, orders/7`.
  struct Acknowledgement: Sendable {
    let call: String
    let count: Int
    let ranges: [AddressRange]

    init?(line: String) throws {
      let words = line.split(separator: " ", maxSplits: 3).map(String.init)
      guard words.count == 4, words[0] == "ack", let count = Int(words[2]) else { return nil }
      call = words[1]
      self.count = count
      ranges = try words[3].components(separatedBy: ", ").map { try AddressRange($0) }
    }
  }

  var processID: Int32 { process.processIdentifier }
  // Set up before it runs, and afterwards only asked how it ended.
  private let process = Process()
  private let output: URL
  private let ended = Watch(false)
  private static let starting = Mutex(())

  /// Starts `mode` on the outbox `path`; see `OutboxCrashChild` for the options.
  init(_ mode: String, _ path: String, _ options: [String: String] = [:]) throws {
    output = URL(filePath: path + "-output-\(UUID().uuidString)")
    process.executableURL = builtProductsDirectory.appending(path: "OutboxCrashChild")
    process.arguments = [mode, path] + options.map { "\($0)=\($1)" }
    _ = FileManager.default.createFile(atPath: output.path, contents: nil)
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.terminationHandler = { [ended] _ in ended.update { $0 = true } }
    // One at a time: Foundation's `run` shares state between processes that are started at once.
    try Self.starting.withLock { _ in try process.run() }
  }

  /// Runs one to its end.
  static func run(_ mode: String, _ path: String, _ options: [String: String] = [:]) async throws -> Outcome {
    try await CrashChild(mode, path, options).end()
  }

  func kill() { Foundation.kill(processID, SIGKILL) }

  /// Waits until it has ended.
  func end() async throws -> Outcome {
    await ended.wait { $0 }
    let text = String(decoding: try Data(contentsOf: output), as: UTF8.self)
    try FileManager.default.removeItem(at: output)
    let isSignal = process.terminationReason == .uncaughtSignal
    return Outcome(
      lines: text.split(separator: "\n").map(String.init), signal: isSignal ? process.terminationStatus : nil,
      code: isSignal ? nil : process.terminationStatus)
  }
}
