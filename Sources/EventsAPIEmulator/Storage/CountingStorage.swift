internal import Foundation
internal import NIOCore

/// Keeps counts, and the last requests: for benchmarks of millions of events.
actor CountingStorage: RowStorage {
  /// How many requests are kept.
  static let maximumRequestCount = 10_000

  private let eventIDMember: String?
  private var lastRequests: [RecordedRequest] = []
  private var requestCount = 0
  private var counts: [String: RowCount] = [:]
  private var countsByEventID: [String: [String: Int]] = [:]

  /// - Parameter eventIDMember: the member whose values are counted; nil: none.
  init(eventIDMember: String?) {
    self.eventIDMember = eventIDMember
  }

  func record(_ request: RecordedRequest, rows: [NDJSONBody.Row], in body: ByteBuffer) {
    requestCount += 1
    var request = request
    request.id = requestCount
    // The oldest go in bulk: removing one at a time would move all the others each time.
    if lastRequests.count >= 2 * Self.maximumRequestCount { lastRequests.removeFirst(Self.maximumRequestCount) }
    lastRequests.append(request)
    guard let dataSource = request.dataSource, !rows.isEmpty else { return }
    counts[dataSource, default: RowCount()].all += request.rowCount
    counts[dataSource, default: RowCount()].quarantined += request.quarantinedRowCount
    if let eventIDMember { countEventIDs(rows, in: body, of: dataSource, member: eventIDMember) }
  }

  private func countEventIDs(_ rows: [NDJSONBody.Row], in body: ByteBuffer, of dataSource: String, member: String) {
    body.withUnsafeReadableBytes { bytes in
      for row in rows {
        let line = UnsafeRawBufferPointer(rebasing: bytes[row.start..<row.end])
        var id = ""
        // A malformed line, in the quarantine, has no id.
        try? JSONScanner.scanObject(line) { name, value, kind in
          guard line[name].elementsEqual(member.utf8) else { return }
          let quotes = kind == .string ? 1 : 0
          id = String(decoding: line[value].dropFirst(quotes).dropLast(quotes), as: UTF8.self)
        }
        countsByEventID[dataSource, default: [:]][id, default: 0] += 1
      }
    }
  }

  func requests() -> [RecordedRequest] { lastRequests.suffix(Self.maximumRequestCount) }

  func rowCounts() -> [String: RowCount] { counts }

  func rows(of dataSource: String) throws(EmulatorError) -> [StoredRow] {
    throw Self.noPayloads
  }

  func deliveries(of dataSource: String) throws(EmulatorError) -> [String: Int] {
    throw Self.noPayloads
  }

  func deliveries(of dataSource: String, byMember member: String) throws(EmulatorError) -> [String: Int] {
    guard member == eventIDMember else {
      throw EmulatorError(.payloadsNotKept, "the storage counts by '\(eventIDMember ?? "no member")', not '\(member)'")
    }
    return countsByEventID[dataSource] ?? [:]
  }

  private static let noPayloads = EmulatorError(.payloadsNotKept, "the storage keeps counts, not payloads")
}
