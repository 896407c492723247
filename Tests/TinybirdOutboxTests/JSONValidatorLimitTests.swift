import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// Depth and size.
@Suite struct JSONValidatorLimitTests {
  /// Around the limit, and around 64, where the stack of containers goes on in another word.
  @Test(arguments: [1, 2, 3, 63, 64, 65, 66, 127, 128, 129, 192, 193, 512, 1000])
  func acceptsTheLimitAndRefusesOneMore(_ depth: Int) throws {
    let validator = JSONValidator(maximumDepth: depth)
    for shape in Shape.allCases {
      try validate(shape.text(depth: depth), validator)
      let tooDeep = shape.text(depth: depth + 1)
      let error = try #require(throws: JSONValidationError.self) { try validate(tooDeep, validator) }
      #expect(error.reason == .tooDeep(maximum: depth))
      #expect(error.offset == shape.offset(ofLevel: depth + 1))
    }
  }

  @Test func theDefaultIs512() throws {
    try validate(Shape.arrays.text(depth: 512))
    #expect(throws: JSONValidationError.self) { try validate(Shape.arrays.text(depth: 513)) }
  }

  @Test(arguments: Shape.allCases) func depthGoesDownAgain(_ shape: Shape) throws {
    let inner = shape.text(depth: 70)
    let values = repeatElement(String(inner), count: 50).joined(separator: ",")
    try validate("{\"a\":[\(values)]}", JSONValidator(maximumDepth: 72))
    #expect(throws: JSONValidationError.self) {
      try validate("{\"a\":[\(values)]}", JSONValidator(maximumDepth: 71))
    }
  }

  /// Deep and mixed: each container must be closed by its own bracket, also far behind the innermost 64.
  @Test(arguments: [10, 64, 65, 130, 200]) func eachContainerIsClosedByItsOwnBracket(_ depth: Int) throws {
    var generator = SeededRandom(seed: UInt64(depth))
    var opening = ""
    var closing: [Character] = []
    for level in 1...depth {
      let isObject = level == 1 || Bool.random(using: &generator)
      if level > 1 { opening += closing.last == "}" ? "\"k\":" : "" }
      opening += isObject ? "{" : "["
      closing.append(isObject ? "}" : "]")
    }
    opening += closing.last == "}" ? "" : "0"
    try validate(opening + String(closing.reversed()))
    for level in 0..<depth {
      var wrong = closing
      wrong[level] = wrong[level] == "}" ? "]" : "}"
      let text = opening + String(wrong.reversed())
      let offset = opening.utf8.count + depth - 1 - level
      let error = try #require(throws: JSONValidationError.self) { try validate(text) }
      #expect(error.offset == offset)
    }
  }

  @Test(arguments: Shape.allCases) func aHundredThousandLevelsAreRefusedAtTheLimit(_ shape: Shape) throws {
    let text = shape.text(depth: 100_000)
    let error = try #require(throws: JSONValidationError.self) { try validate(text) }
    #expect(error == JSONValidationError(reason: .tooDeep(maximum: 512), offset: shape.offset(ofLevel: 513)))
    // Not closed at all, and with no limit that would be reached: nothing recurses.
    let open = String(text.prefix(shape.offset(ofLevel: 100_000)))
    #expect(throws: JSONValidationError.self) { try validate(open) }
    try validate(text, JSONValidator(maximumDepth: 100_000))
    #expect(throws: JSONValidationError(reason: .unexpectedEnd, offset: open.utf8.count)) {
      try validate(open, JSONValidator(maximumDepth: 100_000))
    }
  }

  @Test func aStringOf10MB() throws {
    let content = [UInt8](repeating: UInt8(ascii: "a"), count: 10_000_000)
    let opening = Array(#"{"a":""#.utf8)
    try validate(opening + content + Array(#""}"#.utf8))
    #expect(throws: JSONValidationError(reason: .unexpectedEnd, offset: 10_000_006)) { try validate(opening + content) }
    #expect(throws: JSONValidationError(reason: .controlCharacter, offset: 10_000_006)) {
      try validate(opening + content + [0] + Array(#""}"#.utf8))
    }
  }

  @Test func aMegabyteOfEverythingElse() throws {
    let count = 1_000_000
    try validate(#"{"a":"# + String(repeating: "7", count: count) + "}")
    try validate("{" + String(repeating: " ", count: count) + "}")
    try validate(#"{"a":""# + String(repeating: "é", count: count / 2) + #""}"#)
    try validate(#"{"a":""# + String(repeating: "\\n", count: count / 2) + #""}"#)
    try validate(#"{"a":["# + String(repeating: "{},", count: count / 3) + "{}]}")
  }

  enum Shape: CaseIterable {
    case objects, arrays, mixed

    /// An object with `depth` levels, itself the first.
    func text(depth: Int) -> String {
      let levels = (1...depth).map { isObject(level: $0) }
      let opening = levels.enumerated().map { index, isObject in
        let isLast = index == depth - 1
        return isObject ? (isLast ? "{" : "{\"a\":") : "["
      }
      return opening.joined() + levels.reversed().map { $0 ? "}" : "]" }.joined()
    }

    /// Where the bracket stands that opens the level.
    func offset(ofLevel level: Int) -> Int {
      (1..<level).reduce(0) { $0 + (isObject(level: $1) ? 5 : 1) }
    }

    private func isObject(level: Int) -> Bool {
      switch self {
      case .objects: true
      case .arrays: level == 1
      case .mixed: level % 3 != 0
      }
    }
  }
}
