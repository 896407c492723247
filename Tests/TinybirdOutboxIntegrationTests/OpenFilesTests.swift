#if os(Linux)
  import COutboxCrashVFS
  import EventsAPIEmulator
  import Foundation
  import Glibc
  import OutboxTestSupport
  import Testing

  @testable import TinybirdOutbox

  /// Who opens the files of an outbox, and who inherits them.
  @Suite struct OpenFilesTests {
    /// A plain open and close of a database drops the locks that SQLite holds on it in that process.
    @Test func nobodyButSQLiteOpensTheDatabase() async throws {
      // The system may make one event of two opens in a row, so that it shows fewer; nobody else's makes it show more.
      for _ in 0..<5 {
        let (seen, counted) = try await opens()
        for name in Self.names {
          #expect(seen[name, default: 0] <= counted[name, default: 0], "\(name)")
          #expect(seen[name, default: 0] >= 4, "\(name)")
        }
        if Self.names.allSatisfy({ seen[$0] == counted[$0] }) { return }
      }
      Issue.record("the system never showed every open")
    }

    private static let names = ["app.outbox", "app.outbox-wal", "app.outbox-shm"]

    /// How often each file is opened while processes append, deliver, inspect and open: what the system sees, and what
    /// SQLite counts.
    private func opens() async throws -> (seen: [String: Int], counted: [String: Int]) {
      var (seen, counted): ([String: Int], [String: Int]) = ([:], [:])
      try await withTemporaryDirectory { directory in
        try await withCountingEmulator { emulator in
          let path = directory + "/app.outbox"
          let url = try await emulator.baseURL.absoluteString
          #expect(try await CrashChild.run("append", path, ["calls": "8", "bad": "1"]).code == 0)
          let watch = try OpenWatch(directory)
          for mode in ["append", "deliver", "inspect", "open"] {
            let outcome = try await CrashChild.run(mode, path, ["url": url, "until": "empty", "watch": "opens"])
            #expect(outcome.code == 0, "\(mode): \(outcome.lines)")
            for words in outcome.lines.map({ $0.split(separator: " ") }) where words[0] == "opened" {
              counted[String(words[2].split(separator: "/").last ?? ""), default: 0] += Int(words[1]) ?? 0
            }
          }
          seen = try watch.counts()
        }
      }
      return (seen, counted)
    }

    /// A lock that a child process inherited would be held until that ends.
    @Test func noFileLeaksIntoAChildProcess() async throws {
      try await withDelivery { outbox, emulator in
        let delivering = Task { try await outbox.run() }
        try await outbox.append("{}", to: "clicks")
        try await emulator.waitForRows(count: 1)
        #expect(try DeliveryLock.tryAcquire(outbox.file) == nil)
        let children = [try Cat.spawned(), try Cat.forked()]
        let directory = URL(filePath: outbox.file.path).deletingLastPathComponent().path
        for child in children {
          let files = try child.openFiles()
          #expect(!files.isEmpty)
          #expect(files.filter { $0.hasPrefix(directory) }.isEmpty)
        }
        delivering.cancel()
        try await delivering.value
        await outbox.close()
        #expect(try DeliveryLock.tryAcquire(outbox.file) != nil, "the lock is free while the children live")
        for child in children { child.end() }
      }
    }
  }

  /// Counts the opens of the files of a directory, whoever makes them.
  private struct OpenWatch {
    private let descriptor: Int32

    init(_ directory: String) throws {
      // The system makes one event of equal ones in a row: what comes between two opens must be an event too.
      let events = UInt32(IN_OPEN | IN_CLOSE | IN_ACCESS | IN_MODIFY)
      descriptor = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
      try #require(descriptor >= 0 && inotify_add_watch(descriptor, directory, events) >= 0)
    }

    /// By the files' names, since the watch began.
    consuming func counts() throws -> [String: Int] {
      defer { close(descriptor) }
      var counts: [String: Int] = [:]
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count < 0, errno == EAGAIN { return counts }
        try #require(count > 0)
        var offset = 0
        while offset < count {
          let (event, name) = buffer.withUnsafeBytes { bytes in
            let event = bytes.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
            let name = bytes[(offset + MemoryLayout<inotify_event>.size)...].prefix(Int(event.len)).prefix { $0 != 0 }
            return (event, String(decoding: name, as: UTF8.self))
          }
          try #require(event.mask & UInt32(IN_Q_OVERFLOW) == 0)
          if event.mask & UInt32(IN_OPEN) != 0 { counts[name, default: 0] += 1 }
          offset += MemoryLayout<inotify_event>.size + Int(event.len)
        }
      }
    }
  }

  /// A child process that lives until it is ended.
  private struct Cat {
    let processID: pid_t
    private let input: Int32
    private let output: Int32

    private static func pipes() throws -> (read: Int32, write: Int32) {
      var ends: [Int32] = [0, 0]
      try #require(pipe(&ends) == 0)
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      return (ends[0], ends[1])
    }

    /// By `posix_spawn`.
    static func spawned() throws -> Cat {
      try started { input, output in
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        var processID: pid_t = -1
        let name = strdup("cat")
        defer { free(name) }
        var arguments = [name, nil]
        return posix_spawnp(&processID, "cat", &actions, nil, &arguments, environ) == 0 ? processID : -1
      }
    }

    /// By `fork` and `exec`.
    static func forked() throws -> Cat { try started(outbox_fork_cat) }

    private static func started(_ start: (Int32, Int32) -> pid_t) throws -> Cat {
      let (toChild, fromChild) = (try pipes(), try pipes())
      let processID = start(toChild.read, fromChild.write)
      close(toChild.read)
      close(fromChild.write)
      try #require(processID > 0)
      // What comes back shows that it is `cat` already, and no copy of this process any more.
      var byte: UInt8 = 0x78
      try #require(write(toChild.write, &byte, 1) == 1 && read(fromChild.read, &byte, 1) == 1)
      return Cat(processID: processID, input: toChild.write, output: fromChild.read)
    }

    func openFiles() throws -> [String] {
      let directory = "/proc/\(processID)/fd"
      return try FileManager.default.contentsOfDirectory(atPath: directory)
        .map { try FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/\($0)") }
    }

    func end() {
      kill(processID, SIGKILL)
      close(input)
      close(output)
      waitpid(processID, nil, 0)
    }
  }
#endif
