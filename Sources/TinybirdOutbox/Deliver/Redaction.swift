/// Takes tokens out of an answer before it is stored: a 403 echoes the token that it refused.
enum Redaction {
  /// The longest excerpt that is stored, in bytes.
  static let maximumBytes = 1024

  /// What stands in place of a token.
  static let mark = "[token]"

  /// An excerpt of `body` as text, without `token` and without anything else that looks like one, cut to
  /// ``maximumBytes``.
  ///
  /// Nil where the body is empty.
  static func excerpt(_ body: [UInt8], token: Token?) -> String? {
    guard !body.isEmpty else { return nil }
    var bytes = body
    if let token { bytes = redacting(Array(token.value.utf8), in: bytes) }
    bytes = redactingTokenLikeWords(bytes)
    return cut(String(decoding: bytes, as: UTF8.self), toBytes: maximumBytes)
  }

  // Bytes, not characters: an accent behind a token would join its last letter, and hide the token from a search.

  private static func redacting(_ token: [UInt8], in bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var rest = bytes[...]
    while let first = rest.first {
      if rest.starts(with: token) {
        result += mark.utf8
        rest = rest.dropFirst(token.count)
      } else {
        result.append(first)
        rest = rest.dropFirst()
      }
    }
    return result
  }

  /// Tinybird's tokens start with `p.` and go on with dozens of letters, digits, `_`, `-` and `.`.
  private static func redactingTokenLikeWords(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    for part in bytes.split(omittingEmptySubsequences: false, whereSeparator: { !isPartOfWord($0) }) {
      result += part.starts(with: "p.".utf8) && part.count >= 20 ? Array(mark.utf8)[...] : part
      guard part.endIndex < bytes.endIndex else { break }
      // A NUL would end the text for whoever reads it through C.
      result.append(bytes[part.endIndex] == 0 ? UInt8(ascii: " ") : bytes[part.endIndex])
    }
    return result
  }

  private static func isPartOfWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
      true
    default: false
    }
  }

  /// The longest beginning of whole characters that leaves room for the sign that something was cut.
  private static func cut(_ text: String, toBytes limit: Int) -> String {
    guard text.utf8.count > limit else { return text }
    let sign = "…"
    var end = text.utf8.index(text.utf8.startIndex, offsetBy: limit - sign.utf8.count)
    while end > text.startIndex, end.samePosition(in: text) == nil { end = text.utf8.index(before: end) }
    return String(text[..<end]) + sign
  }
}
