public import Foundation

/// Where the tests' own binary is, and the executables of the package too.
public let builtProductsDirectory =
  (Bundle.main.executableURL ?? URL(filePath: CommandLine.arguments[0]))
  .resolvingSymlinksInPath().deletingLastPathComponent()
