import COutboxCrashVFS
import COutboxSQLite
import OutboxTestSupport
import Synchronization
import Testing

@testable import TinybirdOutbox

/// The n-th call of a kind fails, for n = 1, 2, … until the workload runs through without meeting the fault.
///
/// Nothing acknowledged is lost, the caller of what failed gets an error with a sensible code, and the same outbox
/// works again when the fault is gone.
@Suite struct IOErrorTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var fault: CrashMachine.Fault
    /// What callers may see.
    var codes: Set<OutboxError.Code> = [.inputOutput]
    var testDescription: String { fault.testDescription }
  }

  static let table: [Case] = [
    Case(
      fault: .init(name: "open: cannot", operation: OUTBOX_CRASH_OPEN, code: SQLITE_CANTOPEN), codes: [.notWritable]),
    Case(fault: .init(name: "read: EIO", operation: OUTBOX_CRASH_READ, code: ioError(1))),
    Case(fault: .init(name: "write: EIO", operation: OUTBOX_CRASH_WRITE, code: ioError(3))),
    Case(fault: .init(name: "write: ENOSPC", operation: OUTBOX_CRASH_WRITE, code: SQLITE_FULL), codes: [.diskFull]),
    Case(
      fault: .init(name: "write: ENOSPC", operation: OUTBOX_CRASH_WRITE, code: SQLITE_FULL, times: 5),
      codes: [.diskFull]),
    Case(fault: .init(name: "sync: EIO", operation: OUTBOX_CRASH_SYNC, code: ioError(4))),
    Case(
      fault: .init(
        name: "sync: EIO, and the pages are dropped", operation: OUTBOX_CRASH_SYNC, code: ioError(4), dropsPages: true)
    ),
    Case(
      fault: .init(
        name: "sync: EIO, and the pages are dropped", operation: OUTBOX_CRASH_SYNC, code: ioError(4), times: 5,
        dropsPages: true)),
    Case(fault: .init(name: "truncate: EIO", operation: OUTBOX_CRASH_TRUNCATE, code: ioError(6))),
    Case(fault: .init(name: "delete: EIO", operation: OUTBOX_CRASH_DELETE, code: ioError(10))),
    Case(fault: .init(name: "lock: busy", operation: OUTBOX_CRASH_LOCK, code: SQLITE_BUSY, times: 3), codes: [.busy]),
    Case(fault: .init(name: "lock: EIO", operation: OUTBOX_CRASH_LOCK, code: ioError(15))),
    Case(fault: .init(name: "shared memory: EIO", operation: OUTBOX_CRASH_SHM_MAP, code: ioError(21))),
    Case(
      fault: .init(name: "shared memory: no block", operation: OUTBOX_CRASH_SHM_MAP, code: ioError(19)),
      codes: [.diskFull]),
    Case(fault: .init(name: "read: ENOMEM", operation: OUTBOX_CRASH_READ, code: ioError(12)), codes: [.database]),
    Case(fault: .init(name: "write: ENOMEM", operation: OUTBOX_CRASH_WRITE, code: ioError(12)), codes: [.database]),
    Case(
      fault: .init(name: "shared memory: ENOMEM", operation: OUTBOX_CRASH_SHM_MAP, code: ioError(12)),
      codes: [.database]),
  ]

  @Test(.timeLimit(.minutes(5)), arguments: table)
  func theNthCallFails(test: Case) async throws {
    var nth: Int64 = 0
    var isMet = true
    while isMet {
      nth += 1
      var fault = test.fault
      fault.nth = nth
      isMet = try await run(fault, codes: test.codes)
    }
    #expect(nth > 1, "the workload never met the fault")
  }

  /// Returns whether the workload met the fault.
  private func run(_ fault: CrashMachine.Fault, codes: Set<OutboxError.Code>) async throws -> Bool {
    try await withTemporaryDirectory { directory in
      let machine = try CrashMachine()
      let errors = Mutex<[any Error]>([])
      var workload = CrashWorkload(machine: machine, path: directory + "/a.outbox")
      workload.tries = Int(fault.times) + 3
      workload.didFail = { error in errors.withLock { $0.append(error) } }
      machine.set(fault)
      let outbox = try #require(
        try await workload.run(closes: false), "the workload ended at call \(fault.nth): \(errors.withLock { $0 })")
      let isMet = machine.faultHits > 0
      machine.set(nil)
      for error in errors.withLock({ $0 }) {
        let code = (error as? OutboxError)?.code
        #expect(code.map { codes.contains($0) } ?? false, "call \(fault.nth): \(error)")
      }
      #expect(try await workload.check(outbox).isEmpty, "on the same outbox, after the fault of call \(fault.nth)")
      machine.cut()
      let problems = await workload.problems(on: try machine.restarted(.nothing))
      #expect(problems.isEmpty, "after a power cut, after the fault of call \(fault.nth)")
      await outbox.close()
      return isMet
    }
  }

  /// For as long as the disk fails every append throws; what was there is safe, and the first append after it works.
  @Test(arguments: [
    (OUTBOX_CRASH_WRITE, SQLITE_FULL, OutboxError.Code.diskFull),
    (OUTBOX_CRASH_WRITE, ioError(3), .inputOutput),
    (OUTBOX_CRASH_SYNC, ioError(4), .inputOutput),
  ])
  func aFaultThatLastsEndsWithItsCause(
    operation: outbox_crash_operation, sqliteCode: Int32, code: OutboxError.Code
  ) async throws {
    try await withTemporaryDirectory { directory in
      let workload = CrashWorkload(machine: try CrashMachine(), path: directory + "/a.outbox")
      let outbox = try await workload.machine.open(workload.path)
      try await workload.append([event(1)], to: "clicks", outbox)
      workload.machine.set(
        .init(name: "for ever", operation: operation, code: sqliteCode, times: .max, dropsPages: true))
      for number in 2..<10 {
        let error = await #expect(throws: OutboxError.self) {
          try await workload.append([event(number)], to: "clicks", outbox)
        }
        #expect(error?.code == code)
      }
      #expect(try await workload.check(outbox).isEmpty, "reading goes on")
      workload.machine.set(nil)
      try await workload.append([event(10)], to: "clicks", outbox)
      #expect(try await workload.check(outbox).isEmpty)
      workload.machine.cut()
      #expect(await workload.problems(on: try workload.machine.restarted(.nothing)).isEmpty)
      await outbox.close()
    }
  }
}
