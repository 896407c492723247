/// All that one answer changes, written in one transaction.
struct Settlement: Equatable, Sendable {
  var batch: Batch.ID
  var change: BatchChange
  var lane: LaneChange
  /// What the answer says of the rows.
  var inserted: Inserted
  /// Whether the attempt counts: one that our own shutdown cut short, or that never left, does not.
  var isCounted: Bool
}

/// What becomes of the rows.
enum BatchChange: Equatable, Sendable {
  case delivered(RowCounts)
  /// Stays pending; not tried again before the delay is over.
  case pending(retryAfter: Duration?)
  /// Replaced by two halves that stay pending.
  case split
  /// Every event moves to the dead-letter table.
  case dead(DeadReason)
}

/// What the service says it did with the rows of a delivered batch.
struct RowCounts: Equatable, Sendable {
  var successful: Int?
  var quarantined: Int?

  /// What an operator should look at, or nil where every row was inserted.
  func warning(sent: Int) -> CountsWarning? {
    guard let successful, let quarantined else { return .countsMissing }
    if successful + quarantined != sent { return .countsDiffer }
    return quarantined > 0 ? .quarantined : nil
  }
}

/// Why a delivered batch is kept until it is acknowledged.
public enum CountsWarning: String, Sendable, Codable, CaseIterable {
  /// The answer did not say how many rows were inserted.
  case countsMissing = "counts_missing"
  /// The answer's counts do not add up to the rows that were sent.
  case countsDiffer = "counts_differ"
  /// Some rows did not fit the schema and are in the data source's quarantine.
  case quarantined
}

/// Why an event is in the dead-letter table.
public enum DeadReason: String, Sendable, Codable, CaseIterable {
  /// The service refused the event itself (400).
  case refused
  /// The event is larger than the service takes (413).
  case tooLarge = "too_large"
  /// The service failed half-way, so that sending again can duplicate (422).
  case partlyInserted = "partly_inserted"
  /// The batch met a fault of the path: a token without the right (401, 403), a workspace that is not in this cluster
  /// (404), or a status that the service does not document.
  ///
  /// The lane was held behind it.
  case requestRefused = "request_refused"
  /// The service failed on it while it took others, and an operator had asked to isolate it: see
  /// ``Outbox/isolate(_:)``.
  case isolated
  /// It was tried ``DeliveryConfiguration/maximumAttempts`` times.
  case attemptsExhausted = "attempts_exhausted"
  /// It waited for longer than ``DeliveryConfiguration/maximumAge``.
  case expired
}

/// What becomes of the lane.
enum LaneChange: Equatable, Sendable {
  case none
  /// It delivers: failures are forgotten, and so is a hold that a probe has disproved.
  case open
  /// It waits; `failures` in a row so far.
  case backOff(failures: Int, delay: Duration)
  case hold(HoldKind, status: Int?)
}

/// Why a lane sends nothing until somebody, or a probe, says otherwise.
public enum HoldKind: String, Sendable, Codable, CaseIterable {
  /// An operator asked for it.
  ///
  /// Only an operator ends it.
  case byOperator = "operator"
  /// 401 or 403: the token is missing, unknown, or lacks the right to append.
  case unauthorized
  /// 404: the workspace is not in this cluster; the base URL names another region.
  case workspaceNotFound = "workspace_not_found"
  /// 3xx: a redirect is never followed, because the token must not travel.
  case redirected
  /// 200 with a body that is not JSON: something else answers at the base URL.
  case notTheEventsAPI = "not_the_events_api"
  /// 202 again and again: `wait=true` is not honoured, so nothing is acknowledged.
  case waitNotHonoured = "wait_not_honoured"
  /// Every request of a bisection was refused: the fault is not in single events.
  case everyEventRefused = "every_event_refused"
  /// A status that the service does not document.
  case unexpectedStatus = "unexpected_status"
}
