internal import ArgumentParser
internal import EventsAPIEmulator
internal import Foundation
internal import TinybirdOutbox

/// Why a command ends: one line for standard error, and an exit code.
struct Failure: Error {
  let message: String
  let code: ExitCode

  init(_ code: ExitCode, _ message: String) {
    self.code = code
    self.message = message
  }

  /// What `error` means for the process; nil for what ArgumentParser throws and words itself.
  private init?(_ error: any Error) {
    switch error {
    case let failure as Failure: self = failure
    case let error as OutboxError: self.init(ExitCode(error.code), error.message)
    case let error as EmulatorError:
      self.init(error.code == .invalidScript ? .badInput : .inputOutput, error.message)
    default: return nil
    }
  }

  /// Ends the process.
  static func end(with error: any Error, of command: any ParsableCommand.Type) -> Never {
    Console.endProgress()
    if let failure = Failure(error) {
      // One line, whatever a path in it holds.
      Console.note(DisplayWidth.harmless("outbox: \(failure.message)"))
      exit(failure.code.rawValue)
    }
    let code = command.exitCode(for: error)
    var text = command.fullMessage(for: error)
    if code == .success {
      // Help and version: a reader that is gone does not want them.
      _ = try? Console.print(text)
    } else if !text.isEmpty {
      if let range = text.range(of: "Error: "), range.lowerBound == text.startIndex {
        text.replaceSubrange(range, with: "outbox: ")
      }
      Console.note(text.hasSuffix("\n") ? String(text.dropLast()) : text)
    }
    exit(code.rawValue)
  }
}
