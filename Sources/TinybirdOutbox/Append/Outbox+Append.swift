/// Appending.
///
/// Each call returns once its events are synced to disk, all of them or none:
///
/// - a crash before it returns may leave the events there, or not;
/// - after it has returned nothing short of the loss of the disk takes them back.
///
/// Whatever arrives while one commit is being synced shares the next, so that many callers cost few syncs. A cancelled
/// call throws `CancellationError` and stores nothing if it still waited for room; otherwise it returns its receipt.
///
/// Every call throws ``OutboxError``: ``OutboxError/Code/invalidEvent`` and ``OutboxError/Code/eventTooLarge`` for what
/// cannot be stored (``OutboxError/eventIndex`` says which event), ``OutboxError/Code/diskFull`` and
/// ``OutboxError/Code/inputOutput`` for what the disk refused. After a throw nothing is acknowledged.
extension Outbox {
  /// Encodes a value as JSON and appends it.
  @discardableResult
  @_disfavoredOverload
  public func append(_ event: some Encodable & Sendable, to dataSource: DataSourceName) async throws -> AppendReceipt {
    var packer = EventPacker()
    try door.admit(encoding: event, to: dataSource, index: 0, into: &packer)
    return try await store(packer.finish())
  }

  /// Appends one event that is JSON already: `String`, `Data` or bytes.
  @discardableResult
  public func append(_ json: some RawJSON, to dataSource: DataSourceName) async throws -> AppendReceipt {
    var packer = EventPacker()
    try admit(json, to: dataSource, index: 0, into: &packer)
    return try await store(packer.finish())
  }

  /// Encodes values as JSON and appends them in one commit.
  @discardableResult
  @_disfavoredOverload
  public func append(
    contentsOf events: some Sequence<some Encodable & Sendable> & Sendable, to dataSource: DataSourceName
  ) async throws -> AppendReceipt {
    var packer = EventPacker()
    for (index, event) in events.enumerated() {
      try door.admit(encoding: event, to: dataSource, index: index, into: &packer)
    }
    return try await commit(packer)
  }

  /// Appends events that are JSON already in one commit.
  @discardableResult
  public func append(
    contentsOf events: some Sequence<some RawJSON> & Sendable, to dataSource: DataSourceName
  ) async throws -> AppendReceipt {
    var packer = EventPacker()
    for (index, event) in events.enumerated() {
      try admit(event, to: dataSource, index: index, into: &packer)
    }
    return try await commit(packer)
  }

  /// Appends events of several data sources in one commit.
  ///
  /// Between data sources there is no order.
  @discardableResult
  public func append(contentsOf events: some Sequence<OutboxEvent> & Sendable) async throws -> AppendReceipt {
    var packer = EventPacker()
    for (index, event) in events.enumerated() {
      switch event.content {
      case .json(let json): try admit(json, to: event.dataSource, index: index, into: &packer)
      case .value(let value): try door.admit(encoding: value, to: event.dataSource, index: index, into: &packer)
      }
    }
    return try await commit(packer)
  }

  /// Checks an event as an append would, and stores nothing.
  public func validate(_ json: some RawJSON) throws(OutboxError) {
    let result = json.withJSONBytes { bytes in
      Result { () throws(OutboxError) in try door.check(bytes, index: 0) }
    }
    _ = try result.get()
  }

  private func admit(
    _ json: some RawJSON, to dataSource: DataSourceName, index: Int, into packer: inout EventPacker
  ) throws(OutboxError) {
    let result = json.withJSONBytes { bytes in
      Result { () throws(OutboxError) in try door.admit(bytes, to: dataSource, index: index, into: &packer) }
    }
    try result.get()
  }

  private func commit(_ packer: consuming EventPacker) async throws -> AppendReceipt {
    let events = packer.finish()
    // Nothing to sync for nothing.
    return events.eventCount == 0 ? AppendReceipt(ranges: []) : try await store(events)
  }

  private func store(_ events: PackedEvents) async throws -> AppendReceipt {
    do {
      return try await committer.append(events)
    } catch let error as OutboxError where error.code == .outboxFull {
      guard try await housekeeper.makeRoom() else { throw error }
      return try await committer.append(events)
    }
  }
}

/// An event with its data source, for appends that span several.
public struct OutboxEvent: Sendable {
  enum Content: Sendable {
    case json(any RawJSON)
    case value(any Encodable & Sendable)
  }

  let content: Content
  let dataSource: DataSourceName

  /// An event that is JSON already.
  public init(_ json: some RawJSON, to dataSource: DataSourceName) {
    content = .json(json)
    self.dataSource = dataSource
  }

  /// A value that the outbox's encoder writes.
  @_disfavoredOverload
  public init(_ event: some Encodable & Sendable, to dataSource: DataSourceName) {
    content = .value(event)
    self.dataSource = dataSource
  }
}

extension DataSourceName: ExpressibleByStringLiteral {
  /// A name in the program's own text, such as `"clicks"`.
  ///
  /// A name that breaks the rules is a programming error and stops the program here; use ``init(_:)`` for every name
  /// that comes from outside.
  public init(stringLiteral name: StaticString) {
    do {
      try self.init(name.description)
    } catch {
      preconditionFailure(error.message)
    }
  }
}
