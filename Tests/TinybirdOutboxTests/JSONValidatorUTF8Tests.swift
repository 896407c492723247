import Testing

@testable import TinybirdOutbox

/// Strings, which are read eight bytes at a time: every byte at every place in a word.
@Suite struct JSONValidatorUTF8Tests {
  private static let alignments = 0...15

  @Test func everyByteAtEveryPlace() throws {
    for byte in UInt8.min ... .max where byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") {
      for place in 0..<24 {
        var content = [UInt8](repeating: UInt8(ascii: "a"), count: 24)
        content[place] = byte
        let expected: JSONValidationError? =
          switch byte {
          case ..<0x20: JSONValidationError(reason: .controlCharacter, offset: 6 + place)
          case 0x80...: JSONValidationError(reason: .invalidUTF8, offset: 6 + place)
          default: nil
          }
        try check(content, expected)
      }
    }
  }

  /// The first of two neighbours must not hide the second or move the place at which it is found: a borrow between
  /// the bytes of a word would.
  @Test func everyPairOfNeighbours() throws {
    let firsts: [UInt8] = [0x20, 0x21, 0x23, 0x5B, 0x5D, 0x7E, 0x7F]
    for first in firsts {
      for second in UInt8.min ... .max where second != UInt8(ascii: "\"") && second != UInt8(ascii: "\\") {
        for place in 0..<8 {
          let content = [UInt8](repeating: UInt8(ascii: "a"), count: place) + [first, second] + Array("aaaaaaaa".utf8)
          let isPlain = (0x20..<0x80).contains(second)
          let reason = second < 0x20 ? JSONValidationError.Reason.controlCharacter : .invalidUTF8
          try check(content, isPlain ? nil : JSONValidationError(reason: reason, offset: 6 + place + 1))
        }
      }
    }
  }

  /// Quotes and backslashes behind each of the bytes that differ from them in one bit.
  @Test func theClosingQuoteIsFoundBehindItsNeighbours() throws {
    for place in Self.alignments {
      for before: UInt8 in [0x20, 0x21, 0x23, 0x26, 0x32, 0x5B, 0x5D, 0x62, 0x7F] {
        let content = [UInt8](repeating: UInt8(ascii: "b"), count: place) + [before]
        try check(content, nil)
        try check(content + Array(#"\""#.utf8), nil)
        try check(content + Array(#"\\"#.utf8), nil)
      }
    }
  }

  @Test(
    arguments: [
      [0x80], [0xBF], [0x80, 0x80], [0xC0], [0xC0, 0x80], [0xC0, 0xAF], [0xC1, 0xBF], [0xC2], [0xC2, 0x7F],
      [0xC2, 0xC0],
      [0xDF], [0xDF, 0x22, 0x22], [0xE0, 0x80, 0x80], [0xE0, 0x9F, 0xBF], [0xE0, 0xA0], [0xE0, 0xA0, 0x7F],
      [0xE0, 0xA0, 0xC0], [0xE1, 0x80], [0xE1, 0x7F, 0x80], [0xE2, 0x82], [0xE2, 0x28, 0xA1], [0xED, 0xA0, 0x80],
      [0xED, 0xAD, 0xBF], [0xED, 0xAE, 0x80], [0xED, 0xBF, 0xBF], [0xED, 0xA0, 0x80, 0xED, 0xB0, 0x80], [0xEE, 0x80],
      [0xEF, 0xBF], [0xEF, 0xBB, 0x3F], [0xF0, 0x80, 0x80, 0x80], [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x90],
      [0xF0, 0x90, 0x80], [0xF0, 0x90, 0x80, 0x7F], [0xF0, 0x28, 0x8C, 0xBC], [0xF1, 0x80, 0x80, 0xC0],
      [0xF3, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80], [0xF4, 0xBF, 0xBF, 0xBF], [0xF5, 0x80, 0x80, 0x80],
      [0xF7, 0xBF, 0xBF, 0xBF], [0xF8, 0x88, 0x80, 0x80, 0x80], [0xFC, 0x84, 0x80, 0x80, 0x80, 0x80], [0xFE], [0xFF],
      [0xFF, 0xFF, 0xFF, 0xFF], [0xFE, 0xFE, 0xFF, 0xFF],
    ] as [[UInt8]])
  func refusesWhatIsNotUTF8AtEveryPlace(_ sequence: [UInt8]) throws {
    for place in Self.alignments {
      for behind in Self.alignments {
        let content =
          [UInt8](repeating: UInt8(ascii: "a"), count: place) + sequence
          + [UInt8](repeating: UInt8(ascii: "a"), count: behind)
        try check(content, JSONValidationError(reason: .invalidUTF8, offset: 6 + place))
      }
    }
  }

  @Test(
    arguments: [
      [0xC2, 0x80], [0xDF, 0xBF], [0xE0, 0xA0, 0x80], [0xE0, 0xBF, 0xBF], [0xE1, 0x80, 0x80], [0xEC, 0xBF, 0xBF],
      [0xED, 0x80, 0x80], [0xED, 0x9F, 0xBF], [0xEE, 0x80, 0x80], [0xEF, 0xBB, 0xBF], [0xEF, 0xBF, 0xBE],
      [0xEF, 0xBF, 0xBF], [0xF0, 0x90, 0x80, 0x80], [0xF0, 0xBF, 0xBF, 0xBF], [0xF1, 0x80, 0x80, 0x80],
      [0xF3, 0xBF, 0xBF, 0xBF], [0xF4, 0x80, 0x80, 0x80], [0xF4, 0x8F, 0xBF, 0xBF],
    ] as [[UInt8]])
  func acceptsTheEdgesOfUTF8AtEveryPlace(_ sequence: [UInt8]) throws {
    for place in Self.alignments {
      for behind in Self.alignments {
        let content =
          [UInt8](repeating: UInt8(ascii: "a"), count: place) + sequence + sequence
          + [UInt8](repeating: UInt8(ascii: "a"), count: behind)
        try check(content, nil)
      }
    }
  }

  /// All sequences of up to four bytes from those at which the rules change, against the standard library.
  @Test func agreesWithTheStandardLibrary() throws {
    let edges: [UInt8] = [
      0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0,
      0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
    ]
    var accepted = 0
    for first in edges {
      for second in edges {
        for third in edges {
          for fourth in edges {
            let sequence = [first, second, third, fourth]
            let isValid = (try? validate(Array(#"{"a":""#.utf8) + sequence + Array(#""}"#.utf8))) != nil
            guard isValid == (String(validating: sequence, as: UTF8.self) != nil) else {
              Issue.record("\(sequence) was \(isValid ? "accepted" : "refused")")
              return
            }
            accepted += isValid ? 1 : 0
          }
        }
      }
    }
    #expect(accepted > 100)
  }

  /// Checks an event with `content` as its only value, in memory at each place of a word.
  private func check(
    _ content: [UInt8], _ expected: JSONValidationError?, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let event = Array(#"{"a":""#.utf8) + content + Array(#""}"#.utf8)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 + event.count, alignment: 8)
    defer { memory.deallocate() }
    for start in 0..<8 {
      let place = UnsafeMutableRawBufferPointer(rebasing: memory[start..<start + event.count])
      place.copyBytes(from: event)
      var refused: JSONValidationError?
      do throws(JSONValidationError) {
        _ = try JSONValidator().validate(UnsafeRawBufferPointer(place))
      } catch { refused = error }
      // A macro a case would take minutes; only what differs is worth one.
      if refused != expected {
        #expect(refused == expected, "content \(content)", sourceLocation: sourceLocation)
        return
      }
    }
  }
}
