// What the locks of this backend tell the observed build. All of it is declared in both builds and
// called under `if constexpr (kObserved)`, so the plain build contains none of it.
//
// Thread safety: each function writes the calling CPU's shard of the counters; observe.h reads
// them.
#ifndef HATCHECK_PLATFORM_THREADS_LOCK_STATS_H_
#define HATCHECK_PLATFORM_THREADS_LOCK_STATS_H_

#include <cstdint>

#include "platform/threads/cpu.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Checks that the place of the class is in range and its own. Called when a lock is constructed.
void stats_register(const LockClass& lock_class);

// A cheap monotonic clock, and what its ticks are in nanoseconds.
uint64_t stats_ticks();
uint64_t stats_to_ns(uint64_t ticks);

// A thread is about to block for a lock, or to sleep on a condition variable (then with its name
// and address), or no longer waits. Between the two it counts as waiting in cpu_states().
void stats_wait_begin(Cpu& cpu, const LockId& id, const Where& where);
void stats_sleep_begin(Cpu& cpu, const LockId& id, const char* name, const void* condvar,
                       const Where& where);
void stats_wait_end(Cpu& cpu);

// The thread is about to enter the lock, or has just had it by tryenter, and does not have it on
// the held stack yet: for the lock order.
void stats_taking(const Cpu& cpu, const LockId& id, bool by_try, const Where& where);

// The lock was acquired and is on the held stack. `contended` says that somebody else had it;
// `wait_ticks` how long that took.
void stats_acquired(Cpu& cpu, const LockId& id, bool contended, uint64_t wait_ticks);
void stats_acquired_by_try(Cpu& cpu, const LockId& id);
// The lock is about to be released and is still on the held stack.
void stats_releasing(Cpu& cpu, const LockId& id);
void stats_failed_tryenter(Cpu& cpu, const LockId& id);

// The condition variable was signalled. Called after that, so that no sleeper which was woken goes
// unmarked.
void stats_signalled(const void* condvar);

void stats_cas();
void stats_rmw();

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_LOCK_STATS_H_
