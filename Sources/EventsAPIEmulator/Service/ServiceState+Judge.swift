extension ServiceState {
  /// What the service makes of a request, in the order in which it checks: token, name, data source, size, rate, body.
  func judge(_ head: EventsRequestHead, _ content: RequestContent) -> Judgement {
    guard let token = head.token, tokens.allows(token, dataSource: head.dataSource) else {
      return .refused(.forbidden(token: head.token))
    }
    guard let dataSource = head.dataSource else {
      return .refused(.refused(400, "The query needs the name of a data source: name="))
    }
    guard let rules = rules(of: dataSource) else {
      return .refused(.unknown(dataSource, openFacts.unknownDataSource))
    }
    if case .failure(.tooLarge(let limit)) = content.result {
      return .refused(.refused(413, "The request is larger than \(limit) bytes"))
    }
    let decision = admit(byteCount: content.countedByteCount, to: dataSource)
    var judgement: Judgement
    if let decision, !decision.isAdmitted {
      judgement = .refused(.tooManyRequests(decision))
    } else {
      judgement = judge(content, rules: rules, waits: head.waits)
    }
    if let decision { judgement.answer.add(decision) }
    return judgement
  }

  private func judge(_ content: RequestContent, rules: DataSourceRules, waits: Bool) -> Judgement {
    guard let body = content.decompressed else {
      return .refused(.refused(400, "The body is not valid gzip"))
    }
    do throws(NDJSONBody.Refusal) {
      let body = try NDJSONBody(body, rules: rules, malformedLine: openFacts.malformedLine)
      return .taken(body.rows, waits: waits)
    } catch {
      return .refused(.refused(400, error.line.map { "Line \($0): \(error.reason)" } ?? error.reason))
    }
  }
}

extension EventsAPIEmulator.TokenPolicy {
  fileprivate func allows(_ token: String, dataSource: String?) -> Bool {
    switch self {
    case .any: true
    case .only(let scopes):
      switch scopes[token] {
      case nil: false
      case .allDataSources: true
      case .dataSources(let names): dataSource.map(names.contains) ?? true
      }
    }
  }
}

extension ServiceAnswer {
  fileprivate static func unknown(
    _ dataSource: String, _ unknownDataSource: EventsAPIEmulator.UnknownDataSource
  ) -> ServiceAnswer {
    switch unknownDataSource {
    case .create: refused(400, "'\(dataSource)' is not a name that a data source can have")
    case .refuse(let status): refused(status, "Data Source '\(dataSource)' does not exist")
    }
  }
}
