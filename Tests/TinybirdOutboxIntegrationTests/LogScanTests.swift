import Foundation
import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

/// A log with damage in its middle: SQLite would pass over all that lies behind it.
@Suite struct LogScanTests {
  /// The files of an outbox as a kill leaves them: all of its events in the log.
  private struct Killed {
    let path: String
    var log: [UInt8]
    /// The numbers of the frames that end a commit, from 1 on.
    let commits: [Int]

    var frameCount: Int { (log.count - 32) / frameBytes }
    let frameBytes = 24 + 4096

    func write() throws { try Data(log).write(to: URL(filePath: path + "-wal")) }

    /// Flips a bit of a byte of a frame.
    mutating func damage(frame: Int, byte: Int) { log[32 + (frame - 1) * frameBytes + byte] ^= 0x10 }

    func loss() -> LogScan.Loss? { Self.loss(log) }

    static func loss(_ log: [UInt8]) -> LogScan.Loss? {
      LogScan.loss { offset, count in offset + count <= log.count ? Array(log[offset..<offset + count]) : nil }
    }
  }

  private func withKilled(appends: Int, _ body: (inout Killed) async throws -> Void) async throws {
    try await withTemporaryDirectory { directory in
      let outbox = try await Outbox(at: directory + "/original")
      for number in 1...appends { try await outbox.append(event(number), to: "clicks") }
      let path = directory + "/app.outbox"
      for suffix in ["", "-wal"] {
        try FileManager.default.copyItem(atPath: directory + "/original" + suffix, toPath: path + suffix)
      }
      await outbox.close()
      let log = [UInt8](try Data(contentsOf: URL(filePath: path + "-wal")))
      let commits = (1...(log.count - 32) / 4120).filter { number in
        log[(32 + (number - 1) * 4120 + 4)..<(32 + (number - 1) * 4120 + 8)].contains { $0 != 0 }
      }
      var killed = Killed(path: path, log: log, commits: commits)
      try await body(&killed)
    }
  }

  /// Page number, end of a commit, each salt, each checksum, and the page.
  @Test(arguments: [0, 7, 8, 12, 16, 20, 24, 2000, 4119])
  func damageInEveryFrameIsSeen(byte: Int) async throws {
    try await withKilled(appends: 12) { killed in
      #expect(killed.loss() == nil)
      let last = killed.commits.count
      for frame in 1...killed.frameCount {
        var damaged = killed
        damaged.damage(frame: frame, byte: byte)
        // What the damage hits is not among those behind it, unless its end is.
        let behind = killed.commits.count { $0 > frame }
        let isTold = frame <= killed.commits[last - 3] || (frame < killed.commits[last - 2] && behind >= 2)
        if isTold {
          #expect(damaged.loss() == LogScan.Loss(frame: frame, commits: behind), "frame \(frame)")
        } else if frame > killed.commits[last - 2] {
          #expect(damaged.loss() == nil, "frame \(frame) may be of a torn commit")
        }
      }
    }
  }

  @Test func whatAPowerCutLeavesIsNoDamage() async throws {
    try await withKilled(appends: 6) { killed in
      for size in stride(from: 0, through: killed.log.count, by: 1000) {
        #expect(Killed.loss(Array(killed.log[..<size])) == nil)
        // The rest was allocated, and never written.
        #expect(Killed.loss(killed.log[..<size] + [UInt8](repeating: 0, count: 50_000)) == nil)
      }
      // Of an earlier round of the log, whose frames are whole in themselves.
      var older = killed.log
      for number in 3...killed.frameCount { older[32 + (number - 1) * 4120 + 8] ^= 1 }
      #expect(Killed.loss(older) == nil)
      // A commit that failed was written over by a shorter one: its end is still there.
      var overwritten = killed.log
      let (first, last) = (killed.commits[4] + 1, killed.commits[5])
      #expect(last > first)
      overwritten[32 + (first - 1) * 4120 + 30] ^= 1
      #expect(Killed.loss(overwritten) == nil)
    }
  }

