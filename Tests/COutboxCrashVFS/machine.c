// Files in memory, and what becomes of them when the power goes.
#include "machine.h"

#include <stdlib.h>
#include <string.h>

// MARK: Buffers

/// Makes room for `size` bytes; what is new is zero.
static int reserve(buffer *buffer, size_t size) {
  if (size <= buffer->capacity) return SQLITE_OK;
  size_t capacity = buffer->capacity ? buffer->capacity : 4096;
  while (capacity < size) capacity *= 2;
  uint8_t *bytes = realloc(buffer->bytes, capacity);
  if (!bytes) return SQLITE_IOERR_NOMEM;
  memset(bytes + buffer->capacity, 0, capacity - buffer->capacity);
  buffer->bytes = bytes;
  buffer->capacity = capacity;
  return SQLITE_OK;
}

/// Sets the size; what lies between the old end and the new is zero.
static int resize(buffer *buffer, size_t size) {
  int code = reserve(buffer, size);
  if (code != SQLITE_OK) return code;
  if (size < buffer->size) memset(buffer->bytes + size, 0, buffer->size - size);
  buffer->size = size;
  return SQLITE_OK;
}

static int copy(buffer *to, const buffer *from) {
  int code = resize(to, 0);
  if (code == SQLITE_OK) code = resize(to, from->size);
  if (code == SQLITE_OK && from->size) memcpy(to->bytes, from->bytes, from->size);
  return code;
}

/// Copies one sector of what is seen; `to` grows as far as the file goes.
static int copy_sector(buffer *to, const buffer *seen, size_t sector) {
  size_t start = sector * SECTOR_BYTES;
  if (start >= seen->size) return SQLITE_OK;
  size_t end = start + SECTOR_BYTES < seen->size ? start + SECTOR_BYTES : seen->size;
  int code = to->size < end ? resize(to, end) : SQLITE_OK;
  if (code == SQLITE_OK) memcpy(to->bytes + start, seen->bytes + start, end - start);
  return code;
}

// MARK: Files

node *crash_find(outbox_crash_machine *machine, const char *path) {
  for (node *node = machine->nodes; node; node = node->next) {
    if (node->is_linked && strcmp(node->path, path) == 0) return node;
  }
  return NULL;
}

node *crash_make(outbox_crash_machine *machine, const char *path, outbox_crash_file kind) {
  node *made = calloc(1, sizeof(node));
  char *name = strdup(path);
  if (!made || !name) {
    free(made);
    free(name);
    return NULL;
  }
  made->path = name;
  made->kind = kind;
  made->is_linked = true;
  made->next = machine->nodes;
  machine->nodes = made;
  return made;
}

int crash_write(node *node, const void *bytes, size_t count, size_t offset) {
  if (count == 0) return SQLITE_OK;
  size_t end = offset + count;
  size_t sectors = (end + SECTOR_BYTES - 1) / SECTOR_BYTES;
  size_t first = offset / SECTOR_BYTES;
  int code = node->seen.size < end ? resize(&node->seen, end) : SQLITE_OK;
  if (code == SQLITE_OK && node->dirty.size < sectors) code = resize(&node->dirty, sectors);
  if (code != SQLITE_OK) return code;
  memcpy(node->seen.bytes + offset, bytes, count);
  memset(node->dirty.bytes + first, 1, sectors - first);
  return SQLITE_OK;
}

int crash_truncate(node *node, size_t size) {
  if (size < node->smallest) node->smallest = size;
  size_t sectors = (size + SECTOR_BYTES - 1) / SECTOR_BYTES;
  if (node->dirty.size > sectors) resize(&node->dirty, sectors);
  return resize(&node->seen, size);
}

void crash_drop_dirty(node *node) {
  if (node->dirty.size) memset(node->dirty.bytes, 0, node->dirty.size);
}

