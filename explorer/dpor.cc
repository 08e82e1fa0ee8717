#include "explorer/dpor.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "explorer/part.h"

namespace explorer {

Dpor::Dpor(int max_steps, int fixed)
    : fixed_(fixed), nodes_(max_steps + 2), slept_choices_(max_steps + 2) {}

// ---- during an execution

bool Dpor::asleep(const Engine& engine, int thread, const Node& node, int index) const {
  if ((node.sleep >> thread & 1) == 0) return false;
  const uint64_t choices = engine.choices(engine.thread(thread));
  return !has_choices_ || choices == 1 || (choices & ~slept_choices_[index][thread]) == 0;
}

int Dpor::pick(Engine& engine) {
  const int index = engine.steps();
  Node& node = nodes_[index];
  while (node.todo != 0) {
    const Label& planned = tree_.node(node.todo).label;
    if (engine.may_go(engine.thread(planned.thread))) return planned.thread;
    // A yield that was planned earlier than it can be made; everything else can be.
    if (planned.op != Op::kYield) std::abort();
    uint32_t child = tree_.pop(node.todo);
    tree_.clear(child);
    if (node.todo == 0) return kCut;
  }
  const uint8_t enabled = engine.go_mask();
  if (enabled == 0) return kNobody;
  const int running = engine.running();
  if (index > 0 && (enabled >> running & 1) != 0 && !asleep(engine, running, node, index)) {
    return running;
  }
  for (int i = 0; i < engine.threads(); ++i) {
    if ((enabled >> i & 1) != 0 && !asleep(engine, i, node, index)) return i;
  }
  return kCut;
}

uint16_t Dpor::pick_choice(Engine& engine, uint64_t allowed) {
  const int index = engine.steps();
  const Node& node = nodes_[index];
  if (!has_choices_) {
    // Until here all steps that sleep had no choice.
    has_choices_ = true;
    for (int i = 0; i <= index; ++i) slept_choices_[i].fill(~uint64_t{0});
  }
  if (node.todo != 0) return tree_.node(node.todo).label.choice;
  const int thread = engine.running();
  uint64_t open = allowed;
  if ((node.sleep >> thread & 1) != 0) open &= ~slept_choices_[index][thread];
  return static_cast<uint16_t>(std::countr_zero(open));
}

void Dpor::made(Engine& engine, int index) {
  if (index < known_) return;  // after load(), the engine makes the whole plan anew
  Node& node = nodes_[index];
  Node& next = nodes_[index + 1];
  const Label& label = engine.event(index).label;
  next.todo = node.todo != 0 ? tree_.pop(node.todo) : 0;
  next.explored = 0;
  next.sleep = 0;
  node.recheck = false;
  uint8_t sleep = node.sleep & static_cast<uint8_t>(~(1 << label.thread));
  while (sleep != 0) {
    const int i = std::countr_zero(sleep);
    sleep &= static_cast<uint8_t>(sleep - 1);
    if (dependent(engine.thread(i).wanted.label, label)) continue;
    next.sleep |= static_cast<uint8_t>(1 << i);
    if (has_choices_) slept_choices_[index + 1][i] = slept_choices_[index][i];
  }
}

bool Dpor::next(const Engine& engine, End end) {
  // One that the strategy cut short leads to nothing new.
  if (end != End::kCutShort || engine.out_of_turn()) analyse(engine);
  return move_on(engine);
}

bool Dpor::move_on(const Engine& engine) {
  for (int i = engine.steps() - 1; i >= 0; --i) {
    Node& node = nodes_[i];
    const Label& label = engine.event(i).label;
    const uint8_t bit = static_cast<uint8_t>(1 << label.thread);
    if (has_choices_) {
      uint64_t& choices = slept_choices_[i][label.thread];
      if ((node.sleep & bit) == 0) choices = 0;
      choices |= engine.event(i).choices > 1 ? uint64_t{1} << label.choice : ~uint64_t{0};
    }
    node.sleep |= bit;
    if (node.explored < 255) ++node.explored;
    if (node.todo == 0) continue;
    known_ = i;
    plan_.resize(i);
    for (int k = 0; k < i; ++k) {
      const Label& step = engine.event(k).label;
      plan_[k] = Decision{step.thread, step.choice};
    }
    return true;
  }
  return false;
}

double Dpor::progress() const {
  double done = 0;
  double share = 1;
  for (size_t i = 0; i < plan_.size() + 1; ++i) {
    int todo = 0;
    for (uint32_t at = nodes_[i].todo; at != 0; at = tree_.node(at).next) ++todo;
    // The branch at the end of the plan is among those to do.
    const int all = nodes_[i].explored + todo + (i < plan_.size() ? 1 : 0);
    if (all == 0) continue;
    share /= all;
    done += share * nodes_[i].explored;
  }
  return done;
}

void Dpor::save(Writer& to) const {
  save_plan(to, plan_);
  to.put(has_choices_);
  for (int i = 0; i <= known_; ++i) {
    const Node& node = nodes_[i];
    to.put(node.sleep);
    to.put(node.explored);
    to.put(node.recheck);
    tree_.save(to, node.todo);
    if (!has_choices_) continue;
    for (const uint64_t choices : slept_choices_[i]) to.put(choices);
  }
}

void Dpor::load(Reader& from) {
  plan_ = load_plan(from);
  if (plan_.size() + 2 > nodes_.size()) plan_.clear();
  known_ = static_cast<int>(plan_.size());
  has_choices_ = from.get<bool>();
  for (int i = 0; i <= known_; ++i) {
    Node& node = nodes_[i];
    node.sleep = from.get<uint8_t>();
    node.explored = from.get<uint8_t>();
    node.recheck = from.get<bool>();
    node.todo = tree_.load(from);
    if (!has_choices_) continue;
    for (uint64_t& choices : slept_choices_[i]) choices = from.get<uint64_t>();
  }
}

// ---- races

// What a sleeping thread does next from the node, in this execution or if that went on.
Dpor::Sleeper Dpor::sleeper(const Engine& engine, int thread, int at) const {
  const Engine::Thread& t = engine.thread(thread);
  Sleeper sleeper{t.wanted.label, engine.choices(t)};
  for (int i = at; i < engine.steps(); ++i) {
    if (engine.event(i).label.thread != thread) continue;
    sleeper.label = engine.event(i).label;
    sleeper.choices = uint64_t{1} << sleeper.label.choice;
    break;
  }
  // If it finds the lock free it writes, but then every step of others on the lock writes as well
  // or comes after one that does.
  if (sleeper.label.op == Op::kTryLock) sleeper.label.access = 0;
  return sleeper;
}

// Whether everything that begins with the sequence is explored from this node already: in this
// execution, or in every one that is the same up to the late step.
Dpor::Covered Dpor::covered(const Engine& engine, int at, const Sequence& sequence,
                            int late) const {
  Covered covered = Covered::kNo;
  uint8_t sleep = nodes_[at].sleep;
  while (sleep != 0) {
    const int i = std::countr_zero(sleep);
    sleep &= static_cast<uint8_t>(sleep - 1);
    const int first = sequence.first_of(i);
    if (first >= 0) {
      const uint16_t choice = sequence.steps()[first].label.choice;
      if (has_choices_ && (slept_choices_[at][i] >> choice & 1) == 0) continue;
      if (!sequence.is_initial(first)) continue;
      const Event* const event = sequence.steps()[first].event;
      if (event == nullptr || event < &engine.event(late)) return Covered::kAlways;
      covered = Covered::kHere;
      continue;
    }
    const Sleeper next = sleeper(engine, i, at);
    if (has_choices_ && (next.choices & ~slept_choices_[at][i]) != 0) continue;
    if (sequence.independent_of(next.label)) covered = Covered::kHere;
  }
  return covered;
}

void Dpor::plan(const Engine& engine, int at, Sequence& sequence, int late) {
  if (at < fixed_) return;
  switch (covered(engine, at, sequence, late)) {
    case Covered::kNo:
      tree_.insert(nodes_[at].todo, sequence);
      break;
    case Covered::kHere:
      nodes_[late].recheck = true;
      break;
    case Covered::kAlways:
      break;
  }
}

void Dpor::analyse(const Engine& engine) {
  const int steps = engine.steps();
  int last_yield = -1;
  for (int i = 0; i < steps; ++i) {
    const Event& e = engine.event(i);
    // The others' races were planned for after an earlier execution.
    if (i >= known_ || nodes_[i].recheck) {
      nodes_[i].recheck = false;
      races_of(engine, Late{e.label, e.base, i, e.retry, e.previous, e.previous2}, last_yield);
      if (e.choices > 1) other_choices(engine, i);
    }
    if (e.label.op == Op::kYield) last_yield = i;
  }
  const Kind kind = engine.finding().kind;
  if (kind == Kind::kNone && !engine.out_of_turn()) return;
  const bool failed = kind != Kind::kNone && kind != Kind::kDeadlock && kind != Kind::kLostWakeup &&
                      kind != Kind::kLivelock;
  for (int i = 0; i < engine.threads(); ++i) {
    const Engine::Thread& t = engine.thread(i);
    if (t.status != Engine::Status::kReady || (failed && i == engine.finding().thread)) continue;
    Late late{t.wanted.label, t.clock, steps, t.wanted.retry, -1, -1};
    for (int k = 0; k < steps; ++k) {
      const Label& label = engine.event(k).label;
      const auto on = [&label](uint32_t object) {
        return object != 0 && (label.object == object || label.object2 == object);
      };
      if (on(late.label.object)) late.previous = k;
      if (on(late.label.object2)) late.previous2 = k;
    }
    races_of(engine, late, last_yield);
  }
}

// The steps on an object that depend on the late one and have no other such step in between.
void Dpor::collect(const Engine& engine, const Late& late, uint32_t object, int from, bool writes) {
  for (int i = from; i >= 0;) {
    const Event& e = engine.event(i);
    const bool first = e.label.object == object;
    const bool wrote = (e.label.access & (first ? Label::kWrites : Label::kWritesSecond)) != 0;
    if ((wrote || writes) && e.label.thread != late.label.thread) candidates_.push_back(i);
    if (wrote) return;
    i = first ? e.previous : e.previous2;
  }
}

void Dpor::races_of(const Engine& engine, const Late& late, int last_yield) {
  Clock known = late.base;
  candidates_.clear();
  switch (late.label.op) {
    case Op::kYield:
      // It depends on everything.
      for (int i = late.index - 1; i >= 0; --i) {
        if (engine.event(i).label.thread != late.label.thread) candidates_.push_back(i);
      }
      break;
    case Op::kLock:
    case Op::kReacquire:
      mutex_race(engine, late, known);
      break;
    case Op::kReadEnter:
    case Op::kWriteAcquire:
      rw_races(engine, late);
      if (last_yield >= 0 && !engine.event(last_yield).before(known)) {
        rw_reversal(engine, late, last_yield);
      }
      return;
    default:
      if (late.label.object != 0) {
        collect(engine, late, late.label.object, late.previous,
                (late.label.access & Label::kWrites) != 0);
      }
      if (late.label.object2 != 0) {
        collect(engine, late, late.label.object2, late.previous2,
                (late.label.access & Label::kWritesSecond) != 0);
      }
  }
  if (last_yield >= 0 && late.label.op != Op::kYield) candidates_.push_back(last_yield);
  std::sort(candidates_.begin(), candidates_.end(), std::greater<int>());
  // From the latest to the earliest: what happens before a later one is no race of its own.
  for (size_t i = 0; i < candidates_.size(); ++i) {
    const int early = candidates_[i];
    const Event& e = engine.event(early);
    if (e.before(known)) continue;
    if (can_come_first(engine, late, early) && !reverse(engine, late, early) &&
        late.label.op == Op::kTryLock) {
      // It is not its turn to succeed there. It could still come earlier, and fail.
      collect(engine, late, late.label.object, e.previous, true);
      std::sort(candidates_.begin() + static_cast<std::ptrdiff_t>(i) + 1, candidates_.end(),
                std::greater<int>());
      continue;
    }
    // If others must run before it can be made there, it may still come earlier, where those are
    // blocked.
    if (late.label.op == Op::kYield && !all_have_run(engine, late, early)) continue;
    known.join(e.clock);
  }
}

// A mutex is acquired after somebody else released it: the race is with that acquisition.
void Dpor::mutex_race(const Engine& engine, const Late& late, Clock& known) {
  for (int i = late.previous; i >= 0;) {
    const Event& e = engine.event(i);
    const bool acquired = e.label.op == Op::kLock || e.label.op == Op::kReacquire ||
                          (e.label.op == Op::kTryLock && e.outcome == Event::kDone);
    if (acquired) {
      if (!e.before(known)) reverse(engine, late, i);
      break;
    }
    i = e.previous;
  }
  if (late.previous >= 0) known.join(engine.event(late.previous).clock);
}

bool Dpor::can_come_first(const Engine& engine, const Late& late, int early) const {
  const bool locks = late.label.op == Op::kLock || late.label.op == Op::kReacquire;
  if (locks && engine.event(early).label.op == Op::kYield) {
    // Not while the mutex is held.
    int last = late.previous;
    while (last > early) last = engine.event(last).previous;
    const Op op = last < 0 ? Op::kUnlock : engine.event(last).label.op;
    return op == Op::kUnlock || op == Op::kWait;
  }
  if (!late.retry) return true;
  // A spinning thread needs another change of the object, before this one and after it looked.
  const Event& e = engine.event(early);
  int last = e.previous;
  if (e.label.op == Op::kYield) {
    last = late.previous;
    while (last > early) last = engine.event(last).previous;
  }
  for (int i = last; i >= 0; i = engine.event(i).previous) {
    const Event& other = engine.event(i);
    if ((other.label.access & Label::kWrites) != 0) return !other.before(late.base);
  }
  return false;
}

// Whether every other thread has run since the last yield of the late one's thread, or has ended,
// if the sequence comes in place of the early step. Then the late one, a yield, can be made there.
bool Dpor::all_have_run(const Engine& engine, const Late& late, int early) const {
  int last = early - 1;
  const auto is_own_yield = [&](const Label& label) {
    return label.thread == late.label.thread && label.op == Op::kYield;
  };
  while (last >= 0 && !is_own_yield(engine.event(last).label)) --last;
  if (last < 0) return true;
  uint8_t ran = static_cast<uint8_t>(1 << late.label.thread);
  for (int i = last + 1; i < early; ++i) {
    ran |= static_cast<uint8_t>(1 << engine.event(i).label.thread);
  }
  for (const Sequence::Step& step : sequence_.steps()) {
    ran |= static_cast<uint8_t>(1 << step.label.thread);
  }
  for (int i = 0; i < engine.threads(); ++i) {
    const Engine::Thread& t = engine.thread(i);
    const bool ended = t.status == Engine::Status::kFinished && t.last_event < last;
    if ((ran >> i & 1) == 0 && !ended) return false;
  }
  return true;
}

// Whether the late step would take another thread's turn if the sequence came in place of the early
// step.
bool Dpor::out_of_turn(const Engine& engine, const Label& late, int early) const {
  if (engine.part() == nullptr || !takes_turn(late, Event::kDone)) return false;
  for (const Limit& limit : engine.part()->limits) {
    if (limit.object != late.object) continue;
    size_t taken = 0;
    bool held = false;
    const auto count = [&](const Event& e) {
      if (e.label.object != limit.object) return;
      if (e.label.op == Op::kUnlock || e.label.op == Op::kWait) held = false;
      if (!takes_turn(e.label, e.outcome)) return;
      held = true;
      ++taken;
    };
    for (int i = 0; i < early && taken < limit.turns.size(); ++i) count(engine.event(i));
    if (taken == limit.turns.size()) continue;
    for (const Sequence::Step& step : sequence_.steps()) count(*step.event);
    if (late.op == Op::kTryLock && held) continue;  // fails, and so takes none
    if ((limit.allowed(taken) >> late.thread & 1) == 0) return true;
  }
  return false;
}

// Plans the late step, and all that the early one does not happen before, instead of the early one.
// False if it is not the late step's turn there.
bool Dpor::reverse(const Engine& engine, const Late& late, int early) {
  const Event& e = engine.event(early);
  sequence_.clear();
  for (int i = early + 1; i < engine.steps(); ++i) {
    if (i != late.index && !e.before(engine.event(i).clock)) sequence_.add(engine.event(i));
  }
  Label label = late.label;
  if (label.op == Op::kTryLock && e.label.op != Op::kYield) {
    const bool took = e.label.op != Op::kUnlock && e.label.op != Op::kWait;
    label.access = took ? Label::kWrites : 0;
  } else if (label.op == Op::kSignal) {
    // Who sleeps when the signal comes so early?
    uint8_t sleepers = 0;
    const auto play = [&](const Event& step) {
      if (step.label.op == Op::kWait && step.label.object2 == label.object &&
          step.label.choice == 0) {
        sleepers |= static_cast<uint8_t>(1 << step.label.thread);
      } else if (step.label.op == Op::kBroadcast && step.label.object == label.object) {
        sleepers = 0;
      } else if (step.label.op == Op::kSignal && step.label.object == label.object) {
        if (step.mask != 0) sleepers &= static_cast<uint8_t>(~(1 << step.label.choice));
      }
    };
    for (int i = 0; i < early; ++i) play(engine.event(i));
    for (const Sequence::Step& step : sequence_.steps()) play(*step.event);
    label.choice = static_cast<uint16_t>(sleepers != 0 ? std::countr_zero(sleepers)
                                                       : static_cast<int>(kMaxThreads));
  }
  if (out_of_turn(engine, label, early)) return false;
  sequence_.add_last(label, late.base);
  plan(engine, early, sequence_, late.index);
  return true;
}

// Every other choice of a step excludes what happens after the one that was made.
void Dpor::other_choices(const Engine& engine, int index) {
  const Event& e = engine.event(index);
  const uint64_t choices = e.label.op == Op::kSignal ? e.mask
                           : e.choices >= 64         ? ~uint64_t{0}
                                                     : (uint64_t{1} << e.choices) - 1;
  for (uint64_t open = choices & ~(uint64_t{1} << e.label.choice); open != 0; open &= open - 1) {
    Label label = e.label;
    label.choice = static_cast<uint16_t>(std::countr_zero(open));
    sequence_.clear();
    for (int i = index + 1; i < engine.steps(); ++i) {
      if (!e.before(engine.event(i).clock)) sequence_.add(engine.event(i));
    }
    sequence_.add_last(label, e.base);
    plan(engine, index, sequence_, index);
  }
}

// ---- reader-writer locks

namespace {

// A reader-writer lock as the steps on it leave it.
struct RwState {
  uint8_t readers = 0;
  uint8_t writers = 0;
  uint8_t waiting = 0;
  int held_since[kMaxThreads] = {};     // the step that acquired it
  int waiting_since[kMaxThreads] = {};  // the step that announced the writer

