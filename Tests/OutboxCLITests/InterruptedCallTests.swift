import ArgumentParser
import Foundation
import OutboxTestSupport
import Testing

@testable import OutboxCLI

/// The command in a storm of signals: see `InterruptedCallTests` of the library.
@Suite(.timeLimit(.minutes(2))) struct InterruptedCallTests {
  @Test(arguments: ["skip", "refuse-all"]) func appendReadsAPipeInAStormOfSignals(badLines: String) async {
    await #expect(processExitsWith: .success) { [badLines] in
      try await withTool { tool in
        let pipe = tool.path("pipe")
        try #require(mkfifo(pipe, 0o600) == 0)
        try await withSignalStorm {
          // The command waits in `open` until there is a writer: for so long the storm can hit it there, which is what is
          // tried. Right it must be however long that is.
          let writing = Thread {
            usleep(20_000)
            var descriptor = open(pipe, O_WRONLY)
            while descriptor < 0 { descriptor = open(pipe, O_WRONLY) }
            for number in 1...2000 {
              let line = Array("{\"n\":\(number)}\n".utf8)
              var written = 0
              while written < line.count {
                let count = line[written...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
                if count > 0 { written += count }
              }
            }
            close(descriptor)
          }
          writing.start()
          let command = try AppendCommand.parse([
            "--outbox", tool.path("app.outbox"), "--data-source", "clicks", "--bad-lines", badLines, pipe,
          ])
          try await command.run()
        }
        let stored = try await tool.storedEvents()
        try #require(stored == (1...2000).map { "{\"n\":\($0)}" })
      }
    }
  }
}
