// The methods that SQLite calls for files and names.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "machine.h"

static outbox_crash_machine *machine_of(sqlite3_vfs *vfs) { return vfs->pAppData; }

/// What is not about files is the real machine's.
static sqlite3_vfs *real_vfs(void) { return sqlite3_vfs_find(NULL); }

// MARK: Files

static int close_file(sqlite3_file *file) {
  handle *self = (handle *)file;
  outbox_crash_machine *machine = self->machine;
  crash_shm_unmap(file, 0);
  pthread_mutex_lock(&machine->mutex);
  if (self->deletes_on_close) self->node->is_linked = false;
  handle **link = &self->node->handles;
  while (*link != self) link = &(*link)->next;
  *link = self->next;
  pthread_mutex_unlock(&machine->mutex);
  crash_release(machine);
  return SQLITE_OK;
}

static int read_file(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset) {
  handle *self = (handle *)file;
  pthread_mutex_lock(&self->machine->mutex);
  int code = crash_enter(self->machine, OUTBOX_CRASH_READ, self->node->kind);
  if (code == SQLITE_OK) {
    const buffer *seen = &self->node->seen;
    size_t rest = (size_t)offset < seen->size ? seen->size - (size_t)offset : 0;
    size_t there = rest < (size_t)count ? rest : (size_t)count;
    if (there) memcpy(bytes, seen->bytes + offset, there);
    memset((char *)bytes + there, 0, (size_t)count - there);
    if (there < (size_t)count) code = SQLITE_IOERR_SHORT_READ;
    code = crash_leave(self->machine, OUTBOX_CRASH_READ, code);
  }
  pthread_mutex_unlock(&self->machine->mutex);
  return code;
}

/// SQLite writes a log's header of 32 bytes at its start, and before each page the 24 bytes of a frame's header, with
/// the size of the database in bytes 4 to 7 where the frame ends a transaction.
static void count_log_write(outbox_crash_machine *machine, const uint8_t *bytes, int count, sqlite3_int64 offset) {
  if (offset == 0 && count == 32) machine->log_headers++;
  if (count == 24 && (bytes[4] | bytes[5] | bytes[6] | bytes[7])) machine->commit_frames++;
}

static int write_file(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset) {
  handle *self = (handle *)file;
  pthread_mutex_lock(&self->machine->mutex);
  int code = crash_enter(self->machine, OUTBOX_CRASH_WRITE, self->node->kind);
  if (code == SQLITE_OK) {
    if (self->node->kind == OUTBOX_CRASH_WAL) count_log_write(self->machine, bytes, count, offset);
    size_t end = (size_t)offset + (size_t)count;
    size_t growth = end > self->node->seen.size ? end - self->node->seen.size : 0;
    code = crash_has_room(self->machine, growth)
        ? crash_write(self->node, bytes, (size_t)count, (size_t)offset)
        : SQLITE_FULL;
    code = crash_leave(self->machine, OUTBOX_CRASH_WRITE, code);
  }
  pthread_mutex_unlock(&self->machine->mutex);
  return code;
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 size) {
  handle *self = (handle *)file;
  pthread_mutex_lock(&self->machine->mutex);
  int code = crash_enter(self->machine, OUTBOX_CRASH_TRUNCATE, self->node->kind);
  if (code == SQLITE_OK) {
    code = crash_truncate(self->node, (size_t)size);
    code = crash_leave(self->machine, OUTBOX_CRASH_TRUNCATE, code);
  }
  pthread_mutex_unlock(&self->machine->mutex);
  return code;
}

/// The sync of a new log's directory is a moment of its own: the file is durable before its name is.
static int sync_new_name(handle *self) {
  int code = crash_enter(self->machine, OUTBOX_CRASH_SYNC, OUTBOX_CRASH_DIRECTORY);
  // SQLite's layer for Unix takes no notice where this sync fails; only a power cut ends it.
  if (code != SQLITE_OK) return self->machine->is_off ? code : SQLITE_OK;
  crash_sync_directory(self->machine);
  return crash_leave(self->machine, OUTBOX_CRASH_SYNC, SQLITE_OK);
}

static int sync_file(sqlite3_file *file, int flags) {
  (void)flags;
  handle *self = (handle *)file;
  pthread_mutex_lock(&self->machine->mutex);
  bool drops_pages = self->machine->fault.drops_pages;
  int code = crash_enter(self->machine, OUTBOX_CRASH_SYNC, self->node->kind);
  if (code == SQLITE_OK) {
    code = crash_leave(self->machine, OUTBOX_CRASH_SYNC, crash_sync(self->node));
  } else if (drops_pages && !self->machine->is_off) {
    crash_drop_dirty(self->node);
  }
  if (code == SQLITE_OK && self->syncs_directory) {
    self->syncs_directory = false;
    code = sync_new_name(self);
  }
  pthread_mutex_unlock(&self->machine->mutex);
  return code;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
  handle *self = (handle *)file;
  pthread_mutex_lock(&self->machine->mutex);
  int code = self->machine->is_off ? SQLITE_IOERR_FSTAT : SQLITE_OK;
  *size = (sqlite3_int64)self->node->seen.size;
  pthread_mutex_unlock(&self->machine->mutex);
  return code;
}

static int file_control(sqlite3_file *file, int operation, void *argument) {
  (void)file, (void)operation, (void)argument;
  return SQLITE_NOTFOUND;
}

/// As SQLite's layer for Unix says.
static int sector_size(sqlite3_file *file) {
  (void)file;
  return 4096;
}

