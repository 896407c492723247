/// What a data source of the emulator takes: a small stand-in for the schema that a real data source has.
public struct DataSourceRules: Sendable {
  /// What happens to a row that does not fit the schema.
  public enum Mismatch: String, Sendable, Codable {
    /// The row goes to the quarantine, the request succeeds: what the service does.
    case quarantine
    /// The whole request is refused with 400.
    case refuse
  }

  /// The members that an event must have, and the type of each.
  ///
  /// Members that are not named here are taken as they are.
  public var schema: [String: ColumnType]
  /// What happens to a row that does not fit the schema; quarantine by default.
  public var mismatch: Mismatch
  /// Events for which the whole request is refused with 400: a poisoned event.
  public var rejects: EventPredicate?

  /// Makes the rules of a data source; without any, every JSON object is taken.
  public init(
    schema: [String: ColumnType] = [:], mismatch: Mismatch = .quarantine, rejects: EventPredicate? = nil
  ) {
    self.schema = schema
    self.mismatch = mismatch
    self.rejects = rejects
  }
}

/// Picks events of a data source.
public enum EventPredicate: Sendable {
  /// Events whose member of this name, at the top level, has this value.
  case member(String, equals: MemberValue)
  /// Events, given as their JSON text, for which the closure returns true. Cannot be written to a script.
  case code(@Sendable (String) -> Bool)
}

/// A JSON value that is neither object nor array.
public enum MemberValue: Sendable, Equatable {
  /// A string.
  case string(String)
  /// A number; compared as a 64-bit floating-point number.
  case number(Double)
  /// True or false.
  case bool(Bool)
  /// Null.
  case null
}

extension MemberValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByNilLiteral
{
  /// A string.
  public init(stringLiteral value: String) { self = .string(value) }
  /// A number.
  public init(integerLiteral value: Int) { self = .number(Double(value)) }
  /// A number.
  public init(floatLiteral value: Double) { self = .number(value) }
  /// True or false.
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  /// Null.
  public init(nilLiteral: ()) { self = .null }
}

/// The type that a member must have.
///
/// In a script: `"string"`, `"int"`, `"float"`, `"bool"`, `"dateTime"`, `"array"`, `"object"`, with `?` after it where
/// the member may be missing or null, as in a `Nullable` column.
public struct ColumnType: Sendable, Equatable {
  enum Kind: String, CaseIterable {
    case string, int, float, bool, dateTime, array, object
  }

  let kind: Kind
  let isNullable: Bool

  /// A JSON string.
  public static let string = ColumnType(kind: .string, isNullable: false)
  /// A number without fraction and exponent.
  public static let int = ColumnType(kind: .int, isNullable: false)
  /// Any number.
  public static let float = ColumnType(kind: .float, isNullable: false)
  /// True or false.
  public static let bool = ColumnType(kind: .bool, isNullable: false)
  /// A string such as `2026-05-17T10:05:03Z`, `2026-05-17 10:05:03` or `2026-05-17T10:05:03.250+02:00`.
  public static let dateTime = ColumnType(kind: .dateTime, isNullable: false)
  /// A JSON array.
  public static let array = ColumnType(kind: .array, isNullable: false)
  /// A JSON object.
  public static let object = ColumnType(kind: .object, isNullable: false)

  /// The same type, for a member that may be missing or null.
  public var nullable: ColumnType { ColumnType(kind: kind, isNullable: true) }
}
