/// Lines of input, with the places that they came from: what is stored in one commit.
struct LineBatch: Sendable {
  struct Line: Sendable, Equatable {
    /// The input's number, from 0.
    var input: Int
    /// The line's number in its input, from 1.
    var number: Int
    /// Where it stands in ``LineBatch/bytes``; empty for a line that is too long to be an event.
    var range: Range<Int>
    /// Bytes of a line that is too long, which were not kept.
    var excess: Int?
  }

  /// What one commit takes, about: large enough that the sync is shared by many lines, small enough that it is soon done.
  ///
  /// With one more piece of input the batch still fits into one chunk of the outbox, which is at most 1 MiB.
  static let maximumBytes = 768 << 10
  static let maximumLines = 10_000

  private(set) var bytes: [UInt8] = []
  private(set) var lines: [Line] = []
  /// Bytes that were read from the inputs since the batch before, line ends and compressed bytes as they came.
  var readBytes: Int64 = 0

  var isEmpty: Bool { lines.isEmpty }
  var isFull: Bool { bytes.count >= Self.maximumBytes || lines.count >= Self.maximumLines }

  /// Adds a line that is made of two pieces: its start, kept from what was read before, and the rest.
  mutating func add(_ start: [UInt8], _ rest: UnsafeRawBufferPointer, input: Int, number: Int) {
    let first = bytes.count
    bytes += start
    bytes.append(contentsOf: rest)
    lines.append(Line(input: input, number: number, range: first..<bytes.count))
  }

  /// Adds a line whose bytes were too many to keep.
  mutating func addTooLong(byteCount: Int, input: Int, number: Int) {
    lines.append(Line(input: input, number: number, range: bytes.count..<bytes.count, excess: byteCount))
  }

  func bytes(of line: Line) -> ArraySlice<UInt8> { bytes[line.range] }

  /// The bytes of `lines` as the library takes them, without a copy.
  func events(_ lines: ArraySlice<Line>) -> some Sequence<ArraySlice<UInt8>> & Sendable {
    Events(bytes: bytes, lines: lines)
  }

  private struct Events: Sequence, Sendable {
    let bytes: [UInt8]
    let lines: ArraySlice<Line>

    struct Iterator: IteratorProtocol {
      let bytes: [UInt8]
      var lines: ArraySlice<Line>.Iterator

      mutating func next() -> ArraySlice<UInt8>? { lines.next().map { bytes[$0.range] } }
    }

    func makeIterator() -> Iterator { Iterator(bytes: bytes, lines: lines.makeIterator()) }
    var underestimatedCount: Int { lines.count }
  }
}
