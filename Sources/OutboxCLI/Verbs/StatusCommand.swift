internal import ArgumentParser
internal import Foundation
internal import TinybirdOutbox

struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show what is in the outbox, and how delivery goes.",
    discussion: """
      One line a data source, and below the table what asks for attention, with the command that helps. It reads counters: \
      its cost does not grow with the backlog.

        outbox status --outbox app.outbox
        outbox status --outbox app.outbox --json
      """)

  @OptionGroup var outbox: OutboxOptions
  @OptionGroup var format: FormatOptions

  func run() async throws {
    let status = try await outbox.withOutbox { try await $0.status() }
    if format.json {
      try JSONOutput.print(status.asJSON)
    } else {
      let report = StatusReport(status: status, options: outbox, now: Date())
      try Console.print(
        report.lines(width: Terminal.output.width, paint: Terminal.output.paint).joined(separator: "\n"))
    }
  }
}

/// A status as a person reads it.
struct StatusReport {
  let status: OutboxStatus
  let options: OutboxOptions
  let now: Date

  func lines(width: Int, paint: Paint) -> [String] {
    let deliverer = status.delivererProcessID.map { "process \($0) delivers" } ?? "nobody delivers"
    var lines = ["\(paint(DisplayWidth.harmless(status.path), .bold)): \(Humane.bytes(status.fileBytes)), \(deliverer)"]
    guard !status.dataSources.isEmpty else { return lines + ["no event was appended yet"] }
    let words = status.dataSources.map { LaneWords($0, now: now, options: options) }
    lines += [""] + table(words).lines(width: width, paint: paint)
    let attention = zip(status.dataSources, words).flatMap { $1.advice + remarks($0) } + generalRemarks
    return attention.isEmpty ? lines : lines + [""] + attention
  }

  private func table(_ words: [LaneWords]) -> TerminalTable {
    let hasDiscarded = status.dataSources.contains { $0.discardedEvents > 0 }
    let hasDamaged = status.dataSources.contains { $0.damagedEvents > 0 }
    var columns: [TerminalTable.Column] = [
      .left("DATA SOURCE"), .right("PENDING"), .right("SIZE"), .right("OLDEST"), .right("DELIVERED"), .right("DEAD"),
    ]
    if hasDiscarded { columns.append(.right("DISCARDED")) }
    if hasDamaged { columns.append(.right("DAMAGED")) }
    var table = TerminalTable(columns + [.left("LANE")])
    for (source, words) in zip(status.dataSources, words) {
      var cells: [TerminalTable.Cell] = [
        .init(source.dataSource.description),
        .init(Humane.count(source.pendingEvents)),
        .init(source.pendingEvents == 0 ? "-" : Humane.bytes(source.pendingBytes)),
        .init(source.oldestPendingAt.map { Humane.age(of: $0, at: now) } ?? "-"),
        .init(Humane.count(source.deliveredEvents)),
        .init(Humane.count(source.deadEvents), source.deadEvents > 0 ? .red : nil),
      ]
      if hasDiscarded { cells.append(.init(Humane.count(source.discardedEvents))) }
      if hasDamaged { cells.append(.init(Humane.count(source.damagedEvents), source.damagedEvents > 0 ? .red : nil)) }
      table.add(cells + [.init(words.state, words.colour)])
    }
    return table
  }

  /// What asks for attention besides the lane.
  private func remarks(_ source: DataSourceStatus) -> [String] {
    let name = source.dataSource.description
    var remarks: [String] = []
    if isStruggling(source.lane), let answer = source.lastAnswer {
      let status = answer.status.map { "\($0)" } ?? "none"
      let text = answer.text.map { ": " + DisplayWidth.cut(DisplayWidth.harmless($0), to: 300) } ?? ""
      remarks.append("  last answer: \(status), \(Humane.relative(answer.at, to: now))\(text)")
    }
    if source.deadEvents > 0 {
      let replaying =
        switch source.replayingEvents {
        case 0: ""
        case source.deadEvents: ", being replayed"
        case let count: ", \(Humane.count(count)) of them being replayed"
        }
      remarks += [
        "\(name): \(Humane.count(source.deadEvents, "dead letter"))\(replaying)",
        "  to see why: \(options.command("dead-letters", name))",
      ]
    }
    if source.damagedEvents > 0 {
      remarks.append(
        "\(name): \(Humane.count(source.damagedEvents, "event")) cannot be read: \(options.command("verify"))")
    }
    if source.quarantinedRows > 0 {
      remarks.append(
        "\(name): \(Humane.count(source.quarantinedRows, "row")) did not fit the schema: see \(name)_quarantine in Tinybird"
      )
    }
    if source.batchesWithWarnings > 0 {
      remarks.append(
        "\(name): \(Humane.count(source.batchesWithWarnings, "delivered batch", "delivered batches")) whose counts do not match what was sent, or with rows in quarantine"
      )
      remarks.append("  when you have looked: \(options.command("acknowledge", name))")
    }
    if source.possibleDuplicates > 0 {
      remarks += [
        "\(name): \(Humane.count(source.possibleDuplicates, "delivered event")) may be in Tinybird more than once",
        "  to list them: \(options.command("list", "--possible-duplicates \(name)"))",
      ]
    }
    return remarks
  }

