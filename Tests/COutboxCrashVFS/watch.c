// A layer over SQLite's own for Unix that tells of each step and changes nothing.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "COutboxWatch.h"

struct outbox_watch {
  sqlite3_vfs vfs;
  sqlite3_vfs *real;
  char *name;
  outbox_watch_handler handler;
  void *context;
};

/// An open file; SQLite's own lies behind it in the same allocation.
typedef struct {
  sqlite3_file base;
  outbox_watch *watch;
  const char *const *steps;
} watched_file;

typedef enum { STEP_WRITE, STEP_SYNC, STEP_TRUNCATE, STEP_COUNT } step;

static const char *const wal_steps[2 * STEP_COUNT] = {"wal-write",      "wal-sync",      "wal-truncate",
                                                      "done wal-write", "done wal-sync", "done wal-truncate"};
static const char *const database_steps[2 * STEP_COUNT] = {
    "database-write", "database-sync", "database-truncate", "done database-write", "done database-sync",
    "done database-truncate"};
static const char *const journal_steps[2 * STEP_COUNT] = {
    "journal-write", "journal-sync", "journal-truncate", "done journal-write", "done journal-sync",
    "done journal-truncate"};

static sqlite3_file *real_file(sqlite3_file *file) { return (sqlite3_file *)((watched_file *)file + 1); }

static void tell(sqlite3_file *file, int step) {
  watched_file *self = (watched_file *)file;
  self->watch->handler(self->watch->context, self->steps[step]);
}

// MARK: Files

static int close_file(sqlite3_file *file) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xClose(real);
}

static int read_file(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xRead(real, bytes, count, offset);
}

/// Before each page of the log SQLite writes a header of 24 bytes, with the size of the database in bytes 4 to 7 where
/// the frame ends a transaction.
static bool ends_transaction(const uint8_t *bytes, int count) {
  return count == 24 && (bytes[4] | bytes[5] | bytes[6] | bytes[7]);
}

static int write_file(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset) {
  watched_file *self = (watched_file *)file;
  sqlite3_file *real = real_file(file);
  if (self->steps == wal_steps && ends_transaction(bytes, count)) {
    self->watch->handler(self->watch->context, "commit-frame");
  }
  tell(file, STEP_WRITE);
  int code = real->pMethods->xWrite(real, bytes, count, offset);
  tell(file, STEP_COUNT + STEP_WRITE);
  return code;
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 size) {
  sqlite3_file *real = real_file(file);
  tell(file, STEP_TRUNCATE);
  int code = real->pMethods->xTruncate(real, size);
  tell(file, STEP_COUNT + STEP_TRUNCATE);
  return code;
}

static int sync_file(sqlite3_file *file, int flags) {
  sqlite3_file *real = real_file(file);
  tell(file, STEP_SYNC);
  int code = real->pMethods->xSync(real, flags);
  tell(file, STEP_COUNT + STEP_SYNC);
  return code;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xFileSize(real, size);
}

static int lock(sqlite3_file *file, int level) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xLock(real, level);
}

static int unlock(sqlite3_file *file, int level) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xUnlock(real, level);
}

static int check_reserved_lock(sqlite3_file *file, int *result) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xCheckReservedLock(real, result);
}

static int file_control(sqlite3_file *file, int operation, void *argument) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xFileControl(real, operation, argument);
}

static int sector_size(sqlite3_file *file) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xSectorSize(real);
}

static int characteristics(sqlite3_file *file) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xDeviceCharacteristics(real);
}

static int shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **result) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xShmMap(real, region, size, extend, result);
}

static int shm_lock(sqlite3_file *file, int offset, int count, int flags) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xShmLock(real, offset, count, flags);
}

static void shm_barrier(sqlite3_file *file) {
  sqlite3_file *real = real_file(file);
  real->pMethods->xShmBarrier(real);
}

static int shm_unmap(sqlite3_file *file, int delete) {
  sqlite3_file *real = real_file(file);
  return real->pMethods->xShmUnmap(real, delete);
}

