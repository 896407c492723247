// What Swift cannot see of SQLite's header: variadic calls and macros with casts.
#ifndef COUTBOX_SQLITE_SHIM_H
#define COUTBOX_SQLITE_SHIM_H

#include <sqlite3.h>

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
