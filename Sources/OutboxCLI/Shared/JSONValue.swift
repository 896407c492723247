internal import Foundation

/// JSON to print, whose members keep their order, and which embeds events byte for byte.
enum JSONValue: ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral {
  case null
  case bool(Bool)
  case number(Int64)
  case text(String)
  case array([JSONValue])
  case object([Member])
  /// JSON that is valid already.
  case verbatim(String)

  struct Member {
    let name: String
    let value: JSONValue
  }

  init(arrayLiteral values: JSONValue...) { self = .array(values) }

  init(dictionaryLiteral members: (String, JSONValue)...) {
    self = .object(members.map { Member(name: $0.0, value: $0.1) })
  }

  // What is not known is null.

  static func integer(_ number: (some BinaryInteger)?) -> JSONValue { number.map { .number(Int64($0)) } ?? .null }
  static func string(_ text: String?) -> JSONValue { text.map { .text($0) } ?? .null }
  static func describing(_ value: (some CustomStringConvertible)?) -> JSONValue { .string(value?.description) }
  static func time(_ date: Date?) -> JSONValue { .string(date.map { Humane.time($0) }) }
  static func raw(_ json: String?) -> JSONValue { json.map { .verbatim($0) } ?? .null }
  static func milliseconds(_ duration: Duration) -> JSONValue {
    .number(Int64((duration / .milliseconds(1)).rounded()))
  }

  /// The members of both objects, in order.
  func merging(_ other: JSONValue) -> JSONValue {
    guard case .object(let first) = self, case .object(let second) = other else { return self }
    return .object(first + second)
  }

  /// The JSON on one line.
  var line: String { written(at: nil) }

  /// The JSON over several lines, one a member.
  var lines: String { written(at: "") }

  private func written(at indentation: String?) -> String {
    switch self {
    case .null: "null"
    case .bool(let bool): bool ? "true" : "false"
    case .number(let number): String(number)
    case .text(let text): Self.quoted(text)
    case .verbatim(let json): json
    case .array(let values):
      Self.list(values.map { $0.written(at: indentation.map { $0 + "  " }) }, "[", "]", indentation)
    case .object(let members):
      Self.list(
        members.map { Self.quoted($0.name) + ": " + $0.value.written(at: indentation.map { $0 + "  " }) }, "{", "}",
        indentation)
    }
  }

  private static func list(_ items: [String], _ open: String, _ close: String, _ indentation: String?) -> String {
    guard !items.isEmpty else { return open + close }
    guard let indentation else { return open + items.joined(separator: ", ") + close }
    let separator = "\n" + indentation + "  "
    return open + separator + items.joined(separator: "," + separator) + "\n" + indentation + close
  }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      // Control characters, also those that only a terminal would act on.
      case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}": result += String(format: "\\u%04x", scalar.value)
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
