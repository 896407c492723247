public import Foundation
public import Logging

extension EventsAPIEmulator {
  /// How an emulator listens, what it accepts, and where it keeps what it accepted.
  public struct Configuration: Sendable {
    /// The address to listen on; `127.0.0.1` by default, so that nothing outside the machine can connect.
    public var host = "127.0.0.1"
    /// The port; 0, the default, takes a free one.
    ///
    /// See ``EventsAPIEmulator/baseURL``.
    public var port = 0
    /// Whether to speak TLS, with HTTP/2 or HTTP/1.1 as the client asks by ALPN; false by default: HTTP/1.1 in the clear.
    ///
    /// The certificate is made when the emulator is: see ``EventsAPIEmulator/certificatePEM``.
    public var usesTLS = false
    /// The tokens that are good; any by default.
    public var tokens = TokenPolicy.any
    /// Sizes and rates; the service's documented figures by default.
    public var limits = Limits()
    /// What the service's documentation leaves open.
    public var openFacts = OpenFacts()
    /// What goes wrong, and what each data source takes; by default nothing goes wrong, and every JSON object is taken.
    public var script = FaultScript()
    /// Where accepted rows are kept; in memory by default.
    public var storage = Storage.memory
    /// Where the emulator logs; nowhere by default.
    ///
    /// Tokens and payloads are never logged.
    public var logger = Logger(label: "events-api-emulator") { _ in SwiftLogNoOpLogHandler() }

    /// The defaults.
    public init() {}
  }

  /// Which tokens an emulator takes.
  public enum TokenPolicy: Sendable, Equatable {
    /// Any token; only a request without one is refused.
    case any
    /// These tokens, each for the data sources of its scope.
    case only([String: TokenScope])

    /// These tokens, each for every data source.
    public static func only(_ tokens: String...) -> TokenPolicy {
      .only(Dictionary(tokens.map { ($0, .allDataSources) }, uniquingKeysWith: { first, _ in first }))
    }
  }

  /// The data sources that a token may append to.
  public enum TokenScope: Sendable, Equatable {
    /// Every data source, as the scope `DATASOURCE:CREATE`.
    case allDataSources
    /// These data sources, as the scopes `DATASOURCE:APPEND:name`.
    case dataSources(Set<String>)
  }

  /// Sizes and rates, per data source.
  ///
  /// The defaults are the figures in the documentation of the Events API.
  public struct Limits: Sendable, Equatable {
    /// The largest request, in bytes: 10,000,000.
    ///
    /// A larger one is answered 413. Which bytes count is ``OpenFacts/countedBytes``.
    public var requestBytes = 10_000_000
    /// The largest body after decompression, in bytes: 200,000,000, also answered 413.
    ///
    /// The emulator's own limit, so that a body of a few kilobytes cannot fill the memory.
    public var decompressedBytes = 200_000_000
    /// Bytes a second: 20,000,000.
    ///
    /// More is answered 429.
    public var bytesPerSecond = 20_000_000
    /// Requests a second: 100.
    ///
    /// More is answered 429. Another page of the documentation says 1,000.
    public var requestsPerSecond = 100
    /// How a second is counted; fixed by default.
    public var rateLimitKind = RateLimitKind.fixed
    /// Whether the rates are limited at all; true by default.
    ///
    /// Without, the `X-RateLimit` header fields are left out.
    public var hasRateLimits = true

    /// The documented figures.
    public init() {}

    /// The documented size, but no rate limits: for tests of throughput.
    public static var withoutRateLimits: Limits {
      var limits = Limits()
      limits.hasRateLimits = false
      return limits
    }
  }

  /// What the service's documentation leaves open, as switches.
  public struct OpenFacts: Sendable, Equatable {
    /// What a line that is not a JSON object does; refuses the whole request by default.
    public var malformedLine = MalformedLine.refuseRequest
    /// Which bytes the limits count; those after decompression by default, which is the stricter reading.
    public var countedBytes = CountedBytes.decompressed
    /// What a request for a data source does that ``FaultScript/dataSources`` does not name; it is created by default.
    public var unknownDataSource = UnknownDataSource.create

    /// The defaults.
    public init() {}
  }

  /// Where accepted rows are kept.
  public enum Storage: Sendable, Equatable {
    /// In a SQLite database in memory, which ends with the emulator.
    case memory
    /// In a SQLite database at this place, which is created where there is none, and continued where there is one.
    ///
    /// It is written with `synchronous=OFF`: it survives the end of the emulator's process, also by `kill -9`, but not a
    /// power cut. Other processes may read it at any time.
    case file(URL)
    /// Only counts are kept, and the last 10,000 requests: for benchmarks of millions of events.
    ///
    /// With the name of a member that identifies an event, how often each event came is counted too, at about 100 bytes
    /// of memory an event.
    case counting(eventIDMember: String?)
  }
}

extension EventsAPIEmulator {
  /// What a line that is not a JSON object does to its request.
  public enum MalformedLine: String, Sendable {
    /// The whole request is refused with 400.
    case refuseRequest
    /// The line goes to the quarantine, the rest is taken.
    case quarantineLine
  }

  /// Which bytes of a compressed body the limits count.
  public enum CountedBytes: String, Sendable {
    /// Those after decompression.
    case decompressed
    /// Those that were sent.
    case compressed
  }

  /// What a request for an unknown data source does.
  public enum UnknownDataSource: Sendable, Equatable {
    /// The data source is created.
    case create
    /// The request is refused with this status.
    case refuse(status: Int)
  }

  /// How a data source's rate limits count.
  public enum RateLimitKind: String, Sendable {
    /// Whole seconds: each starts with nothing used.
    case fixed
    /// The second before each request.
    case sliding
  }
}