  private func isStruggling(_ lane: LaneStatus) -> Bool {
    switch lane {
    case .open, .held(.byOperator, _, _, _): false
    case .backingOff, .outage, .held: true
    }
  }

  private var generalRemarks: [String] {
    var remarks: [String] = []
    if let takenAt = status.backupTakenAt {
      remarks.append(
        "this is a backup of \(Humane.time(takenAt)): \(Humane.count(status.pendingEvents, "pending event")) may have been delivered since, and will be sent again"
      )
    }
    if status.space.isDiskFull {
      remarks.append("the disk was found full: appends are refused until there is room; everything else goes on")
    }
    if !status.space.logReaders.isEmpty {
      let processes = status.space.logReaders.map { "\($0)" }.joined(separator: ", ")
      remarks.append(
        "the log has \(Humane.bytes(status.space.logBytes)) and cannot be folded into the file: an old state is read by process \(processes)"
      )
    }
    if status.pendingEvents > 0, status.delivererProcessID == nil {
      remarks.append("nobody delivers: \(options.command("deliver"))")
    }
    return remarks
  }
}

extension OutboxStatus {
  /// The JSON of `outbox status --json`.
  var asJSON: JSONValue {
    func sum(_ count: (DataSourceStatus) -> Int) -> JSONValue {
      .integer(dataSources.reduce(0) { $0 + count($1) })
    }
    return [
      "path": .string(path),
      "id": .string(id.uuidString.lowercased()),
      "format_version": .integer(formatVersion),
      "file_bytes": .integer(fileBytes),
      "free_bytes": .integer(space.freeBytes),
      "log_bytes": .integer(space.logBytes),
      "log_reader_pids": .array(space.logReaders.map { .integer($0) }),
      "reserve_bytes": .integer(space.reserveBytes),
      "disk_full": .bool(space.isDiskFull),
      "backup_taken_at": .time(backupTakenAt),
      "deliverer_pid": .integer(delivererProcessID),
      "appended_events": sum { $0.appendedEvents },
      "pending_events": sum { $0.pendingEvents },
      "delivered_events": sum { $0.deliveredEvents },
      "dead_events": sum { $0.deadEvents },
      "discarded_events": sum { $0.discardedEvents },
      "damaged_events": sum { $0.damagedEvents },
      "possible_duplicates": sum { $0.possibleDuplicates },
      "batches_in_flight": sum { $0.batchesInFlight },
      "data_sources": .array(dataSources.map(\.asJSON)),
    ]
  }
}

extension DataSourceStatus {
  fileprivate var asJSON: JSONValue {
    [
      "name": .describing(dataSource),
      "appended_events": .integer(appendedEvents),
      "pending_events": .integer(pendingEvents),
      "pending_bytes": .integer(pendingBytes),
      "batches_in_flight": .integer(batchesInFlight),
      "delivered_events": .integer(deliveredEvents),
      "dead_events": .integer(deadEvents),
      "replaying_events": .integer(replayingEvents),
      "discarded_events": .integer(discardedEvents),
      "damaged_events": .integer(damagedEvents),
      "possible_duplicates": .integer(possibleDuplicates),
      "batches_with_warnings": .integer(batchesWithWarnings),
      "successful_rows": .integer(successfulRows),
      "quarantined_rows": .integer(quarantinedRows),
      "oldest_pending_at": .time(oldestPendingAt),
      "last_delivered_at": .time(lastDeliveredAt),
      "lane": lane.asJSON,
      "last_answer": lastAnswer.map {
        ["status": .integer($0.status), "text": .string($0.text), "at": .time($0.at)]
      } ?? .null,
    ]
  }
}

extension LaneStatus {
  /// `state` is `open`, `backing_off`, `outage` or `held`; the other members go with it.
  fileprivate var asJSON: JSONValue {
    switch self {
    case .open: ["state": .string("open")]
    case .backingOff(let failures, let until):
      ["state": .string("backing_off"), "failures": .integer(failures), "until": .time(until)]
    case .outage(let failures, let until):
      ["state": .string("outage"), "failures": .integer(failures), "until": .time(until)]
    case .held(let kind, let status, let since, let batch):
      [
        "state": .string("held"), "reason": .string(kind.rawValue), "status": .integer(status), "since": .time(since),
        "range": batch.map { .describing($0) } ?? .null,
      ]
    }
  }
}
