import Testing

@testable import TinybirdOutbox

@Suite struct SuccessBodyTests {
  private static let missing = RowCounts(successful: nil, quarantined: nil)

  /// A body and its counts.
  @Test(
    arguments: [
      (#"{"successful_rows":2,"quarantined_rows":0}"#, RowCounts(successful: 2, quarantined: 0)),
      ("\r\n {\"quarantined_rows\" : 3 ,\t\"successful_rows\":0}\n", RowCounts(successful: 0, quarantined: 3)),
      (
        #"{"successful_rows":50000,"quarantined_rows":7,"more":{"a":[1,null]}}"#,
        RowCounts(successful: 50_000, quarantined: 7)
      ),
      // Whole numbers, however they are written.
      (#"{"successful_rows":2.0,"quarantined_rows":1e2}"#, RowCounts(successful: 2, quarantined: 100)),
      (#"{"successful_rows":-0,"quarantined_rows":0}"#, RowCounts(successful: 0, quarantined: 0)),
      // The largest count, and one more.
      (
        #"{"successful_rows":1073741824,"quarantined_rows":1073741825}"#,
        RowCounts(successful: 1 << 30, quarantined: nil)
      ),
      // Missing, one by one.
      (#"{"successful_rows":2}"#, RowCounts(successful: 2, quarantined: nil)),
      (#"{"quarantined_rows":2}"#, RowCounts(successful: nil, quarantined: 2)),
      (#"{"Successful_Rows":2,"quarantined":0}"#, missing),
      (#"{"result":{"successful_rows":2,"quarantined_rows":0}}"#, missing),
      ("{}", missing),
      // What is no count.
      (#"{"successful_rows":-1,"quarantined_rows":-2147483648}"#, missing),
      (#"{"successful_rows":2.5,"quarantined_rows":1e-3}"#, missing),
      (#"{"successful_rows":"2","quarantined_rows":null}"#, missing),
      (#"{"successful_rows":true,"quarantined_rows":false}"#, missing),
      (#"{"successful_rows":[2],"quarantined_rows":{}}"#, missing),
      (#"{"successful_rows":9223372036854775807,"quarantined_rows":9223372036854775807}"#, missing),
      (#"{"successful_rows":9223372036854774784,"quarantined_rows":9223372036854774784}"#, missing),
      (#"{"successful_rows":123456789012345678901234567890,"quarantined_rows":1e300}"#, missing),
      // JSON, but not the object.
      ("[1,2]", missing), ("2", missing), ("true", missing), ("null", missing), (#""OK""#, missing),
      // No body at all.
      ("", missing), (" ", missing), ("\r\n\t \n", missing),
    ])
  func counts(body: String, rows: RowCounts) {
    #expect(SuccessBody(Array(body.utf8))?.rows == rows)
  }

  /// Not JSON: something else answers.
  @Test(
    arguments: [
      "<!doctype html><title>Welcome</title>", "OK", "Not Found", "ok\n", "{", #"{"successful_rows":2,"quaran"#,
      #"{"successful_rows":2,"quarantined_rows":0}}"#, #"{"successful_rows":2}{"successful_rows":2}"#,
      #"{'successful_rows':2}"#, "{successful_rows:2}", #"{"successful_rows":02}"#, "NaN", "\0", "\u{1}{}",
      String(repeating: "[", count: 65_536),
    ])
  func notJSON(body: String) {
    #expect(SuccessBody(Array(body.utf8)) == nil)
  }

  @Test func bytesThatAreNoText() {
    #expect(SuccessBody([0xFF]) == nil)
    #expect(SuccessBody([0xC0, 0xAF]) == nil)
    #expect(SuccessBody([0x1F, 0x8B, 0x08, 0x00]) == nil, "gzip that was not asked for")
  }
}

@Suite struct RowCountsTests {
  /// What the answer says of 10 rows that were sent, and the warning.
  @Test(
    arguments: [
      (10, 0, nil), (0, 10, .quarantined), (9, 1, .quarantined),
      (9, 0, .countsDiffer), (11, 0, .countsDiffer), (0, 0, .countsDiffer), (10, 1, .countsDiffer),
      (5, 4, .countsDiffer), (1 << 30, 1 << 30, .countsDiffer),
      (nil, nil, .countsMissing), (10, nil, .countsMissing), (nil, 0, .countsMissing), (nil, 10, .countsMissing),
    ] as [(Int?, Int?, CountsWarning?)])
  func warning(successful: Int?, quarantined: Int?, warning: CountsWarning?) {
    #expect(RowCounts(successful: successful, quarantined: quarantined).warning(sent: 10) == warning)
  }
}
