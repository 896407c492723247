import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// No block is left: appends are refused, everything else goes on, and nothing is lost.
@Suite(.serialized) struct FullDiskTests {
  /// Appends until the disk is full; returns what was acknowledged.
  private func fill(_ outbox: Outbox, padding: Int = 50_000) async throws -> [String] {
    var acknowledged: [String] = []
    while true {
      let json = event(acknowledged.count + 1, padding: padding)
      do {
        try await outbox.append(json, to: "clicks")
        acknowledged.append(json)
      } catch let error as OutboxError {
        #expect(error.code == .diskFull)
        return acknowledged
      }
    }
  }

  @Test(.timeLimit(.minutes(2)), arguments: SmallDisk.kinds)
  func appendsAreRefusedDeliveryGoesOnAndAppendsWorkAgain(kind: SmallDisk.Kind) async throws {
    try await SmallDisk.with(kind) { disk in
      let outbox = try await disk.open()
      let acknowledged = try await fill(outbox)
      #expect(acknowledged.count > 100)
      try disk.fill()
      #expect(try await outbox.status().space.isDiskFull)
      let refused = await #expect(throws: OutboxError.self) { try await outbox.append(event(0), to: "views") }
      #expect(refused?.code == .diskFull)
      // Ledger work of an operator, and all that delivery writes.
      try await outbox.hold("clicks")
      try await outbox.resume("clicks")
      let service = ScriptedService()
      try await outbox.deliver(to: service, on: disk.machine)
      #expect(acknowledged.allSatisfy { service.arrivals(of: $0) == 1 })
      let status = try await outbox.status()
      #expect(status.deliveredEvents == acknowledged.count && status.pendingEvents == 0)
      try await expectSound(outbox)
      // The other program keeps its blocks: what was delivered makes the room.
      try await outbox.append(event(0), to: "views")
      #expect(try await !outbox.status().space.isDiskFull)
      try await expectSound(outbox)
      await outbox.close()
    }
  }

  /// A restored backup, or a salvaged outbox, has no reserve before something is appended to it.
  @Test(arguments: SmallDisk.kinds)
  func whoDeliversHoldsTheReserveToo(kind: SmallDisk.Kind) async throws {
    try await SmallDisk.with(kind) { disk in
      let outbox = try await disk.open()
      for number in 1...20 { try await outbox.append(event(number, padding: 50_000), to: "clicks") }
      await outbox.close()
      try FileManager.default.removeItem(atPath: outbox.file.reservePath)
      let restored = try await disk.open()
      let service = ScriptedService()
      try await restored.deliver(to: FillingService(disk: disk, service: service), on: disk.machine)
      #expect(try await restored.status().deliveredEvents == 20)
      await restored.close()
    }
  }

  /// One batch, which is delivered sooner than the housekeeper looks again.
  @Test(arguments: SmallDisk.kinds)
  func whatIsDeliveredAtTheEndMakesRoomToo(kind: SmallDisk.Kind) async throws {
    try await SmallDisk.with(kind) { disk in
      let outbox = try await disk.open()
      for number in 1...60 { try await outbox.append(event(number, padding: 100_000), to: "clicks") }
      try disk.fill()
      // The log has blocks of its own for a while.
      while (try? await outbox.append(event(0, padding: 100_000), to: "clicks")) != nil {}
      #expect(try await outbox.status().space.isDiskFull)
      let service = ScriptedService()
      try await outbox.deliver(to: service, on: disk.machine)
      #expect(try await outbox.status().pendingEvents == 0)
      try await outbox.append(event(0), to: "views")
      try await expectSound(outbox)
      await outbox.close()
    }
  }

  /// Another program fills the disk while a request is under way.
  private struct FillingService: EventsTransport {
    let disk: SmallDisk
    let service: ScriptedService

    func send(_ request: EventsRequest) async -> Outcome {
      do {
        try disk.fill()
      } catch {
        Issue.record(error)
      }
      return await service.send(request)
    }
  }

