internal import COutboxSignalStorm

/// Runs `body` while signals interrupt every thread of the process some thousand times a second.
///
/// It reaches threads that `body` makes before it first waits for something: an outbox that it opens at once.
///
/// Only for a process of its own, such as that of an exit test: others in it may not be made for that. Throws where the
/// storm cannot be raised, or hit nobody, for then it shows nothing.
public func withSignalStorm<Value>(
  isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
) async throws -> Value {
  let code = outbox_signal_storm_start(200)
  guard code == 0 else { throw ShellError(text: "no storm: error \(code)") }
  let result: Result<Value, any Error>
  do { result = .success(try await body()) } catch { result = .failure(error) }
  let handled = outbox_signal_storm_stop()
  guard handled >= 10 else { throw ShellError(text: "only \(handled) signals came") }
  return try result.get()
}
