extension EventsRoute {
  /// Delays or ends the request, where its rule says so for this moment.
  ///
  /// A request that ends here is in the log before the client can notice.
  func reach(_ moment: FaultMoment, _ exchange: inout Exchange) async throws {
    guard let rule = exchange.rule else { return }
    if let delay = rule.delay, delay.moment == moment { try await pause(delay) }
    switch rule.fault {
    case .close(at: moment):
      if !exchange.isRecorded { try await record(&exchange) }
      exchange.connection.close()
    case .refuseStream where moment == .beforeBody:
      try await record(&exchange)
      try await exchange.connection.refuseStream()
    case .goAway where moment == .beforeBody:
      try await record(&exchange)
      try await exchange.connection.goAway()
    default:
      return
    }
    throw ConnectionFaults.Closed()
  }

  /// How the answer is written.
  func manner(_ exchange: Exchange) -> AnswerWriter.Manner {
    let delay = exchange.rule?.delay.flatMap { $0.moment == .midAnswer ? $0 : nil }
    let fault = exchange.rule?.fault
    switch fault {
    case .endlessAnswer: return .endless
    case .slowAnswer(let pause): return .slow(pause: pause)
    default: break
    }
    let closes = fault == .close(at: .midAnswer)
    guard delay != nil || closes else { return .whole }
    let connection = exchange.connection
    return .interrupted {
      if let delay { try await pause(delay) }
      if closes {
        connection.close()
        throw ConnectionFaults.Closed()
      }
    }
  }

  private func pause(_ delay: FaultDelay) async throws {
    switch delay.end {
    case .after(let duration):
      // Throws where the connection or the emulator ends, and the answer with it.
      try await Task.sleep(for: duration)
    case .released:
      let releases = progress.update { progress in
        progress.held += 1
        return progress.releases
      }
      defer { progress.update { $0.held -= 1 } }
      try await progress.wait { $0.releases > releases }
    }
  }
}
