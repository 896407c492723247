#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// Finds the lines of one input in the pieces that are read of it: pure.
///
/// A line ends with LF or CR LF, the last one also with the input. Blank lines are passed over, and counted. A byte order
/// mark at the start, which some programs write, is no part of the first line. A line of more than
/// ``maximumLineBytes`` is not kept in memory: its bytes are counted up to its end.
struct LineSplitter {
  /// The input's number, for ``LineBatch/Line/input``.
  let input: Int
  /// The longest line that is kept, without its end.
  let maximumLineBytes: Int

  /// The start of a line whose end has not come yet.
  private var partial: [UInt8] = []
  /// Bytes of a line that is too long, so far.
  private var excess: Int?
  /// The number of the line that is being read.
  private var number = 1

  init(input: Int, maximumLineBytes: Int) {
    self.input = input
    self.maximumLineBytes = maximumLineBytes
  }

  /// Takes the next piece; every line that ends in it is added to `batch`.
  mutating func split(_ piece: UnsafeRawBufferPointer, into batch: inout LineBatch) {
    var rest = piece
    while let base = rest.baseAddress, !rest.isEmpty {
      guard let newline = memchr(base, 0x0A, rest.count) else { return keep(rest) }
      let length = newline - UnsafeMutableRawPointer(mutating: base)
      end(UnsafeRawBufferPointer(rebasing: rest[..<length]), into: &batch)
      rest = UnsafeRawBufferPointer(rebasing: rest[(length + 1)...])
    }
  }

  /// The input is at its end: what is left is its last line.
  mutating func finish(into batch: inout LineBatch) {
    end(UnsafeRawBufferPointer(start: nil, count: 0), into: &batch)
  }

  /// Whether a line has begun whose end has not come.
  var isWithinLine: Bool { !partial.isEmpty || excess != nil }

  private mutating func keep(_ piece: UnsafeRawBufferPointer) {
    // One byte more: the CR of a line's end is not part of it.
    if let excess {
      self.excess = excess + piece.count
    } else if partial.count + piece.count > maximumLineBytes + 1 {
      excess = partial.count + piece.count
      partial = []
    } else {
      partial.append(contentsOf: piece)
    }
  }

  private mutating func end(_ piece: UnsafeRawBufferPointer, into batch: inout LineBatch) {
    defer {
      partial.removeAll(keepingCapacity: partial.capacity <= LineBatch.maximumBytes)
      excess = nil
      number += 1
    }
    if let excess { return batch.addTooLong(byteCount: excess + piece.count, input: input, number: number) }
    var rest = piece
    if rest.last == 0x0D {
      rest = UnsafeRawBufferPointer(rebasing: rest.dropLast())
    } else if rest.isEmpty, partial.last == 0x0D {
      partial.removeLast()
    }
    if number == 1 { dropByteOrderMark(&rest) }
    guard !partial.allSatisfy(Self.isBlank) || !rest.allSatisfy(Self.isBlank) else { return }
    guard partial.count + rest.count <= maximumLineBytes else {
      return batch.addTooLong(byteCount: partial.count + rest.count, input: input, number: number)
    }
    batch.add(partial, rest, input: input, number: number)
  }

  private mutating func dropByteOrderMark(_ rest: inout UnsafeRawBufferPointer) {
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    if partial.starts(with: mark) {
      partial.removeFirst(3)
    } else if partial.isEmpty, rest.starts(with: mark) {
      rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(3))
    } else if !partial.isEmpty, partial.count < 3, (partial + rest.prefix(3 - partial.count)).elementsEqual(mark) {
      rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(3 - partial.count))
      partial = []
    }
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D }
}
