#include "platform/relacy/engine.h"

#include <algorithm>
#include <bit>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "platform/check.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace model {

constinit Hot hot;

namespace {

constexpr uint8_t kShared = 1;
constexpr uint8_t kTried = 2;

// Yields in which nobody could go on and nothing had changed, before it is called a livelock. A
// bounded retry loop may need a few.
constexpr int kMaxFruitlessYields = 100;

constexpr uint64_t kDefaultMaxSteps = 200'000;

// How many executions go by between two looks at the clock.
constexpr uint64_t kLook = 64;

constinit Engine* g_engine = nullptr;

constexpr ThreadSet only(size_t thread) { return ThreadSet{1} << thread; }

std::string name_of(const LockState& lock) { return lock_name(lock.lock_class, lock.instance); }

}  // namespace

Engine* engine() { return g_engine; }

Engine::Engine(const AnyScenario& scenario, Strategy& strategy, const Limits& limits,
               bool every_point, std::function<bool(const SearchProgress&)> progress)
    : scenario_(scenario),
      strategy_(strategy),
      limits_(limits),
      every_point_(every_point),
      progress_(std::move(progress)),
      start_time_(std::chrono::steady_clock::now()) {
  cells_.resize(1);
  for (Thread& thread : threads_) thread.held.reserve(16);
  g_engine = this;
}

Engine::~Engine() { g_engine = nullptr; }

void Engine::run() {
  bool more = true;
  while (more && !stop_ && !violation_.has_value()) {
    simulator_.reset();  // Relacy knows one context at a time
    simulator_ = Simulator::make(scenario_.threads, *this);
    redundant_ = false;
    simulator_->run();
    // Back from the fibers: at the end of the last execution, or from one that was abandoned.
    hot = Hot{};
    use_arena(false);
    if (violation_.has_value() || stop_) break;
    more = redundant_ || learning_;
    if (more) {
      forget_cells();
      more = !out_of_limits();
      if (learning_) {
        strategy_.restart();
      } else if (more && !strategy_.next()) {
        exhausted_ = true;
        more = false;
      }
    }
  }
  // The cells' atomics belong to the simulator.
  forget_cells();
  simulator_.reset();
}

// --- one execution -------------------------------------------------------------------------------

void Engine::execution_begin() {
  forget_cells();
  for (Thread& thread : threads_) {
    thread.finished = false;
    thread.wait = Wait::kNo;
    thread.next = Step{};
    thread.lock = nullptr;
    thread.where = Where{};
    thread.operations = 0;
    thread.held.clear();
    thread.seen.clear();
    thread.round = 1;
    thread.read_old_value = false;
    thread.fruitless_yields = 0;
  }
  arena().reset();
  steps_ = 0;
  learning_ = false;
  redundant_ = false;
  spurious_used_ = false;
  schedule_.runs.clear();
  schedule_.choices.clear();
  running_ = 0;
  run_start_ = 0;
  next_ = 0;
  if (trace != nullptr) trace->clear();
  strategy_.begin();
}

void Engine::create() {
  hot = Hot{.phase = Phase::kAlone, .thread = 0};
  arena().use_part(0);
  use_arena(true);
  object_ = scenario_.create();
  check_no_locks("set-up");
}

void Engine::body(int thread) {
  if (hot.phase == Phase::kAlone) {
    // Thread 0 comes here first, from set-up, while the others have yet to start.
    hot.phase = Phase::kThreads;
    point(Wait::kNo, Step{}, nullptr, nullptr, Where{});
  }
  hot.thread = static_cast<int8_t>(thread);
  arena().use_part(thread + 1);
  operation(Where{});
  try {
    scenario_.thread(object_, thread);
  } catch (const std::exception& e) {
    violated(Kind::kException, std::string("a thread body threw ") + e.what(), me().where);
  } catch (...) {
    violated(Kind::kException, "a thread body threw something that is no std::exception",
             me().where);
  }
  check_no_locks("the end of the thread");
  record("ends", Where{});
  me().finished = true;
  const bool last = std::all_of(threads_.begin(), threads_.begin() + scenario_.threads,
                                [](const Thread& t) { return t.finished; });
  if (!last) decide();
}

void Engine::after() {
  hot = Hot{.phase = Phase::kAlone, .thread = 0};
  arena().use_part(0);
  scenario_.after(object_);
}

void Engine::destroy() {
  scenario_.destroy(object_);
  check_no_locks("the final check");
  forget_cells();
  hot = Hot{};
  use_arena(false);
}

