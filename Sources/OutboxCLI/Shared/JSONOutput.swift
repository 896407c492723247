/// What `--json` prints.
///
/// It is a contract, documented in the article CommandLine: names are in snake case; each object at the top begins with `version`, which grows when a member
/// changes its meaning or goes away, not when one is added; times are ISO 8601 in UTC with milliseconds; what is not known
/// is null. One object is printed over several lines, a stream of objects one a line.
enum JSONOutput {
  static let version = 1

  /// Prints an object over several lines.
  static func print(_ members: JSONValue) throws {
    try Console.print(versioned(members).lines)
  }

  /// An object of a stream.
  static func line(_ members: JSONValue) -> String { versioned(members).line }

  private static func versioned(_ members: JSONValue) -> JSONValue {
    (["version": .integer(version)] as JSONValue).merging(members)
  }
}
