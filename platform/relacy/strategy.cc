#include "platform/relacy/strategy.h"

#include <bit>
#include <random>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace hatcheck::inline HATCHECK_BACKEND::model {

namespace {

constexpr ThreadSet only(int thread) { return ThreadSet{1} << thread; }
int lowest(ThreadSet set) { return std::countr_zero(set); }

// Depth-first search of the tree of decisions.
//
// With `reduce` it keeps sleep sets (Godefroid): when all executions that start with a step of
// thread t have been seen, those that start with an independent step of another thread and have t's
// step later, before anything that depends on it, are the same again. So t sleeps in the sibling's
// subtree until a dependent step is taken, and an execution in which only sleepers could go on is
// redundant. Every class of equivalent executions is still seen, once.
class TreeStrategy : public Strategy {
 public:
  TreeStrategy(bool reduce, int preemptions) : reduce_(reduce), preemptions_(preemptions) {}

  void begin() override {
    depth_ = 0;
    asleep_ = 0;
    preempted_ = 0;
  }

  int pick_thread(const Situation& situation) override {
    const bool out_of_preemptions =
        preemptions_ >= 0 && situation.preemption && preempted_ >= preemptions_;
    const ThreadSet open =
        out_of_preemptions ? only(situation.current) : situation.enabled & ~asleep_;
    if (open == 0) return kRedundant;
    int thread;
    ThreadSet done = 0;
    if (std::has_single_bit(open)) {
      thread = lowest(open);
    } else {
      Node& node = visit(Node{.threads = open});
      if (node.threads != open) diverged_ = true;
      // Going on with the same thread first makes the first execution the serial one.
      if (node.chosen < 0) {
        node.chosen = (open & only(situation.current)) != 0 ? situation.current : lowest(open);
      }
      thread = node.chosen;
      done = node.done;
    }
    if (situation.preemption && thread != situation.current) ++preempted_;
    if (reduce_) {
      ThreadSet still = 0;
      for (ThreadSet rest = (asleep_ | done) & ~only(thread); rest != 0; rest &= rest - 1) {
        const int sleeper = lowest(rest);
        const auto index = static_cast<size_t>(sleeper);
        if (!dependent(situation.next[index], situation.next[static_cast<size_t>(thread)])) {
          still |= only(sleeper);
        }
      }
      asleep_ = still;
    }
    return thread;
  }

  uint32_t pick(uint32_t n) override {
    if (n == 1) return 0;
    Node& node = visit(Node{.answers = n});
    if (node.answers != n) diverged_ = true;
    if (node.chosen < 0) node.chosen = 0;
    return static_cast<uint32_t>(node.chosen);
  }

  bool next() override {
    nodes_.resize(depth_);
    while (!nodes_.empty()) {
      Node& node = nodes_.back();
      if (node.answers != 0) {
        if (static_cast<uint32_t>(++node.chosen) < node.answers) return true;
      } else {
        node.done |= only(node.chosen);
        const ThreadSet left = node.threads & ~node.done;
        if (left != 0) {
          node.chosen = lowest(left);
          return true;
        }
      }
      nodes_.pop_back();
    }
    return false;
  }

  void restart() override {
    nodes_.clear();
    depth_ = 0;
  }
  bool diverged() const override { return diverged_; }

 private:
  struct Node {
    ThreadSet threads = 0;  // of a scheduling point: who may go on
    ThreadSet done = 0;     // those whose subtrees are finished
    uint32_t answers = 0;   // of a choice: how many
    int chosen = -1;
  };

  Node& visit(const Node& fresh) {
    if (depth_ == nodes_.size()) nodes_.push_back(fresh);
    return nodes_[depth_++];
  }

  const bool reduce_;
  const int preemptions_;
  std::vector<Node> nodes_;  // the path to the current execution
  size_t depth_ = 0;
  ThreadSet asleep_ = 0;
  int preempted_ = 0;
  bool diverged_ = false;
};

class RandomStrategy : public Strategy {
 public:
  explicit RandomStrategy(uint64_t seed) : random_(seed) {}

