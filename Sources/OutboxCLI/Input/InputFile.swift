#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

internal import TinybirdOutbox

/// One input of NDJSON: a file or standard input, plain or gzip, which its first bytes tell.
///
/// Not `Sendable`: it belongs to the thread that reads.
final class InputFile {
  /// How it is called in messages.
  let name: String
  let descriptor: Int32

  /// Read at once of a plain input.
  private static let plainReadBytes = 256 << 10
  /// Read at once of a compressed one: at most a thousand times as much can come out of it.
  private static let gzipReadBytes = 4 << 10
  /// The first bytes of gzip, by RFC 1952.
  private static let gzipMark: [UInt8] = [0x1F, 0x8B]

  private let closesDescriptor: Bool
  private var splitter: LineSplitter
  private var decompressor: GzipDecompressor?
  /// What was read while it was not known whether it is gzip; nil afterwards.
  private var start: [UInt8]? = []

  /// Opens a file; `-` is standard input.
  convenience init(_ name: String, number: Int, maximumLineBytes: Int) throws {
    if name == InputPath.standardInput {
      self.init(
        "stdin", STDIN_FILENO, closesDescriptor: false, number: number, maximumLineBytes: maximumLineBytes)
    } else {
      self.init(
        name, try Self.openFile(name), closesDescriptor: true, number: number, maximumLineBytes: maximumLineBytes)
    }
  }

  /// Takes over what is open already.
  init(_ name: String, _ descriptor: Int32, closesDescriptor: Bool, number: Int, maximumLineBytes: Int) {
    self.name = name
    self.descriptor = descriptor
    self.closesDescriptor = closesDescriptor
    splitter = LineSplitter(input: number, maximumLineBytes: maximumLineBytes)
  }

  deinit {
    if closesDescriptor { close(descriptor) }
  }

  private static func openFile(_ name: String) throws -> Int32 {
    while true {
      // To open a pipe is to wait for its writer, which a signal may interrupt.
      let descriptor = open(name, O_RDONLY | O_CLOEXEC)
      if descriptor >= 0 { return descriptor }
      let error = SystemError()
      guard error.isInterruption else { throw Failure(.notFound, "cannot read \(name): \(error)") }
    }
  }

  /// Reads a piece and adds its lines to `batch`, or returns false at the end of the input.
  func read(into batch: inout LineBatch) throws -> Bool {
    let limit = start == nil && decompressor == nil ? Self.plainReadBytes : Self.gzipReadBytes
    return try withUnsafeTemporaryAllocation(byteCount: limit, alignment: 16) { space in
      let count = try Self.readSome(descriptor, into: space, name)
      guard count > 0 else {
        try finish(into: &batch)
        return false
      }
      batch.readBytes += Int64(count)
      try take(UnsafeRawBufferPointer(rebasing: space[..<count]), into: &batch)
      return true
    }
  }

  /// Reads what is there, and waits where nothing is; 0 bytes are the end.
  static func readSome(_ descriptor: Int32, into space: UnsafeMutableRawBufferPointer, _ name: String) throws -> Int {
    do {
      return try System.readSome(descriptor, into: space)
    } catch {
      throw Failure(.inputOutput, "cannot read \(name): \(error)")
    }
  }

  private func take(_ piece: UnsafeRawBufferPointer, into batch: inout LineBatch) throws {
    guard let before = start else { return try split(piece, into: &batch) }
    let first = before + piece
    guard first != [Self.gzipMark[0]] else {
      start = first
      return
    }
    start = nil
    if first.starts(with: Self.gzipMark) { decompressor = try GzipDecompressor() }
    try first.withUnsafeBytes { try split($0, into: &batch) }
  }

  private func split(_ piece: UnsafeRawBufferPointer, into batch: inout LineBatch) throws {
    guard decompressor != nil else { return splitter.split(piece, into: &batch) }
    do {
      try decompressor?.append(piece) { splitter.split($0, into: &batch) }
    } catch let error as GzipError {
      throw failure(error)
    }
  }

  private func finish(into batch: inout LineBatch) throws {
    if let start {
      start.withUnsafeBytes { splitter.split($0, into: &batch) }
      self.start = nil
    }
    do throws(GzipError) {
      try decompressor.take()?.finish()
    } catch {
      throw failure(error)
    }
    splitter.finish(into: &batch)
  }

  private func failure(_ error: GzipError) -> Failure {
    Failure(.badInput, "cannot decompress \(name): \(error)")
  }
}
