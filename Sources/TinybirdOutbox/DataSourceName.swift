/// The name (or id) of a Tinybird data source: the `name` of a request to the Events API.
///
/// Letters, digits and underscores, not starting with a digit, at most 128 bytes: what Tinybird accepts for a data
/// source. Anything else is refused here, so that a typing error never becomes a lane that can deliver nothing.
public struct DataSourceName: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The longest name, in bytes.
  public static let maximumByteCount = 128

  /// The name as it was given.
  public let rawValue: String

  /// Takes a name, or throws ``OutboxError/Code/invalidDataSourceName``.
  public init(_ name: some StringProtocol) throws(OutboxError) {
    let bytes = name.utf8
    guard let first = bytes.first else {
      throw OutboxError(.invalidDataSourceName, "the data source name is empty; give the name shown in Tinybird")
    }
    guard bytes.count <= Self.maximumByteCount else {
      throw OutboxError(
        .invalidDataSourceName,
        "the data source name has \(bytes.count) bytes; Tinybird takes at most \(Self.maximumByteCount)")
    }
    for (offset, byte) in bytes.enumerated() where !Self.isAllowed(byte) {
      throw OutboxError(
        .invalidDataSourceName,
        "the data source name has a character at byte \(offset) that is not a letter, a digit or '_'")
    }
    guard !Self.isDigit(first) else {
      throw OutboxError(
        .invalidDataSourceName, "the data source name starts with a digit; Tinybird does not allow that")
    }
    self.rawValue = String(name)
  }

  /// A name read back from the outbox, which was checked when it was written.
  init(stored: String) {
    self.rawValue = stored
  }

  /// The name.
  public var description: String { rawValue }

  /// By the text of the names.
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

  private static func isAllowed(_ byte: UInt8) -> Bool {
    isDigit(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x5F
  }
}
