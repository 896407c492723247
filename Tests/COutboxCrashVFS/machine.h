// What the parts of the VFS share: files, machines, and the gate that every call passes.
#ifndef COUTBOX_CRASH_MACHINE_H
#define COUTBOX_CRASH_MACHINE_H

#include <pthread.h>
#include <sqlite3.h>

#include "COutboxCrashVFS.h"

/// The unit that a disk writes whole or not at all.
enum { SECTOR_BYTES = 512, SHM_REGIONS = 256 };

typedef struct {
  uint8_t *bytes;
  size_t size;
  size_t capacity;
} buffer;

typedef struct handle handle;

/// A file with what readers see and what is on the disk.
typedef struct node {
  char *path;
  outbox_crash_file kind;
  buffer seen;
  buffer durable;
  /// One byte a sector: written since the last sync.
  buffer dirty;
  /// The smallest size since the last sync; what lay behind it is gone once the truncation is durable.
  size_t smallest;
  /// Whether the name is in the directory, and in the directory on the disk.
  bool is_linked;
  bool is_durably_linked;
  void *shm[SHM_REGIONS];
  handle *handles;
  struct node *next;
} node;

/// An open file: what SQLite allocates for us.
struct handle {
  sqlite3_file base;
  outbox_crash_machine *machine;
  node *node;
  int lock;
  bool has_shm;
  bool deletes_on_close;
  /// The first sync also syncs the directory.
  bool syncs_directory;
  unsigned shared_locks;
  unsigned exclusive_locks;
  handle *next;
};

struct outbox_crash_machine {
  sqlite3_vfs vfs;
  char *name;
  pthread_mutex_t mutex;
  /// One for the owner and one for each open file.
  int references;
  node *nodes;
  bool is_off;
  bool has_fault;
  outbox_crash_fault fault;
  int64_t fault_hits;
  int64_t cut_in;
  outbox_crash_operation cut_operation;
  bool cuts_after;
  /// The call under way is the last.
  bool is_cutting;
  void (*on_cut)(void *);
  void *on_cut_context;
  int64_t counts[OUTBOX_CRASH_OPERATION_COUNT][OUTBOX_CRASH_FILE_COUNT];
  int64_t commit_frames;
  int64_t log_headers;
  int64_t disk_bytes;
  char *reserve_path;
};

/// Whether the disk has room for `growth` bytes more. The mutex is held.
bool crash_has_room(outbox_crash_machine *machine, size_t growth);

/// Counts a call and says whether it may go on: `SQLITE_OK`, or what it fails with. The mutex is held.
int crash_enter(outbox_crash_machine *machine, outbox_crash_operation operation, outbox_crash_file file);

/// The end of a call that went on: `code`, unless the power goes now. The mutex is held.
int crash_leave(outbox_crash_machine *machine, outbox_crash_operation operation, int code);

node *crash_find(outbox_crash_machine *machine, const char *path);
node *crash_make(outbox_crash_machine *machine, const char *path, outbox_crash_file kind);
int crash_write(node *node, const void *bytes, size_t count, size_t offset);
int crash_truncate(node *node, size_t size);
int crash_sync(node *node);
/// Marks everything clean without writing it.
void crash_drop_dirty(node *node);
void crash_sync_directory(outbox_crash_machine *machine);
void crash_release(outbox_crash_machine *machine);

extern const sqlite3_io_methods crash_io_methods;

/// Fills in what SQLite calls of `machine`.
void crash_set_up_vfs(outbox_crash_machine *machine);

// Locks and shared memory, for the table of methods.
int crash_lock(sqlite3_file *file, int level);
int crash_unlock(sqlite3_file *file, int level);
int crash_check_reserved(sqlite3_file *file, int *result);
int crash_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **result);
int crash_shm_lock(sqlite3_file *file, int offset, int count, int flags);
void crash_shm_barrier(sqlite3_file *file);
int crash_shm_unmap(sqlite3_file *file, int delete);

#endif