  void begin() override {}
  int pick_thread(const Situation& situation) override {
    ThreadSet set = situation.enabled;
    for (uint32_t skip = pick(static_cast<uint32_t>(std::popcount(set))); skip > 0; --skip) {
      set &= set - 1;
    }
    return lowest(set);
  }
  uint32_t pick(uint32_t n) override {
    // Not a standard distribution: a seed has to mean the same with every library.
    return static_cast<uint32_t>(((random_() >> 32) * n) >> 32);
  }
  bool next() override { return true; }
  void restart() override {}

 private:
  std::mt19937_64 random_;
};

class ReplayStrategy : public Strategy {
 public:
  explicit ReplayStrategy(Schedule schedule) : schedule_(std::move(schedule)) {}

  void begin() override {
    run_ = 0;
    choice_ = 0;
    start_ = {};
  }
  int pick_thread(const Situation& situation) override {
    const auto done = [&](int thread) {
      const auto index = static_cast<size_t>(thread);
      return situation.operations[index] - start_[index];
    };
    while (run_ < schedule_.runs.size() &&
           (done(schedule_.runs[run_].thread) >= schedule_.runs[run_].operations ||
            (situation.enabled & only(schedule_.runs[run_].thread)) == 0)) {
      const auto index = static_cast<size_t>(schedule_.runs[run_].thread);
      start_[index] = situation.operations[index];
      ++run_;
    }
    if (run_ < schedule_.runs.size()) return schedule_.runs[run_].thread;
    return (situation.enabled & only(situation.current)) != 0 ? situation.current
                                                              : lowest(situation.enabled);
  }
  uint32_t pick(uint32_t n) override {
    const uint32_t answer = choice_ < schedule_.choices.size() ? schedule_.choices[choice_++] : 0;
    return answer < n ? answer : 0;
  }
  bool next() override { return false; }
  void restart() override {}

 private:
  const Schedule schedule_;
  size_t run_ = 0;
  size_t choice_ = 0;
  std::array<uint64_t, kMaxThreads> start_{};  // operations of each thread when its run began
};

}  // namespace

std::string to_string(const Schedule& schedule) {
  std::string text;
  for (const Schedule::Run& run : schedule.runs) {
    absl::StrAppend(&text, text.empty() ? "" : ".", run.thread, "x", run.operations);
  }
  const char* separator = "/";
  for (const uint32_t choice : schedule.choices) {
    absl::StrAppend(&text, separator, choice);
    separator = ".";
  }
  return text;
}

std::optional<Schedule> parse_schedule(const std::string& text) {
  Schedule schedule;
  const std::vector<std::string> halves = absl::StrSplit(text, '/');
  if (halves.empty() || halves.size() > 2) return std::nullopt;
  for (const absl::string_view part : absl::StrSplit(halves[0], '.', absl::SkipEmpty())) {
    const std::vector<std::string> pair = absl::StrSplit(part, 'x');
    Schedule::Run run;
    if (pair.size() != 2 || !absl::SimpleAtoi(pair[0], &run.thread) ||
        !absl::SimpleAtoi(pair[1], &run.operations) || run.thread < 0 ||
        run.thread >= kMaxThreads) {
      return std::nullopt;
    }
    schedule.runs.push_back(run);
  }
  if (halves.size() == 2) {
    for (const absl::string_view part : absl::StrSplit(halves[1], '.', absl::SkipEmpty())) {
      uint32_t choice;
      if (!absl::SimpleAtoi(part, &choice)) return std::nullopt;
      schedule.choices.push_back(choice);
    }
  }
  return schedule;
}

std::unique_ptr<Strategy> make_tree_strategy(bool reduce, int preemptions) {
  return std::make_unique<TreeStrategy>(reduce, preemptions);
}
std::unique_ptr<Strategy> make_random_strategy(uint64_t seed) {
  return std::make_unique<RandomStrategy>(seed);
}
std::unique_ptr<Strategy> make_replay_strategy(Schedule schedule) {
  return std::make_unique<ReplayStrategy>(std::move(schedule));
}

}  // namespace hatcheck::inline HATCHECK_BACKEND::model
