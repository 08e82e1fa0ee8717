// Scenarios on the explorer: run_search().
//
// Thread safety: one run at a time in a process.
#ifndef HATCHECK_PLATFORM_EXPLORER_RUN_H_
#define HATCHECK_PLATFORM_EXPLORER_RUN_H_

#include <cstdint>

#include "platform/explorer/backend.h"
#include "platform/scenario.h"
#include "platform/search.h"
#include "platform/verdict.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// The virtual CPU of the calling thread: the number of its body.
inline CpuId this_cpu() {
  const explorer::Engine* const engine = explorer::Engine::active;
  return engine == nullptr ? 0 : static_cast<CpuId>(engine->self());
}

// The engine binds every body to its CPU: a second binding is a failure.
class CpuBinding {
 public:
  explicit CpuBinding(CpuId cpu, uint64_t seed = 0, Where where = Where::here());

  CpuBinding(const CpuBinding&) = delete;
  CpuBinding& operator=(const CpuBinding&) = delete;
};

// Whether a scenario that runs into a violation of the kind is reported. A Guarded is initialised
// by its constructor, so there are no uninitialised reads of live ones.
constexpr bool engine_finds(Kind kind) { return kind != Kind::kUninitialisedRead; }

inline constexpr const char* kEngineName = "explorer";

constexpr bool offers(Search) { return true; }
inline constexpr Search kDefaultSearch = Search::kDpor;
inline constexpr bool kPages = true;
// A search can be interrupted and resumed, and divided among processes and machines.
inline constexpr bool kLongSearches = true;

// Every execution of the scenario under the search; the report of the first violation if there is
// one. `iterations` counts executions that ran to their end.
Report run_search(const AnyScenario& scenario, const SearchOptions& options = {});

template <Scenario S>
Report run_search(const SearchOptions& options = {}) {
  return run_search(any_scenario<S>(), options);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_EXPLORER_RUN_H_
