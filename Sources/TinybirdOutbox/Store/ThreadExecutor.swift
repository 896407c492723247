internal import DequeModule
internal import Dispatch
internal import Foundation
internal import Synchronization

/// A thread of our own that an actor runs on, so that calls of SQLite that block (fsync, locks) never hold up a thread
/// of the cooperative pool.
///
/// Jobs run in the order in which they were enqueued. The thread ends with the executor, that is with the last actor or
/// object that holds it.
package final class ThreadExecutor: SerialExecutor {
  private let queue = WorkQueue()

  /// Starts a thread called `name`.
  package init(name: String) {
    let thread = Thread { [queue] in
      Thread.current.name = name
      queue.runUntilStopped()
    }
    thread.start()
  }

  deinit { queue.push(.stop) }

  package func enqueue(_ job: consuming ExecutorJob) {
    queue.push(.job(UnownedJob(job), asUnownedSerialExecutor()))
  }

  /// Runs `block` on the thread, without the cost of a task: for the way of every commit.
  package func enqueue(_ block: @escaping @Sendable () -> Void) {
    queue.push(.block(block))
  }

  /// Whether the caller runs on the thread: what `assumeIsolated` of an actor here asks, in a block.
  package func isIsolatingCurrentContext() -> Bool? { queue.isCurrentThread }

  package func checkIsolated() {
    precondition(queue.isCurrentThread, "this code belongs on the executor's own thread")
  }
}

/// What the thread is to do.
///
/// The thread holds this and not the executor, so that the executor can end.
private final class WorkQueue: Sendable {
  enum Work: Sendable {
    /// A job's actor is alive while it runs, and holds the executor.
    case job(UnownedJob, UnownedSerialExecutor)
    case block(@Sendable () -> Void)
    case stop
  }

  private let waiting = Mutex(Deque<Work>())
  private let available = DispatchSemaphore(value: 0)
  private let thread = Mutex<ThreadIdentity?>(nil)

  var isCurrentThread: Bool { thread.withLock { $0?.isCurrent ?? false } }

  func push(_ work: Work) {
    waiting.withLock { $0.append(work) }
    available.signal()
  }

  func runUntilStopped() {
    thread.withLock { $0 = .current }
    while true {
      available.wait()
      // One signal for each push: there is always something to take.
      guard let work = waiting.withLock({ $0.popFirst() }) else { continue }
      switch work {
      case .job(let job, let executor): job.runSynchronously(on: executor)
      case .block(let block): block()
      case .stop: return
      }
    }
  }
}
