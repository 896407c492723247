import COutboxCrashVFS
import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// The power goes while events are erased: the command is given again, and nothing else is lost.
@Suite(.timeLimit(.minutes(3))) struct EraseCrashTests {
  @Test(arguments: [false, true]) func atEverySyncTheRestStaysAndTheSecondTimeErases(after: Bool) async throws {
    let selection = EventSelection(members: [try MemberMatch("user=person-4711")])
    var nth = 0
    var isCut = true
    while isCut {
      nth += 1
      try await withTemporaryDirectory { directory in
        let path = directory + "/a.outbox"
        let machine = try CrashMachine()
        let outbox = try await machine.open(path)
        for number in 0..<12 {
          let events = (0..<20).map { $0 == number ? #"{"user":"person-4711"}"# : #"{"n":\#(number * 20 + $0)}"# }
          try await outbox.append(contentsOf: events, to: "clicks")
        }
        let before = try await outbox.events(in: AddressRange("clicks"), limit: 1000)
        machine.cut(at: OUTBOX_CRASH_SYNC, nth, after: after)
        do {
          _ = try await outbox.erase(selection)
        } catch {
          try #require(machine.isOff, "only the power cut may end it, not \(error)")
        }
        isCut = machine.isOff
        await outbox.close()
        for survivors in [CrashMachine.Survivors.nothing, .random(seed: UInt64(nth)), .everything] {
          let restarted = try machine.restarted(survivors)
          let again = try await restarted.open(path)
          try await expectSound(again)
          let report = try await again.erase(selection)
          #expect(report.isComplete)
          let left = try await again.events(in: AddressRange("clicks"), limit: 1000)
          #expect(left.count == 240 && left.count(where: \.isErased) == 12)
          #expect(zip(before, left).allSatisfy { $1.isErased || $0.json == $1.json })
          try await expectSound(again)
          await again.close()
          for name in [path, path + "-wal"] {
            #expect(restarted.contents(of: name).range(of: Data("person-4711".utf8)) == nil, "\(name), cut at \(nth)")
          }
        }
      }
    }
    #expect(nth > 12)
  }
}
