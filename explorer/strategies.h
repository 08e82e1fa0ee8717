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

namespace explorer {

// Whether leaving the running thread now would be a preemption.
bool would_preempt(const Engine& engine, uint8_t enabled);

// Depth first, every choice at every step.
class Exhaustive : public Strategy {
 public:
  // At most so many preemptions per execution; negative: any number.
  Exhaustive(int max_steps, int preemptions);

  int pick(Engine& engine) override;
  uint16_t pick_choice(Engine& engine, uint64_t allowed) override;
  void made(Engine& engine, int index) override;

  // Moves on to the next execution: false if there is none.
  bool next(const Engine& engine);
  const std::vector<Decision>& plan() const { return plan_; }
  int known() const { return static_cast<int>(plan_.size()) - 1; }
  double progress() const;
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
  std::vector<Node> nodes_;
  std::vector<Decision> plan_;
};

// Each step is one of the possible ones, all equally likely.
class RandomWalk : public Strategy {
 public:
  explicit RandomWalk(uint64_t seed) : random_(seed) {}
  int pick(Engine& engine) override;
  uint16_t pick_choice(Engine& engine, uint64_t allowed) override;
  void made(Engine&, int) override {}

 private:
  std::mt19937_64 random_;
};

// Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010):
// random priorities, lowered at depth-1 random steps. Finds a violation that takes d ordering
// decisions with a probability of at least 1/(n * k^(d-1)) per execution, for n threads and k
// steps.
class Pct : public Strategy {
 public:
  Pct(uint64_t seed, int depth) : depth_(depth), random_(seed) {}
  int pick(Engine& engine) override;
  uint16_t pick_choice(Engine& engine, uint64_t allowed) override;
  void made(Engine& engine, int index) override;

  // To be called before each execution; `steps` is how long the longest one so far was.
  void begin(int threads, int steps);

 private:
  const int depth_;
  std::mt19937_64 random_;
  std::array<int, kMaxThreads> priority_{};
  std::vector<int> changes_;  // steps at which the running thread's priority falls
  int lowest_ = 0;
};

// One of the bits of the mask, at random.
int random_bit(std::mt19937_64& random, uint64_t mask);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_STRATEGIES_H_
