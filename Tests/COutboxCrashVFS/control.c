// What a test says to a machine, and asks it.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "machine.h"

void outbox_crash_set_fault(outbox_crash_machine *machine, const outbox_crash_fault *fault) {
  pthread_mutex_lock(&machine->mutex);
  machine->has_fault = fault != NULL;
  if (fault) {
    machine->fault = *fault;
    machine->fault_hits = 0;
  }
  pthread_mutex_unlock(&machine->mutex);
}

int64_t outbox_crash_fault_hits(outbox_crash_machine *machine) {
  pthread_mutex_lock(&machine->mutex);
  int64_t hits = machine->fault_hits;
  pthread_mutex_unlock(&machine->mutex);
  return hits;
}

// MARK: A full disk

static int64_t used_bytes(const outbox_crash_machine *machine) {
  int64_t used = 0;
  for (const node *node = machine->nodes; node; node = node->next) {
    if (!node->is_linked) continue;
    used += (int64_t)node->seen.size;
    for (int region = 0; region < SHM_REGIONS; region++) used += node->shm[region] ? 32768 : 0;
  }
  struct stat status;
  if (machine->reserve_path && stat(machine->reserve_path, &status) == 0) used += status.st_size;
  return used;
}

bool crash_has_room(outbox_crash_machine *machine, size_t growth) {
  return machine->disk_bytes == 0 || growth == 0 || used_bytes(machine) + (int64_t)growth <= machine->disk_bytes;
}

void outbox_crash_set_disk(outbox_crash_machine *machine, int64_t bytes, const char *reserve_path) {
  pthread_mutex_lock(&machine->mutex);
  machine->disk_bytes = bytes;
  free(machine->reserve_path);
  machine->reserve_path = reserve_path ? strdup(reserve_path) : NULL;
  pthread_mutex_unlock(&machine->mutex);
}

int64_t outbox_crash_used_bytes(outbox_crash_machine *machine) {
  pthread_mutex_lock(&machine->mutex);
  int64_t used = used_bytes(machine);
  pthread_mutex_unlock(&machine->mutex);
  return used;
}

int64_t outbox_crash_free_bytes(outbox_crash_machine *machine) {
  pthread_mutex_lock(&machine->mutex);
  int64_t left = machine->disk_bytes ? machine->disk_bytes - used_bytes(machine) : INT64_MAX;
  pthread_mutex_unlock(&machine->mutex);
  return left;
}

void outbox_crash_cut_at(outbox_crash_machine *machine, outbox_crash_operation operation, int64_t nth, bool after) {
  pthread_mutex_lock(&machine->mutex);
  machine->cut_operation = operation;
  machine->cut_in = nth;
  machine->cuts_after = after;
  pthread_mutex_unlock(&machine->mutex);
}

void outbox_crash_cut(outbox_crash_machine *machine) {
  pthread_mutex_lock(&machine->mutex);
  machine->is_cutting = true;
  crash_leave(machine, OUTBOX_CRASH_SYNC, SQLITE_OK);
  pthread_mutex_unlock(&machine->mutex);
}

bool outbox_crash_is_off(outbox_crash_machine *machine) {
  pthread_mutex_lock(&machine->mutex);
  bool is_off = machine->is_off;
  pthread_mutex_unlock(&machine->mutex);
  return is_off;
}

void outbox_crash_on_cut(outbox_crash_machine *machine, void (*handler)(void *context), void *context) {
  pthread_mutex_lock(&machine->mutex);
  machine->on_cut = handler;
  machine->on_cut_context = context;
  pthread_mutex_unlock(&machine->mutex);
}

int64_t outbox_crash_count(outbox_crash_machine *machine, outbox_crash_operation operation, outbox_crash_file file) {
  pthread_mutex_lock(&machine->mutex);
  int64_t count = machine->counts[operation][file];
  pthread_mutex_unlock(&machine->mutex);
  return count;
}

int64_t outbox_crash_commit_frames(outbox_crash_machine *machine) {
  pthread_mutex_lock(&machine->mutex);
  int64_t count = machine->commit_frames;
  pthread_mutex_unlock(&machine->mutex);
  return count;
}

int64_t outbox_crash_log_headers(outbox_crash_machine *machine) {
  pthread_mutex_lock(&machine->mutex);
  int64_t count = machine->log_headers;
  pthread_mutex_unlock(&machine->mutex);
  return count;
}

bool outbox_crash_has_file(outbox_crash_machine *machine, const char *path) {
  pthread_mutex_lock(&machine->mutex);
  bool has_file = crash_find(machine, path) != NULL;
  pthread_mutex_unlock(&machine->mutex);
  return has_file;
}

size_t outbox_crash_copy_file(outbox_crash_machine *machine, const char *path, void *buffer, size_t capacity) {
  pthread_mutex_lock(&machine->mutex);
  node *node = crash_find(machine, path);
  size_t size = node ? node->seen.size : 0;
  size_t count = size < capacity ? size : capacity;
  if (count) memcpy(buffer, node->seen.bytes, count);
  pthread_mutex_unlock(&machine->mutex);
  return size;
}
