import Testing

@testable import OutboxCLI

@Suite struct OutputTests {
  // MARK: Tables

  @Test func alignsColumns() {
    var table = TerminalTable([.left("NAME"), .right("COUNT"), .left("NOTE")])
    table.add("a", "1", "x")
    table.add("longer", "1,000", "")
    #expect(
      table.lines(width: 80) == [
        "NAME    COUNT  NOTE",
        "a           1  x",
        "longer  1,000  ",
      ])
  }

  @Test func countsColumnsAndNotCharacters() {
    var table = TerminalTable([.left("A"), .left("B")])
    table.add("日本", "x")
    table.add("e\u{301}", "x")
    #expect(table.lines(width: 80) == ["A     B", "日本  x", "e\u{301}     x"])
  }

  @Test func cutsTheLastColumn() {
    var table = TerminalTable([.left("A"), .left("TEXT")])
    table.add("1", "0123456789")
    #expect(table.lines(width: 12) == ["A  TEXT", "1  01234567…"])
    #expect(table.lines(width: 13) == ["A  TEXT", "1  0123456789"])
  }

  @Test func coloursDoNotMoveColumns() {
    var table = TerminalTable([.left("A"), .left("B")])
    table.add(.init("x", .red), .init("y", nil))
    #expect(
      table.lines(width: 80, paint: Paint(isOn: true)) == [
        "\u{1B}[1mA\u{1B}[0m  \u{1B}[1mB\u{1B}[0m",
        "\u{1B}[31mx\u{1B}[0m  y",
      ])
  }

  // MARK: Width

  @Test(arguments: [
    ("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 6, "日本語"), ("日本語", 5, "日本…"), ("日本語", 4, "日…"),
    ("ab", 1, "…"), ("ab", 0, ""), ("ééééé", 5, "ééééé"), ("👩‍👩‍👧 x", 3, "👩‍👩‍👧…"),
  ])
  func cuts(text: String, columns: Int, result: String) {
    #expect(DisplayWidth.cut(text, to: columns) == result)
  }

  @Test(arguments: [
    ("plain é 日本", "plain é 日本"), ("a\nb\tc\rd", "a b c d"), ("\u{1B}[2J", "·[2J"), ("\u{9B}x\u{7F}", "·x·"),
    ("\u{202E}abc\u{2066}", "·abc·"),
  ])
  func makesHarmless(text: String, result: String) {
    #expect(DisplayWidth.harmless(text) == result)
  }

  // MARK: JSON

  @Test func writesJSONInOrder() {
    let value: JSONValue = [
      "b": .integer(1), "a": .array([.null, .bool(true), .string("x")]), "empty": [], "none": .object([]),
      "event": .raw("{\"n\": 1}"), "o": ["k": .null],
    ]
    #expect(
      value.lines == """
        {
          "b": 1,
          "a": [
            null,
            true,
            "x"
          ],
          "empty": [],
          "none": {},
          "event": {"n": 1},
          "o": {
            "k": null
          }
        }
        """)
    #expect(
      JSONOutput.line(value)
        == #"{"version": 1, "b": 1, "a": [null, true, "x"], "empty": [], "none": {}, "event": {"n": 1}, "o": {"k": null}}"#
    )
  }

  @Test func escapesStrings() {
    let text = JSONValue.string("\"\\\n\r\t\u{0}\u{1F}\u{7F}\u{9B}é日").line
    #expect(text == #""\"\\\n\r\t\u0000\u001f\u007f\u009bé日""#)
  }
}