bool Engine::execution_end() {
  if (learning_) {
    strategy_.restart();
    return stop_ = out_of_limits();
  }
  ++executions_;
  if (strategy_.diverged()) {
    Violation violation;
    violation.kind = Kind::kNondeterminism;
    violation.message =
        "two executions with the same decisions went different ways: something besides choose() "
        "decides in the scenario";
    violation_ = std::move(violation);
    return true;
  }
  check_lock_order(/*last=*/false);
  if (violation_.has_value()) return true;
  if (!strategy_.next()) {
    exhausted_ = true;
    return true;
  }
  return stop_ = out_of_limits();
}

void Engine::check_lock_order(bool last) {
  if (violation_.has_value() || !lock_order_.inverted()) return;
  const std::optional<Inversion> found = lock_order_.inversion();
  if (!found || !(found->both || last)) return;
  Violation violation;
  violation.kind = Kind::kLockOrder;
  violation.message = found->message;
  violation.where = found->where;
  violation.phase = Phase::kThreads;
  violation_ = std::move(violation);
  if (!last) close_run();
}

bool Engine::out_of_limits() {
  ++started_;
  if (limits_.executions != 0 && executions_ >= limits_.executions) {
    bounded_by_ = absl::StrCat(executions_, " executions");
    return true;
  }
  if (started_ % kLook != 0) return false;
  if (progress_ && !progress_(SearchProgress{.executions = executions_})) {
    bounded_by_ = absl::StrCat("interruption after ", executions_, " executions");
    return true;
  }
  if (limits_.time.count() != 0 && std::chrono::steady_clock::now() - start_time_ >= limits_.time) {
    bounded_by_ = absl::StrCat(executions_, " executions in ", limits_.time.count(), " ms");
    return true;
  }
  return false;
}

void Engine::forget_cells() {
  for (uint32_t i = 1; i < cells_used_; ++i) {
    Cell& cell = cells_[i];
    if (cell.atomic != nullptr) simulator_->delete_atomic(cell.atomic);
    arena().cell(cell.object) = 0;
  }
  cells_used_ = 1;
}

void Engine::check_no_locks(const char* when) {
  const Thread& thread = me();
  if (thread.held.empty()) return;
  const HeldLock& held = thread.held.back();
  violated(Kind::kHeldAtThreadEnd, absl::StrCat(name_of(*held.lock), " is held after ", when),
           held.where);
}

// --- scheduling ----------------------------------------------------------------------------------

bool Engine::something_changed(size_t thread) const {
  const Thread& t = threads_[thread];
  if (t.read_old_value) return true;
  return std::any_of(t.seen.begin(), t.seen.end(), [thread](const Thread::Seen& seen) {
    return seen.cell->changes_by_others(thread) != seen.changes;
  });
}

bool Engine::can_go_on(const Thread& thread) const {
  switch (thread.wait) {
    case Wait::kNo:
      return true;
    case Wait::kMutex:
      return thread.lock->writer < 0;
    case Wait::kReader:
      return thread.lock->writer < 0 && thread.lock->writers_waiting == 0;
    case Wait::kWriter:
      return thread.lock->writer < 0 && thread.lock->readers == 0;
    case Wait::kSleep:
      return false;
    case Wait::kYield:
      return something_changed(static_cast<size_t>(&thread - threads_.data()));
  }
  return false;
}

ThreadSet Engine::enabled() {
  ThreadSet set = 0;
  ThreadSet sleeping = 0;
  Thread* yielding = nullptr;
  for (size_t i = 0; i < static_cast<size_t>(scenario_.threads); ++i) {
    Thread& thread = threads_[i];
    if (thread.finished) continue;
    if (can_go_on(thread)) {
      set |= only(i);
    } else if (thread.wait == Wait::kSleep) {
      sleeping |= only(i);
    } else if (thread.wait == Wait::kYield &&
               (yielding == nullptr || thread.fruitless_yields < yielding->fruitless_yields)) {
      yielding = &thread;
    }
  }
  if (set != 0) return spurious_used_ ? set : set | sleeping;
  if (yielding == nullptr) return 0;
  // Nobody else can do anything, so this is as far as others get: it may look again. In turn, so
  // that their order is no decision.
  if (++yielding->fruitless_yields > kMaxFruitlessYields) {
    violated(Kind::kLivelock,
             absl::StrCat("cpu ", yielding - threads_.data(),
                          " waits in a loop for something that nobody is left to change"),
             yielding->where);
  }
  return only(static_cast<size_t>(yielding - threads_.data()));
}

