// Strategy: which of the possible executions come, and in which order.
//
// An execution is a sequence of decisions: which thread goes on at a scheduling point, and which of
// n answers a choice has. A strategy makes the decisions of one execution after the other.
//
// Thread safety: none.
#ifndef HATCHECK_PLATFORM_RELACY_STRATEGY_H_
#define HATCHECK_PLATFORM_RELACY_STRATEGY_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "platform/relacy/backend.h"
#include "platform/search.h"

namespace hatcheck::inline HATCHECK_BACKEND::model {

// Sets of threads: bit i is thread i.
using ThreadSet = uint32_t;

// What a thread does when it goes on, as far as the order of two such steps can matter: what it
// does up to its next scheduling point is either private, or done while holding locks, or compared
// with vector clocks.
struct Step {
  const void* object = nullptr;  // null: nothing that others could notice
  bool write = false;
  bool orders_all = false;  // its effect depends on whatever others did before (yield)
};

inline bool dependent(const Step& a, const Step& b) {
  if (a.orders_all || b.orders_all) return true;
  return a.object != nullptr && a.object == b.object && (a.write || b.write);
}

struct Situation {
  ThreadSet enabled = 0;    // never empty
  int current = 0;          // who came here
  bool preemption = false;  // running anybody else takes the CPU from a thread that could go on
  std::array<Step, kMaxThreads> next{};            // of the enabled threads
  std::array<uint64_t, kMaxThreads> operations{};  // that each thread has done
};

class Strategy {
 public:
  static constexpr int kRedundant = -1;

  virtual ~Strategy() = default;

  // Before each execution.
  virtual void begin() = 0;
  // One of the enabled threads, or kRedundant: everything that can follow is explored elsewhere.
  virtual int pick_thread(const Situation& situation) = 0;
  virtual uint32_t pick(uint32_t n) = 0;
  // After an execution, complete or redundant: whether there is another one.
  virtual bool next() = 0;
  // Forgets what has been explored: there are more scheduling points than before.
  virtual void restart() = 0;
  // An execution met other decisions than the one that led to the same place before it.
  virtual bool diverged() const { return false; }
};

// The schedule of one execution: who ran for how many operations of the seam, and the choices. It
// does not mention scheduling points, so it is good for any set of them.
struct Schedule {
  struct Run {
    int thread = 0;
    uint64_t operations = 0;
  };
  std::vector<Run> runs;
  std::vector<uint32_t> choices;
};

// "0x12.1x5.0x3/0.1.1": thread 0 for 12 operations, then 1 for 5, then 0 for 3; choices 0, 1, 1.
std::string to_string(const Schedule& schedule);
std::optional<Schedule> parse_schedule(const std::string& text);

// Every execution, or one of each class of equivalent ones (`reduce`), or those with at most so
// many preemptions (0 or more).
std::unique_ptr<Strategy> make_tree_strategy(bool reduce, int preemptions);
std::unique_ptr<Strategy> make_random_strategy(uint64_t seed);
std::unique_ptr<Strategy> make_replay_strategy(Schedule schedule);

}  // namespace hatcheck::inline HATCHECK_BACKEND::model

#endif  // HATCHECK_PLATFORM_RELACY_STRATEGY_H_
