import COutboxCrashVFS
import Foundation
import Synchronization

/// When the process ends itself with SIGKILL.
///
/// `token@1 then statement INSERT INTO outbox_attempts@1 then wal-write@2` waits for the first request, from there for
/// the first statement that begins so, from there for the second write to the log. The steps are those of
/// `COutboxWatch.h`, each matched by its beginning, with `token` for a request that is about to be sent and `closing`.
/// Without a name any step counts.
final class KillPlan: Sendable {
  struct Unreadable: Error {
    let text: String
  }

  private struct Step {
    let beginning: String
    var count: Int
  }

  private let steps: Mutex<[Step]>

  init(_ text: String) throws {
    let steps = try text.components(separatedBy: " then ").map { part in
      guard let at = part.lastIndex(of: "@"), let count = Int(part[part.index(after: at)...]), count > 0 else {
        throw Unreadable(text: part)
      }
      return Step(beginning: String(part[..<at]), count: count)
    }
    self.steps = Mutex(steps)
  }

  /// Watches every connection that this process opens from now on; the plan lives as long as the process.
  func start() {
    let handler: outbox_watch_handler = { context, step in
      guard let context, let step else { return }
      Unmanaged<KillPlan>.fromOpaque(context).takeUnretainedValue().reached(String(cString: step))
    }
    let context = Unmanaged.passRetained(self).toOpaque()
    outbox_watch_start("watch", true, handler, context)
    outbox_watch_statements(handler, context)
  }

  func reached(_ step: String) {
    steps.withLock { steps in
      guard !steps.isEmpty, step.hasPrefix(steps[0].beginning) else { return }
      steps[0].count -= 1
      if steps[0].count == 0 { steps.removeFirst() }
      // Within the lock: nobody gets any further.
      if steps.isEmpty { kill(getpid(), SIGKILL) }
    }
  }
}

/// Counts the files that SQLite opens.
enum OpenCount {
  private static let counts = Mutex<[String: Int]>([:])

  static func start() {
    outbox_watch_opens(
      { _, path in
        guard let path else { return }
        OpenCount.counts.withLock { $0[String(cString: path), default: 0] += 1 }
      }, nil)
  }

  static func report() {
    for (path, count) in counts.withLock({ $0 }) { OutboxCrashChild.say("opened \(count) \(path)") }
  }
}
