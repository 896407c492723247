internal import HTTPTypes
internal import HummingbirdCore
internal import Logging
internal import NIOCore

/// Finds the route of a request.
struct Responder: Sendable {
  let events: EventsRoute
  let logger: Logger

  /// Serves one request.
  ///
  /// What it throws makes hummingbird close the connection, or reset the HTTP/2 stream.
  @concurrent
  func respond(to request: Request, writer: consuming ResponseWriter, channel: any Channel) async throws {
    switch (request.method, request.uri.path) {
    case (.post, "/v0/events"):
      do {
        try await events.serve(request, writer: writer, channel: channel)
      } catch let error as EmulatorError {
        logger.error("A request could not be stored", metadata: ["error": "\(error)"])
        throw error
      }
    case (_, "/v0/events"):
      var answer = ServiceAnswer.refused(405, "Events are sent with POST")
      answer.headers[.allow] = "POST"
      try await AnswerWriter.write(answer, in: .whole, to: writer)
    case (.get, "/"):
      let answer = ServiceAnswer(
        status: 200, headers: [.contentType: "application/json"],
        body: #"{"service":"Tinybird Events API emulator","events":"POST /v0/events?name={data source}&wait=true"}"#)
      try await AnswerWriter.write(answer, in: .whole, to: writer)
    case (_, let path):
      try await AnswerWriter.write(.refused(404, "There is nothing at \(path)"), in: .whole, to: writer)
    }
  }
}