int crash_sync(node *node) {
  int code = node->smallest < node->durable.size ? resize(&node->durable, node->smallest) : SQLITE_OK;
  for (size_t sector = 0; code == SQLITE_OK && sector < node->dirty.size; sector++) {
    if (node->dirty.bytes[sector]) code = copy_sector(&node->durable, &node->seen, sector);
  }
  if (code == SQLITE_OK) code = resize(&node->durable, node->seen.size);
  if (code != SQLITE_OK) return code;
  crash_drop_dirty(node);
  node->smallest = node->seen.size;
  return SQLITE_OK;
}

void crash_sync_directory(outbox_crash_machine *machine) {
  for (node *node = machine->nodes; node; node = node->next) node->is_durably_linked = node->is_linked;
}

// MARK: The gate

/// What a call returns on a machine that is off.
static const int off_codes[OUTBOX_CRASH_OPERATION_COUNT] = {
    [OUTBOX_CRASH_OPEN] = SQLITE_CANTOPEN,       [OUTBOX_CRASH_READ] = SQLITE_IOERR_READ,
    [OUTBOX_CRASH_WRITE] = SQLITE_IOERR_WRITE,   [OUTBOX_CRASH_TRUNCATE] = SQLITE_IOERR_TRUNCATE,
    [OUTBOX_CRASH_SYNC] = SQLITE_IOERR_FSYNC,    [OUTBOX_CRASH_DELETE] = SQLITE_IOERR_DELETE,
    [OUTBOX_CRASH_LOCK] = SQLITE_IOERR_LOCK,     [OUTBOX_CRASH_SHM_MAP] = SQLITE_IOERR_SHMMAP,
};

static void turn_off(outbox_crash_machine *machine) {
  if (machine->is_off) return;
  machine->is_off = true;
  if (machine->on_cut) machine->on_cut(machine->on_cut_context);
}

int crash_enter(outbox_crash_machine *machine, outbox_crash_operation operation, outbox_crash_file file) {
  if (machine->is_off) return off_codes[operation];
  machine->counts[operation][file]++;
  if (machine->cut_in > 0 && machine->cut_operation == operation && --machine->cut_in == 0) {
    machine->is_cutting = machine->cuts_after;
    if (!machine->is_cutting) {
      turn_off(machine);
      return off_codes[operation];
    }
  }
  outbox_crash_fault *fault = &machine->fault;
  if (!machine->has_fault || fault->operation != operation) return SQLITE_OK;
  if (fault->file != OUTBOX_CRASH_ANY_FILE && fault->file != (int)file) return SQLITE_OK;
  if (--fault->nth > 0) return SQLITE_OK;
  machine->fault_hits++;
  machine->has_fault = machine->fault_hits < fault->times;
  return fault->code;
}

int crash_leave(outbox_crash_machine *machine, outbox_crash_operation operation, int code) {
  if (!machine->is_cutting) return code;
  machine->is_cutting = false;
  turn_off(machine);
  return off_codes[operation];
}

// MARK: Machines

outbox_crash_machine *outbox_crash_start(const char *name) {
  outbox_crash_machine *machine = calloc(1, sizeof(outbox_crash_machine));
  char *copied = strdup(name);
  if (!machine || !copied || pthread_mutex_init(&machine->mutex, NULL) != 0) {
    free(machine);
    free(copied);
    return NULL;
  }
  machine->name = copied;
  machine->references = 1;
  crash_set_up_vfs(machine);
  sqlite3_vfs_register(&machine->vfs, 0);
  return machine;
}

void crash_release(outbox_crash_machine *machine) {
  pthread_mutex_lock(&machine->mutex);
  bool is_last = --machine->references == 0;
  pthread_mutex_unlock(&machine->mutex);
  if (!is_last) return;
  while (machine->nodes) {
    node *node = machine->nodes;
    machine->nodes = node->next;
    for (int region = 0; region < SHM_REGIONS; region++) free(node->shm[region]);
    free(node->seen.bytes);
    free(node->durable.bytes);
    free(node->dirty.bytes);
    free(node->path);
    free(node);
  }
  pthread_mutex_destroy(&machine->mutex);
  free(machine->name);
  free(machine->reserve_path);
  free(machine);
}

