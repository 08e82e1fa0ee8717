// What a model engine is asked to do with a scenario, and what it tells while it is at it.
//
// The words are those of the runners' flags: --search=dpor|bound|pct|random|full|replay. An engine
// that does not offer a search says so (offers() in its run.h) before it starts. Plain data,
// independent of the backend, no locking.
#ifndef HATCHECK_PLATFORM_SEARCH_H_
#define HATCHECK_PLATFORM_SEARCH_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace hatcheck {

enum class Search : uint8_t { kDpor, kBound, kPct, kRandom, kFull, kReplay };

inline constexpr std::array<std::pair<std::string_view, Search>, 6> kSearchNames{{
    {"dpor", Search::kDpor},      // one execution per class of equivalent ones, all classes
    {"bound", Search::kBound},    // every execution with at most so many preemptions
    {"pct", Search::kPct},        // random priorities with a few random changes
    {"random", Search::kRandom},  // uniformly random at each step
    {"full", Search::kFull},      // every execution, no reduction
    {"replay", Search::kReplay},  // one execution, given as a string
}};

constexpr std::string_view name_of(Search search) {
  for (const auto& [name, value] : kSearchNames) {
    if (value == search) return name;
  }
  return "?";
}

constexpr std::optional<Search> search_named(std::string_view text) {
  for (const auto& [name, value] : kSearchNames) {
    if (name == text) return value;
  }
  return std::nullopt;
}

struct SearchProgress {
  uint64_t executions = 0;
  uint64_t estimated = 0;  // of the whole search, 0 if unknown
  double share = 0;        // what is done of it, 0 to 1, 0 if unknown
};

struct SearchOptions {
  Search search = Search::kRandom;
  uint64_t executions = 0;            // at most; 0: what the scenario's bounds say, or no bound
  std::chrono::milliseconds time{0};  // start no further execution after this long; 0: no bound
  int preemptions = -1;               // kBound; -1: what the scenario's bounds say
  int depth = 3;                      // kPct: priority changes plus one
  uint64_t seed = 1;                  // kPct, kRandom
  uint64_t max_steps = 0;             // longest execution; 0: the engine's default
  std::string replay;                 // kReplay: what a violation printed
  // What a violation is shown with, where the engine can: the simplest schedule and its critical
  // step, and as a page of HTML.
  bool simplify = true;
  bool page = false;
  std::string again;  // on the page: the command that replays a schedule, without the schedule
  bool report_inversions = true;  // look for locks in an order that could deadlock
  // Engines with kLongSearches:
  int jobs = 1;            // processes
  int shard = 0;           // which part of the search this is,
  int shards = 1;          // of how many
  std::string checkpoint;  // file that keeps what is done, written this often and at the end:
  std::chrono::milliseconds checkpoint_every{60'000};
  std::string resume;  // such a file, to go on from
  // For tests of the engines: no learning which objects are shared, every operation is a place
  // where another thread may go on.
  bool every_point = false;
  // Called now and then between executions; the search ends when it returns false.
  std::function<bool(const SearchProgress&)> progress;
};

}  // namespace hatcheck

#endif  // HATCHECK_PLATFORM_SEARCH_H_
