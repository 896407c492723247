internal import Foundation

/// Judges one line by the rules of its data source.
///
/// Pure.
struct EventCheck {
  /// What becomes of a line.
  enum Judgement: Equatable {
    /// It is stored.
    case good
    /// It does not fit the schema, and goes to the quarantine.
    case mismatch
    /// It is not one JSON object.
    case malformed(String)
    /// It makes the service refuse the whole request.
    case refused(String)
  }

  private let rules: DataSourceRules
  /// The types of the schema, each with its place among the columns that an event must have; nil where it may be null.
  private let columns: [String: (type: ColumnType, requiredIndex: Int?)]
  private let requiredCount: Int
  private let needsMembers: Bool

  init(_ rules: DataSourceRules) {
    self.rules = rules
    var count = 0
    columns = rules.schema.mapValues { type in
      guard !type.isNullable else { return (type, nil) }
      defer { count += 1 }
      return (type, count)
    }
    requiredCount = count
    needsMembers = !rules.schema.isEmpty || rules.rejects?.member != nil
  }

  /// Judges one line, given without its line break.
  func judge(_ line: UnsafeRawBufferPointer) -> Judgement {
    var isFound = [Bool](repeating: false, count: requiredCount)
    var misfit: String?
    var isRejected = false
    do throws(JSONScanner.Fault) {
      guard needsMembers else {
        try JSONScanner.scanObject(line)
        return judgeByCode(line)
      }
      try JSONScanner.scanObject(line) { nameRange, valueRange, kind in
        let name = Self.text(line[nameRange])
        let value = line[valueRange]
        if let column = columns[name] {
          if let index = column.requiredIndex { isFound[index] = true }
          if !column.type.takes(kind, value) { misfit = misfit ?? name }
        }
        if case .member(name, let unwanted)? = rules.rejects, unwanted.equals(kind, value) { isRejected = true }
      }
    } catch {
      return .malformed("\(error.reason) (byte \(error.offset) of the line)")
    }
    if isRejected { return .refused("the event is one that the data source rejects") }
    if misfit != nil || isFound.contains(false) {
      let reason = misfit.map { "'\($0)' has the wrong type" } ?? "a required member is missing"
      return rules.mismatch == .quarantine ? .mismatch : .refused(reason)
    }
    return judgeByCode(line)
  }

  private func judgeByCode(_ line: UnsafeRawBufferPointer) -> Judgement {
    guard case .code(let rejects)? = rules.rejects else { return .good }
    return rejects(String(decoding: line, as: UTF8.self))
      ? .refused("the event is one that the data source rejects") : .good
  }

  /// The text of a JSON string, given without its quotes.
  fileprivate static func text(_ bytes: Slice<UnsafeRawBufferPointer>) -> String {
    let text = String(decoding: bytes, as: UTF8.self)
    guard bytes.contains(UInt8(ascii: "\\")) else { return text }
    // The scanner has accepted the string; where it holds half a surrogate pair, no text equals it.
    return (try? JSONDecoder().decode(String.self, from: Data("\"\(text)\"".utf8))) ?? text
  }
}

extension EventPredicate {
  fileprivate var member: String? {
    if case .member(let name, _) = self { name } else { nil }
  }
}

extension MemberValue {
  fileprivate func equals(_ kind: JSONScanner.Kind, _ value: Slice<UnsafeRawBufferPointer>) -> Bool {
    switch (self, kind) {
    case (.string(let string), .string): EventCheck.text(value.dropFirst().dropLast()) == string
    case (.number(let number), .integer), (.number(let number), .decimal):
      Double(String(decoding: value, as: UTF8.self)) == number
    case (.bool(let bool), .bool): (value.first == UInt8(ascii: "t")) == bool
    case (.null, .null): true
    default: false
    }
  }
}

extension ColumnType {
  fileprivate func takes(_ kind: JSONScanner.Kind, _ value: Slice<UnsafeRawBufferPointer>) -> Bool {
    switch (self.kind, kind) {
    case (_, .null): isNullable
    case (.string, .string), (.int, .integer), (.float, .integer), (.float, .decimal), (.bool, .bool),
      (.array, .array), (.object, .object):
      true
    case (.dateTime, .string): DateTimeText.isValid(value.dropFirst().dropLast())
    default: false
    }
  }
}