/// As on Linux: a write never damages bytes beside it.
static int characteristics(sqlite3_file *file) {
  (void)file;
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

const sqlite3_io_methods crash_io_methods = {
    .iVersion = 2,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = file_size,
    .xLock = crash_lock,
    .xUnlock = crash_unlock,
    .xCheckReservedLock = crash_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = crash_shm_map,
    .xShmLock = crash_shm_lock,
    .xShmBarrier = crash_shm_barrier,
    .xShmUnmap = crash_shm_unmap,
};

// MARK: Names

static outbox_crash_file kind_of(int flags) {
  if (flags & SQLITE_OPEN_MAIN_DB) return OUTBOX_CRASH_DATABASE;
  if (flags & SQLITE_OPEN_WAL) return OUTBOX_CRASH_WAL;
  return OUTBOX_CRASH_JOURNAL;
}

/// The library makes the database file itself, outside of SQLite: where the real one is there, so is ours.
static bool is_made_outside(const char *path, int flags) {
  struct stat status;
  return (flags & SQLITE_OPEN_MAIN_DB) && stat(path, &status) == 0;
}

static int open_node(outbox_crash_machine *machine, const char *path, int flags, handle *self) {
  // Temporary files have no name.
  node *found = path ? crash_find(machine, path) : NULL;
  if (!found && path && !(flags & SQLITE_OPEN_CREATE) && !is_made_outside(path, flags)) return SQLITE_CANTOPEN;
  if (!found) found = crash_make(machine, path ? path : "", kind_of(flags));
  if (!found) return SQLITE_NOMEM;
  if (!path) found->is_linked = false;
  self->node = found;
  self->next = found->handles;
  found->handles = self;
  return SQLITE_OK;
}

static int open_file(sqlite3_vfs *vfs, sqlite3_filename path, sqlite3_file *file, int flags, int *out_flags) {
  outbox_crash_machine *machine = machine_of(vfs);
  handle *self = (handle *)file;
  memset(self, 0, sizeof(*self));
  pthread_mutex_lock(&machine->mutex);
  int code = crash_enter(machine, OUTBOX_CRASH_OPEN, kind_of(flags));
  if (code == SQLITE_OK) {
    code = crash_leave(machine, OUTBOX_CRASH_OPEN, open_node(machine, path, flags, self));
    if (code != SQLITE_OK && self->node) self->node->handles = self->next;
  }
  if (code == SQLITE_OK) {
    const int new_log = SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL;
    self->base.pMethods = &crash_io_methods;
    self->machine = machine;
    self->deletes_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    self->syncs_directory = (flags & SQLITE_OPEN_CREATE) && (flags & new_log);
    machine->references++;
    if (out_flags) *out_flags = flags;
  }
  pthread_mutex_unlock(&machine->mutex);
  return code;
}

static int delete_file(sqlite3_vfs *vfs, const char *path, int syncs_directory) {
  outbox_crash_machine *machine = machine_of(vfs);
  pthread_mutex_lock(&machine->mutex);
  node *found = crash_find(machine, path);
  int code = found ? crash_enter(machine, OUTBOX_CRASH_DELETE, found->kind) : SQLITE_IOERR_DELETE_NOENT;
  if (code == SQLITE_OK) {
    found->is_linked = false;
    code = crash_leave(machine, OUTBOX_CRASH_DELETE, SQLITE_OK);
  }
  if (code == SQLITE_OK && syncs_directory) {
    code = crash_enter(machine, OUTBOX_CRASH_SYNC, OUTBOX_CRASH_DIRECTORY);
    if (code == SQLITE_OK) {
      crash_sync_directory(machine);
      code = crash_leave(machine, OUTBOX_CRASH_SYNC, SQLITE_OK);
    }
  }
  pthread_mutex_unlock(&machine->mutex);
  return code;
}

/// An empty file counts as none where SQLite asks whether it exists, as in its layer for Unix.
static int access_file(sqlite3_vfs *vfs, const char *path, int flags, int *result) {
  outbox_crash_machine *machine = machine_of(vfs);
  pthread_mutex_lock(&machine->mutex);
  node *found = crash_find(machine, path);
  *result = found && (flags != SQLITE_ACCESS_EXISTS || found->seen.size > 0);
  int code = machine->is_off ? SQLITE_IOERR_ACCESS : SQLITE_OK;
  pthread_mutex_unlock(&machine->mutex);
  return code;
}

static int full_path(sqlite3_vfs *vfs, const char *path, int capacity, char *result) {
  (void)vfs;
  return snprintf(result, (size_t)capacity, "%s", path) < capacity ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int randomness(sqlite3_vfs *vfs, int count, char *bytes) {
  (void)vfs;
  return real_vfs()->xRandomness(real_vfs(), count, bytes);
}

static int wait_microseconds(sqlite3_vfs *vfs, int count) {
  (void)vfs;
  return real_vfs()->xSleep(real_vfs(), count);
}

static int current_time(sqlite3_vfs *vfs, double *result) {
  (void)vfs;
  return real_vfs()->xCurrentTime(real_vfs(), result);
}

static int current_time_64(sqlite3_vfs *vfs, sqlite3_int64 *result) {
  (void)vfs;
  return real_vfs()->xCurrentTimeInt64(real_vfs(), result);
}

static int last_error(sqlite3_vfs *vfs, int capacity, char *message) {
  (void)vfs, (void)capacity, (void)message;
  return 0;
}

void crash_set_up_vfs(outbox_crash_machine *machine) {
  machine->vfs = (sqlite3_vfs){
      .iVersion = 2,
      .szOsFile = sizeof(handle),
      .mxPathname = 1024,
      .zName = machine->name,
      .pAppData = machine,
      .xOpen = open_file,
      .xDelete = delete_file,
      .xAccess = access_file,
      .xFullPathname = full_path,
      .xRandomness = randomness,
      .xSleep = wait_microseconds,
      .xCurrentTime = current_time,
      .xCurrentTimeInt64 = current_time_64,
      .xGetLastError = last_error,
  };
}
