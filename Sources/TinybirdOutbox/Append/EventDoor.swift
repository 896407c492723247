internal import Foundation

/// Checks each event before anything of it is kept: one JSON object, in UTF-8, not too large, not too deep.
struct EventDoor: Sendable {
  private let validator: JSONValidator
  private let idMember: EventIDMember?
  private let encoder: EventEncoder
  private let maximumBytes: Int

  init(_ configuration: OutboxConfiguration) {
    validator = JSONValidator(
      maximumDepth: configuration.maximumEventDepth, memberName: configuration.eventIDField)
    idMember = configuration.eventIDField.map { EventIDMember(name: $0) }
    encoder = configuration.encoder
    maximumBytes = configuration.maximumEventBytes
  }

  /// Adds a checked event to `packer`, or throws and leaves it as it was.
  ///
  /// `index` is the event's place in its call.
  func admit(
    _ event: UnsafeRawBufferPointer, to dataSource: DataSourceName, index: Int, into packer: inout EventPacker
  ) throws(OutboxError) {
    let object = try check(event, index: index)
    let idMember = object.hasMember ? nil : idMember
    let byteCount = event.count + (idMember?.addedByteCount(to: object) ?? 0)
    try checkSize(byteCount, index: index)
    packer.add(to: dataSource, byteCount: byteCount) { bytes in
      guard let idMember else {
        object.append(event, to: &bytes)
        return
      }
      var generator = SystemRandomNumberGenerator()
      idMember.append(event, object, id: EventID(at: .now, using: &generator), to: &bytes)
    }
  }

  /// The same for a value, which is encoded first.
  func admit(
    encoding event: some Encodable, to dataSource: DataSourceName, index: Int, into packer: inout EventPacker
  ) throws(OutboxError) {
    let encoded = try encoder.encode(event)
    // A closure cannot throw a typed error through `withUnsafeBytes`, a result can carry it.
    let result = encoded.withUnsafeBytes { bytes in
      Result { () throws(OutboxError) in
        try admit(bytes, to: dataSource, index: index, into: &packer)
      }
    }
    try result.get()
  }

  /// Checks an event and keeps nothing of it.
  @discardableResult
  func check(_ event: UnsafeRawBufferPointer, index: Int) throws(OutboxError) -> ValidatedObject {
    try checkSize(event.count, index: index)
    do throws(JSONValidationError) {
      return try validator.validate(event)
    } catch {
      throw OutboxError(
        .invalidEvent, "the event cannot be stored: \(error). Tinybird takes one JSON object (RFC 8259) in UTF-8",
        cause: error, eventIndex: index)
    }
  }

  private func checkSize(_ byteCount: Int, index: Int) throws(OutboxError) {
    guard byteCount <= maximumBytes else {
      throw OutboxError(
        .eventTooLarge,
        "the event has \(byteCount) bytes, \(maximumBytes) are allowed: no request to Tinybird could carry it",
        eventIndex: index)
    }
  }
}
