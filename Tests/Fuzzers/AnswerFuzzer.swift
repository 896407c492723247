// Built by Scripts/fuzz with libFuzzer, together with the files of the library that it names.

/// Any bytes as an answer: body, and headers.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAnswer(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = Array(UnsafeRawBufferPointer(start: start, count: count))
  if let rows = SuccessBody(input)?.rows {
    for count in [rows.successful, rows.quarantined] {
      precondition((count ?? 0) >= 0, "a count is negative")
      precondition((count ?? 0) <= 1 << 30, "a count is more than a request can carry")
    }
    _ = rows.warning(sent: 3)
  }

  let halves = input.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
    .map { String(decoding: $0, as: UTF8.self) }
  // Foundation's reader of dates is slow: one clock for each input, right or wrong.
  let now = [Int64.min, 0, 1_795_234_567_891, .max][count % 4]
  let wait = RetryAfter.parse(
    retryAfter: halves[0], rateLimitReset: halves.count > 1 ? halves[1] : nil, now: WallTime(milliseconds: now))
  precondition((wait ?? .zero) >= .zero, "a wait is negative")
  if let left = RetryAfter.limitLeft(remaining: halves[0], reset: halves.count > 1 ? halves[1] : nil) {
    precondition(left.requests >= 0 && left.reset > .zero, "less than nothing is left")
  }

  for text in ["p.eyJ1IjogInNlY3JldCJ9", "s"] {
    guard let token = try? Token(text), let excerpt = Redaction.excerpt(input, token: token) else { continue }
    precondition(excerpt.utf8.count <= Redaction.maximumBytes, "the excerpt is too long")
    precondition(!excerpt.utf8.contains(0), "the excerpt holds a NUL")
    // What stands in place of a token has the letters of a word.
    let rest = excerpt.split(separator: Redaction.mark).joined(separator: " ")
    precondition(!contains(Array(rest.utf8), Array(text.utf8)), "the excerpt holds the token")
  }
  return 0
}

private func contains(_ bytes: [UInt8], _ wanted: [UInt8]) -> Bool {
  guard bytes.count >= wanted.count else { return false }
  return (0...bytes.count - wanted.count).contains { bytes[$0...].starts(with: wanted) }
}
