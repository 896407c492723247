#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

internal import class Foundation.ProcessInfo

/// What a descriptor can show.
struct Terminal {
  static let output = Terminal(descriptor: STDOUT_FILENO)
  static let error = Terminal(descriptor: STDERR_FILENO)
  static let input = Terminal(descriptor: STDIN_FILENO)

  private let descriptor: Int32
  /// Whether a person looks at it.
  let isInteractive: Bool

  private init(descriptor: Int32) {
    self.descriptor = descriptor
    isInteractive = isatty(descriptor) == 1
  }

  /// Columns of a line: those of the window, else of `COLUMNS`, else 100.
  var width: Int {
    var size = winsize()
    if isInteractive, ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return Int(size.ws_col) }
    if let columns = Environment["COLUMNS"].flatMap({ Int($0) }), columns > 0 { return columns }
    return 100
  }

  /// How text is marked here: colours only on a terminal that has them, and never against `NO_COLOR`.
  var paint: Paint {
    Paint(isOn: isInteractive && Environment["NO_COLOR"] == nil && Environment["TERM"] != "dumb")
  }
}

/// Marks text with colours, or leaves it as it is.
struct Paint: Equatable {
  enum Colour: Int {
    case bold = 1
    case dim = 2
    case red = 31
    case green = 32
    case yellow = 33
  }

  var isOn: Bool

  func callAsFunction(_ text: String, _ colour: Colour?) -> String {
    guard isOn, let colour, !text.isEmpty else { return text }
    return "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m"
  }
}

/// The process's environment; an empty variable is as good as none.
enum Environment {
  static subscript(_ name: String) -> String? {
    ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
  }
}
