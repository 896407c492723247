/// Proof that events are durable: the addresses under which they were committed.
public struct AppendReceipt: Hashable, Sendable, CustomStringConvertible {
  /// One range a data source, in the order in which the call first named them.
  ///
  /// Within a data source events have the order of the call.
  public let ranges: [AddressRange]

  /// How many events were committed.
  public var count: Int { ranges.reduce(0) { $0 + $1.count } }

  /// The ranges, such as `clicks/1..3, orders/7`.
  public var description: String { ranges.map(\.description).joined(separator: ", ") }
}