// Chooses next_. May end the execution.
void Engine::decide() {
  const OutsideArena outside;
  for (;;) {
    next_ = choose_thread();
    Thread& thread = threads_[static_cast<size_t>(next_)];
    if (thread.wait == Wait::kYield) {
      if (something_changed(static_cast<size_t>(next_))) thread.fruitless_yields = 0;
      thread.seen.clear();
      thread.read_old_value = false;
      ++thread.round;
    }
    if (thread.wait != Wait::kSleep) return;
    // A wake-up out of the blue. The sleeper then waits for its mutex like everybody else.
    spurious_used_ = true;
    ++thread.operations;
    thread.wait = Wait::kMutex;
    thread.next = Step{.object = thread.lock, .write = true};
  }
}

int Engine::choose_thread() {
  const ThreadSet set = enabled();
  if (set == 0) stuck();
  Situation situation;
  situation.enabled = set;
  situation.current = hot.thread;
  const Thread& current = me();
  situation.preemption =
      (set & only(my_index())) != 0 && current.wait != Wait::kYield && current.wait != Wait::kSleep;
  for (size_t i = 0; i < threads_.size(); ++i) {
    situation.next[i] = threads_[i].next;
    situation.operations[i] = threads_[i].operations;
  }
  const int chosen = strategy_.pick_thread(situation);
  if (chosen == Strategy::kRedundant) {
    redundant_ = true;
    abandon();
  }
  note_run(chosen);
  return chosen;
}

void Engine::close_run() {
  schedule_.runs.push_back(
      Schedule::Run{.thread = running_,
                    .operations = threads_[static_cast<size_t>(running_)].operations - run_start_});
}

void Engine::note_run(int next) {
  if (next == running_) return;
  close_run();
  running_ = next;
  run_start_ = threads_[static_cast<size_t>(next)].operations;
}

int Engine::next_thread() {
  hot.thread = static_cast<int8_t>(next_);
  arena().use_part(next_ + 1);
  return next_;
}

uint32_t Engine::pick(uint32_t n) {
  const OutsideArena outside;
  const uint32_t answer = strategy_.pick(n);
  if (n > 1) schedule_.choices.push_back(answer);
  return answer;
}

void Engine::point(Wait wait, const Step& next, LockState* lock, const char* condvar,
                   const Where& where) {
  Thread& thread = me();
  thread.wait = wait;
  thread.next = next;
  thread.lock = lock;
  thread.condvar = condvar;
  thread.where = where;
  const uint64_t max_steps = limits_.max_steps != 0 ? limits_.max_steps : kDefaultMaxSteps;
  if (++steps_ > max_steps) {
    violated(Kind::kLivelock, absl::StrCat("an execution takes more than ", max_steps, " steps"),
             where);
  }
  decide();
  if (wait == Wait::kYield) {
    switch_thread_and_refresh();
  } else if (next_ != hot.thread) {
    switch_thread();
  }
  thread.wait = Wait::kNo;
}

void Engine::operation(const Where& where) {
  Thread& thread = me();
  ++thread.operations;
  thread.where = where;
}

// --- objects -------------------------------------------------------------------------------------

void Engine::check_alive(const void* object, const char* what, const Where& where) {
  if (!arena().dead(object)) return;
  std::string text = absl::StrCat(what, " ", arena().describe(object), " after it was freed");
  if (const Block* block = arena().object_at(object)) {
    absl::StrAppend(&text, " by cpu ", block->freed_by, " at ", to_string(block->freed),
                    "; allocated by cpu ", block->allocated_by, " at ",
                    to_string(block->allocated));
  }
  violated(Kind::kUseAfterFree, std::move(text), where);
}

Cell& Engine::cell(const void* object, const char* what, const Where& where) {
  check_alive(object, what, where);
  if (!arena().contains(object)) {
    violated(Kind::kInternalError,
             "a place that is neither allocated in the scenario nor on a thread's stack", where);
  }
  uint32_t& number = arena().cell(object);
  if (number == 0) {
    const OutsideArena outside;
    if (cells_used_ == cells_.size()) cells_.emplace_back();
    number = cells_used_++;
    Cell& fresh = cells_[number];
    fresh = Cell{};
    fresh.object = object;
    const auto known = learnt_.find(object);
    if (known != learnt_.end()) {
      fresh.shared = (known->second & kShared) != 0;
      fresh.tried = (known->second & kTried) != 0;
    }
    return fresh;
  }
  return cells_[number];
}

void Engine::learn(Cell& cell, uint8_t what) {
  if (every_point_) return;
  const OutsideArena outside;
  learnt_[cell.object] |= what;
  learning_ = true;
}

void Engine::first_use(Cell& cell, const Where& where) {
  const ThreadSet mine = only(my_index());
  if ((cell.users & mine) != 0) return;
  cell.users |= mine;
  // The object must have been handed over.
  const Block* block = arena().object_at(cell.object);
  if (block != nullptr && block->allocated_at != 0 && block->allocated_by != hot.thread &&
      clock()[block->allocated_by] < block->allocated_at) {
    violated(Kind::kDataRace,
             absl::StrCat("cpu ", hot.thread, " uses ", arena().describe(cell.object),
                          ", and nothing orders that after its allocation by cpu ",
                          block->allocated_by, " at ", to_string(block->allocated)),
             where);
  }
}

