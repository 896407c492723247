/// What every throwing call of the library throws.
///
/// A message says what failed, where, why, and what to do. It never holds an event's payload, a token, or an answer's
/// body: those may quote what must not reach a log.
public struct OutboxError: Error, CustomStringConvertible, CustomReflectable, Sendable {
  /// What kind of thing went wrong: the part to switch over.
  ///
  /// New codes may be added, so a `switch` needs a `default`.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's name, fit for a metric's label.
    public let description: String

    private init(_ name: String) { description = name }

    /// The event is not one JSON object by RFC 8259 in UTF-8.
    ///
    /// Nothing was stored.
    public static let invalidEvent = Code("invalid_event")
    /// The event is larger than one request may be.
    ///
    /// Nothing was stored.
    public static let eventTooLarge = Code("event_too_large")
    /// The encoder threw, so there is nothing to store.
    public static let encodingFailed = Code("encoding_failed")
    /// The name cannot be a Tinybird data source.
    public static let invalidDataSourceName = Code("invalid_data_source_name")
    /// The text is not an address or a range of addresses.
    public static let invalidAddress = Code("invalid_address")
    /// A setting is out of its range.
    public static let invalidConfiguration = Code("invalid_configuration")
    /// 32,767 data sources, or 2^48 events in one of them, are reached.
    public static let limitReached = Code("limit_reached")
    /// There is no outbox at the path, and none was to be made.
    public static let notFound = Code("not_found")
    /// The file is not an SQLite database.
    public static let notADatabase = Code("not_a_database")
    /// The file is another application's database.
    public static let foreignDatabase = Code("foreign_database")
    /// The outbox was written by a newer version of this library.
    public static let newerFormat = Code("newer_format")
    /// The directory is missing, or file or directory may not be written.
    public static let notWritable = Code("not_writable")
    /// The path lies on a network file system, where locks and syncs do not hold what the outbox promises.
    ///
    /// Nothing was made.
    public static let networkFileSystem = Code("network_file_system")
    /// SQLite did not take a setting that the promise rests on.
    public static let settingRefused = Code("setting_refused")
    /// The disk, or the quota, is full.
    ///
    /// Nothing was stored; what was acknowledged before is safe.
    public static let diskFull = Code("disk_full")
    /// The outbox holds as many bytes as ``OutboxConfiguration/maximumBytes`` allows.
    ///
    /// Nothing was stored; delivery goes on and makes room.
    public static let outboxFull = Code("outbox_full")
    /// The disk failed to read, write or sync.
    ///
    /// What was being stored is not acknowledged, but may still be there.
    public static let inputOutput = Code("input_output")
    /// Another process kept the outbox locked, and nobody wrote to it for 30 seconds: a program has forgotten its transaction.
    ///
    /// However many processes share the outbox, and however slow the disk is: while somebody writes, a call waits.
    public static let busy = Code("busy")
    /// The file is damaged.
    public static let damaged = Code("damaged")
    /// The outbox was closed.
    public static let closed = Code("closed")
    /// The call waits for, or needs, something that is not so: see the message.
    public static let conflict = Code("conflict")
    /// Any other fault that SQLite reports.
    public static let database = Code("database")
  }

  /// What kind of thing went wrong.
  public var code: Code
  /// What failed, where, why, and what to do.
  public var message: String
  /// The error underneath, if there is one.
  public var cause: (any Error)?

  /// Which event of the call was refused, counted from 0; nil where it is not one event's fault.
  public var eventIndex: Int?

  /// Makes an error; `message` must hold neither payload nor token.
  public init(_ code: Code, _ message: String, cause: (any Error)? = nil, eventIndex: Int? = nil) {
    self.code = code
    self.message = message
    self.cause = cause
    self.eventIndex = eventIndex
  }

  /// The code's name: bounded, fit for a metric's label.
  public var shortDescription: String { code.description }

  /// The message.
  public var description: String { message }

  /// Code and message; of the cause its type alone, since what others throw may quote the event.
  public var customMirror: Mirror {
    Mirror(
      self,
      children: [
        "code": code.description, "message": message, "cause": cause.map { "\(type(of: $0))" } as Any,
        "eventIndex": eventIndex as Any,
      ])
  }
}
