/// Why an emulator could not be set up, started or asked.
public struct EmulatorError: Error, Sendable, CustomStringConvertible {
  /// What kind of failure it is.
  public enum Code: String, Sendable {
    /// A fault script is not valid.
    case invalidScript
    /// The file that accepted events are stored in cannot be used.
    case storageFailed
    /// The storage keeps no payloads, only counts.
    case payloadsNotKept
    /// The emulator does not run: ``EventsAPIEmulator/run()`` is over, or has not begun.
    case notRunning
    /// A URL cannot name the host that the emulator listens on.
    case invalidHost
  }

  /// What kind of failure it is.
  public let code: Code
  /// What failed and why.
  public let message: String

  init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  /// The code and the message.
  public var description: String { "\(code.rawValue): \(message)" }
}