void Engine::use(Cell& cell, bool write, const Where& where) {
  first_use(cell, where);
  if (write) cell.writers |= only(my_index());
  if (!cell.shared && cell.writers != 0 && !std::has_single_bit(cell.users)) {
    cell.shared = true;
    learn(cell, kShared);
  }
}

void Engine::tried(Cell& cell) {
  if (cell.tried) return;
  cell.tried = true;
  learn(cell, kTried);
}

void Engine::did(Cell& cell, bool change, const Where& where) {
  const size_t i = my_index();
  cell.used_at[i] = clock()[i];
  cell.used[i] = where;
  if (change) {
    ++cell.changes;
    ++cell.changes_by[i];
  }
  Thread& thread = threads_[i];
  if (cell.noted_for[i] != thread.round) {
    cell.noted_for[i] = thread.round;
    const OutsideArena outside;
    thread.seen.push_back(Thread::Seen{.cell = &cell, .changes = cell.changes_by_others(i)});
  }
}

void Engine::acquire(const Clock& released) {
  uint64_t* const mine = clock();
  ++mine[my_index()];
  for (size_t i = 0; i < static_cast<size_t>(scenario_.threads); ++i) {
    mine[i] = std::max(mine[i], released[i]);
  }
}

void Engine::release(Clock& released) {
  uint64_t* const mine = clock();
  ++mine[my_index()];
  for (size_t i = 0; i < static_cast<size_t>(scenario_.threads); ++i) {
    released[i] = std::max(released[i], mine[i]);
  }
}

void Engine::make_atomic(Cell& cell, uint64_t value) {
  cell.atomic = simulator_->new_atomic();
  cell.values[kFirstSlot] = value;
  cell.newest = kFirstSlot;
}

void Engine::check_unused(const Block& block, const Where& where) {
  const uint64_t* const mine = clock();
  for (size_t at = 0; at < block.size; ++at) {
    const uint32_t number = arena().cell(block.begin + at);
    if (number == 0) continue;
    const Cell& cell = cells_[number];
    for (size_t i = 0; i < static_cast<size_t>(scenario_.threads); ++i) {
      if (mine[i] >= cell.used_at[i]) continue;
      violated(
          Kind::kUseAfterFree,
          absl::StrCat("cpu ", hot.thread, " frees ", arena().describe(block.begin),
                       ", and nothing orders that after the use of ", arena().describe(cell.object),
                       " by cpu ", i, " at ", to_string(cell.used[i])),
          where);
    }
  }
}

ThreadSet Engine::sleepers(const void* condvar) const {
  ThreadSet set = 0;
  for (size_t i = 0; i < threads_.size(); ++i) {
    const Thread& thread = threads_[i];
    if (!thread.finished && thread.wait == Wait::kSleep && thread.next.object == condvar) {
      set |= only(i);
    }
  }
  return set;
}

void Engine::wake(const void* condvar, bool all) {
  ThreadSet sleeping = sleepers(condvar);
  if (sleeping == 0) return;
  if (!all) {
    for (uint32_t skip = pick(static_cast<uint32_t>(std::popcount(sleeping))); skip > 0; --skip) {
      sleeping &= sleeping - 1;
    }
    sleeping &= ~(sleeping - 1);
  }
  for (; sleeping != 0; sleeping &= sleeping - 1) {
    // Woken: what it does next is to get its mutex back.
    Thread& thread = threads_[static_cast<size_t>(std::countr_zero(sleeping))];
    thread.wait = Wait::kMutex;
    thread.next = Step{.object = thread.lock, .write = true};
  }
}

// --- findings ------------------------------------------------------------------------------------

void Engine::record(const std::string& text, const Where& where, const void* object) {
  if (trace == nullptr || hot.phase != Phase::kThreads) return;
  const OutsideArena outside;
  trace->add(Trace::Event{.thread = hot.thread, .text = text, .where = where, .field = object});
}

void Engine::violated(Kind kind, std::string message, const Where& where) {
  use_arena(false);
  if (!learning_) {
    Violation violation;
    violation.kind = kind;
    violation.message.assign(message.data(), message.size());
    violation.where = where;
    violation.thread = hot.thread;
    violation.phase = hot.phase;
    violation.state = describe_threads();
    violation_ = std::move(violation);
    close_run();
    ++executions_;
  }
  abandon();
}

}  // namespace model
}  // namespace hatcheck::inline HATCHECK_BACKEND
