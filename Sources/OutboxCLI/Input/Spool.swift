#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// A copy of an input that can be read only once, so that it can be read twice.
///
/// It lies in a file without a name, which nobody else can open and which is gone with the process.
final class Spool: Sendable {
  private let descriptor: Int32

  /// Copies all of `descriptor`.
  init(copying source: Int32, name: String, until doorbell: Doorbell) throws {
    let directory = Environment["TMPDIR"] ?? "/tmp"
    var template = Array("\(directory)/outbox-spool-XXXXXX".utf8CString)
    // Mode 0600.
    descriptor = mkstemp(&template)
    guard descriptor >= 0 else {
      throw Failure(.cannotWrite, "cannot make a temporary file in \(directory): \(SystemError())")
    }
    unlink(template)
    try withUnsafeTemporaryAllocation(byteCount: 256 << 10, alignment: 16) { space in
      while doorbell.wait(for: source, hasLines: false) == .ready {
        let count = try InputFile.readSome(source, into: space, name)
        guard count > 0 else { return }
        try store(UnsafeRawBufferPointer(rebasing: space[..<count]), directory)
      }
    }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
  }

  /// The descriptor, at its start.
  func rewound() throws -> Int32 {
    guard lseek(descriptor, 0, SEEK_SET) == 0 else {
      throw Failure(.inputOutput, "cannot read the temporary file: \(SystemError())")
    }
    return descriptor
  }

  private func store(_ bytes: UnsafeRawBufferPointer, _ directory: String) throws {
    do {
      try System.writeAll(bytes, to: descriptor)
    } catch {
      throw Failure(
        error.isFullDisk ? .tryAgain : .inputOutput,
        "cannot write to a temporary file in \(directory): \(error); name another directory in TMPDIR")
    }
  }
}
