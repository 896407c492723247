// Watches what SQLite does on real files, call by call: for tests that kill a process, or hold it, at a named step.
//
// A watch is a layer over SQLite's own for Unix that changes nothing. Its handler is called on the thread of the call,
// before and after it, with a word for the step:
//
//   wal-write, wal-sync, wal-truncate       of the log; the same with `database` and `journal`
//   commit-frame                            the log's frame that ends a transaction is about to be written
//   statement SQL                           a statement begins, with its text
//   done STEP                               the step has ended, well or badly
#ifndef COUTBOX_WATCH_H
#define COUTBOX_WATCH_H

#include <stdbool.h>
#include <stdint.h>

typedef struct outbox_watch outbox_watch;
typedef void (*outbox_watch_handler)(void *context, const char *step);

/// Registers a watch under `name`, which no other layer may have, and makes it the default of this process if wanted.
/// NULL without memory.
outbox_watch *outbox_watch_start(const char *name, bool is_default, outbox_watch_handler handler, void *context);

/// Takes the watch away; no file may be open through it.
void outbox_watch_stop(outbox_watch *watch);

/// Tells `handler` of the statements of every connection that this process opens from now on.
void outbox_watch_statements(outbox_watch_handler handler, void *context);

/// Tells `handler` of each path that SQLite's own layer opens from now on, in place of a step.
void outbox_watch_opens(outbox_watch_handler handler, void *context);

/// Lets each `fsync` of the directory with this number in the file system fail with EIO, SQLite's own too; 0 ends that.
/// On Linux alone: elsewhere no program can stand before the C library.
void outbox_watch_fail_directory_sync(uint64_t inode);

/// Starts `cat` between two descriptors by fork and exec: a child that inherits all that is not closed on exec. Returns
/// its number, or -1.
int outbox_fork_cat(int input, int output);

#endif
