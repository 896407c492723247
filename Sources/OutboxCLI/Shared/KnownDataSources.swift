internal import ArgumentParser
internal import TinybirdOutbox

extension Outbox {
  /// The most names that an error lists.
  private static let maximumNames = 20

  /// Refuses a data source that the outbox does not have: a slip of the pen must not look like a name without events.
  func requireDataSources(_ names: [DataSourceName]) async throws {
    guard !names.isEmpty else { return }
    let known = try await status().dataSources.map(\.dataSource)
    guard let unknown = names.first(where: { !known.contains($0) }) else { return }
    var list = known.prefix(Self.maximumNames).map(\.description).joined(separator: ", ")
    if known.count > Self.maximumNames { list += " and \(known.count - Self.maximumNames) more" }
    throw Failure(
      .notFound, "the outbox has no data source '\(unknown)'; it has \(known.isEmpty ? "none yet" : list)")
  }
}
