// PartSearch: the search of one part, from its start or from where it was saved.
//
// Thread safety: one real thread; one at a time per engine.
#ifndef HATCHECK_EXPLORER_PART_SEARCH_H_
#define HATCHECK_EXPLORER_PART_SEARCH_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "explorer/checkpoint.h"
#include "explorer/engine.h"
#include "explorer/part.h"
#include "explorer/search.h"
#include "explorer/strategies.h"
#include "explorer/walk.h"

namespace explorer {

// What a search is asked to do, with every default filled in.
struct Task {
  Part part;
  Slice slice;
  int steps = 1;  // about how many an execution has
};

class PartSearch {
 public:
  enum class Status : uint8_t {
    kOpen,      // there is more to do
    kFinished,  // all of it is done
    kViolated,  // a finding ended it
    kRestart,   // the whole search begins anew, with local states (Engine::watch_states)
  };

  PartSearch(Engine& engine, const Options& options, const Task& task);
  ~PartSearch() { engine_.set_part(nullptr); }

  // Runs executions until the part is done, `may_go_on` says no (asked after each), or a finding
  // ends it.
  void run(const std::function<bool()>& may_go_on);

  Status status() const { return status_; }
  // Of this part alone, without its verdict.
  const Result& result() const { return result_; }
  bool bound_met() const { return bound_met_; }
  double progress() const;
  // Whether it is time to look at clocks and messages: not after every short execution.
  bool look_due() const;

  std::string save() const;
  // False if the text is no such state.
  bool load(const std::string& state);

  // What is in a saved state, without an engine.
  struct Summary {
    Status status = Status::kOpen;
    bool bound_met = false;
    Result result;
  };
  static Summary summary(const std::string& state);

 private:
  std::unique_ptr<Walk> make_walk() const;
  bool run_one();
  Finding judge_lock_order();
  bool advance(End end);

  Engine& engine_;
  const Options& options_;
  const Task& task_;
  Status status_ = Status::kOpen;
  Result result_;
  std::unique_ptr<Walk> walk_;
  int preemptions_ = 0;  // kBound: the bound at hand
  bool bound_met_ = false;
  int known_ = 0;
  uint64_t runs_ = 0;  // of this object
  size_t edges_judged_ = 0;
};

void save_result(Writer& to, const Result& result);
Result load_result(Reader& from);
// Adds the counts, and the finding if there is none yet.
void add_result(Result& to, const Result& from);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_PART_SEARCH_H_
