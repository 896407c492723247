internal import ArgumentParser
internal import EventsAPIEmulator
internal import Foundation
internal import TinybirdOutbox

struct EmulatorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "emulator",
    abstract: "Run a server that answers as the Events API does, and fails when it is told to.",
    usage: """
      outbox emulator [<options>]
      outbox emulator report --database <file> [--compare <file> ...]
      """,
    discussion: """
      It listens on this machine alone, and ends with SIGTERM or SIGINT. The first line of output says where, once it \
      listens. Any token is good, unless TINYBIRD_TOKEN or --token-file say which are. Without --database it forgets \
      everything at its end; with --counts-only it keeps no rows at all, so that millions of events fit in its memory.

        outbox emulator --port 8181 --database emulator.sqlite
        export TINYBIRD_BASE_URL=http://127.0.0.1:8181
        outbox emulator report --database emulator.sqlite --compare a.ndjson
      """,
    subcommands: [EmulatorReportCommand.self])

  @OptionGroup var listening: ListeningOptions
  @OptionGroup var storage: EmulatorStorageOptions
  @OptionGroup var format: FormatOptions

  func validate() throws {
    guard !listening.countsOnly || storage.database == nil else {
      throw ValidationError("--counts-only and --database exclude each other")
    }
  }

  func run() async throws {
    let kept: EventsAPIEmulator.Storage = listening.countsOnly ? .counting(eventIDMember: nil) : storage.storage
    let emulator = try EventsAPIEmulator(try listening.configuration(storage: kept))
    if let path = listening.certificate, let pem = emulator.certificatePEM {
      do {
        try Data(pem.utf8).write(to: URL(filePath: path))
      } catch {
        throw Failure(.cannotWrite, "cannot write \(path): \(error.localizedDescription)")
      }
    }
    _ = try await Interruption.run { [format, listening] in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await emulator.run() }
        let url: URL
        do {
          url = try await emulator.baseURL
        } catch {
          throw Failure(.unavailable, "cannot listen on 127.0.0.1, port \(listening.port): \(error)")
        }
        try announce(url, isJSON: format.json)
        try await group.waitForAll()
      }
    }
  }
}

private func announce(_ url: URL, isJSON: Bool) throws {
  if isJSON {
    try JSONOutput.print([
      "base_url": .string(url.absoluteString), "port": .integer(url.port),
      "pid": .integer(ProcessInfo.processInfo.processIdentifier),
    ])
  } else {
    try Console.print("listening on \(url.absoluteString)")
  }
}

/// Where rows are kept.
struct EmulatorStorageOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("A file that keeps requests and rows; 'report' reads it.", valueName: "file"))
  var database: String?

  var storage: EventsAPIEmulator.Storage { database.map { .file(URL(filePath: $0)) } ?? .memory }
}

/// How the emulator listens and answers.
struct ListeningOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The port; 0 takes a free one.", valueName: "number"))
  var port = 0

  @Flag(help: "Speak TLS, with HTTP/2 or HTTP/1.1, by a certificate that is made at the start.")
  var tls = false

  @Option(
    help: ArgumentHelp("Write the certificate to this file, for 'outbox deliver --ca-file'.", valueName: "file"))
  var certificate: String?

  @Option(help: ArgumentHelp("JSON that says what goes wrong, and what is a bad event.", valueName: "file"))
  var script: String?

  @Option(
    help: ArgumentHelp("A file of good tokens, as 'outbox deliver' takes it.", valueName: "file"))
  var tokenFile: String?

  @Flag(help: "Never answer 429 by the documented rates.")
  var noRateLimits = false

  @Flag(help: "Keep counts alone and no rows.")
  var countsOnly = false

  var isEmpty: Bool {
    port == 0 && !tls && certificate == nil && script == nil && tokenFile == nil && !noRateLimits
      && !countsOnly
  }

  func validate() throws {
    guard (0...65_535).contains(port) else { throw ValidationError("--port is a number from 0 to 65535") }
    guard tls || certificate == nil else { throw ValidationError("--certificate goes with --tls") }
  }

  func configuration(storage: EventsAPIEmulator.Storage) throws -> EventsAPIEmulator.Configuration {
    var configuration = EventsAPIEmulator.Configuration()
    configuration.port = port
    configuration.usesTLS = tls
    configuration.storage = storage
    configuration.tokens = try tokens()
    configuration.limits.hasRateLimits = !noRateLimits
    if let script {
      try InputPath.check(script)
      do {
        configuration.script = try FaultScript(contentsOf: URL(filePath: script))
      } catch let error as EmulatorError {
        throw Failure(.badInput, "\(script): \(error.message)")
      }
    }
    return configuration
  }

  private func tokens() throws -> EventsAPIEmulator.TokenPolicy {
    guard let tokenFile else {
      return try Environment["TINYBIRD_TOKEN"].map { .only(try Token($0).value) } ?? .any
    }
    var scopes: [String: EventsAPIEmulator.TokenScope] = [:]
    for (name, token) in try TokenFile(path: tokenFile).read() {
      switch scopes[token.value] {
      case .allDataSources: continue
      case _ where name == "*": scopes[token.value] = .allDataSources
      case .dataSources(let names): scopes[token.value] = .dataSources(names.union([name]))
      case nil: scopes[token.value] = .dataSources([name])
      }
    }
    return .only(scopes)
  }
}
