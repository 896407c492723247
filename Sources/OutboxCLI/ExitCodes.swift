internal import ArgumentParser
internal import TinybirdOutbox

/// How `outbox` ends. The numbers above 63 are those of BSD's `sysexits.h`.
extension ExitCode {
  /// `verify` or `doctor` found something wrong, or could not salvage all; `erase` could not reach all; `emulator report
  /// --compare` found lines that did not arrive.
  static let problemsFound = ExitCode(1)
  /// `deliver --until-empty` is done, and some events went to the dead-letter table.
  static let deadLettersAppeared = ExitCode(2)
  /// Input that is not NDJSON, or a script that is not one.
  static let badInput = ExitCode(65)
  /// No outbox, event, data source or file is where one was named.
  static let notFound = ExitCode(66)
  /// A data source is held, so that events stay pending; or the emulator's port is taken.
  static let unavailable = ExitCode(69)
  /// The outbox cannot be made or written at its path.
  static let cannotWrite = ExitCode(73)
  /// The disk failed, or a file on it is damaged.
  static let inputOutput = ExitCode(74)
  /// Disk full, or locked by another process for too long: the same command may work later.
  static let tryAgain = ExitCode(75)
  /// A setting is missing or cannot be used: base URL, token, token file.
  static let configuration = ExitCode(78)

  /// What a shell reports for a process that the signal ended.
  static func interrupted(by signal: Int32) -> ExitCode { ExitCode(128 + signal) }

  /// The table of `outbox --help`.
  static let table = """
    EXIT CODES:
      0    done
      1    verify or doctor found problems, or not all could be salvaged; erase could not reach all;
           emulator report found lines missing; a question was not answered with yes
      2    deliver --until-empty: done, but events went to the dead-letter table
      64   the command line cannot be understood
      65   bad input: lines that are not JSON objects, a fault script that is none
      66   no such outbox, event, data source or input file
      69   a data source is held, so that events stay pending; or a port is taken
      73   the outbox cannot be made or written at its path
      74   the disk failed, or a file is damaged
      75   disk or outbox full, or locked for too long: try again later
      78   base URL or token are missing or cannot be used
      130  interrupted (143: terminated); what was reported as durable is
    """

  /// The code for an error of the library.
  init(_ code: OutboxError.Code) {
    self =
      switch code {
      case .invalidEvent, .eventTooLarge, .encodingFailed: .badInput
      case .invalidDataSourceName, .invalidAddress: .validationFailure
      case .invalidConfiguration: .configuration
      case .notFound, .notADatabase, .foreignDatabase, .newerFormat: .notFound
      case .notWritable, .networkFileSystem: .cannotWrite
      case .diskFull, .outboxFull, .limitReached, .busy, .conflict, .closed: .tryAgain
      // inputOutput, damaged, settingRefused, database, and what a later version adds.
      default: .inputOutput
      }
  }
}