void outbox_crash_stop(outbox_crash_machine *machine) {
  sqlite3_vfs_unregister(&machine->vfs);
  crash_release(machine);
}

// MARK: After the cut

/// SplitMix64: the same survivors for the same seed everywhere.
static uint64_t next_random(uint64_t *state) {
  uint64_t word = *state += 0x9E3779B97F4A7C15;
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EB;
  return word ^ (word >> 31);
}

/// Whether what became of a name survives: the same for the file that had it and the one that has it.
static bool name_survives(const char *path, uint64_t seed) {
  uint64_t state = seed;
  for (const char *letter = path; *letter; letter++) state = state * 31 + (uint8_t)*letter;
  return next_random(&state) & 1;
}

/// What the disk holds of `from`.
static int copy_survivors(node *to, const node *from, outbox_crash_survivors survivors, uint64_t *random) {
  if (survivors == OUTBOX_CRASH_EVERYTHING) return copy(&to->durable, &from->seen);
  int code = copy(&to->durable, &from->durable);
  if (code != SQLITE_OK || survivors == OUTBOX_CRASH_NOTHING) return code;
  bool is_truncated = next_random(random) & 1;
  if (is_truncated && from->smallest < to->durable.size) code = resize(&to->durable, from->smallest);
  for (size_t sector = 0; code == SQLITE_OK && sector < from->dirty.size; sector++) {
    if (from->dirty.bytes[sector] && next_random(random) & 1) code = copy_sector(&to->durable, &from->seen, sector);
  }
  return code;
}

outbox_crash_machine *outbox_crash_restart(
    outbox_crash_machine *machine, const char *name, outbox_crash_survivors survivors, uint64_t seed) {
  outbox_crash_machine *made = outbox_crash_start(name);
  if (!made) return NULL;
  uint64_t random = seed;
  int code = SQLITE_OK;
  pthread_mutex_lock(&machine->mutex);
  for (node *from = machine->nodes; code == SQLITE_OK && from; from = from->next) {
    bool is_new_name = survivors == OUTBOX_CRASH_EVERYTHING ||
                       (survivors == OUTBOX_CRASH_RANDOM_SECTORS && name_survives(from->path, seed));
    if (!(is_new_name ? from->is_linked : from->is_durably_linked)) continue;
    node *to = crash_make(made, from->path, from->kind);
    code = to ? copy_survivors(to, from, survivors, &random) : SQLITE_NOMEM;
    if (code != SQLITE_OK) break;
    to->is_durably_linked = true;
    code = copy(&to->seen, &to->durable);
    to->smallest = to->seen.size;
  }
  pthread_mutex_unlock(&machine->mutex);
  if (code == SQLITE_OK) return made;
  outbox_crash_stop(made);
  return NULL;
}

outbox_crash_machine *outbox_crash_kill(outbox_crash_machine *machine, const char *name) {
  outbox_crash_machine *made = outbox_crash_start(name);
  if (!made) return NULL;
  int code = SQLITE_OK;
  pthread_mutex_lock(&machine->mutex);
  for (node *from = machine->nodes; code == SQLITE_OK && from; from = from->next) {
    node *to = crash_make(made, from->path, from->kind);
    code = to ? copy(&to->seen, &from->seen) : SQLITE_NOMEM;
    if (code == SQLITE_OK) code = copy(&to->durable, &from->durable);
    if (code == SQLITE_OK) code = copy(&to->dirty, &from->dirty);
    if (code != SQLITE_OK) break;
    to->smallest = from->smallest;
    to->is_linked = from->is_linked;
    to->is_durably_linked = from->is_durably_linked;
  }
  pthread_mutex_unlock(&machine->mutex);
  if (code == SQLITE_OK) return made;
  outbox_crash_stop(made);
  return NULL;
}
