/// How wide text is on a terminal, and how it is made to fit and to do no harm there.
enum DisplayWidth {
  /// Columns that `text` takes.
  static func of(_ text: String) -> Int {
    text.reduce(0) { $0 + width(of: $1) }
  }

  /// `text` if it fits into `columns`, else its start with `…`.
  static func cut(_ text: String, to columns: Int) -> String {
    // Most lines are short; every byte takes at most one column.
    if text.utf8.count <= columns { return text }
    var used = 0
    var end = text.startIndex
    var lastFit = text.startIndex
    while end < text.endIndex {
      used += width(of: text[end])
      if used > columns { return columns > 0 ? text[..<lastFit] + "…" : "" }
      end = text.index(after: end)
      // One column is kept for the ellipsis.
      if used <= columns - 1 { lastFit = end }
    }
    return text
  }

  /// `text` on one line, with everything that would move a terminal's cursor, or turn its text around, made visible: what
  /// comes from a server or an event must not be able to draw on the operator's screen.
  static func harmless(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isHarmful) else { return text }
    var result = ""
    for scalar in text.unicodeScalars {
      if isHarmful(scalar) {
        result += scalar == "\n" || scalar == "\r" || scalar == "\t" ? " " : "·"
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  private static func isHarmful(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7F...0x9F: true
    // Marks that change the direction of text.
    case 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069: true
    case 0x2028, 0x2029: true
    default: false
    }
  }

  private static func width(of character: Character) -> Int {
    guard let scalar = character.unicodeScalars.first else { return 0 }
    switch scalar.value {
    case 0x0300...0x036F, 0x200B...0x200D, 0xFE00...0xFE0F: return 0
    // East Asian wide characters and emoji.
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
      0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F680...0x1F6FF, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
      return 2
    default: return 1
    }
  }
}
