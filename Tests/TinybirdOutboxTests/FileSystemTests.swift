import OutboxTestSupport
import Testing

@testable import TinybirdOutbox

@Suite struct FileSystemTests {
  /// `f_type` of statfs, and whether an outbox may lie there.
  @Test(
    arguments: [
      (0xEF53, nil), (0x5846_5342, nil), (0x9123_683E, nil), (0x0102_1994, nil), (0x794C_7630, nil),
      (0x2FC1_2FC1, nil), (0xF2F5_2010, nil), (0x8584_58F6, nil), (0, nil),
      (0x6969, "NFS"), (0x517B, "SMB"), (0xFF53_4D42, "CIFS"), (0xFE53_4D42, "SMB2"), (0x00C3_6400, "Ceph"),
      (0x6573_5546, "FUSE"), (0x0102_1997, "9P"), (0x5346_414F, "AFS"), (0x0116_1970, "GFS2"),
      (0x7461_636F, "OCFS2"), (0x0BD0_0BD0, "Lustre"),
    ] as [(UInt32, String?)])
  func networkFileSystemsByNumber(type: UInt32, name: String?) {
    #expect(FileSystem(linuxType: type).networkName == name)
  }

  @Test func theDiskOfTheTestsIsLocal() async throws {
    try await withTemporaryDirectory { directory in
      #expect(FileSystem.of(directory).networkName == nil)
      #expect(FileSystem.of(directory + "/nothing").networkName == nil, "that it is not there is said by who opens it")
    }
  }
}
