// search(): runs a scenario's executions and says what came of it.
//
//   class Transfer : public explorer::Program { ... };
//   Transfer program;
//   const explorer::Result result = explorer::search(program, {});
//
// A search that finds nothing is `exhausted` only if every execution there is (for kDpor: one of
// every trace) ran to its end; any bound that was met makes it `bounded`. The first finding ends
// it, unless Options::keep_going.
#ifndef HATCHECK_EXPLORER_SEARCH_H_
#define HATCHECK_EXPLORER_SEARCH_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "explorer/engine.h"
#include "explorer/finding.h"
#include "explorer/lock_order.h"

namespace explorer {

enum class Method : uint8_t {
  kDpor,    // one execution per trace, all traces
  kFull,    // every interleaving
  kBound,   // every interleaving with at most so many preemptions: 0, then 1, and so on
  kPct,     // random priorities with a few random changes
  kRandom,  // uniformly random at each step
  kReplay,  // one execution, given as a string
};

struct Progress {
  uint64_t executions = 0;
  uint64_t cut_short = 0;
  uint64_t events = 0;
  double seconds = 0;
  double share = 0;  // of the whole search, 0 to 1: an estimate, 0 if unknown
};

struct Options {
  Method method = Method::kDpor;
  uint64_t executions = 0;            // at most; 0 for no bound (kPct, kRandom: 10,000)
  std::chrono::milliseconds time{0};  // start no further execution after this long; 0: no bound
  int preemptions = 2;                // kBound
  int depth = 3;                      // kPct: priority changes plus one
  uint64_t seed = 1;                  // kPct, kRandom
  std::string replay;                 // kReplay: Result::schedule of an earlier search
  bool keep_going = false;            // count findings instead of stopping at the first
  EngineOptions engine;
  Recorder* recorder = nullptr;  // is told everything; for replays
  // Processes that share the work, forked from this one.
  int jobs = 1;
  // This is part `shard` of `shards` of the search: together they are the whole, and no execution
  // is in two of them.
  int shard = 0;
  int shards = 1;
  // A file to keep the state of the search in: written that often, and when a bound ends it.
  std::string checkpoint;
  std::chrono::milliseconds checkpoint_every{60'000};
  std::string resume;  // such a file: go on from there
  // Called now and then between executions, where the search ends when it returns false, and at the
  // end.
  std::function<bool(const Progress&)> progress;
  // Called after each execution that belongs to this search, and after those that were left early.
  // Not with several jobs: those are other processes.
  std::function<void(const Engine&, End)> observer;
  // Called when the search begins anew, which it does at most once: the first thread that spins
  // makes it keep track of local states. What was told before does not count.
  std::function<void()> restarted;
  // Says what is wrong with the order of locks seen so far, or nothing: that is a finding. Asked
  // after an execution that has added to it, and once more when the search is over (`last`), if it
  // has found nothing. With several jobs each of them knows its own executions, and those of all
  // are known at the end.
  std::function<std::string(const LockOrder&, bool last)> judge_lock_order;
};

enum class Verdict : uint8_t { kExhausted, kBounded, kViolated };

struct Result {
  Verdict verdict = Verdict::kBounded;
  std::string bounded_by;  // why it is not exhausted
  Finding finding;         // the first one
  std::string schedule;    // of the execution with the finding
  uint64_t findings = 0;
  uint64_t executions = 0;  // that ran to their end
  uint64_t cut_short = 0;   // that were left because they led to nothing new
  uint64_t too_long = 0;    // that reached the bound on steps
  uint64_t events = 0;
  int longest = 0;         // events in an execution
  double seconds = 0;      // of all runs, if a checkpoint was resumed
  double share = 0;        // of the whole search that is done, 0 to 1: an estimate
  uint64_t peak_tree = 0;  // kDpor: nodes of wakeup trees at a time, at most
  std::string covered;     // what a shard is of the whole; empty if it is all
  std::string usage;       // why nothing was searched, or what became of the checkpoint
  std::vector<LockOrder::Edge> lock_edges;  // of all executions
};

Result search(Program& program, const Options& options);

// "exhausted", "bounded (by 1000 executions)" or "violated (deadlock)".
std::string verdict_line(const Result& result);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_SEARCH_H_
