internal import TinybirdOutbox

/// What an append has done.
struct AppendSummary: Sendable {
  var dataSource: DataSourceName
  /// Events that are durable.
  var events = 0
  /// Bytes of these.
  var bytes: Int64 = 0
  /// Their addresses; one range unless others appended at the same time.
  var ranges: [AddressRange] = []
  var badLines = 0
  /// `events.ndjson:17`: the last line that is stored.
  var lastLine: String?

  mutating func add(_ receipt: AppendReceipt) {
    events += receipt.count
    for range in receipt.ranges {
      if let last = ranges.last, last.sequences.upperBound + 1 == range.sequences.lowerBound {
        ranges[ranges.count - 1] = AddressRange(
          dataSource: dataSource, sequences: last.sequences.lowerBound...range.sequences.upperBound)
      } else {
        ranges.append(range)
      }
    }
  }

  /// The last line of output.
  var line: String {
    let shown = ranges.prefix(4).map(\.description).joined(separator: ", ")
    let more = ranges.count > 4 ? " and \(Humane.count(ranges.count - 4, "more range"))" : ""
    return "\(Humane.count(events, "event")) durable: \(shown)\(more)"
  }

  /// How far it came, where it did not come to the end.
  var place: String {
    guard let lastLine else { return "nothing was stored" }
    return "\(Humane.count(events, "event")) \(events == 1 ? "is" : "are") durable, the last one is \(lastLine)"
  }

  /// The JSON of `outbox append --json`.
  var asJSON: JSONValue {
    [
      "data_source": .describing(dataSource),
      "events": .integer(events),
      "bytes": .integer(bytes),
      "bad_lines": .integer(badLines),
      "addresses": .array(ranges.map { .describing($0) }),
      "last_line": .string(lastLine),
    ]
  }
}

/// Stores what a reader reads.
actor AppendRun {
  private(set) var summary: AppendSummary

  private let outbox: Outbox
  private let dataSource: DataSourceName
  private let badLines: BadLines
  private let names: [String]
  private let totalBytes: Int64?
  private let start = ContinuousClock.now
  private var readBytes: Int64 = 0
  /// Whether the next bad line ends it.
  private var isStrict: Bool
  private var isStopped = false

  init(outbox: Outbox, dataSource: DataSourceName, badLines: BadLines, names: [String]) {
    self.outbox = outbox
    self.dataSource = dataSource
    self.badLines = badLines
    isStrict = badLines == .stop
    self.names = names.map { $0 == InputPath.standardInput ? "stdin" : DisplayWidth.harmless($0) }
    let sizes = names.map { InputPath.regularSize($0) }
    totalBytes = sizes.contains(nil) ? nil : sizes.reduce(0) { $0 + ($1 ?? 0) }
    summary = AppendSummary(dataSource: dataSource)
  }

  func storeAll(of reader: InputReader) async throws {
    if badLines == .refuseAll {
      try await reader.spoolStreams()
      try await reader.forEachBatch { check($0) }
      guard summary.badLines == 0 else { return }
      await reader.rewind()
      readBytes = 0
      isStrict = true
    }
    try await reader.forEachBatch { batch in
      try await store(batch)
      if isStopped { reader.stop() }
    }
  }

  /// Reports every bad line of `batch`, and stores nothing.
  private func check(_ batch: LineBatch) {
    _ = goodLines(batch.lines[...], of: batch)
    progress(batch, isChecking: true)
  }

  private func store(_ batch: LineBatch) async throws {
    // A stopped reader hands over what it had gathered meanwhile.
    guard !isStopped else { return }
    var lines = batch.lines[...]
    if lines.contains(where: { $0.excess != nil }) { lines = goodLines(lines, of: batch) }
    while !lines.isEmpty {
      do {
        summary.add(try await outbox.append(contentsOf: batch.events(lines), to: dataSource))
        summary.bytes += lines.reduce(0) { $0 + Int64($1.range.count) }
        summary.lastLine = lines.last.map(place)
        break
      } catch let error as OutboxError {
        // Nothing of the batch was stored. That is rare, so that what was checked may be checked again.
        guard let index = error.eventIndex else { throw error }
        lines = goodLines(lines, of: batch, bad: (lines.startIndex + index, error))
      }
    }
    progress(batch, isChecking: false)
  }

  /// The lines that can be stored; the others are reported, `bad` among them, which an append has refused.
  private func goodLines(
    _ lines: ArraySlice<LineBatch.Line>, of batch: LineBatch, bad: (index: Int, error: OutboxError)? = nil
  ) -> ArraySlice<LineBatch.Line> {
    var good: [LineBatch.Line] = []
    for (index, line) in zip(lines.indices, lines) {
      guard let problem = problem(of: line, in: batch) ?? (index == bad?.index ? bad?.error.message : nil) else {
        good.append(line)
        continue
      }
      summary.badLines += 1
      Console.note("\(place(line)): \(problem)")
      if isStrict {
        isStopped = true
        break
      }
    }
    return good[...]
  }

  private func problem(of line: LineBatch.Line, in batch: LineBatch) -> String? {
    if let byteCount = line.excess {
      return "the line has \(byteCount) bytes, \(OutboxConfiguration().maximumEventBytes) are allowed: no request to "
        + "Tinybird could carry it"
    }
    do throws(OutboxError) {
      try outbox.validate(batch.bytes(of: line))
      return nil
    } catch {
      return error.message
    }
  }

  private func place(_ line: LineBatch.Line) -> String { "\(names[line.input]):\(line.number)" }

  private func progress(_ batch: LineBatch, isChecking: Bool) {
    readBytes += batch.readBytes
    Console.progress {
      let read =
        totalBytes.map { total in
          let percent = total > 0 ? min(100, readBytes * 100 / total) : 100
          return "\(Humane.bytes(readBytes)) of \(Humane.bytes(total)) (\(percent) %)"
        } ?? Humane.bytes(readBytes)
      if isChecking { return "checking, \(read)" }
      let seconds = max(0.001, start.duration(to: .now) / .seconds(1))
      let rate = Humane.count(Int(Double(summary.events) / seconds))
      return "\(Humane.count(summary.events, "event")) durable, \(read), \(rate) events/s"
    }
  }
}
