/// Counts requests and picks the rule for each: pure, with time as a parameter.
struct FaultSchedule {
  /// Where a request stands in the order of arrival, since the script was set.
  struct Arrival: Equatable {
    var dataSource: String?
    var number: Int
    var numberInDataSource: Int
    var time: Duration
  }

  /// What is known of the body when a rule is looked for.
  enum Body {
    case notRead
    /// The decompressed text; nil: it could not be decompressed, no rule that asks for a text matches.
    case read(String?)
  }

  enum Choice: Equatable {
    case noFault
    case rule(FaultRule)
    /// A rule asks for a text in the body, and no rule before it matches.
    case needsBody
  }

  private let rules: [FaultRule]
  private let start: Duration
  private var uses: [Int]
  private var requestCount = 0
  private var requestCounts: [String: Int] = [:]

  /// A schedule whose clock and counts start at `start`.
  init(rules: [FaultRule], start: Duration) {
    self.rules = rules
    self.start = start
    self.uses = Array(repeating: 0, count: rules.count)
  }

  /// Numbers a request.
  mutating func arrive(dataSource: String?, at now: Duration) -> Arrival {
    requestCount += 1
    var numberInDataSource = 0
    if let dataSource {
      numberInDataSource = requestCounts[dataSource, default: 0] + 1
      requestCounts[dataSource] = numberInDataSource
    }
    return Arrival(
      dataSource: dataSource, number: requestCount, numberInDataSource: numberInDataSource, time: now - start)
  }

  /// Picks the first rule that matches and is not used up, and counts the use.
  mutating func choose(for arrival: Arrival, body: Body) -> Choice {
    for (index, rule) in rules.enumerated() {
      if let maximum = rule.maximumUses, uses[index] >= maximum { continue }
      guard rule.condition.matchesHead(arrival) else { continue }
      if let text = rule.condition.contains {
        switch body {
        case .notRead: return .needsBody
        case .read(let content):
          guard let content, content.contains(text) else { continue }
        }
      }
      uses[index] += 1
      return .rule(rule)
    }
    return .noFault
  }
}

extension FaultCondition {
  fileprivate func matchesHead(_ arrival: FaultSchedule.Arrival) -> Bool {
    if let dataSource, dataSource != arrival.dataSource { return false }
    if let requests {
      let number = dataSource == nil ? arrival.number : arrival.numberInDataSource
      guard requests.contains(number) else { return false }
    }
    if let time, !time.contains(arrival.time) { return false }
    return true
  }
}
