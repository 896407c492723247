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
    guard let value = try? JSONSerialization.jsonObject(with: Data(body), options: .fragmentsAllowed) else { return nil }
    let object = value as? [String: Any]
    rows = RowCounts(
      successful: Self.count(object?["successful_rows"]), quarantined: Self.count(object?["quarantined_rows"]))
  }

  /// A count that is negative, or no whole number, counts as missing.
  private static func count(_ value: Any?) -> Int? {
    guard let number = value as? NSNumber, let count = Int(exactly: number.doubleValue), count >= 0 else { return nil }
    return count
  }
}

extension UInt8 {
  fileprivate var isJSONWhitespace: Bool { self == 0x20 || self == 0x09 || self == 0x0A || self == 0x0D }
}
