import Testing

@testable import TinybirdOutbox

@Suite struct KernelLockTests {
  @Test func recordLocksAreRead() {
    let locks = KernelLock.parse(
      """
      1: POSIX  ADVISORY  READ  100 08:01:77 124 124
      2: POSIX  ADVISORY  WRITE 103 08:01:77 120 120
      3: FLOCK  ADVISORY  WRITE 104 08:01:77 0 EOF
      4: OFDLCK ADVISORY  READ  -1 00:2a:78 0 EOF
      4: -> POSIX  ADVISORY  READ  106 08:01:77 125 125
      nonsense
      5: POSIX  ADVISORY  READ  many 08:01:77 125 125

      """)
    #expect(
      locks == [
        KernelLock(process: 100, isShared: true, inode: 77, bytes: 124...124),
        KernelLock(process: 103, isShared: false, inode: 77, bytes: 120...120),
        KernelLock(process: -1, isShared: true, inode: 78, bytes: 0...Int.max),
      ])
    #expect(KernelLock.parse("").isEmpty)
  }
}
