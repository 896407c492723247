internal import Foundation

/// What can be told of an input by its name alone: to open a pipe and to close it again would end its writer.
enum InputPath {
  /// Standard input.
  static let standardInput = "-"

  /// Throws where the file is not there, may not be read, or is a directory.
  static func check(_ name: String) throws {
    guard name != standardInput else { return }
    guard access(name, R_OK) == 0 else { throw Failure(.notFound, "cannot read \(name): \(SystemError())") }
    var isDirectory: ObjCBool = false
    if FileManager.default.fileExists(atPath: name, isDirectory: &isDirectory), isDirectory.boolValue {
      throw Failure(.notFound, "cannot read \(name): it is a directory")
    }
  }

  /// The size of a file that can be read twice; nil for a pipe or a terminal.
  static func regularSize(_ name: String) -> Int64? {
    let url = URL(filePath: name == standardInput ? "/dev/stdin" : name).resolvingSymlinksInPath()
    let attributes = try? FileManager.default.attributesOfItem(atPath: url.path(percentEncoded: false))
    guard attributes?[.type] as? FileAttributeType == .typeRegular else { return nil }
    return (attributes?[.size] as? NSNumber)?.int64Value
  }
}
