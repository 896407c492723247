internal import ArgumentParser
internal import Logging
internal import TinybirdOutbox

/// Which outbox.
struct OutboxOptions: ParsableArguments {
  @Option(name: .customLong("outbox"), help: ArgumentHelp("The outbox. Default: OUTBOX_PATH.", valueName: "path"))
  var given: String?

  /// The path, which is asked for when the outbox is opened and not in `validate()`: that comes before `--help`.
  var path: String {
    get throws {
      guard let path = given ?? Environment["OUTBOX_PATH"] else {
        throw Failure(.validationFailure, "name the outbox with --outbox PATH, or in OUTBOX_PATH")
      }
      return path
    }
  }

  /// A command on the same outbox, to be typed as it stands: `outbox resume --outbox app.outbox clicks`.
  func command(_ verb: String, _ rest: String = "") -> String {
    let option = given.map { " --outbox " + DisplayWidth.harmless(Self.quoted($0)) } ?? ""
    return "outbox \(verb)\(option)\(rest.isEmpty ? "" : " " + rest)"
  }

  private static func quoted(_ path: String) -> String {
    let isPlain =
      !path.isEmpty
      && path.utf8.allSatisfy { byte in
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
          || "/._-+,:@".utf8.contains(byte)
      }
    return isPlain
      ? path : "'" + path.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
  }

  /// Opens the outbox for as long as `body` takes.
  ///
  /// Where there is none it is an error, unless `creates` says to make one.
  func withOutbox<Value>(
    creates: Bool = false, configuration: OutboxConfiguration = OutboxConfiguration(),
    logger: Logger = ConsoleLogHandler.logger(level: .warning), _ body: (Outbox) async throws -> Value
  ) async throws -> Value {
    var configuration = configuration
    configuration.createsFile = creates
    let outbox = try await Outbox(at: path, configuration: configuration, logger: logger)
    do {
      let value = try await body(outbox)
      await outbox.close()
      return value
    } catch {
      await outbox.close()
      throw error
    }
  }
}

/// How a command prints.
struct FormatOptions: ParsableArguments {
  @Flag(help: "Print JSON, for scripts. Each object begins with its version; members are added, never changed.")
  var json = false
}
