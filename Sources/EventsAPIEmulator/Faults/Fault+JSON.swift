internal import HTTPTypes

extension Fault: Codable {
  private enum Name: String, CodingKey, CaseIterable {
    case answer, close, endlessAnswer, slowAnswer, acceptWithoutWaiting, quarantine, miscount, refuseStream, goAway
  }
  private enum NoMembers: CodingKey, CaseIterable {}
  private enum CloseMember: String, CodingKey, CaseIterable { case at }
  private enum SlowMember: String, CodingKey, CaseIterable { case millisecondsPerByte }
  private enum QuarantineMember: String, CodingKey, CaseIterable { case rows }
  private enum MiscountMember: String, CodingKey, CaseIterable { case successfulRows, quarantinedRows }

  /// Reads an object with one member, the fault's name.
  public init(from decoder: any Decoder) throws {
    let members = try decoder.members(of: Name.self)
    guard let name = members.allKeys.first, members.allKeys.count == 1 else {
      throw decoder.invalid("a fault is an object with exactly one member, its name")
    }
    let details = try members.superDecoder(forKey: name)
    switch name {
    case .answer:
      self = .answer(try members.decode(CannedAnswer.self, forKey: name))
    case .close:
      self = .close(at: try details.members(of: CloseMember.self).decode(FaultMoment.self, forKey: .at))
    case .slowAnswer:
      let milliseconds = try details.members(of: SlowMember.self).decode(Double.self, forKey: .millisecondsPerByte)
      guard Duration.isScriptMilliseconds(milliseconds) else {
        throw details.invalid("'millisecondsPerByte' is not a span of time")
      }
      self = .slowAnswer(pauseAfterEachByte: Duration(scriptMilliseconds: milliseconds))
    case .quarantine:
      let rows = try details.members(of: QuarantineMember.self).decode(Int.self, forKey: .rows)
      guard rows >= 0 else { throw details.invalid("'rows' is negative") }
      self = .quarantine(rows: rows)
    case .miscount:
      let counts = try details.members(of: MiscountMember.self)
      self = .miscount(
        successfulRows: try counts.decodeIfPresent(Int.self, forKey: .successfulRows) ?? 0,
        quarantinedRows: try counts.decodeIfPresent(Int.self, forKey: .quarantinedRows) ?? 0)
    case .endlessAnswer:
      _ = try details.members(of: NoMembers.self)
      self = .endlessAnswer
    case .acceptWithoutWaiting:
      _ = try details.members(of: NoMembers.self)
      self = .acceptWithoutWaiting
    case .refuseStream:
      _ = try details.members(of: NoMembers.self)
      self = .refuseStream
    case .goAway:
      _ = try details.members(of: NoMembers.self)
      self = .goAway
    }
  }

  /// Writes an object with one member, the fault's name.
  public func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: Name.self)
    switch self {
    case .answer(let answer):
      try members.encode(answer, forKey: .answer)
    case .close(let moment):
      var details = members.nestedContainer(keyedBy: CloseMember.self, forKey: .close)
      try details.encode(moment, forKey: .at)
    case .slowAnswer(let pause):
      var details = members.nestedContainer(keyedBy: SlowMember.self, forKey: .slowAnswer)
      try details.encode(pause.scriptMilliseconds, forKey: .millisecondsPerByte)
    case .quarantine(let rows):
      var details = members.nestedContainer(keyedBy: QuarantineMember.self, forKey: .quarantine)
      try details.encode(rows, forKey: .rows)
    case .miscount(let successfulRows, let quarantinedRows):
      var details = members.nestedContainer(keyedBy: MiscountMember.self, forKey: .miscount)
      try details.encode(successfulRows, forKey: .successfulRows)
      try details.encode(quarantinedRows, forKey: .quarantinedRows)
    case .endlessAnswer: _ = members.nestedContainer(keyedBy: NoMembers.self, forKey: .endlessAnswer)
    case .acceptWithoutWaiting: _ = members.nestedContainer(keyedBy: NoMembers.self, forKey: .acceptWithoutWaiting)
    case .refuseStream: _ = members.nestedContainer(keyedBy: NoMembers.self, forKey: .refuseStream)
    case .goAway: _ = members.nestedContainer(keyedBy: NoMembers.self, forKey: .goAway)
    }
  }
}

extension CannedAnswer: Codable {
  private enum Member: String, CodingKey, CaseIterable {
    case status, body, headers, retryAfterSeconds, retryAfterAsDate, commit
  }

  /// Reads an object of which only `status` is required.
  public init(from decoder: any Decoder) throws {
    let members = try decoder.members(of: Member.self)
    status = try members.decode(Int.self, forKey: .status)
    guard (200...599).contains(status) else { throw decoder.invalid("'status' is not in 200...599") }
    body = try members.decodeIfPresent(String.self, forKey: .body)
    headers = try members.decodeIfPresent([String: String].self, forKey: .headers) ?? [:]
    if let name = headers.keys.sorted().first(where: { HTTPField.Name($0) == nil }) {
      throw decoder.invalid("'\(name)' is not the name of a header field")
    }
    commit = try members.decodeIfPresent(CommittedPart.self, forKey: .commit) ?? .nothing
    let asDate = try members.decodeIfPresent(Bool.self, forKey: .retryAfterAsDate) ?? false
    retryAfter = try members.decodeIfPresent(Int.self, forKey: .retryAfterSeconds).map { seconds in
      asDate ? .date(secondsFromNow: seconds) : .seconds(seconds)
    }
    if asDate, retryAfter == nil { throw decoder.invalid("'retryAfterAsDate' needs 'retryAfterSeconds'") }
  }

  /// Writes the members that differ from their defaults.
  public func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: Member.self)
    try members.encode(status, forKey: .status)
    try members.encodeIfPresent(body, forKey: .body)
    if !headers.isEmpty { try members.encode(headers, forKey: .headers) }
    if commit != .nothing { try members.encode(commit, forKey: .commit) }
    switch retryAfter {
    case nil: break
    case .seconds(let seconds):
      try members.encode(seconds, forKey: .retryAfterSeconds)
    case .date(let seconds):
      try members.encode(seconds, forKey: .retryAfterSeconds)
      try members.encode(true, forKey: .retryAfterAsDate)
    }
  }
}
