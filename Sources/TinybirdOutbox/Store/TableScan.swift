/// Finds the rows of a table by their integer key, behind pages that cannot be read if need be.
struct TableScan {
  let connection: SQLiteConnection
  /// Gives the first key between ?1 and ?2.
  let sql: String
  /// The longest leap over what cannot be read: the shorter, the less is passed over between two such places.
  var longestLeap = Int64.max
  /// Whether an error says that the page will never be read.
  var isUnreadable: (SQLiteError) -> Bool = { $0.isCorruption }

  /// The first key between two, and whether something before it could not be read.
  ///
  /// Nil where there is none, or none that can be found.
  func next(from first: Int64, upTo last: Int64) throws -> (key: Int64?, isBehindDamage: Bool) {
    guard first <= last else { return (nil, false) }
    if let result = try look(from: first, upTo: last) { return (result.found, false) }
    // Ever longer leaps until a page can be read, then back to where that page begins.
    var (unreadable, leap) = (first, Int64(1))
    var readable: (at: Int64, found: Int64?)?
    while readable == nil, unreadable < last {
      let next = last - unreadable <= leap ? last : unreadable + leap
      if let result = try look(from: next, upTo: last) { readable = (next, result.found) } else { unreadable = next }
      leap = leap > longestLeap / 2 ? longestLeap : leap * 2
    }
    while let current = readable, current.at - unreadable > 1 {
      let middle = unreadable + (current.at - unreadable) / 2
      if let result = try look(from: middle, upTo: last) {
        readable = (middle, result.found)
      } else {
        unreadable = middle
      }
    }
    return (readable?.found, true)
  }

  /// Nil where the way to `first` cannot be read.
  private func look(from first: Int64, upTo last: Int64) throws -> (found: Int64?, ())? {
    do {
      guard let key = try connection.firstInteger(sql, first, last) else { return (nil, ()) }
      // In a damaged page the keys need not be in order.
      return (first...last).contains(key) ? (key, ()) : nil
    } catch let error as SQLiteError where isUnreadable(error) {
      return nil
    }
  }
}
