// The searches without reduction: every interleaving (with a bound on preemptions, if wanted),
// random walks, and PCT.
//
// A preemption is a switch away from a thread that could have gone on and did not yield.
#ifndef HATCHECK_EXPLORER_STRATEGIES_H_
#define HATCHECK_EXPLORER_STRATEGIES_H_

#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "explorer/engine.h"
#include "explorer/lazy_array.h"
#include "explorer/walk.h"

namespace explorer {

// Whether leaving the running thread now would be a preemption.
bool would_preempt(const Engine& engine);

// Depth first, every choice at every step.
class Exhaustive : public Walk {
 public:
  // At most so many preemptions per execution; negative: any number.
  Exhaustive(int max_steps, int preemptions);

  int pick(Engine& engine) override;
  uint16_t pick_choice(Engine& engine, uint64_t allowed) override;
  void made(Engine& engine, int index) override;

  bool next(const Engine& engine, End end) override;
  const std::vector<Decision>& plan() const override { return plan_; }
  int known() const override { return known_; }
  double progress() const override;
  void save(Writer& to) const override;
  void load(Reader& from) override;
  // Whether the bound kept something out.
  bool bound_met() const { return bound_met_; }

 private:
  struct Node {
    uint8_t untried = 0;  // threads, as bits
    uint8_t branches = 0;
    int16_t preemptions = 0;  // before this step
    bool preempts = false;    // trying another thread is one more
    int8_t stays = -1;        // the thread that is none
    uint64_t choices = 0;     // of the thread at hand, untried
    uint16_t choice_count = 1;
  };

  const int bound_;
  bool bound_met_ = false;
  int known_ = 0;
  LazyArray<Node> nodes_;
  std::vector<Decision> plan_;
};

// Which of the executions of a random search: every `stride`th from `first` on, below `end`.
struct Slice {
  uint64_t first = 0;
  uint64_t stride = 1;
  uint64_t end = ~uint64_t{0};
};

// Executions that have nothing to do with each other. Each has a generator of its own, so that it
// does not matter who runs which.
class RandomExecutions : public Walk {
 public:
  RandomExecutions(uint64_t seed, Slice slice) : seed_(seed), slice_(slice), at_(slice.first) {}

  void begin(const Engine& engine) override;
  bool next(const Engine& engine, End end) override;
  const std::vector<Decision>& plan() const override { return plan_; }
  int known() const override { return 0; }
  double progress() const override;
  void save(Writer& to) const override { to.put(at_); }
  void load(Reader& from) override { at_ = from.get<uint64_t>(); }
  uint16_t pick_choice(Engine& engine, uint64_t allowed) override;
  void made(Engine&, int) override {}

 protected:
  std::mt19937_64 random_;

 private:
  const uint64_t seed_;
  const Slice slice_;
  uint64_t at_;
  const std::vector<Decision> plan_;
};

// Each step is one of the possible ones, all equally likely.
class RandomWalk : public RandomExecutions {
 public:
  using RandomExecutions::RandomExecutions;
  int pick(Engine& engine) override;
};

// Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010):
// random priorities, lowered at depth-1 random steps. Finds a violation that takes d ordering
// decisions with a probability of at least 1/(n * k^(d-1)) per execution, for n threads and k
// steps.
class Pct : public RandomExecutions {
 public:
  // `steps`: about how many an execution has.
  Pct(uint64_t seed, Slice slice, int depth, int steps)
      : RandomExecutions(seed, slice), depth_(depth), steps_(steps) {}
  void begin(const Engine& engine) override;
  int pick(Engine& engine) override;
  void made(Engine& engine, int index) override;

 private:
  const int depth_;
  const int steps_;
  std::array<int, kMaxThreads> priority_{};
  std::vector<int> changes_;  // steps at which the running thread's priority falls
  int lowest_ = 0;
};

// One of the bits of the mask, at random.
int random_bit(std::mt19937_64& random, uint64_t mask);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_STRATEGIES_H_
