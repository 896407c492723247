internal import Foundation

/// Medians and spread, and how the first contender does against each of the others.
struct ResultTable {
  private let results: [(name: String, rates: [Double])]

  init(_ results: [(name: String, rates: [Double])]) {
    self.results = results
  }

  var text: String {
    let first = results.first.map { median($0.rates) } ?? 0
    return results.map { result in
      let rates = result.rates
      let ratio = first / median(rates)
      return [
        "  " + result.name.padding(toLength: 22, withPad: " ", startingAt: 0),
        right(number(median(rates)), 12) + " events/s",
        right("(\(number(rates.min() ?? 0)) to \(number(rates.max() ?? 0)))", 26),
        result.name == results[0].name ? "" : "  outbox is \(String(format: "%.2f", ratio)) x",
      ].joined()
    }.joined(separator: "\n")
  }

  private func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return 0 }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  private func number(_ value: Double) -> String {
    var digits = String(Int(value.rounded()))
    var place = digits.count - 3
    while place > 0 {
      digits.insert(",", at: digits.index(digits.startIndex, offsetBy: place))
      place -= 3
    }
    return digits
  }

  private func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
