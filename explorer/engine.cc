#include "explorer/engine.h"

#include <algorithm>
#include <bit>
#include <exception>
#include <utility>

#include "explorer/crash.h"
#include "explorer/lock_order.h"
#include "explorer/part.h"
#include "explorer/recorder.h"
#include "explorer/sync.h"

namespace explorer {
namespace {

// One stack per thread and one for set-up and finish(), for the life of the process.
std::array<Fiber, kMaxThreads + 1>& stacks() {
  static std::array<Fiber, kMaxThreads + 1>* const fibers = [] {
    auto* const made = new std::array<Fiber, kMaxThreads + 1>;
    for (size_t i = 0; i < made->size(); ++i) {
      (*made)[i].make_stack(Arena::kBase + Arena::kBytes + i * 2 * Fiber::kStackBytes);
    }
    return made;
  }();
  return *fibers;
}

}  // namespace

Engine::Engine(Program& program, EngineOptions options)
    : program_(program),
      options_(options),
      arena_(Arena::instance()),
      thread_count_(program.threads()),
      log_(static_cast<size_t>(options.max_steps) + 1),
      lock_order_(std::make_unique<LockOrder>()) {
  main_.fiber = &stacks()[kMaxThreads];
  for (int i = 0; i < kMaxThreads; ++i) {
    threads_[i].fiber = &stacks()[i];
    threads_[i].id = static_cast<int8_t>(i);
  }
  install_crash_handler(stacks());
  arena_.clear();
}

Engine::~Engine() {
  active = nullptr;
  arena_.clear();
}

void Engine::fiber_main() { active->run_body(); }

void Engine::run_body() {
  bool threw = false;
  std::string what;
  try {
    if (current_ != &main_) {
      program_.thread(current_->id);
    } else if (in_set_up_) {
      program_.set_up();
    } else {
      program_.finish();
    }
  } catch (const std::exception& error) {
    const HostScope host;
    threw = true;
    what = error.what();
  } catch (...) {
    threw = true;
  }
  if (threw) {
    fail(Kind::kException, what.empty() ? "something that is no std::exception was thrown" : what,
         Site{"", program_.name(), 0});
  }
  if (current_ == &main_) leave(End::kComplete);
  thread_ended();
}

void Engine::go(Thread& to) {
  Thread& from = *current_;
  current_ = &to;
  Arena::current_area = to.id;
  Fiber::switch_to(*from.fiber, *to.fiber);
}

void Engine::go_host(Thread& from) {
  Arena::current_area = Arena::kHost;
  Fiber::switch_to(*from.fiber, host_);
}

void Engine::leave(End end) {
  end_ = end;
  go_host(*current_);
  std::abort();
}

void Engine::run_alone(bool in_set_up) {
  alone_ = true;
  in_set_up_ = in_set_up;
  main_.now = Clock{};
  main_.held_count = 0;
  current_ = &main_;
  main_.fiber->start<&Engine::fiber_main>();
  Arena::current_area = Arena::kSetup;
  Fiber::switch_to(host_, *main_.fiber);
}

bool Engine::set_up() {
  active = this;
  watch_for_hangs();
  arena_.clear();
  finding_ = Finding{};
  run_alone(true);
  if (!found() && main_.held_count > 0) {
    finding_ = Finding{Kind::kHeldAtThreadEnd,
                       "set-up ends with " + to_string(*main_.held[0].name) + " held", Site{}, 0};
  }
  arena_.freeze();
  return !found();
}

void Engine::begin_execution() {
  arena_.restore();
  depth_ = 0;
  note_execution();
  last_yield_ = -1;
  yield_clock_ = Clock{};
  end_ = End::kComplete;
  begin_turns();
  out_of_turn_ = false;
  if (found()) finding_ = Finding{};
  for (int i = 0; i < thread_count_; ++i) {
    Thread& t = threads_[i];
    t.clock = Clock{};
    t.now = Clock{};
    t.now.set(i, 1);
    t.wanted = Wanted{};
    t.status = Status::kReady;
    t.spurious_left = static_cast<uint8_t>(options_.spurious_wakeups);
    t.held_count = 0;
    t.yielded = false;
    t.passed_yield = false;
    t.graces = 0;
    t.last_yield_time = -1;
    t.last_yield_event = -1;
    t.last_event = -1;
    t.last_looked = false;
    // What an earlier execution left on the stack must not make local states differ.
    if (watch_states_) t.fiber->clear(2 * deepest_state_);
    t.fiber->start<&Engine::fiber_main>();
  }
}

End Engine::run(Strategy& strategy, const std::vector<Decision>& plan, int known) {
  active = this;
  strategy_ = &strategy;
  plan_ = plan.data();
  planned_ = static_cast<int>(plan.size());
  known_ = known;
  begin_execution();
  alone_ = false;
  starting_ = true;
  for (int i = 0; i < thread_count_ && !found(); ++i) {
    current_ = &threads_[i];
    Arena::current_area = i;
    Fiber::switch_to(host_, *current_->fiber);
  }
  starting_ = false;
  if (!found() && end_ == End::kComplete) {
    const int next = next_thread();
    if (next >= 0) {
      current_ = &threads_[next];
      Arena::current_area = next;
      Fiber::switch_to(host_, *current_->fiber);
    }
  }
  alone_ = true;
  if (end_ == End::kComplete && !found()) {
    run_alone(false);
    if (!found() && options_.check_leaks && arena_.live_blocks() != 0) {
      finding_ = Finding{Kind::kLeak, leak_message(), Site{}, 0};
    }
  }
  return end_;
}

std::string Engine::leak_message() const {
  const void* const block = arena_.first_live_block();
  return std::to_string(arena_.live_blocks()) +
         " block(s) of memory were never freed, the first of " +
         std::to_string(block == nullptr ? 0 : Arena::block_size(block)) + " bytes";
}

// Who goes next, or a negative number when this execution is over; then end_ says how.
int Engine::next_thread() {
  if (depth_ < planned_) {
    const Thread& t = threads_[plan_[depth_].thread];
    if (t.status != Status::kReady || !may_go(t)) {
      finding_ = Finding{Kind::kNondeterminism,
                         "step " + std::to_string(depth_) + " cannot be repeated: thread " +
                             std::to_string(t.id) + " is not ready for it",
                         Site{}, t.id};
      return Strategy::kNobody;
    }
    return t.id;
  }
  if (depth_ >= options_.max_steps) {
    end_ = goes_in_circles() ? End::kComplete : End::kTooLong;
    return Strategy::kNobody;
  }
  const int next = strategy_->pick(*this);
  if (next == Strategy::kCut) end_ = End::kCutShort;
  if (next == Strategy::kNobody) {
    if (part_ != nullptr && enabled_mask() != 0) {
      end_ = End::kCutShort;
      out_of_turn_ = true;
    } else {
      nobody_can_go_on();
    }
  }
  return next;
}

void Engine::reschedule() {
  const int next = next_thread();
  if (next < 0) leave(end_);
  if (next != current_->id) go(threads_[next]);
}

void Engine::stop_here() {
  Thread& t = *current_;
  if (t.yielded) settle_yield(t.wanted);
  if (starting_) {
    go_host(t);
  } else {
    reschedule();
  }
}

void Engine::thread_ended() {
  Thread& t = *current_;
  if (t.held_count > 0) {
    const Name& name = *t.held[t.held_count - 1].name;
    fail(Kind::kHeldAtThreadEnd,
         "thread " + std::to_string(t.id) + " ends and holds " + to_string(name), Site{});
  }
  t.status = Status::kFinished;
  if (starting_) leave(End::kComplete);
  const int next = next_thread();
  if (next < 0) leave(end_);
  go(threads_[next]);
  std::abort();
}

uint8_t Engine::enabled_mask() const {
  uint8_t mask = 0;
  for (int i = 0; i < thread_count_; ++i) {
    if (enabled(threads_[i])) mask |= static_cast<uint8_t>(1 << i);
  }
  return mask;
}

uint8_t Engine::go_mask() const {
  uint8_t mask = enabled_mask();
  if (limits_ == 0) return mask;
  for (int i = 0; i < thread_count_; ++i) {
    if ((mask >> i & 1) != 0 && waits_for_turn(threads_[i])) {
      mask &= static_cast<uint8_t>(~(1 << i));
    }
  }
  return mask;
}

bool Engine::would_take_turn(const Thread& t) const {
  const Label& label = t.wanted.label;
  const bool free =
      label.op == Op::kTryLock && static_cast<const Mutex*>(t.wanted.target)->owner_ < 0;
  return takes_turn(label, free ? Event::kDone : Event::kFailed);
}

void Engine::begin_turns() {
  limits_ = part_ == nullptr ? 0 : static_cast<int>(part_->limits.size());
  for (int i = 0; i < limits_; ++i) {
    const Limit& limit = part_->limits[i];
    turns_at_[i] = TurnsAt{limit.object, 0, limit.allowed(0)};
  }
}

void Engine::take_turn(uint32_t object) {
  for (int i = 0; i < limits_; ++i) {
    TurnsAt& at = turns_at_[i];
    if (at.object == object) at.next = part_->limits[i].allowed(++at.taken);
  }
}

bool Engine::belongs() const {
  if (part_ == nullptr) return true;
  for (size_t i = 0; i < part_->limits.size(); ++i) {
    if (!part_->limits[i].ends_here(turns_at_[i].taken)) return false;
  }
  return true;
}

bool Engine::enabled(const Thread& t) const {
  if (t.status != Status::kReady) return false;
  if (t.wanted.retry && !retry_enabled(t)) return false;
  switch (t.wanted.label.op) {
    case Op::kLock:
    case Op::kReacquire:
      return static_cast<const Mutex*>(t.wanted.target)->owner_ < 0;
    case Op::kReadEnter:
      return static_cast<const RwLock*>(t.wanted.target)->free_for_reader();
    case Op::kWriteAcquire:
      return static_cast<const RwLock*>(t.wanted.target)->free_for_writer();
    case Op::kYield:
      return yield_enabled(t);
    default:
      return true;
  }
}

uint64_t Engine::choices(const Thread& t) const {
  switch (t.wanted.label.op) {
    case Op::kSignal: {
      const uint8_t sleepers = static_cast<const CondVar*>(t.wanted.target)->sleepers_;
      return sleepers != 0 ? sleepers : uint64_t{1} << kMaxThreads;
    }
    case Op::kChoose:
    case Op::kWait:
      return t.wanted.choices >= 64 ? ~uint64_t{0} : (uint64_t{1} << t.wanted.choices) - 1;
    default:
      return 1;
  }
}

uint16_t Engine::decide(uint64_t allowed) {
  if (depth_ < planned_) {
    const uint16_t choice = plan_[depth_].choice;
    if (choice == kAnyChoice) return strategy_->pick_choice(*this, allowed);
    if ((allowed >> choice & 1) == 0) nondeterministic("a choice is gone");
    return choice;
  }
  if ((allowed & (allowed - 1)) == 0) return static_cast<uint16_t>(std::countr_zero(allowed));
  return strategy_->pick_choice(*this, allowed);
}

// Gives a new step its place in the order of dependence.
void Engine::order(Event& e, Object* object, Object* object2) {
  Thread& t = *current_;
  Clock clock = t.clock;
  if (object != nullptr) {
    e.previous = object->last_event;
    clock.join((e.label.access & Label::kWrites) != 0 ? object->all : object->writes);
  }
  if (object2 != nullptr) {
    e.previous2 = object2->last_event;
    clock.join((e.label.access & Label::kWritesSecond) != 0 ? object2->all : object2->writes);
  }
  if (e.label.op == Op::kYield) {
    for (int i = 0; i < thread_count_; ++i) clock.join(threads_[i].clock);
  } else if (last_yield_ >= 0) {
    clock.join(yield_clock_);
  }
  e.base = t.clock;
  e.time = static_cast<int16_t>(t.clock[t.id] + 1);
  clock.set(t.id, e.time);
  e.clock = clock;
}

Event& Engine::made(const Label& label, uint8_t outcome, Object* object, Object* object2) {
  Thread& t = *current_;
  Event& e = log_[depth_];
  if (depth_ < known_) {
    if (!same_step(e.label, label) || e.outcome != outcome)
      nondeterministic("another step is made");
  } else {
    e = Event{};
    e.label = label;
    e.outcome = outcome;
    e.retry = t.wanted.retry;
    e.choices = t.wanted.choices;
    order(e, object, object2);
  }
  t.clock = e.clock;
  if (object != nullptr) {
    object->last_event = depth_;
    if ((label.access & Label::kWrites) != 0) {
      object->all = object->writes = e.clock;
    } else {
      object->all.join(e.clock);
    }
  }
  if (object2 != nullptr) {
    object2->last_event = depth_;
    if ((label.access & Label::kWritesSecond) != 0) {
      object2->all = object2->writes = e.clock;
    } else {
      object2->all.join(e.clock);
    }
  }
  if (limits_ > 0 && takes_turn(label, outcome)) take_turn(label.object);
  t.passed_yield = false;
  t.last_event = depth_;
  t.last_looked = label.op == Op::kLoad || outcome == Event::kFailed;
  t.last_state = t.state;
  if (recorder_ != nullptr) recorder_->step(*this, depth_, *t.wanted.site);
  if (depth_ >= known_) strategy_->made(*this, depth_);
  ++depth_;
  return e;
}

void Engine::fail(Kind kind, std::string message, const Site& site) {
  {
    const HostScope host;
    // A copy: the message may lie in the arena.
    finding_ = Finding{kind, std::string(message.data(), message.size()), site, current_->id};
    if (recorder_ != nullptr) recorder_->finding(*this, finding_);
  }
  leave(End::kComplete);
}

void Engine::nondeterministic(const std::string& what) {
  fail(Kind::kNondeterminism,
       "the same decisions led elsewhere at step " + std::to_string(depth_) + ": " + what +
           "; everything a scenario does must follow from its steps and choices",
       Site{});
}

void* allocate(size_t size, size_t alignment) {
  void* const p = Arena::instance().allocate(Arena::current_area, size, alignment);
  if (p == nullptr) {
    Engine::active->fail(Kind::kInternalError,
                         "the scenario's memory is used up: an execution can allocate " +
                             std::to_string(Arena::kThreadBytes >> 20) + " MiB per thread",
                         Site{});
  }
  return p;
}

void note_free(const void* p, const Site& site) {
  if (Engine::active == nullptr || Engine::active->recorder() == nullptr) return;
  Engine::active->recorder()->freed(*Engine::active, p, site);
}

void release(void* p, const Site& site) {
  if (Arena::current_area == Arena::kHost) return;  // of an execution that is over
  note_free(p, Site{});
  switch (Arena::instance().release(p)) {
    case Arena::Release::kDone:
      break;
    case Arena::Release::kTwice:
      Engine::active->fail(Kind::kDoubleFree, "a block of memory is freed a second time", site);
    case Arena::Release::kNotABlock:
      Engine::active->fail(Kind::kDoubleFree, "memory is freed that is no allocated block", site);
  }
}

}  // namespace explorer
