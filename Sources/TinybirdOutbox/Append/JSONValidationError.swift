/// Why a text is not an event, and at which byte.
///
/// It never quotes the text: an event may hold what must not reach a log.
struct JSONValidationError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What was expected and not found, or found and not allowed.
  enum Reason: Equatable, Sendable {
    case byteOrderMark
    case expectedObject
    case expectedMemberName
    case expectedColon
    case expectedValue
    case expectedCommaOrBrace
    case expectedCommaOrBracket
    case expectedDigit
    case leadingZero
    case invalidLiteral
    case controlCharacter
    case invalidEscape
    case invalidUnicodeEscape
    case invalidUTF8
    case tooDeep(maximum: Int)
    case textAfterObject
    case unexpectedEnd
  }

  var reason: Reason
  /// Where, in bytes from 0.
  ///
  /// For ``Reason/unexpectedEnd`` it is the length of the text.
  var offset: Int

  var description: String { "\(reason.text) at byte \(offset)" }
}

extension JSONValidationError.Reason {
  fileprivate var text: String {
    switch self {
    case .byteOrderMark: "a byte order mark, which JSON does not allow,"
    case .expectedObject: "expected '{', since an event is one JSON object,"
    case .expectedMemberName: "expected a member name in double quotes"
    case .expectedColon: "expected ':' after a member name"
    case .expectedValue: "expected a value"
    case .expectedCommaOrBrace: "expected ',' or '}' after a member"
    case .expectedCommaOrBracket: "expected ',' or ']' after an element"
    case .expectedDigit: "expected a digit"
    case .leadingZero: "a number with a leading zero"
    case .invalidLiteral: "expected true, false or null"
    case .controlCharacter: "a control character that is not escaped in a string"
    case .invalidEscape: "an escape that JSON does not have"
    case .invalidUnicodeEscape: "expected four hexadecimal digits after '\\u'"
    case .invalidUTF8: "a sequence that is not UTF-8"
    case .tooDeep(let maximum): "nesting deeper than \(maximum) levels"
    case .textAfterObject: "text after the object"
    case .unexpectedEnd: "the text ends before the object does,"
    }
  }
}