  /// SQLite syncs the header before the first frame: without it, or with that of another round, it passes over them all.
  @Test func damageInTheHeaderIsSeen() async throws {
    try await withKilled(appends: 12) { killed in
      for bit in stride(from: 0, to: 32 * 8, by: 5) {
        var log = killed.log
        log[bit / 8] ^= 1 << UInt8(bit % 8)
        let loss = try #require(Killed.loss(log), "bit \(bit)")
        #expect(loss.frame == 0 && loss.commits >= 11)
      }
      let zeros = [UInt8](repeating: 0, count: 4096) + killed.log.dropFirst(4096)
      #expect(Killed.loss(zeros)?.frame == 0)
      #expect(Killed.loss([UInt8](repeating: 0, count: 1 << 20)) == nil, "allocated, and never written")
      for frames in 0...2 where killed.commits[1] > frames {
        var short = Array(killed.log[..<(32 + frames * killed.frameBytes)])
        short[3] ^= 1
        #expect(Killed.loss(short) == nil, "too little to tell")
      }
    }
  }

  /// A header that is whole, and of an earlier round: the log's own frames are newer.
  @Test func aHeaderOfAnEarlierRoundIsSeen() async throws {
    try await withKilled(appends: 12) { killed in
      for (salt, isSeen) in [(-1, true), (1, false)] {
        var log = killed.log
        let word = log[16..<20].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } &+ UInt32(truncatingIfNeeded: salt)
        for index in 0..<4 { log[16 + index] = UInt8(truncatingIfNeeded: word >> UInt32(24 - 8 * index)) }
        var (first, second): (UInt32, UInt32) = (0, 0)
        for offset in stride(from: 0, to: 24, by: 4) {
          let part = log[offset..<offset + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
          let value = log[3] & 1 == 1 ? part : part.byteSwapped
          if offset % 8 == 0 { first &+= value &+ second } else { second &+= value &+ first }
        }
        for index in 0..<4 {
          log[24 + index] = UInt8(truncatingIfNeeded: first >> UInt32(24 - 8 * index))
          log[28 + index] = UInt8(truncatingIfNeeded: second >> UInt32(24 - 8 * index))
        }
        #expect((Killed.loss(log)?.frame == 1) == isSeen, "the frames of an earlier round are what a crash leaves")
      }
    }
  }

  @Test(arguments: [0, 2]) func nothingIsWrittenOverADamagedLog(frame: Int) async throws {
    try await withKilled(appends: 10) { killed in
      if frame == 0 { killed.log[17] ^= 1 } else { killed.damage(frame: frame, byte: 1000) }
      let place = frame == 0 ? "the header" : "frame \(frame)"
      try killed.write()
      let path = killed.path
      let file = FileManager.default.contents(atPath: path)
      let error = await #expect(throws: OutboxError.self) { try await Outbox(at: path) }
      #expect(error?.code == .damaged && error?.message.contains("behind \(place)") == true)
      #expect(FileManager.default.contents(atPath: path + "-wal") == Data(killed.log))
      #expect(FileManager.default.contents(atPath: path) == file)

      // As a command that only looks opens it.
      var looking = OutboxConfiguration()
      looking.createsFile = false
      await #expect(throws: OutboxError.self) { try await Outbox(at: path, configuration: looking) }
      #expect(FileManager.default.contents(atPath: path + "-wal") == Data(killed.log))

      let doctor = await Outbox.doctor(at: path)
      #expect(doctor.findings.contains { $0.severity == .problem && $0.text.contains("\(place) of the -wal") })
      #expect(FileManager.default.contents(atPath: path + "-wal") == Data(killed.log))

      let salvaged = try await Outbox.salvage(from: path, to: path + "-new")
      #expect(salvaged.problems.contains { $0.contains("\(place) of its log is damaged") })
      #expect(FileManager.default.contents(atPath: path + "-wal") == Data(killed.log))
      let saved = try await Outbox(at: path + "-new")
      #expect(try await saved.status().pendingEvents == 10, "a mended copy of the log has them all")
      try await expectSound(saved)
      await saved.close()

      var configuration = OutboxConfiguration()
      configuration.setsAsideUnreadableFile = true
      let outbox = try await Outbox(at: path, configuration: configuration)
      let aside = try #require(outbox.setAsidePath)
      #expect(FileManager.default.contents(atPath: aside + "-wal") == Data(killed.log))
      try await outbox.append("{}", to: "clicks")
      await outbox.close()
    }
  }
}
