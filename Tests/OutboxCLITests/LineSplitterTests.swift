import Testing

@testable import OutboxCLI

@Suite struct LineSplitterTests {
  /// The lines of `text`, as `number:content`, when it comes in pieces of `size` bytes; `number!bytes` for a long one.
  private func lines(_ text: String, size: Int, maximumLineBytes: Int = 1000) -> [String] {
    var splitter = LineSplitter(input: 0, maximumLineBytes: maximumLineBytes)
    var batch = LineBatch()
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: size) {
      bytes[start..<min(start + size, bytes.count)].withUnsafeBytes { splitter.split($0, into: &batch) }
    }
    splitter.finish(into: &batch)
    return batch.lines.map { line in
      line.excess.map { "\(line.number)!\($0)" }
        ?? "\(line.number):\(String(decoding: batch.bytes(of: line), as: UTF8.self))"
    }
  }

  @Test(arguments: [
    ("", []),
    ("\n", []),
    ("{}", ["1:{}"]),
    ("{}\n", ["1:{}"]),
    ("{1}\n{2}", ["1:{1}", "2:{2}"]),
    ("{1}\r\n{2}\r\n", ["1:{1}", "2:{2}"]),
    ("{1}\n\n \t \r\n{2}\n", ["1:{1}", "4:{2}"]),
    ("\u{FEFF}{1}\n\u{FEFF}{2}\n", ["1:{1}", "2:\u{FEFF}{2}"]),
    ("\u{FEFF}\n{2}", ["2:{2}"]),
    ("{\"a\r\":1}\r\n", ["1:{\"a\r\":1}"]),
    ("\r\r\n{}\r", ["2:{}"]),
    (" {1} \n", ["1: {1} "]),
    ("é\n日本", ["1:é", "2:日本"]),
  ])
  func findsLinesWhereverThePiecesEnd(text: String, expected: [String]) {
    for size in 1...max(1, text.utf8.count) {
      #expect(lines(text, size: size) == expected, "pieces of \(size)")
    }
  }

  @Test func longLinesAreCountedAndNotKept() {
    let text = "{1}\n0123456789\n0123456789\r\n0123456789A\n{2}\n0123456789ABCDEF"
    let expected = ["1:{1}", "2:0123456789", "3:0123456789", "4!11", "5:{2}", "6!16"]
    for size in 1...text.utf8.count {
      #expect(lines(text, size: size, maximumLineBytes: 10) == expected, "pieces of \(size)")
    }
  }

  @Test func aBatchHandsItsLinesOver() {
    var batch = LineBatch()
    for number in 1...4 {
      batch.add(Array("{\(number)}".utf8), UnsafeRawBufferPointer(start: nil, count: 0), input: 0, number: number)
    }
    #expect(batch.events(batch.lines[1...2]).map { String(decoding: $0, as: UTF8.self) } == ["{2}", "{3}"])
    #expect(!batch.isFull && !batch.isEmpty)
  }

  @Test func aBatchIsFullByBytesOrLines() {
    var batch = LineBatch()
    batch.add(
      [UInt8](repeating: 0x20, count: LineBatch.maximumBytes), UnsafeRawBufferPointer(start: nil, count: 0), input: 0,
      number: 1)
    #expect(batch.isFull)
    var many = LineBatch()
    for number in 1...LineBatch.maximumLines {
      #expect(!many.isFull)
      many.add([0x20], UnsafeRawBufferPointer(start: nil, count: 0), input: 0, number: number)
    }
    #expect(many.isFull)
  }
}
