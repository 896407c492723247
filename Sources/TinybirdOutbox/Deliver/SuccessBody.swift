internal import Foundation

/// The body of a 200: `{"successful_rows":2,"quarantined_rows":0}`, or none at all.
struct SuccessBody: Equatable {
  let rows: RowCounts

  /// Returns nil where the body is not JSON: then it is not the Events API that answered.
  init?(_ body: [UInt8]) {
    guard body.contains(where: { !$0.isJSONWhitespace }) else {
      rows = RowCounts(successful: nil, quarantined: nil)
      return
    }
    // Foundation's parser reads scalars at the top too; an answer that is JSON but not the usual object has no counts.
    guard let value = try? JSONSerialization.jsonObject(with: Data(body), options: .fragmentsAllowed) else {
      return nil
    }
    let object = value as? [String: Any]
    rows = RowCounts(
      successful: Self.count(object?["successful_rows"]), quarantined: Self.count(object?["quarantined_rows"]))
  }

  /// More rows than a request can carry are no count.
  ///
  /// It also keeps sums of counts, here and in the outbox, from overflowing.
  private static let maximumCount = 1 << 30

  /// A count that is negative, no whole number, or too large, counts as missing.
  private static func count(_ value: Any?) -> Int? {
    // Foundation gives `true` as a number too; "c", a C char, is how it stores truth.
    guard let number = value as? NSNumber, String(cString: number.objCType) != "c",
      let count = Int(exactly: number.doubleValue), (0...maximumCount).contains(count)
    else { return nil }
    return count
  }
}

extension UInt8 {
  fileprivate var isJSONWhitespace: Bool { self == 0x20 || self == 0x09 || self == 0x0A || self == 0x0D }
}
