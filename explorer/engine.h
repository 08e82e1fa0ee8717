// Engine: runs one execution of a scenario at a time.
//
// The scenario's threads are fibers; they switch only at steps (event.h). At each step the running
// thread says what it wants to do, the plan or the strategy says who does its step next, and that
// thread goes on. What the scenario does between two steps is never interrupted.
//
// It checks as it goes: races by happens-before (C++'s, following the memory orders written),
// deadlocks, misuse of locks, use of freed memory. The first finding ends the execution.
//
// Thread safety: one real thread, one engine at a time.
#ifndef HATCHECK_EXPLORER_ENGINE_H_
#define HATCHECK_EXPLORER_ENGINE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "explorer/arena.h"
#include "explorer/clock.h"
#include "explorer/event.h"
#include "explorer/fiber.h"
#include "explorer/finding.h"
#include "explorer/lazy_array.h"
#include "explorer/recorder.h"
#include "explorer/site.h"
#include "explorer/value.h"

namespace explorer {

class Mutex;
class RwLock;
class CondVar;
class Object;
class Cell;
class LockOrder;
struct Part;

// Objects that a part of a search can limit: each costs a comparison per step.
inline constexpr size_t kMaxLimits = 3;

// A scenario. All three run in the arena; what they share is built by set_up().
class Program {
 public:
  virtual ~Program() = default;
  virtual const char* name() const = 0;
  virtual int threads() const = 0;
  virtual void set_up() = 0;           // once; its result is the start of every execution
  virtual void thread(int index) = 0;  // the body of a thread
  virtual void finish() = 0;           // all threads have ended: check, and free everything
};

// The decision to make a step: by whom, and with which choice.
struct Decision {
  uint8_t thread = 0;
  uint16_t choice = 0;
};

// In a plan: the first choice there is.
inline constexpr uint16_t kAnyChoice = 0xffff;

class Engine;

// Decides what the plan leaves open. Called while a scenario's thread is stopped: allocates
// nothing.
class Strategy {
 public:
  static constexpr int kNobody = -1;  // nobody can make a step
  static constexpr int kCut = -2;     // nothing new comes of this execution

  virtual ~Strategy() = default;
  virtual int pick(Engine& engine) = 0;
  // One of the bits of `allowed`, for the thread that was picked last.
  virtual uint16_t pick_choice(Engine& engine, uint64_t allowed) = 0;
  // The step at this place of the log was made just now.
  virtual void made(Engine& engine, int index) = 0;
};

enum class End : uint8_t {
  kComplete,  // every thread and finish() ended, or a finding did it
  kCutShort,  // the strategy saw nothing new in it
  kTooLong,   // the bound on steps was reached
};

struct EngineOptions {
  int max_steps = 20'000;
  int spurious_wakeups = 0;      // per thread and execution
  bool check_lock_order = true;  // keep lock_order()
  bool check_leaks = true;
};

class Engine {
 public:
  enum class Status : uint8_t { kUnborn, kReady, kSleeping, kFinished };

  struct Wanted {  // the step that a stopped thread wants to make next
    Label label;
    const void* target = nullptr;
    const Site* site = nullptr;
    uint16_t choices = 0;
    bool retry = false;  // spins: not before what it looks at has changed
  };

  struct Held {
    const Object* lock = nullptr;
    const Name* name = nullptr;
    bool writer = true;
    bool tried = false;  // had by tryenter
    Site site;
  };
  static constexpr int kMaxHeld = 32;
  static constexpr size_t kLeastClearedStack = 8192;

  struct Thread {
    Fiber* fiber = nullptr;
    Clock clock;  // dependence
    Clock now;    // happens-before
    Wanted wanted;
    int8_t id = 0;
    Status status = Status::kUnborn;
    uint8_t spurious_left = 0;
    uint8_t held_count = 0;
    const CondVar* sleeps_on = nullptr;
    bool yielded = false;           // since its last step
    bool passed_yield = false;      // and that yield was no step
    bool yield_far = false;         // more than one step after the yield before that one
    uint8_t graces = 0;             // yields that were let pass
    int16_t last_yield_time = -1;   // its time at its last yield
    int32_t last_yield_event = -1;  // its last kYield step
    int32_t last_event = -1;        // its last step
    bool last_looked = false;       // which only looked: a load, or a tryenter that failed
    uint64_t last_state = 0;        // the local state in which it wanted that step
    uint64_t state = 0;             // and the one it wants
    std::array<Held, kMaxHeld> held{};
  };

