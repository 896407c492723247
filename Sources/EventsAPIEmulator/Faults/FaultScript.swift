public import Foundation

/// What an emulator does wrong, and what it takes for a bad event: in code, or from a JSON file.
///
/// ```json
/// {
///   "rules": [
///     {"when": {"dataSource": "clicks", "requests": {"from": 1, "to": 3}}, "do": {"answer": {"status": 503}}},
///     {"when": {"contains": "\"status\":999"}, "times": 2, "do": {"close": {"at": "afterCommit"}}}
///   ],
///   "dataSources": {
///     "clicks": {"schema": {"timestamp": "dateTime", "status": "int"}, "rejects": {"member": "bytes", "equals": -1}}
///   }
/// }
/// ```
///
/// A member that no script has is refused, with its path, so that a typing error is not a fault that never strikes.
public struct FaultScript: Sendable {
  /// The rules, tried in order.
  public var rules: [FaultRule]
  /// What each data source takes, by its name.
  public var dataSources: [String: DataSourceRules]

  /// Makes a script.
  public init(rules: [FaultRule] = [], dataSources: [String: DataSourceRules] = [:]) {
    self.rules = rules
    self.dataSources = dataSources
  }

  /// Reads a script from JSON.
  ///
  /// - Throws: ``EmulatorError`` of code ``EmulatorError/Code/invalidScript``, with the path of what is wrong.
  public init(json: Data) throws {
    do {
      self = try JSONDecoder().decode(FaultScript.self, from: json)
    } catch let error as DecodingError {
      throw EmulatorError(.invalidScript, error.whereAndWhat)
    }
  }

  /// Reads a script from a file.
  ///
  /// - Throws: ``EmulatorError`` of code ``EmulatorError/Code/invalidScript``, with the path of what is wrong, or the
  ///   error of reading the file.
  public init(contentsOf file: URL) throws {
    try self.init(json: Data(contentsOf: file))
  }
}

extension DecodingError {
  /// `rules[0].do: …`: the path of what is wrong, and what is.
  fileprivate var whereAndWhat: String {
    let context: Context
    let what: String
    switch self {
    case .dataCorrupted(let corrupted):
      context = corrupted
      what = corrupted.debugDescription
    case .keyNotFound(let key, let missing):
      context = missing
      what = "'\(key.stringValue)' is missing"
    case .typeMismatch(_, let mismatch):
      context = mismatch
      what = mismatch.debugDescription
    case .valueNotFound(_, let missing):
      context = missing
      what = missing.debugDescription
    @unknown default:
      return String(describing: self)
    }
    let path = context.codingPath.reduce("") { path, key in
      if let index = key.intValue { return "\(path)[\(index)]" }
      return path.isEmpty ? key.stringValue : "\(path).\(key.stringValue)"
    }
    return path.isEmpty ? what : "\(path): \(what)"
  }
}
