// Dpor: optimal dynamic partial-order reduction as a strategy for the engine.
//
// Explores one complete execution per trace (event.h says which executions are one trace). After
// each execution it looks for races, that is pairs of dependent steps that could have come in the
// other order, and plans for each an execution that has them so; sleep sets and wakeup trees keep
// it from planning what is explored already. After Abdulla, Aronis, Jonsson and Sagonas (JACM
// 2017), with these extensions:
//   - locks: an acquisition races with the acquisition whose critical section came before it, not
//     with the release, which it could not overtake; a thread that stays blocked races too;
//   - reader-writer locks: the same, where several readers may have to make room at once;
//   - steps with a choice: another choice at the same place is a race whose two sides exclude each
//     other.
//
// Memory: the steps of one execution and the wakeup trees along it.
#ifndef HATCHECK_EXPLORER_DPOR_H_
#define HATCHECK_EXPLORER_DPOR_H_

#include <array>
#include <cstdint>
#include <vector>

#include "explorer/engine.h"
#include "explorer/lazy_array.h"
#include "explorer/wakeup_tree.h"
#include "explorer/walk.h"

namespace explorer {

class Dpor : public Walk {
 public:
  // Executions differ from step `fixed` on: the plan of the first one has the steps before.
  explicit Dpor(int max_steps, int fixed = 0);

  int pick(Engine& engine) override;
  uint16_t pick_choice(Engine& engine, uint64_t allowed) override;
  void made(Engine& engine, int index) override;

  // Plans the executions that the one just ended gives rise to, and moves on.
  bool next(const Engine& engine, End end) override;
  const std::vector<Decision>& plan() const override { return plan_; }
  // All of the plan.
  int known() const override { return known_; }

  // If what is not yet planned is like what is.
  double progress() const override;
  void save(Writer& to) const override;
  void load(Reader& from) override;
  uint64_t peak_tree() const override { return tree_.peak(); }

 private:
  struct Node {
    uint8_t sleep = 0;     // threads whose next step from here is explored already, as bits
    uint8_t explored = 0;  // branches finished
    bool recheck = false;  // a race of the step from here was left to a sleeping thread which a
                           // later step may wake, in another execution
    uint32_t todo = 0;     // wakeup tree
  };
  using Choices = std::array<uint64_t, kMaxThreads>;

  // A step whose races are sought: one of the execution, or one that a thread never got to.
  struct Late {
    Label label;
    Clock base;
    int index;  // in the log, or its length
    bool retry;
    int previous;
    int previous2;
  };

  void analyse(const Engine& engine);
  bool move_on(const Engine& engine);
  bool all_have_run(const Engine& engine, const Late& late, int early) const;
  bool out_of_turn(const Engine& engine, const Label& late, int early) const;
  bool asleep(const Engine& engine, int thread, const Node& node, int index) const;
  void races_of(const Engine& engine, const Late& late, int last_yield);
  void collect(const Engine& engine, const Late& late, uint32_t object, int from, bool writes);
  void mutex_race(const Engine& engine, const Late& late, Clock& known);
  void rw_races(const Engine& engine, const Late& late);
  bool rw_reversal(const Engine& engine, const Late& late, int early);
  bool can_come_first(const Engine& engine, const Late& late, int early) const;
  bool reverse(const Engine& engine, const Late& late, int early);
  void other_choices(const Engine& engine, int index);
  void plan(const Engine& engine, int at, Sequence& sequence, int late);
  enum class Covered : uint8_t { kNo, kHere, kAlways };
  Covered covered(const Engine& engine, int at, const Sequence& sequence, int late) const;
  struct Sleeper {
    Label label;
    uint64_t choices;  // that the step may be made with, as bits
  };
  Sleeper sleeper(const Engine& engine, int thread, int at) const;

  const int fixed_;
  WakeupTree tree_;
  LazyArray<Node> nodes_;
  LazyArray<Choices> slept_choices_;  // per node, where there are choices at all
  bool has_choices_ = false;
  int known_ = 0;
  std::vector<Decision> plan_;
  Sequence sequence_;
  std::vector<int> candidates_;
  std::vector<int> removed_;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_DPOR_H_
