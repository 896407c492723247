extension EventsAPIEmulator {
  /// Every request for `/v0/events` that is settled: answered, or cut off by a fault or by the client.
  public func requests() async throws -> [RecordedRequest] {
    try await storage.requests()
  }

  /// How often each payload was stored, quarantined ones included: more than once is a duplicate.
  ///
  /// - Throws: ``EmulatorError`` of code ``EmulatorError/Code/payloadsNotKept`` where the storage keeps only counts.
  public func deliveries(of dataSource: String) async throws -> [String: Int] {
    try await storage.deliveries(of: dataSource)
  }

  /// How often each value of a member at the top level was stored; events without it are counted under `""`.
  ///
  /// - Throws: ``EmulatorError`` of code ``EmulatorError/Code/payloadsNotKept`` where the storage keeps only counts, and
  ///   not by this member.
  public func deliveries(of dataSource: String, byMember member: String) async throws -> [String: Int] {
    try await storage.deliveries(of: dataSource, byMember: member)
  }

  /// The rows of a data source in the order in which they were stored, quarantined ones included.
  ///
  /// - Throws: ``EmulatorError`` of code ``EmulatorError/Code/payloadsNotKept`` where the storage keeps only counts.
  public func rows(of dataSource: String) async throws -> [StoredRow] {
    try await storage.rows(of: dataSource)
  }

  /// How many rows were stored, quarantined ones and duplicates included; of all data sources, or of one.
  public func rowCount(of dataSource: String? = nil) async throws -> Int {
    try await count(of: dataSource, \.all)
  }

  /// How many rows went to the quarantine; of all data sources, or of one.
  public func quarantinedRowCount(of dataSource: String? = nil) async throws -> Int {
    try await count(of: dataSource, \.quarantined)
  }

  private func count(of dataSource: String?, _ part: (RowCount) -> Int) async throws -> Int {
    let counts = try await storage.rowCounts()
    if let dataSource { return counts[dataSource].map(part) ?? 0 }
    return counts.values.reduce(0) { $0 + part($1) }
  }

  /// Waits until this many requests have come, since the emulator was made: their heads, no matter what becomes of them.
  public func waitForArrivals(count: Int) async throws {
    try await progress.wait { $0.arrivals >= count }
  }

  /// Waits until this many requests are settled, since the emulator was made: ``requests()`` then has them.
  public func waitForRequests(count: Int) async throws {
    try await progress.wait { $0.requests >= count }
  }

  /// Waits until this many rows are stored, since the emulator was made, quarantined ones and duplicates included; of
  /// all data sources, or of one.
  public func waitForRows(count: Int, of dataSource: String? = nil) async throws {
    try await progress.wait { progress in
      guard let dataSource else { return progress.rows.values.reduce(0, +) >= count }
      return progress.rows[dataSource, default: 0] >= count
    }
  }

  /// Waits until this many requests are held by ``FaultDelay/untilReleased(at:)``.
  public func waitForHeldRequests(count: Int) async throws {
    try await progress.wait { $0.held >= count }
  }
}