  /// What the reserve is for: the log holds events that the file has no blocks for, and another program has taken the
  /// rest of the disk.
  @Test(arguments: SmallDisk.kinds, [true, false])
  func withoutTheReserveNothingCouldBeSettled(kind: SmallDisk.Kind, hasReserve: Bool) async throws {
    try await SmallDisk.with(kind) { disk in
      let outbox = try await disk.open()
      for number in 1...20 { try await outbox.append(event(number, padding: 50_000), to: "clicks") }
      if !hasReserve { try FileManager.default.removeItem(atPath: outbox.file.reservePath) }
      try disk.fill()
      if hasReserve {
        for _ in 0..<500 { try await outbox.hold("clicks") }
      } else {
        let error = await #expect(throws: OutboxError.self) { try await outbox.hold("clicks") }
        #expect(error?.code == .diskFull)
      }
      try disk.empty()
      try await outbox.hold("clicks")
      try await outbox.append(event(0), to: "views")
      #expect(try await outbox.status().pendingEvents == 21)
      try await expectSound(outbox)
      await outbox.close()
    }
  }

  /// With no block at all SQLite cannot make its shared memory file, and does not call that a full disk.
  @Test(arguments: SmallDisk.kinds)
  func anOutboxOpensOnADiskWithoutAFreeBlock(kind: SmallDisk.Kind) async throws {
    try await SmallDisk.with(kind) { disk in
      let first = try await disk.open()
      for number in 1...3 { try await first.append(event(number), to: "clicks") }
      await first.close()
      try disk.fill()
      let outbox = try await disk.open()
      #expect(try await outbox.status().space.isDiskFull, "it was opened with the blocks of the reserve")
      let service = ScriptedService()
      try await outbox.deliver(to: service, on: disk.machine)
      #expect(try await outbox.status().deliveredEvents == 3)
      await outbox.close()

      try Data().write(to: URL(fileURLWithPath: outbox.file.reservePath))
      try disk.fill()
      let error = await #expect(throws: OutboxError.self) { try await disk.open() }
      #expect(error?.code == .diskFull, "without a reserve it says what is wrong: \(error.map { "\($0)" } ?? "")")
      try disk.empty()
      let again = try await disk.open()
      try await expectSound(again)
      await again.close()
    }
  }

  /// What an operator does in bulk does not use up what is held back for settling.
  @Test(arguments: SmallDisk.kinds)
  func bulkWorkLeavesTheReserveToSettling(kind: SmallDisk.Kind) async throws {
    try await SmallDisk.with(kind) { disk in
      let outbox = try await disk.open()
      let acknowledged = try await fill(outbox)
      try disk.fill()
      try await outbox.hold("clicks")
      let work: [(String, () async throws -> Void)] = [
        ("erase", { _ = try await outbox.erase(EventSelection(ranges: [AddressRange("clicks")])) }),
        ("replay", { _ = try await outbox.replay(matching: DeadLetterFilter(), mayDuplicate: true) }),
        ("resend", { _ = try await outbox.resend(AddressRange("clicks/1..5")) }),
      ]
      // The first that finds the disk full may break into the reserve, as everything does.
      while try await !outbox.status().space.isDiskFull { try await outbox.hold("clicks") }
      let reserve = outbox.file.reserveBytes
      for (name, run) in work {
        let error = await #expect(throws: OutboxError.self) { try await run() }
        #expect(error?.code == .diskFull && error?.message.contains("held back for settling") == true, "\(name)")
      }
      #expect(outbox.file.reserveBytes == reserve)
      try await outbox.resume("clicks")
      try await outbox.deliver(to: ScriptedService(), on: disk.machine)
      #expect(try await outbox.status().deliveredEvents == acknowledged.count)
      // The file cannot be written anew without room for a copy; that is said before it is tried.
      try disk.empty()
      try disk.leave(1 << 20)
      let limits = outbox.housekeeper.gate.limits
      let error = await #expect(throws: OutboxError.self) { try await StoreRewriter().run(outbox.file, limits) }
      #expect(error?.code == .diskFull && error?.message.contains("to write") == true)
      try disk.empty()
      try await outbox.housekeeper.tidy()
      try await outbox.append(event(0), to: "views")
      try await expectSound(outbox)
      await outbox.close()
    }
  }

