extension FaultScript: Codable {
  private enum Member: String, CodingKey, CaseIterable { case rules, dataSources }

  /// Reads an object in which both members may be left out.
  public init(from decoder: any Decoder) throws {
    let members = try decoder.members(of: Member.self)
    rules = try members.decodeIfPresent([FaultRule].self, forKey: .rules) ?? []
    dataSources = try members.decodeIfPresent([String: DataSourceRules].self, forKey: .dataSources) ?? [:]
  }

  /// Writes the script; fails where a data source has a predicate that is Swift code.
  public func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: Member.self)
    try members.encode(rules, forKey: .rules)
    if !dataSources.isEmpty { try members.encode(dataSources, forKey: .dataSources) }
  }
}

extension FaultRule: Codable {
  private enum Member: String, CodingKey, CaseIterable {
    case when, times, delay
    case fault = "do"
  }

  /// Reads an object with `when`, `times`, `delay` and `do`, each of which may be left out.
  public init(from decoder: any Decoder) throws {
    let members = try decoder.members(of: Member.self)
    condition = try members.decodeIfPresent(FaultCondition.self, forKey: .when) ?? FaultCondition()
    maximumUses = try members.decodeIfPresent(Int.self, forKey: .times)
    delay = try members.decodeIfPresent(FaultDelay.self, forKey: .delay)
    fault = try members.decodeIfPresent(Fault.self, forKey: .fault)
    if let maximumUses, maximumUses < 1 { throw decoder.invalid("'times' is less than 1") }
    if delay == nil, fault == nil { throw decoder.invalid("a rule needs 'do' or 'delay'") }
  }

  /// Writes the members that differ from their defaults.
  public func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: Member.self)
    if condition != FaultCondition() { try members.encode(condition, forKey: .when) }
    try members.encodeIfPresent(maximumUses, forKey: .times)
    try members.encodeIfPresent(delay, forKey: .delay)
    try members.encodeIfPresent(fault, forKey: .fault)
  }
}

extension FaultCondition: Codable {
  private enum Member: String, CodingKey, CaseIterable { case dataSource, requests, milliseconds, contains }
  private enum Bound: String, CodingKey, CaseIterable { case from, to }

  /// Reads an object with `dataSource`, `requests`, `milliseconds` and `contains`, each of which may be left out.
  public init(from decoder: any Decoder) throws {
    let members = try decoder.members(of: Member.self)
    dataSource = try members.decodeIfPresent(String.self, forKey: .dataSource)
    contains = try members.decodeIfPresent(String.self, forKey: .contains)
    requests = members.contains(.requests) ? try Self.requests(members.superDecoder(forKey: .requests)) : nil
    time = members.contains(.milliseconds) ? try Self.time(members.superDecoder(forKey: .milliseconds)) : nil
  }

  /// `3`, `{"from": 3, "to": 5}`, or with one bound left out.
  private static func requests(_ decoder: any Decoder) throws -> ClosedRange<Int> {
    if let number = try? decoder.singleValueContainer().decode(Int.self) { return number...number }
    let bounds = try decoder.members(of: Bound.self)
    let from = try bounds.decodeIfPresent(Int.self, forKey: .from) ?? 1
    let to = try bounds.decodeIfPresent(Int.self, forKey: .to) ?? .max
    guard from <= to else { throw decoder.invalid("'from' is greater than 'to'") }
    return from...to
  }

  /// `{"from": 0, "to": 500}`, or with one bound left out.
  private static func time(_ decoder: any Decoder) throws -> Range<Duration> {
    let bounds = try decoder.members(of: Bound.self)
    let from = try bounds.decodeIfPresent(Double.self, forKey: .from) ?? 0
    let to = try bounds.decodeIfPresent(Double.self, forKey: .to)
    guard Duration.isScriptMilliseconds(from), to.map(Duration.isScriptMilliseconds) ?? true, from <= to ?? from else {
      throw decoder.invalid("'from' and 'to' are not a window of time")
    }
    return Duration(scriptMilliseconds: from)..<(to.map(Duration.init(scriptMilliseconds:)) ?? .endOfTime)
  }

  /// Writes the members that are given.
  public func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: Member.self)
    try members.encodeIfPresent(dataSource, forKey: .dataSource)
    try members.encodeIfPresent(contains, forKey: .contains)
    if let requests {
      var bounds = members.nestedContainer(keyedBy: Bound.self, forKey: .requests)
      try bounds.encode(requests.lowerBound, forKey: .from)
      if requests.upperBound != .max { try bounds.encode(requests.upperBound, forKey: .to) }
    }
    if let time {
      var bounds = members.nestedContainer(keyedBy: Bound.self, forKey: .milliseconds)
      try bounds.encode(time.lowerBound.scriptMilliseconds, forKey: .from)
      if time.upperBound < .endOfTime { try bounds.encode(time.upperBound.scriptMilliseconds, forKey: .to) }
    }
  }
}

extension FaultDelay: Codable {
  private enum Member: String, CodingKey, CaseIterable { case at, milliseconds, untilReleased }

  /// Reads `{"at": "afterCommit", "milliseconds": 250}` or `{"at": "afterCommit", "untilReleased": true}`.
  public init(from decoder: any Decoder) throws {
    let members = try decoder.members(of: Member.self)
    moment = try members.decode(FaultMoment.self, forKey: .at)
    let milliseconds = try members.decodeIfPresent(Double.self, forKey: .milliseconds)
    let untilReleased = try members.decodeIfPresent(Bool.self, forKey: .untilReleased) ?? false
    switch (milliseconds, untilReleased) {
    case (nil, true): end = .released
    case (let milliseconds?, false) where Duration.isScriptMilliseconds(milliseconds):
      end = .after(Duration(scriptMilliseconds: milliseconds))
    default: throw decoder.invalid("a delay needs either 'milliseconds', not negative, or 'untilReleased': true")
    }
  }

  /// Writes the object that ``init(from:)`` reads.
  public func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: Member.self)
    try members.encode(moment, forKey: .at)
    switch end {
    case .after(let duration): try members.encode(duration.scriptMilliseconds, forKey: .milliseconds)
    case .released: try members.encode(true, forKey: .untilReleased)
    }
  }
}

extension Duration {
  /// The end of a window that has none: longer than any emulator runs.
  fileprivate static let endOfTime = Duration.seconds(1_000_000_000_000)
}
