/// An open write transaction: what ledger work and appends run on.
///
/// It must not outlive the job that it was handed to.
struct StoreTransaction {
  let connection: SQLiteConnection
  let outboxID: OutboxID
  let now: WallTime
}
