// What Swift cannot see of C: of SQLite's header variadic calls and macros with casts, of Linux's library `statfs`
// and `renameat2`.
#ifndef COUTBOX_SQLITE_SHIM_H
#define COUTBOX_SQLITE_SHIM_H

#include <sqlite3.h>

#if defined(__linux__)
#include <fcntl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Stores the number that Linux gives the kind of file system that `path` lies on; returns 0, or -1 with `errno`.
static inline int outbox_file_system_type(const char *path, unsigned int *type) {
  struct statfs status;
  int result = statfs(path, &status);
  if (result == 0) *type = (unsigned int)status.f_type;
  return result;
}

/// Renames a file, but not over another; returns 0, or -1 with `errno`.
static inline int outbox_rename_without_replacing(const char *path, const char *target) {
  const unsigned int no_replace = 1;  // RENAME_NOREPLACE, which the headers name for GNU sources alone.
  return (int)syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, target, no_replace);
}
#endif

/// Sets `SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE` or any other on/off option of a connection.
static inline int outbox_sqlite3_db_config_bool(sqlite3 *db, int option, int on) {
  return sqlite3_db_config(db, option, on, (int *)0);
}

/// Binds bytes that the caller keeps alive and unchanged until the statement is reset.
static inline int outbox_sqlite3_bind_static_blob(
    sqlite3_stmt *statement, int index, const void *bytes, sqlite3_uint64 count) {
  return sqlite3_bind_blob64(statement, index, bytes, count, SQLITE_STATIC);
}

/// Binds text that SQLite copies.
static inline int outbox_sqlite3_bind_copied_text(
    sqlite3_stmt *statement, int index, const char *bytes, sqlite3_uint64 count) {
  return sqlite3_bind_text64(statement, index, bytes, count, SQLITE_TRANSIENT, SQLITE_UTF8);
}

#endif
