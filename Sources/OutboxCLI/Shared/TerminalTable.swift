/// Rows of cells, aligned under their titles.
struct TerminalTable {
  struct Column {
    var title: String
    var alignsRight = false

    static func left(_ title: String) -> Column { Column(title: title) }
    static func right(_ title: String) -> Column { Column(title: title, alignsRight: true) }
  }

  struct Cell: ExpressibleByStringInterpolation {
    var text: String
    var colour: Paint.Colour?

    init(_ text: String, _ colour: Paint.Colour? = nil) {
      self.text = DisplayWidth.harmless(text)
      self.colour = colour
    }

    init(stringLiteral text: String) { self.init(text) }
  }

  private static let gap = "  "

  let columns: [Column]
  private(set) var rows: [[Cell]] = []

  init(_ columns: [Column]) {
    self.columns = columns
  }

  mutating func add(_ cells: Cell...) {
    rows.append(cells)
  }

  mutating func add(_ cells: [Cell]) {
    rows.append(cells)
  }

  /// The lines of the table, with titles; the last column is cut where a line would be wider than `width`.
  func lines(width: Int, paint: Paint = Paint(isOn: false)) -> [String] {
    let widths = columns.indices.map { column in
      rows.reduce(DisplayWidth.of(columns[column].title)) { max($0, DisplayWidth.of($1[column].text)) }
    }
    let titles = columns.map { Cell($0.title, .bold) }
    return ([titles] + rows).map { line($0, widths, width: width, paint: paint) }
  }

  private func line(_ cells: [Cell], _ widths: [Int], width: Int, paint: Paint) -> String {
    var line = ""
    var used = 0
    for (index, cell) in cells.enumerated() {
      if index > 0 { line += Self.gap }
      guard index < cells.count - 1 else {
        let room = max(8, width - used)
        let text = DisplayWidth.cut(cell.text, to: room)
        let padding = columns[index].alignsRight ? spaces(min(room, widths[index]) - DisplayWidth.of(text)) : ""
        line += padding + paint(text, cell.colour)
        break
      }
      let padding = spaces(widths[index] - DisplayWidth.of(cell.text))
      let text = paint(cell.text, cell.colour)
      line += columns[index].alignsRight ? padding + text : text + padding
      used += widths[index] + Self.gap.count
    }
    return line
  }

  private func spaces(_ count: Int) -> String { String(repeating: " ", count: max(0, count)) }
}
