// SQLite's locks among the connections of one machine, and the memory that they share.
#include <stdlib.h>

#include "machine.h"

/// The strongest lock that another connection has on the file.
static int strongest_other(const handle *self) {
  int strongest = SQLITE_LOCK_NONE;
  for (const handle *other = self->node->handles; other; other = other->next) {
    if (other != self && other->lock > strongest) strongest = other->lock;
  }
  return strongest;
}

/// A writer that waits for the readers to go (PENDING) keeps new ones out.
static int take_lock(handle *self, int level) {
  int others = strongest_other(self);
  switch (level) {
  case SQLITE_LOCK_SHARED:
    if (others >= SQLITE_LOCK_PENDING) return SQLITE_BUSY;
    break;
  case SQLITE_LOCK_RESERVED:
    if (others >= SQLITE_LOCK_RESERVED) return SQLITE_BUSY;
    break;
  default:
    if (others >= SQLITE_LOCK_RESERVED) return SQLITE_BUSY;
    if (others == SQLITE_LOCK_SHARED) {
      self->lock = SQLITE_LOCK_PENDING;
      return SQLITE_BUSY;
    }
  }
  self->lock = level;
  return SQLITE_OK;
}

int crash_lock(sqlite3_file *file, int level) {
  handle *self = (handle *)file;
  if (self->lock >= level) return SQLITE_OK;
  pthread_mutex_lock(&self->machine->mutex);
  int code = crash_enter(self->machine, OUTBOX_CRASH_LOCK, self->node->kind);
  if (code == SQLITE_OK) code = crash_leave(self->machine, OUTBOX_CRASH_LOCK, take_lock(self, level));
  pthread_mutex_unlock(&self->machine->mutex);
  return code;
}

int crash_unlock(sqlite3_file *file, int level) {
  handle *self = (handle *)file;
  pthread_mutex_lock(&self->machine->mutex);
  if (self->lock > level) self->lock = level;
  pthread_mutex_unlock(&self->machine->mutex);
  return SQLITE_OK;
}

int crash_check_reserved(sqlite3_file *file, int *result) {
  handle *self = (handle *)file;
  pthread_mutex_lock(&self->machine->mutex);
  *result = self->lock >= SQLITE_LOCK_RESERVED || strongest_other(self) >= SQLITE_LOCK_RESERVED;
  int code = self->machine->is_off ? SQLITE_IOERR_CHECKRESERVEDLOCK : SQLITE_OK;
  pthread_mutex_unlock(&self->machine->mutex);
  return code;
}

// MARK: Shared memory

int crash_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **result) {
  handle *self = (handle *)file;
  *result = NULL;
  if (region < 0 || region >= SHM_REGIONS) return SQLITE_IOERR_SHMMAP;
  pthread_mutex_lock(&self->machine->mutex);
  int code = crash_enter(self->machine, OUTBOX_CRASH_SHM_MAP, self->node->kind);
  if (code == SQLITE_OK) {
    void **memory = &self->node->shm[region];
    self->has_shm = true;
    if (!*memory && extend) {
      if (crash_has_room(self->machine, (size_t)size)) {
        *memory = calloc(1, (size_t)size);
        if (!*memory) code = SQLITE_IOERR_NOMEM;
      } else {
        code = SQLITE_IOERR_SHMSIZE;
      }
    }
    *result = *memory;
    code = crash_leave(self->machine, OUTBOX_CRASH_SHM_MAP, code);
  }
  pthread_mutex_unlock(&self->machine->mutex);
  return code;
}

static int take_shm_locks(handle *self, unsigned mask, bool is_exclusive) {
  for (const handle *other = self->node->handles; other; other = other->next) {
    if (other == self) continue;
    if (other->exclusive_locks & mask) return SQLITE_BUSY;
    if (is_exclusive && (other->shared_locks & mask)) return SQLITE_BUSY;
  }
  if (is_exclusive) {
    self->exclusive_locks |= mask;
  } else {
    self->shared_locks |= mask;
  }
  return SQLITE_OK;
}

int crash_shm_lock(sqlite3_file *file, int offset, int count, int flags) {
  handle *self = (handle *)file;
  unsigned mask = ((1u << count) - 1) << offset;
  pthread_mutex_lock(&self->machine->mutex);
  int code = SQLITE_OK;
  if (flags & SQLITE_SHM_UNLOCK) {
    self->shared_locks &= ~mask;
    self->exclusive_locks &= ~mask;
  } else {
    code = crash_enter(self->machine, OUTBOX_CRASH_LOCK, self->node->kind);
    if (code == SQLITE_OK) {
      code = take_shm_locks(self, mask, (flags & SQLITE_SHM_EXCLUSIVE) != 0);
      code = crash_leave(self->machine, OUTBOX_CRASH_LOCK, code);
    }
  }
  pthread_mutex_unlock(&self->machine->mutex);
  return code;
}

void crash_shm_barrier(sqlite3_file *file) {
  handle *self = (handle *)file;
  pthread_mutex_lock(&self->machine->mutex);
  pthread_mutex_unlock(&self->machine->mutex);
}

int crash_shm_unmap(sqlite3_file *file, int delete) {
  (void)delete;
  handle *self = (handle *)file;
  pthread_mutex_lock(&self->machine->mutex);
  self->has_shm = false;
  self->shared_locks = 0;
  self->exclusive_locks = 0;
  bool is_last = true;
  for (const handle *other = self->node->handles; other; other = other->next) is_last &= !other->has_shm;
  for (int region = 0; is_last && region < SHM_REGIONS; region++) {
    free(self->node->shm[region]);
    self->node->shm[region] = NULL;
  }
  pthread_mutex_unlock(&self->machine->mutex);
  return SQLITE_OK;
}
