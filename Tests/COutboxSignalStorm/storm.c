#if defined(__linux__)
#define _GNU_SOURCE
#endif
#include "COutboxSignalStorm.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__linux__)
#include <dirent.h>
#include <sys/syscall.h>
#elif defined(__APPLE__)
#include <mach/mach.h>
#endif

static atomic_ulong handled;
static atomic_bool is_on;
static unsigned int pause_microseconds;
static pthread_t thread;

static void handle(int number) {
  (void)number;
  atomic_fetch_add(&handled, 1);
}

static void strike(void) {
#if defined(__linux__)
  DIR *tasks = opendir("/proc/self/task");
  if (!tasks) return;
  long self = syscall(SYS_gettid);
  for (struct dirent *entry; (entry = readdir(tasks));) {
    long task = strtol(entry->d_name, NULL, 10);
    if (task > 0 && task != self) syscall(SYS_tgkill, getpid(), task, SIGUSR1);
  }
  closedir(tasks);
#elif defined(__APPLE__)
  thread_act_array_t threads;
  mach_msg_type_number_t count;
  if (task_threads(mach_task_self(), &threads, &count) != KERN_SUCCESS) return;
  for (mach_msg_type_number_t index = 0; index < count; index++) {
    pthread_t other = pthread_from_mach_thread_np(threads[index]);
    if (other && !pthread_equal(other, pthread_self())) pthread_kill(other, SIGUSR1);
    mach_port_deallocate(mach_task_self(), threads[index]);
  }
  vm_deallocate(mach_task_self(), (vm_address_t)threads, count * sizeof(thread_act_t));
#endif
}

static void *blow(void *unused) {
  (void)unused;
  while (atomic_load(&is_on)) {
    strike();
    usleep(pause_microseconds);
  }
  return NULL;
}

int outbox_signal_storm_start(unsigned int microseconds) {
  struct sigaction action = {.sa_handler = handle, .sa_flags = 0};
  sigemptyset(&action.sa_mask);
  // Dispatch keeps signals away from its threads, and threads that are made there take after them.
  sigset_t unblocked;
  sigemptyset(&unblocked);
  sigaddset(&unblocked, SIGUSR1);
  int code = pthread_sigmask(SIG_UNBLOCK, &unblocked, NULL);
  if (code != 0) return code;
  if (sigaction(SIGUSR1, &action, NULL) != 0) return errno;
  pause_microseconds = microseconds;
  atomic_store(&handled, 0);
  atomic_store(&is_on, 1);
  return pthread_create(&thread, NULL, blow, NULL);
}

unsigned long outbox_signal_storm_stop(void) {
  atomic_store(&is_on, 0);
  pthread_join(thread, NULL);
  return atomic_load(&handled);
}
