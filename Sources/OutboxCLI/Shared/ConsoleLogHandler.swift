internal import Foundation
internal import Logging

/// Writes log lines to standard error, above the progress line: time, level, message, metadata.
struct ConsoleLogHandler: LogHandler {
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]
  var metadataProvider: Logger.MetadataProvider?

  static func logger(level: Logger.Level) -> Logger {
    Logger(label: "outbox") { _ in ConsoleLogHandler(logLevel: level) }
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let all = metadata.merging(metadataProvider?.get() ?? [:]) { $1 }.merging(event.metadata ?? [:]) { $1 }
    let pairs = all.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
    Console.note(DisplayWidth.harmless("\(Humane.time(Date())) \(event.level): \(event.message)\(pairs)"))
  }
}
