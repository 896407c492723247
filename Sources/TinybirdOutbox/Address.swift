/// Where an event lives: its data source and its sequence number there, written `clicks/1042`.
///
/// The sequence of a data source starts at 1, has no holes, and no number is ever used again, so that an address names
/// one event for as long as the outbox exists.
public struct Address: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The event's data source.
  public let dataSource: DataSourceName
  /// The event's number in its data source, from 1.
  public let sequence: Int64

  /// Names the event `sequence` of `dataSource`.
  public init(dataSource: DataSourceName, sequence: Int64) {
    self.dataSource = dataSource
    self.sequence = sequence
  }

  /// The text form, such as `clicks/1042`.
  public var description: String { "\(dataSource)/\(sequence)" }

  /// By data source, then by sequence number.
  public static func < (left: Self, right: Self) -> Bool {
    (left.dataSource, left.sequence) < (right.dataSource, right.sequence)
  }
}

/// A run of addresses of one data source, both ends included, written `clicks/1000..2000`.
public struct AddressRange: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The data source of every event of the range.
  public let dataSource: DataSourceName
  /// The first and the last sequence number.
  public let sequences: ClosedRange<Int64>

  /// Names the events `sequences` of `dataSource`.
  public init(dataSource: DataSourceName, sequences: ClosedRange<Int64>) {
    self.dataSource = dataSource
    self.sequences = sequences
  }

  /// Reads `clicks/1042`, `clicks/1000..2000` or `clicks`, the latter meaning every event of the data source.
  ///
  /// Throws ``OutboxError/Code/invalidAddress``.
  public init(_ text: String) throws(OutboxError) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    let dataSource = try DataSourceName(parts[0])
    guard parts.count == 2 else {
      self.init(dataSource: dataSource, sequences: 1...SequenceKey.maximumSequence)
      return
    }
    let ends = parts[1].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    // Digits alone: Int64 would take a sign too.
    let numbers = ends.map { $0.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int64($0) : nil }
    switch (ends.count, numbers.first ?? nil, numbers.last ?? nil) {
    case (1, let only?, _) where only >= 1 && only <= SequenceKey.maximumSequence:
      self.init(dataSource: dataSource, sequences: only...only)
    case (3, let first?, let last?)
    where ends[1].isEmpty && first >= 1 && last >= first && last <= SequenceKey.maximumSequence:
      self.init(dataSource: dataSource, sequences: first...last)
    default:
      throw OutboxError(
        .invalidAddress,
        "cannot read '\(text)' as an address; write clicks/1042 for one event, clicks/1000..2000 for a range, counted from 1"
      )
    }
  }

  /// The address of the first event.
  public var first: Address { Address(dataSource: dataSource, sequence: sequences.lowerBound) }
  /// The address of the last event.
  public var last: Address { Address(dataSource: dataSource, sequence: sequences.upperBound) }
  /// How many events the range names.
  public var count: Int { sequences.count }

  /// The text form, such as `clicks/1000..2000`, or `clicks/1042` for one event.
  public var description: String {
    sequences.count == 1 ? first.description : "\(dataSource)/\(sequences.lowerBound)..\(sequences.upperBound)"
  }

  /// By data source, then by sequence number.
  public static func < (left: Self, right: Self) -> Bool {
    (left.first, left.sequences.upperBound) < (right.first, right.sequences.upperBound)
  }
}

/// The integer key of chunks and dead letters: 15 bits data source, 48 bits sequence number.
///
/// It sorts by data source, then by sequence, and stays positive.
struct SequenceKey: Hashable, Sendable {
  static let maximumDataSource: Int64 = (1 << 15) - 1
  static let maximumSequence: Int64 = (1 << 48) - 1

  let dataSource: Int64
  let sequence: Int64

  /// Throws where a number does not fit: a wrapped key would name another data source's event.
  init(dataSource: Int64, sequence: Int64) throws(OutboxError) {
    guard (1...Self.maximumDataSource).contains(dataSource), (0...Self.maximumSequence).contains(sequence) else {
      throw OutboxError(
        .limitReached,
        "data source number \(dataSource) or sequence number \(sequence) is outside the 15 and 48 bits of a key")
    }
    self.dataSource = dataSource
    self.sequence = sequence
  }

  init(stored: Int64) {
    self.dataSource = stored >> 48
    self.sequence = stored & Self.maximumSequence
  }

  var stored: Int64 { dataSource << 48 | sequence }
}
