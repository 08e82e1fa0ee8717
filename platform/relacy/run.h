// Scenarios under Relacy: run_search().
//
// Thread safety: one run at a time in a process, started from the process's main thread.
#ifndef HATCHECK_PLATFORM_RELACY_RUN_H_
#define HATCHECK_PLATFORM_RELACY_RUN_H_

#include <cstdint>

#include "platform/relacy/model.h"
#include "platform/scenario.h"
#include "platform/search.h"
#include "platform/verdict.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// The virtual CPU of the calling thread: the number of its body.
inline CpuId this_cpu() { return static_cast<CpuId>(model::hot.thread); }

// The engine binds every body to its CPU. A second binding is a failure; outside of a run this
// says what this_cpu() is.
class CpuBinding {
 public:
  explicit CpuBinding(CpuId cpu, uint64_t seed = 0, Where where = Where::here());
  ~CpuBinding();

  CpuBinding(const CpuBinding&) = delete;
  CpuBinding& operator=(const CpuBinding&) = delete;
};

// Whether a scenario that runs into a violation of the kind is reported. Of lock orders it is the
// classes that are compared (kLockOrder), not the locks.
constexpr bool engine_finds(Kind kind) {
  return kind != Kind::kCircularLocking && kind != Kind::kUninitialisedRead;
}

inline constexpr const char* kEngineName = "relacy";

// full    every order of the operations on objects that two threads use and one changes, and every
//         value that a load may read
// dpor    of these, one of each class that differs only in the order of independent operations
// bound   as full, with at most `preemptions` switches away from a thread that could go on
// random  one of those executions after the other, at random
// replay  what a violation printed
constexpr bool offers(Search search) { return search != Search::kPct; }
inline constexpr Search kDefaultSearch = Search::kDpor;
inline constexpr bool kPages = false;         // no violation as HTML
inline constexpr bool kLongSearches = false;  // no checkpoints, no division among processes

// Every execution of the scenario under the search; the report of the first violation if there is
// one. A violation is replayed at once for its report; one that does not happen again is reported
// as a nondeterministic scenario.
Report run_search(const AnyScenario& scenario, const SearchOptions& options = {});

template <Scenario S>
Report run_search(const SearchOptions& options = {}) {
  return run_search(any_scenario<S>(), options);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_RELACY_RUN_H_
