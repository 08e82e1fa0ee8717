// Threads on virtual CPUs, and scenarios on real threads.
//
// CpuBinding puts the calling thread on a CPU. run_scenario() repeats a scenario with one real
// thread per body, all released by a barrier. A run that finds nothing is never `exhausted`.
// run_isolated() does the same in a forked child, so that a scenario which is expected to fail,
// hang or crash leaves the caller alive; what the child prints, sanitizer reports included, becomes
// the report's kind and message.
//
// A violation found inside run_scenario() goes to the failure handler, which ends the process.
// Preconditions: run_isolated() is called while the process has one thread (threads do not survive
// a fork). No two runs at a time in one process.
#ifndef HATCHECK_PLATFORM_THREADS_RUN_H_
#define HATCHECK_PLATFORM_THREADS_RUN_H_

#include <chrono>
#include <cstdint>
#include <memory>

#include "platform/scenario.h"
#include "platform/search.h"
#include "platform/threads/cpu.h"
#include "platform/verdict.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Binds the calling thread to a CPU for a scope and seeds its choose() stream from (seed, cpu).
// It is a failure if another thread is on that CPU, if this thread is already on one or holds a
// lock; ending the binding with a lock held is "lock held at thread end".
class CpuBinding {
 public:
  explicit CpuBinding(CpuId cpu, uint64_t seed = 0, Where where = Where::here());
  ~CpuBinding();

  CpuBinding(const CpuBinding&) = delete;
  CpuBinding& operator=(const CpuBinding&) = delete;

 private:
  const std::unique_ptr<RandomStream> random_;
};

// Whether this build reports a violation of the kind when a scenario runs into it. Kinds for which
// this is false need a sanitizer, the observed build or a model engine.
constexpr bool engine_finds(Kind kind) {
  switch (kind) {
    case Kind::kDataRace:
    case Kind::kCircularLocking:
      return kTsan;
    case Kind::kLockOrder:
      return kObserved || kTsan;
    case Kind::kDeadlock:
    case Kind::kLostWakeup:
      return kObserved;
    case Kind::kUninitialisedRead:
    case Kind::kLivelock:
    case Kind::kNondeterminism:
      return false;
    default:
      return true;
  }
}

// Whether the calling thread is inside fail(), which does not return. Async-signal-safe.
bool failing();

struct RunOptions {
  uint64_t iterations = 0;  // 0: what the scenario's bounds say
  // Start no further iteration after this long; 0 for no such bound.
  std::chrono::milliseconds time{0};
  uint64_t seed = 1;
  // run_isolated() kills a run that takes longer: "no progress".
  std::chrono::milliseconds limit{120'000};
  // Observed build: a deadlock, and a sleeper that nobody can wake, are reported as soon as they
  // are seen. Threads that all wait for this long without that being certain are reported then.
  std::chrono::milliseconds quiet{30'000};
  // Observed build: pauses a second of each thread (pauses.h); none in the simulated hardware.
  uint32_t pause_rate = 0;
  // Observed build: look for locks in an order that could deadlock (lock_order.h).
  bool report_inversions = true;
};

Report run_scenario(const AnyScenario& scenario, const RunOptions& options = {});
Report run_isolated(const AnyScenario& scenario, const RunOptions& options = {});

inline constexpr const char* kEngineName = kObserved ? "observed" : "threads";
inline constexpr Search kDefaultSearch = Search::kRandom;
inline constexpr bool kPages = false;         // no violation as HTML
inline constexpr bool kLongSearches = false;  // no checkpoints, no division among processes
constexpr bool offers(Search search) { return search == Search::kRandom; }

// What the scenario runner calls on every engine: here, run_isolated with the options that mean
// something on real threads (executions, time, seed). In the observed build the threads pause.
// With a time, a run that is not over long after it is killed.
Report run_search(const AnyScenario& scenario, const SearchOptions& options = {});

template <Scenario S>
Report run_scenario(const RunOptions& options = {}) {
  return run_scenario(any_scenario<S>(), options);
}

template <Scenario S>
Report run_isolated(const RunOptions& options = {}) {
  return run_isolated(any_scenario<S>(), options);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_RUN_H_