  void play(const Event& e, int index) {
    const int t = e.label.thread;
    const uint8_t bit = static_cast<uint8_t>(1 << t);
    const uint8_t rest = static_cast<uint8_t>(~bit);
    if (e.outcome == Event::kFailed) return;
    switch (e.label.op) {
      case Op::kReadEnter:
      case Op::kTryRead:
        readers |= bit;
        held_since[t] = index;
        break;
      case Op::kWriteEnter:
        if (e.outcome == Event::kAnnounced) {
          waiting |= bit;
          waiting_since[t] = index;
          break;
        }
        [[fallthrough]];
      case Op::kTryWrite:
      case Op::kWriteAcquire:
        writers |= bit;
        waiting &= rest;
        held_since[t] = index;
        break;
      case Op::kTryUpgrade:
        readers &= rest;
        writers |= bit;
        held_since[t] = index;
        break;
      case Op::kDowngrade:
        writers &= rest;
        readers |= bit;
        break;
      case Op::kReadExit:
      case Op::kWriteExit:
        readers &= rest;
        writers &= rest;
        break;
      default:
        break;
    }
  }
};

}  // namespace

// Tries each step on the lock that the late one could overtake.
void Dpor::rw_races(const Engine& engine, const Late& late) {
  for (int i = late.previous; i >= 0; i = engine.event(i).previous) {
    const Event& e = engine.event(i);
    if (e.label.thread == late.label.thread || e.before(late.base)) continue;
    if (!dependent(e.label, late.label)) continue;
    rw_reversal(engine, late, i);
  }
}

// Plans the late step before `early` and before whoever else keeps it out until then. False if one
// of those must come first.
bool Dpor::rw_reversal(const Engine& engine, const Late& late, int early) {
  removed_.assign(1, early);
  const uint32_t object = late.label.object;
  for (;;) {
    const int first = *std::min_element(removed_.begin(), removed_.end());
    const auto stays = [&](int i) {
      return std::none_of(removed_.begin(), removed_.end(),
                          [&](int r) { return engine.event(r).before(engine.event(i).clock); });
    };
    RwState state;
    for (int i = 0; i < engine.steps(); ++i) {
      const Event& e = engine.event(i);
      if (e.label.object != object || i == late.index || (i >= first && !stays(i))) continue;
      state.play(e, i);
    }
    const bool reads = late.label.op == Op::kReadEnter;
    const uint8_t holders = reads ? state.writers : state.writers | state.readers;
    const uint8_t announced = reads ? state.waiting : 0;
    if ((holders | announced) == 0) {
      sequence_.clear();
      for (int i = first + 1; i < engine.steps(); ++i) {
        if (i != late.index && stays(i)) sequence_.add(engine.event(i));
      }
      sequence_.add_last(late.label, late.base);
      plan(engine, first, sequence_, late.index);
      return true;
    }
    for (int t = 0; t < engine.threads(); ++t) {
      const bool holds = (holders >> t & 1) != 0;
      if (!holds && (announced >> t & 1) == 0) continue;
      const int blocker = holds ? state.held_since[t] : state.waiting_since[t];
      if (engine.event(blocker).before(late.base)) return false;
      removed_.push_back(blocker);
    }
  }
}

}  // namespace explorer