  /// The log and SQLite's copy are as large as what is stored, each; and where that is not known in time it is said all the
  /// same that only free pages are left.
  @Test(arguments: SmallDisk.kinds)
  func anErasureKnowsWhatItsLastStepTakes(kind: SmallDisk.Kind) async throws {
    try await SmallDisk.with(kind) { disk in
      let outbox = try await disk.open()
      for number in 1...100 { try await outbox.append(event(number, padding: 50_000), to: "clicks") }
      await outbox.writer.checkpoint()
      let limits = outbox.housekeeper.gate.limits
      let here = TemporaryDirectory(path: disk.directory)
      // Room for one of the two.
      try disk.leave(9 << 20)
      let both = await #expect(throws: OutboxError.self) {
        try await StoreRewriter().run(outbox.file, limits, temporary: here)
      }
      #expect(both?.code == .diskFull && both?.message.contains("\(disk.directory) is on too") == true)
      #expect(both?.message.contains("TMPDIR") == true && both?.message.contains("the events are erased") == true)
      // The check passes, and the disk gets full all the same.
      try disk.leave(1 << 20)
      let blind = try OutboxFile(path: disk.path, sqliteVFS: disk.machine?.vfs, freeDiskBytes: { .max })
      let midway = await #expect(throws: OutboxError.self) { try await StoreRewriter().run(blind, limits) }
      #expect(midway?.code == .diskFull && midway?.message.contains("the events are erased") == true)
      #expect(midway?.cause is SQLiteError)
      #expect(outbox.file.logBytes == 0 || disk.machine != nil, "others have their blocks back")
      try await outbox.append(event(0), to: "views")
      try disk.empty()
      #expect(try await StoreRewriter().run(outbox.file, limits) == [])
      try await expectSound(outbox)
      await outbox.close()
    }
  }

  /// Where blocks cannot be held back events are taken all the same, and the operator is told once.
  @Test func aReserveThatCannotBeMadeIsToldOnce() async throws {
    try await withTemporaryDirectory { directory in
      let log = RecordedLog()
      let outbox = try await Outbox(at: directory + "/a.outbox", logger: log.logger)
      try FileManager.default.createDirectory(
        atPath: outbox.file.reservePath, withIntermediateDirectories: false)
      for number in 1...3 { try await outbox.append(event(number), to: "clicks") }
      #expect(log.lines.count { $0.contains("no blocks can be held back") } == 1)
      await outbox.close()
    }
  }

  @Test(.timeLimit(.minutes(2)))
  func theBudgetHoldsAndDeliveryMakesRoom() async throws {
    try await withTemporaryDirectory { directory in
      let budget: Int64 = 24 << 20
      var configuration = OutboxConfiguration()
      configuration.maximumBytes = budget
      let outbox = try await Outbox(at: directory + "/a.outbox", configuration: configuration)
      var largest: Int64 = 0
      var acknowledged: [String] = []
      let service = ScriptedService()
      for _ in 0..<3 {
        var refusal: OutboxError?
        while refusal == nil {
          let json = event(acknowledged.count, padding: 50_000)
          do {
            try await outbox.append(json, to: "clicks")
            acknowledged.append(json)
          } catch let error as OutboxError {
            refusal = error
          }
          let status = try await outbox.status()
          largest = max(largest, status.fileBytes + status.space.reserveBytes)
        }
        #expect(refusal?.code == .outboxFull)
        #expect(refusal?.message.contains("25165824 bytes") == true)
        try await outbox.hold("clicks")
        try await outbox.resume("clicks")
        try await outbox.deliver(to: service)
        try await outbox.housekeeper.tidy()
      }
      #expect(largest <= budget, "\(largest)")
      #expect(largest > budget / 2)
      #expect(acknowledged.count > 600, "appends have worked again")
      #expect(acknowledged.allSatisfy { service.arrivals(of: $0) == 1 })
      #expect(try await outbox.status().deliveredEvents == acknowledged.count)
      try await expectSound(outbox)
      await outbox.close()
    }
  }

  /// The disk has exactly the bytes of the budget: what grew beyond it, for a moment even, would find the disk full.
  @Test(.timeLimit(.minutes(2)), arguments: SmallDisk.kinds)
  func aLargeAppendStaysWithinTheBudget(kind: SmallDisk.Kind) async throws {
    try await SmallDisk.with(kind) { disk in
      let budget: Int64 = 22 << 20
      let limits = SpaceLimits(maximumBytes: budget, diskBytes: nil)
      try disk.leave(budget)
      let outbox = try await disk.open { $0.spaceLimits = limits }
      let service = ScriptedService()
      for number in 1...3 {
        let json = event(number, padding: 7_500_000)
        try await outbox.append(json, to: "clicks")
        try await outbox.hold("clicks")
        try await outbox.resume("clicks")
        #expect(outbox.file.reserveBytes == limits.reserveBytes, "what was held back for it is given back")
        // One more has no room, now or ever.
        let refused = await #expect(throws: OutboxError.self) { try await outbox.append(json, to: "clicks") }
        #expect(refused?.code == .outboxFull && refused?.message.contains("delivered") == true)
        let large = event(number, padding: 9_500_000)
        let tooLarge = await #expect(throws: OutboxError.self) { try await outbox.append(large, to: "clicks") }
        let least = SpaceLimits.leastMaximumBytes(forAppending: large.utf8.count + 1)
        #expect(tooLarge?.code == .outboxFull && tooLarge?.message.contains("at least \(least)") == true)
        #expect(outbox.file.reserveBytes == limits.reserveBytes, "nothing is held back for what is refused")
        #expect(try await !outbox.status().space.isDiskFull)
        try await outbox.deliver(to: service, on: disk.machine)
        #expect(service.arrivals(of: json) == 1)
        _ = try await outbox.prune()
      }
      try await expectSound(outbox)
      await outbox.close()
    }
  }

  /// The budget that the refusal names is enough, on a disk of no more.
  @Test(arguments: [SmallDisk.Kind.machine])
  func theBudgetThatARefusalNamesIsEnough(kind: SmallDisk.Kind) async throws {
    for byteCount in [3_000_000, 7_000_000] {
      try await SmallDisk.with(kind) { disk in
        let json = event(1, padding: byteCount)
        let least = SpaceLimits.leastMaximumBytes(forAppending: json.utf8.count + 1)
        try disk.leave(least)
        let outbox = try await disk.open { $0.spaceLimits = SpaceLimits(maximumBytes: least, diskBytes: nil) }
        try await outbox.append(json, to: "clicks")
        try await outbox.hold("clicks")
        #expect(try await !outbox.status().space.isDiskFull)
        await outbox.close()
      }
    }
  }

  /// What is held back for a large append is given back behind it, and where a crash came before, when it is next opened.
  @Test func whatALargeAppendHeldBackIsGivenBack() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/a.outbox"
      let outbox = try await Outbox(at: path)
      let usual = outbox.housekeeper.gate.limits.reserveBytes
      try await outbox.append(contentsOf: (1...100).map { event($0, padding: 100_000) }, to: "clicks")
      try await outbox.hold("clicks")
      #expect(outbox.file.reserveBytes == usual)
      await outbox.close()
      let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: outbox.file.reservePath))
      try handle.truncate(atOffset: UInt64(usual) + 10_000_000)
      try handle.close()
      let again = try await Outbox(at: path)
      #expect(again.file.reserveBytes == usual)
      await again.close()
    }
  }

  /// A reader of an old state keeps the log from being folded: it grows, counts against the budget, and is named.
  @Test(.timeLimit(.minutes(2)))
  func theLogUnderAForeignReaderCountsAgainstTheBudget() async throws {
    try await withTemporaryDirectory { directory in
      var configuration = OutboxConfiguration()
      configuration.maximumBytes = 200 << 20
      let outbox = try await Outbox(at: directory + "/a.outbox", configuration: configuration)
      try await outbox.append(event(1), to: "clicks")
      let reader = try SQLiteShell(outbox.file.path)
      try reader.run("BEGIN")
      try reader.run("SELECT count(*) FROM outbox_chunks")
      var refusal: OutboxError?
      var number = 1
      while refusal == nil {
        number += 1
        do { try await outbox.append(event(number, padding: 1_000_000), to: "clicks") } catch let error as OutboxError {
          refusal = error
        }
      }
      #expect(refusal?.code == .outboxFull)
      #expect((60..<120).contains(number), "file and log both grew: \(number) MB")
      let space = try await outbox.status().space
      #expect(space.logBytes > 64 << 20)
      #if os(Linux)
        #expect(space.logReaders == [Int(getpid())])
      #endif
      try reader.run("COMMIT")
      // The next commit folds the log, the one behind it begins it anew and cuts it.
      try await outbox.hold("clicks")
      try await outbox.hold("clicks")
      let after = try await outbox.status()
      #expect(after.space.logBytes <= 24 << 20)
      #expect(after.space.logReaders.isEmpty)
      try await outbox.append(event(0), to: "clicks")
      await outbox.close()
    }
  }
}
