// A directory that cannot be synced: `fsync` of this program stands before the C library's.
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "COutboxWatch.h"

static _Atomic(uint64_t) failing_directory;

void outbox_watch_fail_directory_sync(uint64_t inode) { atomic_store(&failing_directory, inode); }

#if defined(__linux__)
#include <sys/syscall.h>

int fsync(int descriptor) {
  uint64_t failing = atomic_load(&failing_directory);
  struct stat status;
  if (failing && fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode) && status.st_ino == failing) {
    errno = EIO;
    return -1;
  }
  return (int)syscall(SYS_fsync, descriptor);
}
#endif
