public import Foundation

/// One request for `/v0/events`, as the emulator saw and answered it.
public struct RecordedRequest: Sendable, Equatable {
  /// The request's number in the storage, from 1.
  ///
  /// Requests stand in the order in which they were settled.
  public var id: Int
  /// When its head came.
  public var time: Date
  /// The `name` in its query; nil: there was none.
  public var dataSource: String?
  /// The status that was sent, also where the body of the answer was cut short; nil: there was no answer.
  public var status: Int?
  /// Whether rows were stored.
  public var isCommitted: Bool
  /// How many rows were stored, quarantined ones included.
  public var rowCount: Int
  /// How many of these went to the quarantine.
  public var quarantinedRowCount: Int
  /// How many bytes of body came, before decompression.
  public var byteCount: Int
  /// Whether the body was compressed with gzip.
  public var isGzip: Bool
  /// Whether the client asked to wait for the commit.
  public var waits: Bool
  /// `1.1` or `2`.
  public var httpVersion: String
  /// The ``Fault/name`` of the fault that struck, `delay` for one that only delayed; nil: none.
  public var fault: String?
}

/// One row that was stored.
public struct StoredRow: Sendable, Equatable {
  /// The ``RecordedRequest/id`` of the request that brought it.
  public var requestID: Int
  /// The event, byte for byte as it came in its line.
  public var payload: String
  /// Whether it went to the quarantine.
  public var isQuarantined: Bool
}