/// Version 2: without memory-mapped reading, which the library does not use.
static const sqlite3_io_methods watch_io_methods = {
    .iVersion = 2,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = file_size,
    .xLock = lock,
    .xUnlock = unlock,
    .xCheckReservedLock = check_reserved_lock,
    .xFileControl = file_control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

// MARK: Names

static int open_file(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out_flags) {
  watched_file *self = (watched_file *)file;
  self->watch = vfs->pAppData;
  self->steps = flags & SQLITE_OPEN_MAIN_DB ? database_steps : flags & SQLITE_OPEN_WAL ? wal_steps : journal_steps;
  sqlite3_vfs *real = self->watch->real;
  int code = real->xOpen(real, path, real_file(file), flags, out_flags);
  // SQLite closes a file only where it has methods: also one that could not be opened.
  self->base.pMethods = real_file(file)->pMethods ? &watch_io_methods : NULL;
  return code;
}

/// Of the layer below; what it is called with is its own.
static sqlite3_vfs *below(sqlite3_vfs *vfs) { return ((outbox_watch *)vfs->pAppData)->real; }

static int delete_file(sqlite3_vfs *vfs, const char *path, int syncs) { return below(vfs)->xDelete(below(vfs), path, syncs); }

static int access_file(sqlite3_vfs *vfs, const char *path, int flags, int *result) {
  return below(vfs)->xAccess(below(vfs), path, flags, result);
}

static int full_path(sqlite3_vfs *vfs, const char *path, int count, char *result) {
  return below(vfs)->xFullPathname(below(vfs), path, count, result);
}

static int randomness(sqlite3_vfs *vfs, int count, char *result) {
  return below(vfs)->xRandomness(below(vfs), count, result);
}

static int pause_for(sqlite3_vfs *vfs, int microseconds) { return below(vfs)->xSleep(below(vfs), microseconds); }

static int current_time(sqlite3_vfs *vfs, double *result) { return below(vfs)->xCurrentTime(below(vfs), result); }

static int last_error(sqlite3_vfs *vfs, int count, char *result) {
  return below(vfs)->xGetLastError(below(vfs), count, result);
}

static int current_time_64(sqlite3_vfs *vfs, sqlite3_int64 *result) {
  return below(vfs)->xCurrentTimeInt64(below(vfs), result);
}

outbox_watch *outbox_watch_start(const char *name, bool is_default, outbox_watch_handler handler, void *context) {
  outbox_watch *watch = calloc(1, sizeof *watch);
  if (!watch || !(watch->name = strdup(name))) {
    free(watch);
    return NULL;
  }
  watch->real = sqlite3_vfs_find("unix");
  watch->handler = handler;
  watch->context = context;
  watch->vfs = (sqlite3_vfs){
      .iVersion = 2,
      .szOsFile = (int)sizeof(watched_file) + watch->real->szOsFile,
      .mxPathname = watch->real->mxPathname,
      .zName = watch->name,
      .pAppData = watch,
      .xOpen = open_file,
      .xDelete = delete_file,
      .xAccess = access_file,
      .xFullPathname = full_path,
      .xRandomness = randomness,
      .xSleep = pause_for,
      .xCurrentTime = current_time,
      .xGetLastError = last_error,
      .xCurrentTimeInt64 = current_time_64,
  };
  sqlite3_vfs_register(&watch->vfs, is_default);
  return watch;
}

void outbox_watch_stop(outbox_watch *watch) {
  sqlite3_vfs_unregister(&watch->vfs);
  free(watch->name);
  free(watch);
}

// MARK: Statements

static outbox_watch_handler statement_handler;
static void *statement_context;

/// SQLite says `TRACE_STMT` when a statement begins, with its text, and `TRACE_PROFILE` when it has ended.
static int trace(unsigned kind, void *context, void *statement, void *text) {
  (void)context, (void)text;
  const char *sql = sqlite3_sql(statement);
  char told[256];
  snprintf(told, sizeof told, "%sstatement %s", kind == SQLITE_TRACE_PROFILE ? "done " : "", sql ? sql : "");
  statement_handler(statement_context, told);
  return 0;
}

static int watch_connection(sqlite3 *connection, char **message, const void *routines) {
  (void)message, (void)routines;
  return sqlite3_trace_v2(connection, SQLITE_TRACE_STMT | SQLITE_TRACE_PROFILE, trace, NULL);
}

void outbox_watch_statements(outbox_watch_handler handler, void *context) {
  statement_handler = handler;
  statement_context = context;
  sqlite3_auto_extension((void (*)(void))watch_connection);
}

// MARK: System calls

static outbox_watch_handler open_handler;
static void *open_context;
static int (*real_open)(const char *path, int flags, int mode);

static int watched_open(const char *path, int flags, int mode) {
  open_handler(open_context, path);
  return real_open(path, flags, mode);
}

void outbox_watch_opens(outbox_watch_handler handler, void *context) {
  sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
  open_handler = handler;
  open_context = context;
  real_open = (int (*)(const char *, int, int))vfs->xGetSystemCall(vfs, "open");
  vfs->xSetSystemCall(vfs, "open", (sqlite3_syscall_ptr)watched_open);
}

int outbox_fork_cat(int input, int output) {
  int process = fork();
  if (process != 0) return process;
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  execlp("cat", "cat", (char *)NULL);
  _exit(127);
}
