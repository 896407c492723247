/// A member of a JSON object, whatever its name.
struct MemberName: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }

  init(_ name: String) { stringValue = name }
  init?(stringValue: String) { self.init(stringValue) }
  init?(intValue: Int) { nil }
}

extension Decoder {
  /// The object that is decoded here, after a check that it has no members but `known`.
  func members<Key: CodingKey & CaseIterable>(of _: Key.Type) throws -> KeyedDecodingContainer<Key> {
    let known = Set(Key.allCases.map(\.stringValue))
    let given = try container(keyedBy: MemberName.self).allKeys.map(\.stringValue)
    if let unknown = given.filter({ !known.contains($0) }).min() {
      throw invalid("unknown member '\(unknown)'; known are \(known.sorted().joined(separator: ", "))")
    }
    return try container(keyedBy: Key.self)
  }

  /// An error at the place that is decoded here.
  func invalid(_ what: String) -> DecodingError {
    .dataCorrupted(.init(codingPath: codingPath, debugDescription: what))
  }
}

extension Duration {
  /// Milliseconds, as scripts give them.
  init(scriptMilliseconds: Double) {
    self = .seconds(scriptMilliseconds / 1000)
  }

  var scriptMilliseconds: Double {
    self / .milliseconds(1)
  }

  /// Whether this is a span of time that a script may give: not negative, not beyond what `Duration` can add up.
  static func isScriptMilliseconds(_ value: Double) -> Bool {
    value.isFinite && value >= 0 && value < 1e15
  }
}
