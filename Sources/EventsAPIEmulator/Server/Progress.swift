/// What has happened so far, for tests that wait for it.
struct Progress: Sendable {
  /// Requests whose head has come.
  var arrivals = 0
  /// Requests that stand in the log.
  var requests = 0
  /// Rows that were stored, by data source.
  var rows: [String: Int] = [:]
  /// Requests that a fault holds now.
  var held = 0
  /// How often held requests were released: who waits, waits for the next.
  var releases = 0
}
