import Testing

@testable import TinybirdOutbox

/// Texts that are one JSON object by RFC 8259.
enum AcceptedTexts {
  static let all =
    samples + whole + values.map { #"{"a":\#($0)}"# } + strings.map { #"{"a":"\#($0)"}"# }
    + strings.map { #"{"\#($0)":1}"# }

  /// With every construct of the grammar, for tests that cut and change texts.
  static let samples = [
    #"{}"#,
    #"{"a":1}"#,
    #"{"timestamp":"2015-05-17T10:05:03Z","bytes":203023,"referrer":null,"cached":false,"path":"/a/b?c=d&e=f"}"#,
    #" { "a" : [ 1 , -0.5e+10 , true , [ ] , { } ] , "b" : { "c" : { "d" : [ [ "e" ] ] } } } "#,
    "\r\n{\r\n\t\"name\": \"Zoë Ångström\",\n\t\"city\": \"東京\",\r\t\"sign\": \"😀\"\n}\n",
    #"{"quote":"\"","slashes":"\\\/","control":"\b\f\n\r\t","unicode":"\u00e9\uD83D\uDE00\u0000"}"#,
    #"{"id":123456789012345678901234567890,"small":1e-400,"large":1E400,"zero":-0,"digits":0.1000000000000000055511}"#,
  ]

  private static let whole = [
    "{}", " {}", "{} ", "\t\n\r {}\t\n\r ", "{ }", "{\n}", "{\t\r\n }", #"{"":0}"#, #"{"":""}"#, #"{"a":1,"a":2}"#,
    #"{"a":1,"b":2,"c":3}"#, #"{ "a":1}"#, #"{"a" :1}"#, #"{"a": 1}"#, #"{"a":1 }"#, #"{"a":1 ,"b":2}"#,
    #"{"a":1, "b":2}"#, "{\"a\"\n:\r\n1\t,\n\"b\":2}", #"{"a":{"a":{"a":{}}}}"#, #"{"a":[[[[]]]]}"#,
    #"{"a":[{},[],{},[]],"b":[{"c":[]}]}"#,
  ]

  private static let values = [
    "0", "-0", "1", "-1", "9", "10", "1234567890", "-9223372036854775809", "18446744073709551616",
    "0.0", "0.5", "-0.5", "1.0", "10.01", "123.456789", "0e0", "0e1", "0E1", "0e+1", "0e-1", "-0e-0", "1e1", "1E+2",
    "1e-3", "1.5e10", "1.5E-10", "123e0123", "1e999999999", "0.00000000000000000000000000001",
    "true", "false", "null", "[]", "[ ]", "[0]", "[1,2]", "[ 1 , 2 ]", "[null,true,false]", "[[],[]]", "[{}]",
    "[\n]", #"["a","b"]"#, #"[{"a":1},{"a":2}]"#, "{}", "{ }", #"{"b":{"c":null}}"#,
  ]

  /// Contents of strings, to be values and names.
  private static let strings = [
    "", "a", "abcdefg", "abcdefgh", "abcdefghi", "abcdefghabcdefg", "abcdefghabcdefgh", " ", "/", "'", "\u{7F}",
    "{}[],:", "//comment", "/**/", "true", "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\\\n",
    "\\\\\\\"", "\\u0000", "\\u001f", "\\u0022", "\\u005C", "\\uabcd", "\\uABCD", "\\uaBcD", "\\uFFFF", "\\uFFFE",
    "\\uD834\\uDD1E", "\\uD800", "\\uDC00", "\\uDBFF\\u0041", "\\uDC00\\uD800", "\\uD800\\uD800", "a\\u0041b",
    "é", "ÿ", "߿", "ࠀ", "\u{D7FF}", "\u{E000}", "\u{FEFF}", "\u{FFFD}", "\u{FFFE}", "\u{FFFF}", "\u{10000}",
    "\u{10FFFF}", "\u{2028}\u{2029}", "\u{80}", "日本語", "aé日😀z", "😀😀😀😀", "e\u{301}",
  ]
}

/// Texts that are not, each with its fault.
enum RefusedTexts {
  struct Case: Sendable, CustomTestStringConvertible {
    let bytes: [UInt8]
    let reason: JSONValidationError.Reason
    let offset: Int

    init(_ text: String, _ reason: JSONValidationError.Reason, at offset: Int) {
      self.init(Array(text.utf8), reason, at: offset)
    }

    init(_ bytes: [UInt8], _ reason: JSONValidationError.Reason, at offset: Int) {
      self.bytes = bytes
      self.reason = reason
      self.offset = offset
    }

    var testDescription: String { "\(String(decoding: bytes, as: UTF8.self).debugDescription) \(reason)@\(offset)" }
  }

  static let all = objects + members + arrays + numbers + literals + strings + encodings + ends

  private static let objects: [Case] = [
    Case("[]", .expectedObject, at: 0), Case(#"[{"a":1}]"#, .expectedObject, at: 0),
    Case(#""a""#, .expectedObject, at: 0), Case("1", .expectedObject, at: 0), Case("null", .expectedObject, at: 0),
    Case("true", .expectedObject, at: 0), Case("a", .expectedObject, at: 0), Case("}", .expectedObject, at: 0),
    Case("  ]", .expectedObject, at: 2), Case(",{}", .expectedObject, at: 0), Case("//\n{}", .expectedObject, at: 0),
    Case("\u{B}{}", .expectedObject, at: 0), Case("\u{C}{}", .expectedObject, at: 0),
    Case("\0{}", .expectedObject, at: 0), Case("\u{A0}{}", .expectedObject, at: 0),
    Case("\u{2028}{}", .expectedObject, at: 0), Case("\u{FEFF}{}", .byteOrderMark, at: 0),
    Case([0xEF, 0xBB, 0xBF], .byteOrderMark, at: 0), Case(" \u{FEFF}{}", .expectedObject, at: 1),
    Case([0xFF, 0xFE, 0x7B, 0, 0x7D, 0], .expectedObject, at: 0), Case([0x7B, 0, 0x7D, 0], .expectedMemberName, at: 1),
    Case([0, 0x7B, 0, 0x7D], .expectedObject, at: 0), Case("{}{}", .textAfterObject, at: 2),
    Case("{} {}", .textAfterObject, at: 3), Case("{}\n{}", .textAfterObject, at: 3),
    Case("{}}", .textAfterObject, at: 2),
    Case("{},", .textAfterObject, at: 2), Case("{}]", .textAfterObject, at: 2), Case("{}\0", .textAfterObject, at: 2),
    Case("{} \0", .textAfterObject, at: 3), Case("{}#", .textAfterObject, at: 2),
    Case("{}\u{FEFF}", .textAfterObject, at: 2), Case("{}\u{C}", .textAfterObject, at: 2),
    Case(#"{"a":1}//"#, .textAfterObject, at: 7), Case(#"{"a":1}/**/"#, .textAfterObject, at: 7),
    Case(#"{"a":1}null"#, .textAfterObject, at: 7), Case(#"{"a":{}}}"#, .textAfterObject, at: 8),
  ]

  private static let members: [Case] = [
    Case("{a:1}", .expectedMemberName, at: 1), Case("{'a':1}", .expectedMemberName, at: 1),
    Case("{1:1}", .expectedMemberName, at: 1), Case("{null:1}", .expectedMemberName, at: 1),
    Case("{[]:1}", .expectedMemberName, at: 1), Case("{,}", .expectedMemberName, at: 1),
    Case("{]", .expectedMemberName, at: 1), Case("{:1}", .expectedMemberName, at: 1),
    Case("{{}}", .expectedMemberName, at: 1),
    Case("{\0}", .expectedMemberName, at: 1), Case("{\u{A0}}", .expectedMemberName, at: 1),
    Case("{/**/}", .expectedMemberName, at: 1), Case(#"{,"a":1}"#, .expectedMemberName, at: 1),
    Case(#"{"a":1,}"#, .expectedMemberName, at: 7), Case(#"{"a":1,,"b":2}"#, .expectedMemberName, at: 7),
    Case(#"{"a":1, }"#, .expectedMemberName, at: 8), Case(#"{"a":1,b:2}"#, .expectedMemberName, at: 7),
    Case(#"{"a":{"b":1,}}"#, .expectedMemberName, at: 12), Case(#"{"a":[{1}]}"#, .expectedMemberName, at: 7),
    Case(#"{"a"}"#, .expectedColon, at: 4), Case(#"{"a",1}"#, .expectedColon, at: 4),
    Case(#"{"a" 1}"#, .expectedColon, at: 5),
    Case(#"{"a"=1}"#, .expectedColon, at: 4), Case(#"{"a""b"}"#, .expectedColon, at: 4),
    Case(#"{"a":{"b"}}"#, .expectedColon, at: 9), Case("{\"a\"\0:1}", .expectedColon, at: 4),
    Case(#"{"a":}"#, .expectedValue, at: 5), Case(#"{"a":,"b":1}"#, .expectedValue, at: 5),
    Case(#"{"a"::1}"#, .expectedValue, at: 5), Case(#"{"a":]}"#, .expectedValue, at: 5),
    Case(#"{"a":'b'}"#, .expectedValue, at: 5), Case(#"{"a":b}"#, .expectedValue, at: 5),
    Case("{\"a\":\0}", .expectedValue, at: 5), Case("{\"a\":\u{A0}1}", .expectedValue, at: 5),
    Case(#"{"a":/**/1}"#, .expectedValue, at: 5), Case(#"{"a":1 "b":2}"#, .expectedCommaOrBrace, at: 7),
    Case(#"{"a":1;"b":2}"#, .expectedCommaOrBrace, at: 6), Case(#"{"a":1]"#, .expectedCommaOrBrace, at: 6),
    Case(#"{"a":1:2}"#, .expectedCommaOrBrace, at: 6), Case(#"{"a":"b""c"}"#, .expectedCommaOrBrace, at: 8),
    Case(#"{"a":{}{}}"#, .expectedCommaOrBrace, at: 7), Case(#"{"a":[]"b":1}"#, .expectedCommaOrBrace, at: 7),
    Case("{\"a\":1\0}", .expectedCommaOrBrace, at: 6), Case("{\"a\":1\u{C}}", .expectedCommaOrBrace, at: 6),
    Case(#"{"a":truefalse}"#, .expectedCommaOrBrace, at: 9),
  ]

  private static let arrays: [Case] = [
    Case(#"{"a":[,]}"#, .expectedValue, at: 6), Case(#"{"a":[1,]}"#, .expectedValue, at: 8),
    Case(#"{"a":[,1]}"#, .expectedValue, at: 6), Case(#"{"a":[1,,2]}"#, .expectedValue, at: 8),
    Case(#"{"a":[}]}"#, .expectedValue, at: 6), Case(#"{"a":[:1]}"#, .expectedValue, at: 6),
    Case("{\"a\":[\0]}", .expectedValue, at: 6), Case(#"{"a":[*]}"#, .expectedValue, at: 6),
    Case(#"{"a":[1 2]}"#, .expectedCommaOrBracket, at: 8), Case(#"{"a":[1}"#, .expectedCommaOrBracket, at: 7),
    Case(#"{"a":["b":1]}"#, .expectedCommaOrBracket, at: 9), Case(#"{"a":["b""c"]}"#, .expectedCommaOrBracket, at: 9),
    Case(#"{"a":[[]}}"#, .expectedCommaOrBracket, at: 8), Case(#"{"a":[{}}}"#, .expectedCommaOrBracket, at: 8),
    Case(#"{"a":[{]}"#, .expectedMemberName, at: 7), Case(#"{"a":[]]}"#, .expectedCommaOrBrace, at: 7),
  ]

  private static let numbers: [Case] = [
    Case(#"{"a":+1}"#, .expectedValue, at: 5), Case(#"{"a":.5}"#, .expectedValue, at: 5),
    Case(#"{"a":NaN}"#, .expectedValue, at: 5), Case(#"{"a":Infinity}"#, .expectedValue, at: 5),
    Case(#"{"a":-}"#, .expectedDigit, at: 6), Case(#"{"a":--1}"#, .expectedDigit, at: 6),
    Case(#"{"a":-.5}"#, .expectedDigit, at: 6), Case(#"{"a":- 1}"#, .expectedDigit, at: 6),
    Case(#"{"a":-Infinity}"#, .expectedDigit, at: 6), Case(#"{"a":-a}"#, .expectedDigit, at: 6),
    Case("{\"a\":-\0}", .expectedDigit, at: 6), Case(#"{"a":1.}"#, .expectedDigit, at: 7),
    Case(#"{"a":1.e1}"#, .expectedDigit, at: 7), Case(#"{"a":1..2}"#, .expectedDigit, at: 7),
    Case(#"{"a":1.-2}"#, .expectedDigit, at: 7), Case(#"{"a":0.}"#, .expectedDigit, at: 7),
    Case(#"{"a":1e}"#, .expectedDigit, at: 7), Case(#"{"a":1E}"#, .expectedDigit, at: 7),
    Case(#"{"a":1e+}"#, .expectedDigit, at: 8), Case(#"{"a":1e-}"#, .expectedDigit, at: 8),
    Case(#"{"a":1e+-1}"#, .expectedDigit, at: 8), Case(#"{"a":1ee1}"#, .expectedDigit, at: 7),
    Case(#"{"a":1e.1}"#, .expectedDigit, at: 7), Case(#"{"a":0e}"#, .expectedDigit, at: 7),
    Case(#"{"a":00}"#, .leadingZero, at: 5), Case(#"{"a":01}"#, .leadingZero, at: 5),
    Case(#"{"a":-01}"#, .leadingZero, at: 6), Case(#"{"a":-00}"#, .leadingZero, at: 6),
    Case(#"{"a":007.5}"#, .leadingZero, at: 5), Case(#"{"a":0x1F}"#, .expectedCommaOrBrace, at: 6),
    Case(#"{"a":1_000}"#, .expectedCommaOrBrace, at: 6), Case(#"{"a":1a}"#, .expectedCommaOrBrace, at: 6),
    Case(#"{"a":1.5.5}"#, .expectedCommaOrBrace, at: 8), Case(#"{"a":1e5.5}"#, .expectedCommaOrBrace, at: 8),
    Case(#"{"a":1e1e1}"#, .expectedCommaOrBrace, at: 8), Case(#"{"a":1-1}"#, .expectedCommaOrBrace, at: 6),
    Case(#"{"a":1+1}"#, .expectedCommaOrBrace, at: 6), Case(#"{"a":1 000}"#, .expectedCommaOrBrace, at: 7),
    Case("{\"a\":１}", .expectedValue, at: 5), Case("{\"a\":1１}", .expectedCommaOrBrace, at: 6),
    Case(#"{"a":1f}"#, .expectedCommaOrBrace, at: 6), Case(#"{"a":[-]}"#, .expectedDigit, at: 7),
  ]

  private static let literals: [Case] = [
    Case(#"{"a":True}"#, .expectedValue, at: 5), Case(#"{"a":NULL}"#, .expectedValue, at: 5),
    Case(#"{"a":undefined}"#, .expectedValue, at: 5), Case(#"{"a":tru}"#, .invalidLiteral, at: 8),
    Case(#"{"a":trUe}"#, .invalidLiteral, at: 7), Case(#"{"a":fals}"#, .invalidLiteral, at: 9),
    Case(#"{"a":nul}"#, .invalidLiteral, at: 8), Case(#"{"a":nil}"#, .invalidLiteral, at: 6),
    Case(#"{"a":nulll}"#, .expectedCommaOrBrace, at: 9), Case(#"{"a":t}"#, .invalidLiteral, at: 6),
    Case("{\"a\":tru\0}", .invalidLiteral, at: 8), Case(#"{"a":truee}"#, .expectedCommaOrBrace, at: 9),
    Case(#"{"a":[nan]}"#, .invalidLiteral, at: 7),
  ]

  private static let strings: [Case] = [
    Case("{\"a\":\"\0\"}", .controlCharacter, at: 6), Case("{\"a\":\"\n\"}", .controlCharacter, at: 6),
    Case("{\"a\":\"\r\"}", .controlCharacter, at: 6), Case("{\"a\":\"\t\"}", .controlCharacter, at: 6),
    Case("{\"a\":\"\u{1F}\"}", .controlCharacter, at: 6), Case("{\"a\":\"bcdefghi\u{1}\"}", .controlCharacter, at: 14),
    Case("{\"a\n\":1}", .controlCharacter, at: 3), Case("{\"a\0\":1}", .controlCharacter, at: 3),
    Case(#"{"a":"\a"}"#, .invalidEscape, at: 7), Case(#"{"a":"\x41"}"#, .invalidEscape, at: 7),
    Case(#"{"a":"\'"}"#, .invalidEscape, at: 7), Case(#"{"a":"\0"}"#, .invalidEscape, at: 7),
    Case(#"{"a":"\U0041"}"#, .invalidEscape, at: 7), Case(#"{"a":"\v"}"#, .invalidEscape, at: 7),
    Case(#"{"a":"\ "}"#, .invalidEscape, at: 7), Case(#"{"a":"\é"}"#, .invalidEscape, at: 7),
    Case("{\"a\":\"\\\n\"}", .invalidEscape, at: 7), Case("{\"a\":\"\\\0\"}", .invalidEscape, at: 7),
    Case(#"{"\a":1}"#, .invalidEscape, at: 3), Case(#"{"a":"\n\q"}"#, .invalidEscape, at: 9),
    Case(#"{"a":"\u"}"#, .invalidUnicodeEscape, at: 8), Case(#"{"a":"\u0"}"#, .invalidUnicodeEscape, at: 9),
    Case(#"{"a":"\u004"}"#, .invalidUnicodeEscape, at: 11), Case(#"{"a":"\u00G0"}"#, .invalidUnicodeEscape, at: 10),
    Case(#"{"a":"\u{41}"}"#, .invalidUnicodeEscape, at: 8), Case(#"{"a":"\u 041"}"#, .invalidUnicodeEscape, at: 8),
    Case(#"{"a":"\u-041"}"#, .invalidUnicodeEscape, at: 8), Case(#"{"a":"\u00é0"}"#, .invalidUnicodeEscape, at: 10),
    Case(#"{"a":"\u00@0"}"#, .invalidUnicodeEscape, at: 10), Case(#"{"a":"\u00`0"}"#, .invalidUnicodeEscape, at: 10),
    Case(#"{"a":"\u00:0"}"#, .invalidUnicodeEscape, at: 10), Case(#"{"a":"\u00/0"}"#, .invalidUnicodeEscape, at: 10),
    Case(#"{"a":"\u00g0"}"#, .invalidUnicodeEscape, at: 10), Case(#"{"a":"\uD800\u"}"#, .invalidUnicodeEscape, at: 14),
    Case(#"{"\u12":1}"#, .invalidUnicodeEscape, at: 6), Case(#"{"a":b"}"#, .expectedValue, at: 5),
    Case(#"{"a":"b"c"}"#, .expectedCommaOrBrace, at: 8), Case(#"{"a":"\\"b"}"#, .expectedCommaOrBrace, at: 9),
  ]

  private static let encodings: [Case] = [
    Case(bytes("{\"a\":\"", [0xE9], "\"}"), .invalidUTF8, at: 6),
    Case(bytes("{\"", [0xFF], "\":1}"), .invalidUTF8, at: 2),
    Case(bytes("{\"a\":\"é", [0x80], "\"}"), .invalidUTF8, at: 8),
    Case(bytes("{\"a\":\"", [0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80], "\"}"), .invalidUTF8, at: 6),
    Case(bytes("{\"a\":\"\\u00", [0xE9], "0\"}"), .invalidUnicodeEscape, at: 10),
    Case(bytes("{\"a\":\"\\", [0x80], "\"}"), .invalidEscape, at: 7),
    Case(bytes("{", [0x80], "}"), .expectedMemberName, at: 1),
    Case(bytes("{\"a\":", [0xE5], "}"), .expectedValue, at: 5),
    Case(bytes("{\"a\":1", [0xC3, 0xA9], "}"), .expectedCommaOrBrace, at: 6),
    Case(bytes("{}", [0xFF], ""), .textAfterObject, at: 2), Case([0xFF], .expectedObject, at: 0),
  ]

  private static let ends: [Case] = [
    Case("", .unexpectedEnd, at: 0), Case("   ", .unexpectedEnd, at: 3), Case("\n", .unexpectedEnd, at: 1),
    Case("{", .unexpectedEnd, at: 1), Case("{ ", .unexpectedEnd, at: 2), Case(#"{"#, .unexpectedEnd, at: 1),
    Case(#"{"a"#, .unexpectedEnd, at: 3), Case(#"{"a\"#, .unexpectedEnd, at: 4),
    Case(#"{"a":"\u"#, .unexpectedEnd, at: 8),
    Case(#"{"a":"\u00"#, .unexpectedEnd, at: 10), Case(#"{"a":-"#, .unexpectedEnd, at: 6),
    Case(#"{"a":1e"#, .unexpectedEnd, at: 7), Case(#"{"a":nul"#, .unexpectedEnd, at: 8),
    Case(#"{"a":[{"b":[1,2"#, .unexpectedEnd, at: 15), Case(#"{"a":[{}]"#, .unexpectedEnd, at: 9),
    Case(bytes("{\"a\":\"", [0xE6, 0x97], ""), .unexpectedEnd, at: 8),
  ]

  private static func bytes(_ before: String, _ bytes: [UInt8], _ after: String) -> [UInt8] {
    Array(before.utf8) + bytes + Array(after.utf8)
  }
}
