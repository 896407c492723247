internal import Foundation
internal import HTTPTypes
internal import HummingbirdCore
internal import Logging
internal import NIOCore

/// `POST /v0/events`: from the head of a request to its answer.
struct EventsRoute: Sendable {
  let state: ServiceState
  let storage: any RowStorage
  let progress: Watched<Progress>
  let logger: Logger

  /// Serves one request.
  ///
  /// Throws where the connection, or the HTTP/2 stream, is to be closed without a whole answer.
  @concurrent
  func serve(_ request: Request, writer: consuming ResponseWriter, channel: any Channel) async throws {
    var exchange = Exchange(head: EventsRequestHead(request), connection: ConnectionFaults(channel: channel))
    do {
      let answer = try await process(request, &exchange, writer)
      try await AnswerWriter.write(answer, in: manner(exchange), to: writer)
    } catch {
      // The client or the emulator has gone, or a fault has struck, before anything was settled.
      if !exchange.isRecorded { try await record(&exchange) }
      throw error
    }
  }

  /// Everything up to the answer.
  @concurrent
  private func process(
    _ request: Request, _ exchange: inout Exchange, _ writer: borrowing ResponseWriter
  ) async throws -> ServiceAnswer {
    let arrival = state.arrive(dataSource: exchange.head.dataSource)
    progress.update { $0.arrivals += 1 }
    let choiceByHead = state.chooseFault(for: arrival, body: .notRead)
    exchange.take(choiceByHead)
    try await reach(.beforeBody, &exchange)

    if exchange.head.expectsContinue { try await writer.writeInformationalHead(HTTPResponse(status: .continue)) }
    let content = try await RequestContent(request, exchange.head, limits: state.limits, facts: state.openFacts)
    exchange.log.byteCount = content.byteCount
    if choiceByHead == .needsBody {
      exchange.take(state.chooseFault(for: arrival, body: .read(content.text)))
      try await reach(.beforeBody, &exchange)
    }
    try await reach(.beforeCommit, &exchange)

    let judgement = judge(content, exchange)
    // A fault that closes the connection after the commit leaves the request without an answer.
    exchange.log.status = exchange.rule?.fault == .close(at: .afterCommit) ? nil : judgement.answer.status
    try await record(&exchange, rows: judgement.rows, in: content.decompressed ?? ByteBuffer())
    try await reach(.afterCommit, &exchange)
    return judgement.answer
  }

  private func judge(_ content: RequestContent, _ exchange: Exchange) -> Judgement {
    let fault = exchange.rule?.fault
    if case .answer(let canned)? = fault, canned.commit == .nothing {
      return .refused(ServiceAnswer(canned, at: Date()))
    }
    var judgement = state.judge(exchange.head, content)
    judgement.apply(fault, at: Date())
    return judgement
  }

  /// Stores the request with its rows: once this returns, a test that asks for either gets it.
  func record(_ exchange: inout Exchange, rows: [NDJSONBody.Row] = [], in body: ByteBuffer = ByteBuffer()) async throws
  {
    exchange.isRecorded = true
    exchange.log.isCommitted = !rows.isEmpty
    exchange.log.rowCount = rows.count
    exchange.log.quarantinedRowCount = rows.count { $0.isQuarantined }
    let log = exchange.log
    try await storage.record(log, rows: rows, in: body)
    progress.update { progress in
      progress.requests += 1
      if let dataSource = log.dataSource { progress.rows[dataSource, default: 0] += log.rowCount }
    }
    logger.debug(
      "A request is settled",
      metadata: [
        "data_source": "\(log.dataSource ?? "none")", "status": "\(log.status.map(String.init) ?? "none")",
        "rows": "\(log.rowCount)", "bytes": "\(log.byteCount)", "fault": "\(log.fault ?? "none")",
      ])
  }
}

/// One request on its way.
struct Exchange {
  let head: EventsRequestHead
  let connection: ConnectionFaults
  /// The rule that applies to it.
  var rule: FaultRule?
  /// What the log will say: as long as nothing else is known, that there was no answer.
  var log: RecordedRequest
  /// Whether the log says it.
  var isRecorded = false

  init(head: EventsRequestHead, connection: ConnectionFaults) {
    self.head = head
    self.connection = connection
    log = RecordedRequest(
      id: 0, time: Date(), dataSource: head.dataSource, status: nil, isCommitted: false, rowCount: 0,
      quarantinedRowCount: 0, byteCount: 0, isGzip: head.isGzip, waits: head.waits,
      httpVersion: connection.httpVersion, fault: nil)
  }

  mutating func take(_ choice: FaultSchedule.Choice) {
    guard case .rule(let rule) = choice else { return }
    self.rule = rule
    log.fault = rule.fault?.name ?? "delay"
  }
}
