internal import NIOCore

/// Where requests, and the rows that they brought, are kept.
protocol RowStorage: Sendable {
  /// Stores a request with its rows, in one transaction: when it returns, both can be read.
  ///
  /// - Parameters:
  ///   - request: the request; its id is given here.
  ///   - rows: where the rows to store lie in `body`.
  ///   - body: the decompressed body.
  func record(_ request: RecordedRequest, rows: [NDJSONBody.Row], in body: ByteBuffer) async throws

  /// The requests, in the order in which they were stored.
  func requests() async throws -> [RecordedRequest]

  /// The rows of a data source, in the order in which they were stored.
  func rows(of dataSource: String) async throws -> [StoredRow]

  /// How often each payload was stored.
  func deliveries(of dataSource: String) async throws -> [String: Int]

  /// How often each value of a member at the top level was stored.
  func deliveries(of dataSource: String, byMember member: String) async throws -> [String: Int]

  /// How many rows were stored, by data source.
  func rowCounts() async throws -> [String: RowCount]
}

/// How many rows of a data source were stored.
struct RowCount: Equatable, Sendable {
  /// All of them.
  var all = 0
  /// Those that went to the quarantine.
  var quarantined = 0
}