  Engine(Program& program, EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Builds the start of the executions. False if that itself is a violation (finding()).
  bool set_up();

  // Runs one execution: the plan first, then as the strategy says. The first `known` steps are
  // those of the previous execution.
  End run(Strategy& strategy, const std::vector<Decision>& plan, int known);

  const Finding& finding() const { return finding_; }
  bool found() const { return finding_.kind != Kind::kNone; }
  int steps() const { return depth_; }
  const Event& event(int index) const { return log_[index]; }
  int threads() const { return thread_count_; }
  const Thread& thread(int id) const { return threads_[id]; }
  const EngineOptions& options() const { return options_; }
  int running() const { return current_->id; }
  // Whether the thread can make the step it wants.
  bool enabled(const Thread& thread) const;
  uint8_t enabled_mask() const;
  // Of these, the threads that need not wait for their turn (part.h).
  bool may_go(const Thread& thread) const { return enabled(thread) && !waits_for_turn(thread); }
  uint8_t go_mask() const;
  bool has_yields() const { return last_yield_ >= 0; }
  int last_yield() const { return last_yield_; }
  // The local states of threads matter (somebody spins) and did not before: begin anew.
  bool wants_restart() const { return wants_restart_; }
  void watch_states() {
    watch_states_ = true;
    wants_restart_ = false;
  }
  bool watches_states() const { return watch_states_; }
  // The choices that the thread's step has, as bits.
  uint64_t choices(const Thread& thread) const;
  void set_recorder(Recorder* recorder) { recorder_ = recorder; }
  Recorder* recorder() const { return recorder_; }
  // Executions from now on are those of the part. It must outlive them.
  void set_part(const Part* part) { part_ = part; }
  const Part* part() const { return part_; }
  // The execution was left because nobody could go on but threads whose turn it was not.
  bool out_of_turn() const { return out_of_turn_; }
  // Whether the execution belongs to the part, and not to one that it has all its turns in
  // common with.
  bool belongs() const;
  LockOrder& lock_order() { return *lock_order_; }
  const LockOrder& lock_order() const { return *lock_order_; }

  // ---- for the types in sync.h; all but the first run in a scenario's code ----
  static inline Engine* active = nullptr;
  // Nobody else runs: set-up, finish(), or no engine at all.
  static bool alone() { return active == nullptr || active->alone_; }

  void lock(Mutex& mutex, const Site& site);
  bool try_lock(Mutex& mutex, const Site& site);
  void unlock(Mutex& mutex, const Site& site);
  void wait(CondVar& condvar, Mutex& mutex, const Site& site);
  void signal(CondVar& condvar, const Site& site);
  void broadcast(CondVar& condvar, const Site& site);

  void enter_reader(RwLock& lock, const Site& site);
  void enter_writer(RwLock& lock, const Site& site);
  bool try_enter(RwLock& lock, bool writer, const Site& site);
  bool try_upgrade(RwLock& lock, const Site& site);
  void downgrade(RwLock& lock, const Site& site);
  void exit(RwLock& lock, const Site& site);

  // The step of an atomic access is made in two parts, so that the value decides in between.
  void want_atomic(Object& object, Op op, const Site& site);
  // `loads` and `stores` say which of the values count.
  void atomic_done(Object& object, std::memory_order order, bool loads, bool stores, Value before,
                   Value after, const Site& site);

  uint32_t choose(uint32_t n, const Site& site);
  void yield(const Site& site);

  void read(Cell& cell, const void* address, Value value, const Site& site);
  void write(Cell& cell, const void* address, Value value, const Site& site);
  void destroy(const Cell& cell, const void* address, const Site& site);
  void destroy(const Object& object, const Site& site);

  [[noreturn]] void fail(Kind kind, std::string message, const Site& site);

  int self() const { return current_->id; }

 private:
  static void fiber_main();
  void run_body();
  void begin_execution();
  void run_alone(bool in_set_up);
  void go(Thread& to);
  void go_host(Thread& from);
  [[noreturn]] void leave(End end);
  std::string leak_message() const;
  // Says what the running thread wants to do next. Field by field: a processor stalls on a copy of
  // what was put together just before.
  void want(const Label& label, const void* target, const Site& site, uint16_t choices = 0) {
    Wanted& wanted = current_->wanted;
    wanted.label.object = label.object;
    wanted.label.object2 = label.object2;
    wanted.label.thread = label.thread;
    wanted.label.op = label.op;
    wanted.label.access = label.access;
    wanted.label.choice = label.choice;
    wanted.target = target;
    wanted.site = &site;
    wanted.choices = choices;
    wanted.retry = false;
  }
  // Lets the search decide when the running thread does what it wants.
  void stop_here();
  void stop_here(const Label& label, const void* target, const Site& site, uint16_t choices = 0) {
    want(label, target, site, choices);
    stop_here();
  }
  void reschedule();
  int next_thread();
  Event& made(const Label& label, uint8_t outcome, Object* object, Object* object2);
  void order(Event& event, Object* object, Object* object2);
  uint16_t decide(uint64_t allowed);
  void thread_ended();

  void note_state(Thread& thread, uintptr_t stack);
  void settle_yield(Wanted& wanted);
  void yield_step(const Site& site);
  // Whether the thread's step would take the turn of others.
  bool waits_for_turn(const Thread& thread) const {
    for (int i = 0; i < limits_; ++i) {
      const TurnsAt& at = turns_at_[i];
      if (at.object == thread.wanted.label.object && (at.next >> thread.id & 1) == 0) {
        return would_take_turn(thread);
      }
    }
    return false;
  }
  bool would_take_turn(const Thread& thread) const;
  void begin_turns();
  void take_turn(uint32_t object);
  bool yield_enabled(const Thread& thread) const;
  bool retry_enabled(const Thread& thread) const;

  void nobody_can_go_on();
  bool goes_in_circles();
  uint8_t blockers(const Thread& thread) const;
  void check_cycle(const Thread& thread, const Site& site);
  std::string waits_for(const Thread& thread) const;

  void touch(Object& object, const char* what, const Site& site);
  void check_alive(const void* p, const char* what, const Site& site) {
    if (Arena::contains(p) && arena_.state(p) != Arena::State::kLive) [[unlikely]] {
      used_dead(p, what, site);
    }
  }
  [[noreturn]] void used_dead(const void* p, const char* what, const Site& site);
  void took(Object& lock, const Name& name, bool writer, bool blocking, const Site& site);
  void note_order(const Name& name, bool tried, const Site& site);
  void dropped(Object& lock);
  void acquire_mutex(Mutex& mutex, bool blocking, const Site& site);
  void release_mutex(Mutex& mutex);
  void no_rw_recursion(const RwLock& lock, const Site& site);
  void acquire_rw(RwLock& lock, bool writer, bool blocking, const Site& site);
  void wake(int sleeper, CondVar& condvar);
  // What t does from now on, nobody knows who learns of it by what it has just released. Set-up has
  // no time: all threads know what it did, and a time of its own would pass for thread 0's.
  void tick(Thread& t) const {
    if (!alone_) t.now.set(t.id, static_cast<int16_t>(t.now[t.id] + 1));
  }
  int other_access(const Cell& cell) const;
  [[noreturn]] void race(const Cell& cell, const void* address, bool writes, const Site& site);
  [[noreturn]] void nondeterministic(const std::string& what);

  Program& program_;
  const EngineOptions options_;
  Arena& arena_;
  Fiber host_;
  Thread main_;  // set-up and finish()
  std::array<Thread, kMaxThreads> threads_;
  int thread_count_ = 0;
  Thread* current_ = nullptr;
  LazyArray<Event> log_;
  int depth_ = 0;
  int known_ = 0;
  const Decision* plan_ = nullptr;
  int planned_ = 0;
  Strategy* strategy_ = nullptr;
  Recorder* recorder_ = nullptr;
  const Part* part_ = nullptr;
  struct TurnsAt {
    uint32_t object = 0;
    uint16_t taken = 0;
    uint8_t next = 0;  // threads that may take the next turn, as bits
  };
  std::array<TurnsAt, kMaxLimits> turns_at_{};
  int limits_ = 0;  // of the part
  bool out_of_turn_ = false;
  bool alone_ = true;
  bool starting_ = false;
  bool in_set_up_ = false;
  bool watch_states_ = false;
  bool wants_restart_ = false;
  size_t deepest_state_ = kLeastClearedStack / 2;  // bytes of stack in a local state, at most
  int last_yield_ = -1;
  Clock yield_clock_;
  End end_ = End::kComplete;
  Finding finding_;
  std::unique_ptr<LockOrder> lock_order_;
};

// Memory of the running scenario; a finding if there is none left, or if it is not a live block.
void* allocate(size_t size, size_t alignment);
void release(void* p, const Site& site = Site::here());
// Tells the recorder that the block at p is about to be released, and by what place in the source:
// for allocators in between, which know it.
void note_free(const void* p, const Site& site);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_ENGINE_H_
