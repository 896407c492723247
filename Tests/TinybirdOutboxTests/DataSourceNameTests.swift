import Testing

@testable import TinybirdOutbox

@Suite struct DataSourceNameTests {
  @Test(arguments: [
    "clicks", "a", "A", "_", "_private", "Clicks_2024", "t_0123456789abcdef", String(repeating: "x", count: 128),
  ])
  func takes(text: String) throws {
    let name = try DataSourceName(text)
    #expect(name.rawValue == text)
    #expect("\(name)" == text)
  }

  /// What is refused, and a word that says why.
  @Test(
    arguments: [
      ("", "empty"), (String(repeating: "x", count: 129), "129 bytes"),
      (String(repeating: "é", count: 65), "130 bytes"),
      ("1clicks", "digit"), ("0", "digit"), (" clicks", "byte 0"), ("clicks ", "byte 6"), ("my clicks", "byte 2"),
      ("my-clicks", "byte 2"), ("clicks.v2", "byte 6"), ("clicks/1", "byte 6"), ("clicks&wait=false", "byte 6"),
      ("clicks?x", "byte 6"), ("clicks#", "byte 6"), ("clicks%20", "byte 6"), ("klické", "byte 5"),
      ("ｃlicks", "byte 0"),
      ("clicks\n", "byte 6"), ("clicks\0", "byte 6"), ("click\u{301}", "byte 5"), ("'; DROP TABLE", "byte 0"),
      ("*", "byte 0"),
      ("١", "byte 0"),
    ])
  func refuses(text: String, naming part: String) throws {
    let error = try #require(throws: OutboxError.self) { try DataSourceName(text) }
    #expect(error.code == .invalidDataSourceName)
    #expect(error.message.contains(part), "\(error.message)")
  }

  @Test func everyByte() {
    let allowed = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_".utf8)
    for byte in UInt8.min...127 {
      let text = "a" + String(UnicodeScalar(byte))
      #expect((try? DataSourceName(text)) != nil || !allowed.contains(byte), "\(byte)")
      #expect((try? DataSourceName(text)) == nil || allowed.contains(byte), "\(byte)")
    }
  }

  @Test func namesAreOrderedAndCompareByCase() throws {
    let names = try ["b", "a", "B", "_", "ab"].map { try DataSourceName($0) }
    #expect(names.sorted().map(\.rawValue) == ["B", "_", "a", "ab", "b"])
    #expect(DataSourceName("clicks") != DataSourceName("Clicks"))
  }

  @Test func takesAPartOfAString() throws {
    #expect(try DataSourceName("clicks/1042".prefix(6)).rawValue == "clicks")
  }
}
