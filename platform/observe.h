// What the observed build of the threads backend knows: statistics per lock class, the order in
// which locks are taken, the cost of a path in lock acquisitions and CAS operations, and who waits
// for whom.
//
// Declared in both builds. In the plain build kObserved is false and everything here returns empty
// results, at no cost to the locks.
//
// Thread safety: any thread, any time, under any lock. The counts are exact when no lock operation
// is under way and approximate otherwise.
#ifndef HATCHECK_PLATFORM_OBSERVE_H_
#define HATCHECK_PLATFORM_OBSERVE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "platform/lock_order.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Bucket i counts times of 2^i to 2^(i+1)-1 nanoseconds; bucket 0 also holds zero, and the last one
// everything longer.
using TimeHistogram = std::array<uint64_t, 40>;

// An upper bound in nanoseconds for the given share (0 to 1) of the times; 0 for an empty
// histogram.
uint64_t percentile_ns(const TimeHistogram& histogram, double share);

struct LockClassReport {
  std::string name;
  int place = 0;
  uint64_t acquisitions = 0;  // enter, successful tryenter, and the return from a wait
  uint64_t contended = 0;     // of these, how many found the lock taken
  uint64_t failed_tryenters = 0;
  uint64_t wait_ns = 0;        // total time blocked in enter
  uint64_t hold_ns = 0;        // total time held
  TimeHistogram wait_times{};  // of the contended acquisitions
  TimeHistogram hold_times{};
};

// One entry per class that was used since the last reset, by place.
using LockReport = std::vector<LockClassReport>;

LockReport snapshot();

// Makes later snapshots start from now.
void reset();

// The orders in which locks were taken while that was recorded, which it is from the start. Of the
// plain build: none.
LockOrder& lock_order();
void record_lock_order(bool on);

// Lock acquisitions and atomic operations of the calling thread since it was bound. The difference
// of two calls is the cost of the path between them.
struct PathCounts {
  uint64_t lock_acquisitions = 0;
  uint64_t cas_operations = 0;  // compare_exchange, successful or not
  uint64_t rmw_operations = 0;  // exchange and fetch_*
};

PathCounts path_counts();

struct HeldLockState {
  std::string lock;  // "mlist[3]"
  LockMode mode = LockMode::kMutex;
  Where where;
};

// What a CPU holds and waits for.
struct CpuState {
  CpuId cpu = 0;
  std::vector<HeldLockState> holds;  // outermost first
  bool waiting = false;
  std::string wants;  // the lock it waits for; for a sleeper, the mutex it gave up
  LockMode wants_mode = LockMode::kMutex;
  std::string condvar;  // the condition variable it sleeps on, or empty
  Where where;          // of the wait
  uint64_t waiting_ns = 0;
  uint64_t changes = 0;  // grows with every lock operation: the same value twice is no progress
  std::optional<CpuId> owner;  // a CPU that holds what it wants, if a bound one does
};

// All bound CPUs, in order.
std::vector<CpuState> cpu_states();

// "cpu 1 waits for mlist[3] held by cpu 2, cpu 2 waits for ..." if bound CPUs wait for each other
// in a cycle, else empty. There are no false reports: the states of all CPUs that it uses existed
// at one moment. A reader that waits behind a waiting writer is followed too, and so is a sleeper
// on a condition variable, which cannot return without its mutex.
std::string find_deadlock();

// True if `threads` CPUs are bound, these are all the threads there are, and none of them can ever
// go on: each sleeps on a condition variable that nobody signalled since, or waits for a lock that
// another one has. No false reports either; a sleeper that may have been woken counts as running.
bool all_stuck(uint32_t threads);

// The table of cpu_states() as text, preceded by "deadlock: ..." if there is one, with the names
// of the condition variables that CPUs sleep on. For a watchdog to print when nothing moves.
std::string describe_stuck();

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_OBSERVE_H_
