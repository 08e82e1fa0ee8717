#include "explorer/strategies.h"

#include <algorithm>
#include <bit>

namespace explorer {

bool would_preempt(const Engine& engine, uint8_t enabled) {
  if (engine.steps() == 0) return false;
  const Engine::Thread& t = engine.thread(engine.running());
  return (enabled >> t.id & 1) != 0 && t.wanted.label.op != Op::kYield && !t.passed_yield;
}

// ---- Exhaustive

Exhaustive::Exhaustive(int max_steps, int preemptions)
    : bound_(preemptions), nodes_(max_steps + 2) {}

int Exhaustive::pick(Engine& engine) {
  const int index = engine.steps();
  const uint8_t enabled = engine.enabled_mask();
  if (enabled == 0) return kNobody;
  Node& node = nodes_[index];
  node.untried = enabled;
  node.preempts = would_preempt(engine, enabled);
  node.stays = static_cast<int8_t>(engine.running());
  const int first = index > 0 && (enabled >> engine.running() & 1) != 0 ? engine.running()
                                                                        : std::countr_zero(enabled);
  if (node.preempts && bound_ >= 0 && node.preemptions >= bound_) {
    bound_met_ = bound_met_ || (enabled & (enabled - 1)) != 0;
    node.untried = static_cast<uint8_t>(1 << first);
  }
  node.branches = static_cast<uint8_t>(std::popcount(node.untried));
  node.untried &= static_cast<uint8_t>(~(1 << first));
  node.choices = 0;
  node.choice_count = 1;
  return first;
}

uint16_t Exhaustive::pick_choice(Engine& engine, uint64_t allowed) {
  Node& node = nodes_[engine.steps()];
  node.choices = allowed & (allowed - 1);
  node.choice_count = static_cast<uint16_t>(std::popcount(allowed));
  return static_cast<uint16_t>(std::countr_zero(allowed));
}

void Exhaustive::made(Engine& engine, int index) {
  const Node& node = nodes_[index];
  const bool preempted = node.preempts && engine.event(index).label.thread != node.stays;
  nodes_[index + 1].preemptions = static_cast<int16_t>(node.preemptions + (preempted ? 1 : 0));
}

bool Exhaustive::next(const Engine& engine) {
  for (int i = engine.steps() - 1; i >= 0; --i) {
    Node& node = nodes_[i];
    if (node.choices == 0 && node.untried == 0) continue;
    plan_.resize(i + 1);
    for (int k = 0; k <= i; ++k) {
      const Label& step = engine.event(k).label;
      plan_[k] = Decision{step.thread, step.choice};
    }
    if (node.choices != 0) {
      plan_[i].choice = static_cast<uint16_t>(std::countr_zero(node.choices));
      node.choices &= node.choices - 1;
    } else {
      plan_[i].thread = static_cast<uint8_t>(std::countr_zero(node.untried));
      node.untried &= static_cast<uint8_t>(node.untried - 1);
      plan_[i].choice = kAnyChoice;
    }
    return true;
  }
  return false;
}

double Exhaustive::progress() const {
  double done = 0;
  double share = 1;
  for (size_t i = 0; i < plan_.size(); ++i) {
    const Node& node = nodes_[i];
    if (node.branches == 0) continue;
    share /= node.branches;
    const bool last = i + 1 == plan_.size();
    done += share * (node.branches - std::popcount(node.untried) - 1);
    if (last) break;
  }
  return done;
}

// ---- RandomWalk

int random_bit(std::mt19937_64& random, uint64_t mask) {
  int skip = static_cast<int>(random() % static_cast<uint64_t>(std::popcount(mask)));
  for (; skip > 0; --skip) mask &= mask - 1;
  return std::countr_zero(mask);
}

int RandomWalk::pick(Engine& engine) {
  const uint8_t enabled = engine.enabled_mask();
  return enabled == 0 ? kNobody : random_bit(random_, enabled);
}

uint16_t RandomWalk::pick_choice(Engine&, uint64_t allowed) {
  return static_cast<uint16_t>(random_bit(random_, allowed));
}

// ---- Pct

void Pct::begin(int threads, int steps) {
  std::array<int, kMaxThreads> order{};
  for (int i = 0; i < threads; ++i) order[i] = i;
  std::shuffle(order.begin(), order.begin() + threads, random_);
  for (int i = 0; i < threads; ++i) priority_[i] = depth_ + order[i];
  changes_.clear();
  for (int i = 1; i < depth_; ++i) {
    changes_.push_back(static_cast<int>(random_() % static_cast<uint64_t>(std::max(steps, 1))));
  }
  lowest_ = depth_;
}

int Pct::pick(Engine& engine) {
  const uint8_t enabled = engine.enabled_mask();
  int best = kNobody;
  for (int i = 0; i < engine.threads(); ++i) {
    if ((enabled >> i & 1) != 0 && (best < 0 || priority_[i] > priority_[best])) best = i;
  }
  return best;
}

uint16_t Pct::pick_choice(Engine&, uint64_t allowed) {
  return static_cast<uint16_t>(random_bit(random_, allowed));
}

void Pct::made(Engine& engine, int index) {
  const Label& label = engine.event(index).label;
  // A yield asks for others to run: below everybody, too.
  if (label.op == Op::kYield ||
      std::find(changes_.begin(), changes_.end(), index) != changes_.end()) {
    priority_[label.thread] = --lowest_;
  }
}

}  // namespace explorer
