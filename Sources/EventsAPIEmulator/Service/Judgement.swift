internal import Foundation

/// What the service makes of a request: its answer, and the rows that it stores.
///
/// Pure.
struct Judgement: Equatable {
  var answer: ServiceAnswer
  var rows: [NDJSONBody.Row]

  /// The service refuses the request.
  static func refused(_ answer: ServiceAnswer) -> Judgement {
    Judgement(answer: answer, rows: [])
  }

  /// The service takes the request: 200 where the client waits for the commit, else 202.
  static func taken(_ rows: [NDJSONBody.Row], waits: Bool) -> Judgement {
    var judgement = Judgement(answer: .accepted(status: waits ? 200 : 202), rows: rows)
    judgement.reportCounts()
    return judgement
  }

  /// What a fault makes of it.
  ///
  /// A request that the service refuses stays refused.
  ///
  /// - Parameter now: for a `Retry-After` that is a date.
  mutating func apply(_ fault: Fault?, at now: Date) {
    guard answer.isSuccess else { return }
    switch fault {
    case nil, .close, .endlessAnswer, .slowAnswer, .refuseStream, .goAway:
      break
    case .answer(let canned):
      switch canned.commit {
      case .nothing: rows = []
      case .half: rows.removeLast(rows.count - rows.count / 2)
      case .all: break
      }
      answer = ServiceAnswer(canned, at: now)
    case .acceptWithoutWaiting:
      answer.status = 202
    case .quarantine(let count):
      for index in rows.indices.prefix(count) { rows[index].isQuarantined = true }
      reportCounts()
    case .miscount(let successfulRows, let quarantinedRows):
      reportCounts(offBy: (successfulRows, quarantinedRows))
    }
  }

  private mutating func reportCounts(offBy error: (successful: Int, quarantined: Int) = (0, 0)) {
    let quarantinedRows = rows.count { $0.isQuarantined }
    answer.body = ServiceAnswer.counts(
      successfulRows: rows.count - quarantinedRows + error.successful,
      quarantinedRows: quarantinedRows + error.quarantined)
  }
}
