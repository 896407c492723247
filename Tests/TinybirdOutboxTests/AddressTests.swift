import Testing

@testable import TinybirdOutbox

@Suite struct AddressTests {
  private static let last = SequenceKey.maximumSequence

  private let clicks: DataSourceName = "clicks"

  /// A text, the sequence numbers that it names, and how it is written back.
  @Test(
    arguments: [
      ("clicks/1042", 1042...1042, "clicks/1042"), ("clicks/1", 1...1, "clicks/1"),
      ("clicks/1000..2000", 1000...2000, "clicks/1000..2000"), ("clicks/7..7", 7...7, "clicks/7"),
      ("clicks/0042", 42...42, "clicks/42"),
      ("clicks/281474976710655", last...last, "clicks/281474976710655"),
      ("clicks", 1...last, "clicks/1..281474976710655"),
    ] as [(String, ClosedRange<Int64>, String)])
  func reads(text: String, sequences: ClosedRange<Int64>, written: String) throws {
    let range = try AddressRange(text)
    #expect(range == AddressRange(dataSource: clicks, sequences: sequences))
    #expect("\(range)" == written)
    #expect(try AddressRange("\(range)") == range)
    #expect(range.first == Address(dataSource: clicks, sequence: sequences.lowerBound))
    #expect(range.last == Address(dataSource: clicks, sequence: sequences.upperBound))
    #expect(range.count == sequences.count)
  }

  @Test(
    arguments: [
      "clicks/", "clicks/0", "clicks/-1", "clicks/+1", "clicks/1.5", "clicks/1.", "clicks/.1", "clicks/1..",
      "clicks/..1",
      "clicks/1...2", "clicks/1..2..3", "clicks/1.x.2", "clicks/1-2", "clicks/2..1", "clicks/0..5", "clicks/1..+2",
      "clicks/ 1", "clicks/1 ", "clicks/1..2 ", "clicks/one", "clicks/1/2", "clicks//1", "clicks/0x10", "clicks/1e3",
      "clicks/1_000", "clicks/１", "clicks/281474976710656", "clicks/1..281474976710656",
      "clicks/9223372036854775808", "clicks/99999999999999999999999",
    ])
  func refusesWhatIsNoAddress(text: String) throws {
    let error = try #require(throws: OutboxError.self) { try AddressRange(text) }
    #expect(error.code == .invalidAddress)
    #expect(error.message.contains("clicks/1042"), "it shows how to write one")
  }

  @Test(arguments: ["", "/", "/1", "1042", "my clicks/1", "clicks..views", "*"])
  func refusesWhatIsNoDataSource(text: String) throws {
    let error = try #require(throws: OutboxError.self) { try AddressRange(text) }
    #expect(error.code == .invalidDataSourceName)
  }

  @Test func addressesAreOrdered() throws {
    let texts = ["a/1", "a/1..3", "a/1..9", "a/2", "a/10", "b/1"]
    let ranges = try texts.map { try AddressRange($0) }
    #expect(ranges.reversed().sorted() == ranges)
    for (index, left) in ranges.enumerated() {
      for (other, right) in ranges.enumerated() {
        #expect((left < right) == (index < other))
        #expect((left == right) == (index == other))
      }
    }
    #expect(Address(dataSource: clicks, sequence: 9) < Address(dataSource: clicks, sequence: 10))
  }
}

@Suite struct SequenceKeyTests {
  private static let (dataSource, sequence) = (SequenceKey.maximumDataSource, SequenceKey.maximumSequence)

  @Test(
    arguments: [
      (1, 0, 0x0001_0000_0000_0000), (1, 1, 0x0001_0000_0000_0001), (2, 1042, 0x0002_0000_0000_0412),
      (dataSource, 0, 0x7FFF_0000_0000_0000), (dataSource, sequence, .max),
    ] as [(Int64, Int64, Int64)])
  func packs(dataSource: Int64, sequence: Int64, stored: Int64) throws {
    let key = try SequenceKey(dataSource: dataSource, sequence: sequence)
    #expect(key.stored == stored)
    #expect(SequenceKey(stored: stored) == key)
  }

  @Test(
    arguments: [
      (0, 1), (-1, 1), (dataSource + 1, 1), (1, -1), (1, sequence + 1), (.max, .max), (.min, .min), (1, .max),
    ] as [(Int64, Int64)])
  func refusesWhatDoesNotFit(dataSource: Int64, sequence: Int64) throws {
    let error = try #require(throws: OutboxError.self) { try SequenceKey(dataSource: dataSource, sequence: sequence) }
    #expect(error.code == .limitReached)
  }

  /// By data source, then by sequence: a range of keys is a range of one data source.
  @Test func keysSortAsAddresses() throws {
    let pairs: [(Int64, Int64)] = [
      (1, 0), (1, 1), (1, Self.sequence), (2, 0), (2, 1), (Self.dataSource, Self.sequence),
    ]
    let keys = try pairs.map { try SequenceKey(dataSource: $0.0, sequence: $0.1).stored }
    #expect(keys == keys.sorted())
    #expect(keys.allSatisfy { $0 > 0 })
  }
}
