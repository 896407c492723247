internal import DequeModule
internal import Dispatch
internal import Foundation
internal import Synchronization

/// A thread of our own that an actor runs on, so that calls of SQLite that block (fsync, locks) never hold up a thread
/// of the cooperative pool.
///
/// Jobs run in the order in which they were enqueued. The thread ends when the executor is told to stop, after the jobs
/// that were enqueued before.
final class ThreadExecutor: SerialExecutor {
  private enum Work: Sendable {
    case job(UnownedJob)
    case block(@Sendable () -> Void)
    case stop
  }

  private let queue = Mutex(Deque<Work>())
  private let available = DispatchSemaphore(value: 0)

  private init() {}

  /// Starts a thread called `name`.
  static func start(name: String) -> ThreadExecutor {
    let executor = ThreadExecutor()
    let thread = Thread { executor.runUntilStopped() }
    thread.name = name
    thread.start()
    return executor
  }

  func enqueue(_ job: consuming ExecutorJob) {
    push(.job(UnownedJob(job)))
  }

  /// Runs `block` on the thread, without the cost of a task: for the way of every commit.
  func enqueue(_ block: @escaping @Sendable () -> Void) {
    push(.block(block))
  }

  /// Ends the thread after what was enqueued before.
  func stop() {
    push(.stop)
  }

  private func push(_ work: Work) {
    queue.withLock { $0.append(work) }
    available.signal()
  }

  private func runUntilStopped() {
    let identity = asUnownedSerialExecutor()
    while true {
      available.wait()
      // One signal for each push: there is always something to take.
      guard let work = queue.withLock({ $0.popFirst() }) else { continue }
      switch work {
      case .job(let job): job.runSynchronously(on: identity)
      case .block(let block): block()
      case .stop: return
      }
    }
  }
}
