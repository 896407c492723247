#if canImport(Darwin)
  internal import Darwin
#else
  internal import COutboxSQLite
#endif

/// The file system that an outbox lies on, as far as it matters: whether its files belong to this machine alone.
///
/// SQLite's log needs memory that all processes with the file share, locks that hold, and a sync that reaches the disk. A
/// network file system gives one machine's processes none of that against another's, so an outbox there is refused before
/// anything is made.
struct FileSystem: Equatable, Sendable {
  /// Its usual name where it is one that is refused, else nil.
  let networkName: String?

  /// The file system of a file or directory that is there; what cannot be asked is not refused.
  static func of(_ path: String) -> FileSystem {
    #if canImport(Darwin)
      var status = statfs()
      guard retryingInterrupted({ statfs(path, &status) }) == 0 else { return FileSystem(networkName: nil) }
      let isLocal = status.f_flags & UInt32(MNT_LOCAL) != 0
      return FileSystem(networkName: isLocal ? nil : "a file system that is not local")
    #else
      var type: UInt32 = 0
      guard retryingInterrupted({ outbox_file_system_type(path, &type) }) == 0 else {
        return FileSystem(networkName: nil)
      }
      return FileSystem(linuxType: type)
    #endif
  }

  init(networkName: String?) {
    self.networkName = networkName
  }

  /// Judges by the number that Linux gives a kind of file system, `f_type` of `statfs`.
  init(linuxType type: UInt32) {
    networkName = Self.networkNames[type]
  }

  /// The numbers of linux/magic.h and of the file systems' own headers.
  ///
  /// FUSE is among them: whether a disk or a server lies behind, the kernel does not know, and sshfs and its like
  /// acknowledge a sync that they have not made. The last rows are cluster file systems, and folders that a virtual
  /// machine shares with its host: locks and syncs may work there, memory shared between machines does not.
  private static let networkNames: [UInt32: String] = [
    0x0000_6969: "NFS",
    0x0000_517B: "SMB",
    0xFF53_4D42: "CIFS",
    0xFE53_4D42: "SMB2",
    0x0000_564C: "NCP",
    0x5346_414F: "AFS",
    0x6B41_4653: "AFS",
    0x7375_7245: "Coda",
    0x00C3_6400: "Ceph",
    0x6573_5546: "FUSE",
    0x0BD0_0BD0: "Lustre",
    0x4750_4653: "GPFS",
    0x1983_0326: "BeeGFS",
    0xAAD7_AAEA: "PanFS",
    0x2003_0528: "OrangeFS",
    0x0116_1970: "GFS2",
    0x7461_636F: "OCFS2",
    0x0102_1997: "9P",
    0x786F_4256: "VirtualBox shared folders",
    0xBACB_ACBC: "VMware shared folders",
    0x7C7C_6673: "Parallels shared folders",
  ]
}
