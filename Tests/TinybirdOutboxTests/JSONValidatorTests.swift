import Testing

@testable import TinybirdOutbox

/// What is accepted and what is refused, and where.
@Suite struct JSONValidatorTests {
  @Test(arguments: AcceptedTexts.all) func accepts(_ text: String) throws {
    _ = try validate(text)
  }

  @Test(arguments: RefusedTexts.all) func refuses(_ refused: RefusedTexts.Case) {
    #expect(throws: JSONValidationError(reason: refused.reason, offset: refused.offset)) {
      try validate(refused.bytes)
    }
  }

  @Test func theTablesAreLarge() {
    #expect(AcceptedTexts.all.count + RefusedTexts.all.count >= 150)
  }

  /// The offset is where the text goes wrong: what stands before it could still become an event.
  @Test(arguments: RefusedTexts.all) func whatStandsBeforeTheOffsetIsABeginning(_ refused: RefusedTexts.Case) throws {
    let prefix = Array(refused.bytes.prefix(refused.offset))
    if refused.reason == .textAfterObject {
      _ = try validate(prefix)
    } else {
      #expect(throws: JSONValidationError(reason: .unexpectedEnd, offset: prefix.count)) { try validate(prefix) }
    }
  }

  @Test(arguments: AcceptedTexts.samples) func refusesEveryTruncation(_ sample: String) throws {
    let bytes = Array(sample.utf8)
    for count in 0...(try #require(bytes.lastIndex(of: UInt8(ascii: "}")))) {
      #expect(throws: JSONValidationError(reason: .unexpectedEnd, offset: count)) {
        try validate(Array(bytes[..<count]))
      }
    }
  }

  @Test func refusesABufferWithoutMemory() {
    #expect(throws: JSONValidationError(reason: .unexpectedEnd, offset: 0)) {
      try JSONValidator().validate(UnsafeRawBufferPointer(start: nil, count: 0))
    }
  }

  @Test(arguments: [
    (JSONValidationError.Reason.byteOrderMark, "a byte order mark, which JSON does not allow, at byte 17"),
    (.expectedObject, "expected '{', since an event is one JSON object, at byte 17"),
    (.expectedMemberName, "expected a member name in double quotes at byte 17"),
    (.expectedColon, "expected ':' after a member name at byte 17"),
    (.expectedValue, "expected a value at byte 17"),
    (.expectedCommaOrBrace, "expected ',' or '}' after a member at byte 17"),
    (.expectedCommaOrBracket, "expected ',' or ']' after an element at byte 17"),
    (.expectedDigit, "expected a digit at byte 17"),
    (.leadingZero, "a number with a leading zero at byte 17"),
    (.invalidLiteral, "expected true, false or null at byte 17"),
    (.controlCharacter, "a control character that is not escaped in a string at byte 17"),
    (.invalidEscape, "an escape that JSON does not have at byte 17"),
    (.invalidUnicodeEscape, #"expected four hexadecimal digits after '\u' at byte 17"#),
    (.invalidUTF8, "a sequence that is not UTF-8 at byte 17"),
    (.tooDeep(maximum: 512), "nesting deeper than 512 levels at byte 17"),
    (.textAfterObject, "text after the object at byte 17"),
    (.unexpectedEnd, "the text ends before the object does, at byte 17"),
  ])
  func saysWhatIsWrongAndWhere(_ reason: JSONValidationError.Reason, _ text: String) {
    #expect(JSONValidationError(reason: reason, offset: 17).description == text)
  }

  @Test(arguments: [
    "hunter2", "{hunter2}", #"{"hunter2"}"#, #"{"hunter2":hunter2}"#, #"{"a":"hunter2\x"}"#, #"{"a":"hunter2"#,
    #"{"a":"hunter2\#u{1}"}"#, #"{"a":"hunter2"}hunter2"#, #"{"a":1 "hunter2":2}"#, #"{"a":["hunter2" hunter2]}"#,
    #"{"a":"hunter2\uhunter2"}"#, #"{"a":thunter2}"#, #"{"a":-hunter2}"#, #"{"hunter2":[[["hunter2"]]]}"#,
  ])
  func anErrorNeverQuotesTheText(_ text: String) throws {
    let error = try #require(throws: JSONValidationError.self) {
      try validate(text, JSONValidator(maximumDepth: 3))
    }
    var dumped = ""
    dump(error, to: &dumped)
    for said in ["\(error)", String(reflecting: error), dumped] { #expect(!said.contains("hunter2")) }
  }
}

/// Validates a copy of `bytes` that ends where they end, so that a read behind the end is one outside the memory.
@discardableResult
func validate(_ bytes: [UInt8], _ validator: JSONValidator = JSONValidator()) throws -> ValidatedObject {
  let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
  defer { copy.deallocate() }
  copy.copyBytes(from: bytes)
  return try validator.validate(UnsafeRawBufferPointer(copy))
}

@discardableResult
func validate(_ text: String, _ validator: JSONValidator = JSONValidator()) throws -> ValidatedObject {
  try validate(Array(text.utf8), validator)
}
