/// Takes tokens out of an answer before it is stored: a 403 echoes the token that it refused.
enum Redaction {
  /// What stands in place of a token.
  static let mark = "[token]"

  /// An excerpt of `body` as text, without `token` and without anything else that looks like one, cut to
  /// ``Ledger/maximumAnswerBytes``. Nil where the body is empty.
  static func excerpt(_ body: [UInt8], token: Token?) -> String? {
    guard !body.isEmpty else { return nil }
    var text = String(decoding: body, as: UTF8.self)
    if let token { text = text.split(separator: token.value, omittingEmptySubsequences: false).joined(separator: mark) }
    text = redactingTokenLikeWords(text)
    return cut(text, toBytes: Ledger.maximumAnswerBytes)
  }

  /// Tinybird's tokens start with `p.` and go on with dozens of letters, digits, `_`, `-` and `.`.
  private static func redactingTokenLikeWords(_ text: String) -> String {
    var result = ""
    var word = ""
    func flush() {
      result += word.hasPrefix("p.") && word.utf8.count >= 20 ? mark : word
      word = ""
    }
    for character in text {
      if character.isASCII, character.isLetter || character.isNumber || "._-".contains(character) {
        word.append(character)
      } else {
        flush()
        // A NUL would end the text for whoever reads it through C.
        result.append(character == "\0" ? " " : character)
      }
    }
    flush()
    return result
  }

  private static func cut(_ text: String, toBytes limit: Int) -> String {
    guard text.utf8.count > limit else { return text }
    var end = text.utf8.index(text.utf8.startIndex, offsetBy: limit)
    // Back to the start of a character.
    while end > text.startIndex, end.samePosition(in: text) == nil { end = text.utf8.index(before: end) }
    return String(text[..<end]) + "…"
  }
}
