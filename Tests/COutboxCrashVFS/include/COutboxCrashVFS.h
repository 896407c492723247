// A computer for tests whose power can go: a VFS of SQLite that keeps files in memory, and knows of each byte whether
// it has reached the disk.
//
// - Writes and truncations change what readers see at once; only a sync makes them durable.
// - A file's name is made, and removed, durably by a sync of the directory alone. As SQLite's own layer for Unix does,
//   the first sync of a new log or journal syncs the directory too, and a deletion does so where SQLite asks for it.
// - When the power goes, every call fails from then on. A restart makes a new machine of what was durable, and, if
//   wanted, of a random subset of the 512-byte sectors, truncations and names that were not.
// - The -shm file is memory of the machine: it vanishes with the power and with its last user.
//
// A machine stands for one directory. All connections that name its VFS share its files, with SQLite's locks among
// them. What is left out: of several writes to a sector between two syncs only the last can survive. A failed sync of
// the directory that goes with a file's sync leaves the name in danger, but the caller does not hear of it, because
// SQLite's layer for Unix does not tell either.
#ifndef COUTBOX_CRASH_VFS_H
#define COUTBOX_CRASH_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "COutboxWatch.h"

typedef struct outbox_crash_machine outbox_crash_machine;

/// What can be counted, fail, or be the moment of a power cut.
typedef enum {
  OUTBOX_CRASH_OPEN,
  OUTBOX_CRASH_READ,
  OUTBOX_CRASH_WRITE,
  OUTBOX_CRASH_TRUNCATE,
  /// Of a file, or of the directory.
  OUTBOX_CRASH_SYNC,
  OUTBOX_CRASH_DELETE,
  /// Of the file, or of shared memory; unlocking always succeeds.
  OUTBOX_CRASH_LOCK,
  OUTBOX_CRASH_SHM_MAP,
  OUTBOX_CRASH_OPERATION_COUNT
} outbox_crash_operation;

typedef enum {
  OUTBOX_CRASH_DATABASE,
  OUTBOX_CRASH_WAL,
  OUTBOX_CRASH_JOURNAL,
  OUTBOX_CRASH_DIRECTORY,
  OUTBOX_CRASH_FILE_COUNT
} outbox_crash_file;

/// Any file, for a fault.
enum { OUTBOX_CRASH_ANY_FILE = -1 };

/// Starts an empty machine, and registers its VFS under `name`, which no other may have. NULL without memory.
outbox_crash_machine *outbox_crash_start(const char *name);

/// Takes the VFS away. The machine is freed with its last open file.
void outbox_crash_stop(outbox_crash_machine *machine);

// MARK: Faults

typedef struct {
  outbox_crash_operation operation;
  /// An `outbox_crash_file`, or `OUTBOX_CRASH_ANY_FILE`.
  int file;
  /// The first call that fails, counted from 1 and from now.
  int64_t nth;
  /// How many calls in a row fail; `INT64_MAX` for ever.
  int64_t times;
  /// What the call returns.
  int code;
  /// A sync that fails marks the file's pages clean, as Linux does: they are read as written, they are not on the disk,
  /// and no later sync writes them.
  bool drops_pages;
} outbox_crash_fault;

/// Sets the one fault that may happen; NULL clears it.
void outbox_crash_set_fault(outbox_crash_machine *machine, const outbox_crash_fault *fault);

/// How many calls the fault has failed since it was set.
int64_t outbox_crash_fault_hits(outbox_crash_machine *machine);

// MARK: A full disk

/// Gives the machine a disk of `bytes`, or, with 0, one without an end. What grows beyond it fails as a full disk does:
/// with `SQLITE_FULL`, and with `SQLITE_IOERR_SHMSIZE` for shared memory. The blocks that the real file `reserve_path`
/// holds count as taken.
void outbox_crash_set_disk(outbox_crash_machine *machine, int64_t bytes, const char *reserve_path);

/// The bytes that files and shared memory take, and those that the disk has left.
int64_t outbox_crash_used_bytes(outbox_crash_machine *machine);
int64_t outbox_crash_free_bytes(outbox_crash_machine *machine);

// MARK: Power

/// Cuts the power at the `nth` call of a kind from now: before it has done anything, or when it has done all but
/// return.
void outbox_crash_cut_at(outbox_crash_machine *machine, outbox_crash_operation operation, int64_t nth, bool after);

/// Cuts the power now.
void outbox_crash_cut(outbox_crash_machine *machine);

bool outbox_crash_is_off(outbox_crash_machine *machine);

/// Calls `handler` once when the power goes, on the thread that it goes on. It must not call this machine.
void outbox_crash_on_cut(outbox_crash_machine *machine, void (*handler)(void *context), void *context);

typedef enum {
  /// Nothing that was not synced.
  OUTBOX_CRASH_NOTHING,
  /// A random part, by the seed.
  OUTBOX_CRASH_RANDOM_SECTORS,
  /// Everything, as if all had been written in the last moment.
  OUTBOX_CRASH_EVERYTHING
} outbox_crash_survivors;

/// A new machine with what is on the disk of `machine` after a power cut. NULL without memory.
outbox_crash_machine *outbox_crash_restart(
    outbox_crash_machine *machine, const char *name, outbox_crash_survivors survivors, uint64_t seed);

/// The same machine after its processes were killed: what was written is there, and what was not synced still is not.
outbox_crash_machine *outbox_crash_kill(outbox_crash_machine *machine, const char *name);

// MARK: Looking

/// Calls that were let through or failed so far; those after a power cut do not count.
int64_t outbox_crash_count(outbox_crash_machine *machine, outbox_crash_operation operation, outbox_crash_file file);

/// Frames written to a log that end a transaction, and headers written to one, that is its starts and restarts.
int64_t outbox_crash_commit_frames(outbox_crash_machine *machine);
int64_t outbox_crash_log_headers(outbox_crash_machine *machine);

/// Whether the name is there.
bool outbox_crash_has_file(outbox_crash_machine *machine, const char *path);

/// Copies what a reader of the file sees now. Returns its size, also where that is above `capacity`; 0 without a file.
size_t outbox_crash_copy_file(outbox_crash_machine *machine, const char *path, void *buffer, size_t capacity);

#endif
