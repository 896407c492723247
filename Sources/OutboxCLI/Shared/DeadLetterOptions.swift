internal import ArgumentParser
internal import TinybirdOutbox

/// Which dead letters: those that match all that is given.
struct DeadLetterOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Only of this data source.", valueName: "name"), transform: { try DataSourceName($0) })
  var dataSource: DataSourceName?

  @Option(help: ArgumentHelp("Only those refused with this HTTP status.", valueName: "code"))
  var status: Int?

  @Option(help: "Only those refused for this reason.")
  var reason: DeadReason?

  @Option(help: "Only those of which this is known: whether they are in Tinybird.")
  var inserted: Inserted?

  @Option(help: ArgumentHelp("Only those refused since then: 2h (ago), or 2026-11-21T04:05:06Z.", valueName: "time"))
  var since: MomentArgument?

  @Option(help: ArgumentHelp("Only those refused before then.", valueName: "time"))
  var before: MomentArgument?

  var isEmpty: Bool {
    dataSource == nil && status == nil && reason == nil && inserted == nil && since == nil && before == nil
  }

  /// The data sources that are named, by a range or by themselves.
  func names(_ ranges: [AddressRange]) -> [DataSourceName] {
    ranges.map(\.dataSource) + (dataSource.map { [$0] } ?? [])
  }

  /// One filter for each range, or one for all events.
  ///
  /// Ranges are put in order and joined, so that no event counts twice.
  func filters(_ ranges: [AddressRange]) throws -> [DeadLetterFilter] {
    if let dataSource, !ranges.isEmpty {
      throw ValidationError("give ranges or --data-source \(dataSource), not both: a range names its data source")
    }
    guard !ranges.isEmpty else {
      var filter = narrowed(DeadLetterFilter())
      filter.dataSource = dataSource
      return [filter]
    }
    return ranges.joined().map { narrowed(DeadLetterFilter($0)) }
  }

  private func narrowed(_ filter: DeadLetterFilter) -> DeadLetterFilter {
    var filter = filter
    filter.status = status
    filter.reason = reason
    filter.inserted = inserted
    filter.since = since?.date
    filter.before = before?.date
    return filter
  }
}

extension [AddressRange] {
  /// The same addresses, by data source and number, each in one range only.
  func joined() -> [AddressRange] {
    sorted().reduce(into: []) { result, range in
      guard let last = result.last, last.dataSource == range.dataSource,
        range.sequences.lowerBound <= last.sequences.upperBound + 1
      else { return result.append(range) }
      let end = Swift.max(last.sequences.upperBound, range.sequences.upperBound)
      result[result.count - 1] = AddressRange(
        dataSource: last.dataSource, sequences: last.sequences.lowerBound...end)
    }
  }
}

extension AddressRange {
  /// For an argument, with the library's own words where the text is no range.
  static let argument: @Sendable (String) throws -> AddressRange = { try AddressRange($0) }
}
