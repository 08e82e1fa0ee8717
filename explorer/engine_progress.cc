// Engine: yields, and executions in which nobody can go on.
//
// A yield says "I wait for another thread". Three rules make loops around it finite without losing
// what matters:
//   1. A loop that only looks at one object (a load, or a tryenter that fails) and comes back to it
//      in the same local state spins: it would look in vain until somebody changes the object, so
//      it is not scheduled before that.
//   2. Otherwise the yield is a step. A thread may make one only when every other thread that could
//      make a step has made one since its previous yield. Such a step depends on everything.
//   3. The first yields in loops like those of rule 1 are let pass, since it takes two rounds to
//      see that a state repeats.
#include <string>

#include "explorer/engine.h"
#include "explorer/local_state.h"
#include "explorer/recorder.h"
#include "explorer/sync.h"

namespace explorer {
namespace {

constexpr int kRepetitions = 4;  // what repeats so often is taken to do so for ever
constexpr int kGraces = 8;       // yields let pass by rule 3, per thread and execution

}  // namespace

void Engine::yield(const Site& site) {
  if (alone_) return;
  Thread& t = *current_;
  if (t.last_looked) {
    if (!watch_states_) {
      wants_restart_ = true;
      leave(End::kCutShort);
    }
    t.yielded = true;
    t.yield_far = t.last_yield_time < 0 || t.clock[t.id] - t.last_yield_time != 1;
    t.last_yield_time = t.clock[t.id];
    return;
  }
  t.last_yield_time = t.clock[t.id];
  yield_step(site);
}

void Engine::note_state(Thread& t, uintptr_t stack) {
  const uintptr_t top = t.fiber->top();
  t.state = fingerprint(stack, top);
  if (top - stack > deepest_state_) deepest_state_ = top - stack;
}

// The thread yielded after it looked at something, and now wants its next step.
void Engine::settle_yield(Wanted& wanted) {
  Thread& t = *current_;
  t.yielded = false;
  const Label& last = log_[t.last_event].label;
  const bool looks = wanted.label.op == Op::kLoad || wanted.label.op == Op::kTryLock ||
                     wanted.label.op == Op::kTryRead || wanted.label.op == Op::kTryWrite;
  if (looks && last.op == wanted.label.op && last.object == wanted.label.object &&
      t.state == t.last_state) {
    wanted.retry = true;
    return;
  }
  if (t.yield_far && t.graces < kGraces) {
    ++t.graces;
    t.passed_yield = true;
    return;
  }
  const Wanted later = wanted;
  yield_step(*later.site);
  t.wanted = later;
}

void Engine::yield_step(const Site& site) {
  Thread& t = *current_;
  const Label label{0, 0, static_cast<uint8_t>(t.id), Op::kYield, 0, 0};
  stop_here(label, nullptr, site);
  t.last_yield_event = depth_;
  const int index = depth_;
  yield_clock_ = made(label, Event::kDone, nullptr, nullptr).clock;
  last_yield_ = index;
}

bool Engine::yield_enabled(const Thread& t) const {
  if (t.last_yield_event < 0) return true;
  for (int i = 0; i < thread_count_; ++i) {
    const Thread& other = threads_[i];
    if (i == t.id || other.last_event > t.last_yield_event) continue;
    if (other.status != Status::kReady) continue;
    if (other.wanted.label.op == Op::kYield || enabled(other)) return false;
  }
  return true;
}

bool Engine::retry_enabled(const Thread& t) const {
  // Something wrote to the object after the thread looked at it.
  return !t.clock.covers(static_cast<const Object*>(t.wanted.target)->writes);
}

// The threads that a thread waits for with its lock operation, as bits.
uint8_t Engine::blockers(const Thread& t) const {
  if (t.status != Status::kReady) return 0;
  switch (t.wanted.label.op) {
    case Op::kLock:
    case Op::kReacquire: {
      const int8_t owner = static_cast<const Mutex*>(t.wanted.target)->owner_;
      return owner < 0 ? 0 : static_cast<uint8_t>(1 << owner);
    }
    case Op::kReadEnter:
    case Op::kWriteAcquire: {
      const RwLock& lock = *static_cast<const RwLock*>(t.wanted.target);
      uint8_t mask = lock.writer_ < 0 ? 0 : static_cast<uint8_t>(1 << lock.writer_);
      if (t.wanted.label.op == Op::kWriteAcquire) return mask | lock.readers_;
      // A reader waits for the writers that wait, too.
      return mask | lock.waiting_;
    }
    default:
      return 0;
  }
}

std::string Engine::waits_for(const Thread& t) const {
  std::string text = "thread " + std::to_string(t.id);
  if (t.status == Status::kSleeping) {
    return text + " sleeps on " + t.sleeps_on->name_ + " at " + to_string(*t.wanted.site);
  }
  const uint8_t mask = blockers(t);
  if (mask == 0) {
    return text + " spins at " + to_string(*t.wanted.site) + ": what it looks at never changes";
  }
  const bool is_mutex = t.wanted.label.op == Op::kLock || t.wanted.label.op == Op::kReacquire;
  text += " waits for " + to_string(is_mutex ? static_cast<const Mutex*>(t.wanted.target)->name_
                                             : static_cast<const RwLock*>(t.wanted.target)->name_);
  const char* separator = " held by thread ";
  for (int i = 0; i < thread_count_; ++i) {
    if ((mask >> i & 1) == 0) continue;
    text += separator + std::to_string(i);
    separator = " and thread ";
  }
  return text + " at " + to_string(*t.wanted.site);
}

// A thread is about to block on a lock: does that close a cycle? Then neither of them can ever go
// on, whatever the others do.
void Engine::check_cycle(const Thread& from, const Site& site) {
  std::array<int8_t, kMaxThreads> via{};  // who waits for it, plus one
  uint8_t seen = 0;
  uint8_t open = static_cast<uint8_t>(1 << from.id);
  while (open != 0) {
    const int i = __builtin_ctz(open);
    open &= static_cast<uint8_t>(open - 1);
    seen |= static_cast<uint8_t>(1 << i);
    const uint8_t next = blockers(threads_[i]);
    if ((next >> from.id & 1) != 0) {
      const HostScope host;
      std::string message;
      std::array<int, kMaxThreads> path{};
      int length = 0;
      for (int at = i; at != from.id; at = via[at] - 1) path[length++] = at;
      message = waits_for(from);
      while (length > 0) message += ", " + waits_for(threads_[path[--length]]);
      fail(Kind::kDeadlock, message, site);
    }
    for (int j = 0; j < thread_count_; ++j) {
      const uint8_t bit = static_cast<uint8_t>(1 << j);
      if ((next & bit) == 0 || ((seen | open) & bit) != 0) continue;
      via[j] = static_cast<int8_t>(i + 1);
      open |= bit;
    }
  }
}

// The bound on steps is reached: a livelock if the last steps repeat and every thread that could
// make a step makes some. A repetition that leaves somebody out is no more than an unfair schedule.
bool Engine::goes_in_circles() {
  const HostScope host;
  const auto repeats = [this](int period) {
    for (int i = depth_ - 1; i >= depth_ - kRepetitions * period; --i) {
      const Event& e = log_[i];
      const Event& before = log_[i - period];
      if (!same_step(e.label, before.label) || e.outcome != before.outcome) return false;
    }
    return true;
  };
  for (int period = 1; (kRepetitions + 1) * period <= depth_; ++period) {
    if (!repeats(period)) continue;
    uint8_t makers = 0;
    std::string message = "these steps repeat for ever:";
    for (int i = depth_ - period; i < depth_; ++i) {
      const Label& label = log_[i].label;
      makers |= static_cast<uint8_t>(1 << label.thread);
      message += " " + std::to_string(label.thread) + ":" + name_of(label.op);
    }
    if ((enabled_mask() & ~makers) != 0) return false;
    const Thread& t = *current_;
    finding_ = Finding{Kind::kLivelock, message, *t.wanted.site, t.id};
    if (recorder_ != nullptr) recorder_->finding(*this, finding_);
    return true;
  }
  return false;
}

// No thread can make a step: all have ended, or this execution is stuck.
void Engine::nobody_can_go_on() {
  const HostScope host;
  bool sleeps = false;
  bool spins = false;
  std::string message;
  const Thread* first = nullptr;
  for (int i = 0; i < thread_count_; ++i) {
    const Thread& t = threads_[i];
    if (t.status == Status::kFinished) continue;
    if (first == nullptr || (t.status == Status::kSleeping && !sleeps)) first = &t;
    sleeps = sleeps || t.status == Status::kSleeping;
    spins = spins || (t.status == Status::kReady && blockers(t) == 0);
    message += (message.empty() ? "" : ", ") + waits_for(t);
  }
  if (first == nullptr) return;
  const Kind kind = sleeps ? Kind::kLostWakeup : spins ? Kind::kLivelock : Kind::kDeadlock;
  finding_ = Finding{kind, "nobody can go on: " + message, *first->wanted.site, first->id};
  if (recorder_ != nullptr) recorder_->finding(*this, finding_);
}

}  // namespace explorer
