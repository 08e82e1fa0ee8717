#include "explorer/strategies.h"

#include <algorithm>
#include <bit>

namespace explorer {

bool would_preempt(const Engine& engine) {
  if (engine.steps() == 0) return false;
  const Engine::Thread& t = engine.thread(engine.running());
  return engine.enabled(t) && t.wanted.label.op != Op::kYield && !t.passed_yield;
}

// ---- Exhaustive

Exhaustive::Exhaustive(int max_steps, int preemptions)
    : bound_(preemptions), nodes_(max_steps + 2) {}

int Exhaustive::pick(Engine& engine) {
  const int index = engine.steps();
  const uint8_t enabled = engine.go_mask();
  if (enabled == 0) return kNobody;
  Node& node = nodes_[index];
  node.untried = enabled;
  node.preempts = would_preempt(engine);
  node.stays = static_cast<int8_t>(engine.running());
  const int first = index > 0 && (enabled >> engine.running() & 1) != 0 ? engine.running()
                                                                        : std::countr_zero(enabled);
  if (node.preempts && bound_ >= 0 && node.preemptions >= bound_) {
    bound_met_ = bound_met_ || (enabled & ~(1 << engine.running())) != 0;
    // It could go on, but for its turn.
    if (first != engine.running()) return kCut;
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

bool Exhaustive::next(const Engine& engine, End) {
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
    known_ = i;
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

void Exhaustive::save(Writer& to) const {
  save_plan(to, plan_);
  to.put(bound_met_);
  for (size_t i = 0; i < plan_.size(); ++i) {
    const Node& node = nodes_[i];
    to.put(node.untried);
    to.put(node.branches);
    to.put(node.preemptions);
    to.put(node.preempts);
    to.put(node.stays);
    to.put(node.choices);
    to.put(node.choice_count);
  }
}

void Exhaustive::load(Reader& from) {
  plan_ = load_plan(from);
  if (plan_.size() > nodes_.size()) plan_.clear();
  known_ = static_cast<int>(plan_.size()) - 1;
  bound_met_ = from.get<bool>();
  for (size_t i = 0; i < plan_.size(); ++i) {
    Node& node = nodes_[i];
    node.untried = from.get<uint8_t>();
    node.branches = from.get<uint8_t>();
    node.preemptions = from.get<int16_t>();
    node.preempts = from.get<bool>();
    node.stays = from.get<int8_t>();
    node.choices = from.get<uint64_t>();
    node.choice_count = from.get<uint16_t>();
  }
}

// ---- RandomExecutions

int random_bit(std::mt19937_64& random, uint64_t mask) {
  int skip = static_cast<int>(random() % static_cast<uint64_t>(std::popcount(mask)));
  for (; skip > 0; --skip) mask &= mask - 1;
  return std::countr_zero(mask);
}

void RandomExecutions::begin(const Engine&) {
  random_.seed(seed_ * 0x9e3779b97f4a7c15u + at_ * 0xd6e8feb86659fd93u);
}

bool RandomExecutions::next(const Engine&, End) {
  at_ += slice_.stride;
  return at_ < slice_.end;
}

double RandomExecutions::progress() const {
  return static_cast<double>(at_) / static_cast<double>(slice_.end);
}

uint16_t RandomExecutions::pick_choice(Engine&, uint64_t allowed) {
  return static_cast<uint16_t>(random_bit(random_, allowed));
}

int RandomWalk::pick(Engine& engine) {
  const uint8_t enabled = engine.go_mask();
  return enabled == 0 ? kNobody : random_bit(random_, enabled);
}

// ---- Pct

void Pct::begin(const Engine& engine) {
  RandomExecutions::begin(engine);
  const int threads = engine.threads();
  std::array<int, kMaxThreads> order{};
  for (int i = 0; i < threads; ++i) order[i] = i;
  std::shuffle(order.begin(), order.begin() + threads, random_);
  for (int i = 0; i < threads; ++i) priority_[i] = depth_ + order[i];
  changes_.clear();
  for (int i = 1; i < depth_; ++i) {
    changes_.push_back(static_cast<int>(random_() % static_cast<uint64_t>(std::max(steps_, 1))));
  }
  lowest_ = depth_;
}

int Pct::pick(Engine& engine) {
  const uint8_t enabled = engine.go_mask();
  int best = kNobody;
  for (int i = 0; i < engine.threads(); ++i) {
    if ((enabled >> i & 1) != 0 && (best < 0 || priority_[i] > priority_[best])) best = i;
  }
  return best;
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
