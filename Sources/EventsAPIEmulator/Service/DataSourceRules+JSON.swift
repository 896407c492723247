extension DataSourceRules: Codable {
  private enum Member: String, CodingKey, CaseIterable { case schema, mismatch, rejects }

  /// Reads an object with `schema`, `mismatch` and `rejects`, each of which may be left out.
  public init(from decoder: any Decoder) throws {
    let members = try decoder.members(of: Member.self)
    schema = try members.decodeIfPresent([String: ColumnType].self, forKey: .schema) ?? [:]
    mismatch = try members.decodeIfPresent(Mismatch.self, forKey: .mismatch) ?? .quarantine
    rejects = try members.decodeIfPresent(EventPredicate.self, forKey: .rejects)
  }

  /// Writes the members that differ from their defaults.
  public func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: Member.self)
    if !schema.isEmpty { try members.encode(schema, forKey: .schema) }
    if mismatch != .quarantine { try members.encode(mismatch, forKey: .mismatch) }
    try members.encodeIfPresent(rejects, forKey: .rejects)
  }
}

extension EventPredicate: Codable {
  private enum Member: String, CodingKey, CaseIterable { case member, equals }

  /// Reads `{"member": "status", "equals": 999}`.
  public init(from decoder: any Decoder) throws {
    let members = try decoder.members(of: Member.self)
    guard members.contains(.equals) else { throw decoder.invalid("'equals' is missing") }
    let name = try members.decode(String.self, forKey: .member)
    self = .member(name, equals: try MemberValue(from: members.superDecoder(forKey: .equals)))
  }

  /// Writes the object that ``init(from:)`` reads; fails for a predicate that is Swift code.
  public func encode(to encoder: any Encoder) throws {
    guard case .member(let name, let value) = self else {
      throw EncodingError.invalidValue(
        self, .init(codingPath: encoder.codingPath, debugDescription: "a predicate in Swift cannot be written as JSON"))
    }
    var members = encoder.container(keyedBy: Member.self)
    try members.encode(name, forKey: .member)
    try members.encode(value, forKey: .equals)
  }
}

extension MemberValue: Codable {
  /// Reads a string, a number, true, false or null.
  public init(from decoder: any Decoder) throws {
    let value = try decoder.singleValueContainer()
    if value.decodeNil() {
      self = .null
    } else if let bool = try? value.decode(Bool.self) {
      self = .bool(bool)
    } else if let number = try? value.decode(Double.self) {
      self = .number(number)
    } else if let string = try? value.decode(String.self) {
      self = .string(string)
    } else {
      throw decoder.invalid("not a string, a number, true, false or null")
    }
  }

  /// Writes the value.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .string(let string): try container.encode(string)
    case .number(let number): try container.encode(number)
    case .bool(let bool): try container.encode(bool)
    case .null: try container.encodeNil()
    }
  }
}

extension ColumnType: Codable {
  /// Reads `"int"` or `"int?"`.
  public init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    isNullable = text.hasSuffix("?")
    guard let kind = Kind(rawValue: isNullable ? String(text.dropLast()) : text) else {
      let known = Kind.allCases.map(\.rawValue).joined(separator: ", ")
      throw decoder.invalid("unknown type '\(text)'; known are \(known), with '?' where null is allowed")
    }
    self.kind = kind
  }

  /// Writes `"int"` or `"int?"`.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(kind.rawValue + (isNullable ? "?" : ""))
  }
}
