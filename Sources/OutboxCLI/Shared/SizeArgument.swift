internal import ArgumentParser

/// A number of bytes on the command line: `16777216`, `500MB`, `1.5GiB`.
enum SizeArgument {
  /// The longer suffix stands first, so that it wins.
  private static let units: [(String, Int64)] = [
    ("KIB", 1 << 10), ("MIB", 1 << 20), ("GIB", 1 << 30), ("TIB", 1 << 40),
    ("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000), ("B", 1),
  ]

  /// For an option's `transform`, so that the error says what a size is.
  static let parse: @Sendable (String) throws -> Int64 = { text in
    guard let bytes = bytes(text) else {
      throw ValidationError("a size is a number of bytes, or one with a unit, such as 500MB or 2GiB")
    }
    return bytes
  }

  private static func bytes(_ text: String) -> Int64? {
    let upper = text.uppercased()
    let (suffix, size) = units.first { upper.hasSuffix($0.0) } ?? ("", 1)
    let parts = upper.dropLast(suffix.count).split(separator: ".", omittingEmptySubsequences: false)
    // `Double` would take "inf", "0x1p3" and "1e9" too.
    guard (1...2).contains(parts.count),
      parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } })
    else { return nil }
    if parts.count == 1 {
      guard let number = Int64(parts[0]) else { return nil }
      let (bytes, isTooLarge) = number.multipliedReportingOverflow(by: size)
      return isTooLarge ? nil : bytes
    }
    guard size > 1, let number = Double(parts.joined(separator: ".")), number * Double(size) < 1e18 else { return nil }
    return Int64((number * Double(size)).rounded())
  }
}
