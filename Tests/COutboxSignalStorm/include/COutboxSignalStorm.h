// Signals that interrupt every thread of the process, over and over: what an application with timers, profilers or child
// processes does to the libraries in it.
#ifndef COUTBOX_SIGNAL_STORM_H
#define COUTBOX_SIGNAL_STORM_H

/// Handles SIGUSR1 without `SA_RESTART`, so that calls of the system end with EINTR, and starts a thread that sends it
/// to every other thread each time `microseconds` have passed.
///
/// It reaches the calling thread, and those that are made from it.
///
/// Returns 0, or the error of what failed.
int outbox_signal_storm_start(unsigned int microseconds);

/// Ends the storm and returns how many signals were handled.
unsigned long outbox_signal_storm_stop(void);

#endif
