import Foundation
import OutboxTestSupport
import Synchronization
import Testing

/// The built `outbox`, run in a directory of its own with a clean environment.
struct CommandLineTool: Sendable {
  /// How a run ended.
  struct Outcome: Sendable {
    let code: Int32
    let output: String
    let errors: String

    /// The one object that was printed.
    var json: [String: Any] {
      get throws { try Self.object(output) }
    }

    /// The objects that were printed, one a line.
    var jsonLines: [[String: Any]] {
      get throws { try output.split(separator: "\n").map { try Self.object(String($0)) } }
    }

    private static func object(_ text: String) throws -> [String: Any] {
      let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
      return try #require(object)
    }
  }

  static let binary = builtProductsDirectory.appending(path: "outbox")

  let directory: String
  var environment: [String: String] = [:]

  /// Runs a command to its end.
  func run(_ arguments: String..., input: Data? = nil) async throws -> Outcome {
    try await run(arguments, input: input)
  }

  func run(_ arguments: [String], input: Data? = nil) async throws -> Outcome {
    let running = try start(arguments)
    if let input { running.write(input) }
    running.closeInput()
    return await running.end()
  }

  /// Starts a command.
  func start(_ arguments: String...) throws -> RunningTool { try start(arguments) }

  func start(_ arguments: [String]) throws -> RunningTool {
    try RunningTool(Self.binary, arguments, directory: directory, environment: environment)
  }
}

/// A command that runs.
final class RunningTool: Sendable {
  // Set up before it runs, and only told to end afterwards.
  private let process = Process()
  private let input = Pipe()
  private let output = Collector()
  private let errors = Collector()
  private let ended = Watch(false)
  private static let starting = Mutex(())

  init(_ binary: URL, _ arguments: [String], directory: String, environment: [String: String]) throws {
    // Writing to one that has ended is no reason to end too.
    Foundation.signal(SIGPIPE, SIG_IGN)
    process.executableURL = binary
    process.arguments = arguments
    process.currentDirectoryURL = URL(filePath: directory)
    // What a sanitizer is told is meant for every process.
    let sanitizer = ProcessInfo.processInfo.environment.filter {
      ["ASAN_OPTIONS", "TSAN_OPTIONS", "LD_PRELOAD"].contains($0.key)
    }
    process.environment = ["TMPDIR": directory, "PATH": "/usr/bin:/bin"].merging(sanitizer) { $1 }
      .merging(environment) { $1 }
    process.standardInput = input
    process.standardOutput = output.pipe
    process.standardError = errors.pipe
    process.terminationHandler = { [ended] _ in ended.update { $0 = true } }
    // One at a time: Foundation's `run` shares state between processes that are started at once.
    try Self.starting.withLock { _ in try process.run() }
    output.start()
    errors.start()
  }

  /// Gives it something to read.
  func write(_ data: Data) {
    // It may have ended already.
    try? input.fileHandleForWriting.write(contentsOf: data)
  }

  func closeInput() {
    try? input.fileHandleForWriting.close()
  }

  func signal(_ number: Int32) {
    kill(process.processIdentifier, number)
  }

  /// Waits until it has printed a whole line, and returns it.
  func firstLine() async -> String {
    await output.text.wait { $0.contains("\n") || $0.hasSuffix("\u{4}") }
    return String(output.text.value.prefix { $0 != "\n" })
  }

  /// Waits until what it has printed is as wanted.
  func waitForOutput(_ isWanted: @escaping @Sendable (String) -> Bool) async {
    await output.text.wait { isWanted($0) || $0.hasSuffix("\u{4}") }
  }

  /// What it has printed so far.
  var outputSoFar: CommandLineTool.Outcome {
    CommandLineTool.Outcome(code: 0, output: output.text.value, errors: errors.text.value)
  }

  /// Waits until standard error holds `text`.
  func waitForErrors(containing text: String) async {
    await errors.text.wait { $0.contains(text) || $0.hasSuffix("\u{4}") }
  }

  /// Waits for its end.
  func end() async -> CommandLineTool.Outcome {
    await ended.wait { $0 }
    // Marked with the end of transmission when all was read.
    await output.text.wait { $0.hasSuffix("\u{4}") }
    await errors.text.wait { $0.hasSuffix("\u{4}") }
    let code = process.terminationReason == .uncaughtSignal ? -process.terminationStatus : process.terminationStatus
    return CommandLineTool.Outcome(
      code: code, output: String(output.text.value.dropLast()), errors: String(errors.text.value.dropLast()))
  }
}

/// Reads a pipe to its end on a thread of its own.
private final class Collector: Sendable {
  let pipe = Pipe()
  let text = Watch("")

  func start() {
    // The child has its own copy; ours would keep the pipe open for ever.
    try? pipe.fileHandleForWriting.close()
    let handle = pipe.fileHandleForReading
    Thread.detachNewThread { [text] in
      var bytes = Data()
      var piece = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        // Foundation's own reading ends the process where a signal interrupts it.
        let count = read(handle.fileDescriptor, &piece, piece.count)
        if count < 0, errno == EINTR { continue }
        if count <= 0 { break }
        bytes += piece[..<count]
        text.update { $0 = String(decoding: bytes, as: UTF8.self) }
      }
      text.update { $0 += "\u{4}" }
    }
  }
}
