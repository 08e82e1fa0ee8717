// Engine: one search of one scenario. It keeps what the executions have in common (what has been
// learnt, the strategy, the limits) and what there is during one (threads, what they hold and wait
// for, what they did to which object).
//
// Scheduling points. A thread can lose the CPU only where it is about to do something that others
// could notice: an operation on an object that two threads use and at least one of them changes.
// Which objects these are is learnt: an execution that meets a new one is no longer counted (what
// it did before is not known to Relacy) but runs on to learn more, and the search starts again.
// When it ends, no object was missing in any of its executions. Guarded fields and memory are never
// points: accesses to them are ordered by locks and atomics, or they are violations.
//
// A thread that stands at a point tells what it is about to do. Those that would have to wait are
// not run.
//
// Thread safety: one real thread. Everything here uses the process's heap, never the arena.
#ifndef HATCHECK_PLATFORM_RELACY_ENGINE_H_
#define HATCHECK_PLATFORM_RELACY_ENGINE_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "platform/lock_order.h"
#include "platform/relacy/arena.h"
#include "platform/relacy/model.h"
#include "platform/relacy/simulator.h"
#include "platform/relacy/strategy.h"
#include "platform/relacy/trace.h"
#include "platform/scenario.h"
#include "platform/search.h"

namespace hatcheck::inline HATCHECK_BACKEND::model {

using Clock = std::array<uint64_t, kMaxThreads>;

// What the engine knows about one object of the seam in the current execution.
struct Cell {
  const void* object = nullptr;
  // Two threads use it and one changes it; somebody enters it with tryenter.
  bool shared = false;
  bool tried = false;
  ThreadSet users = 0;
  ThreadSet writers = 0;
  // Fields: the last write.
  int writer = -1;
  uint64_t written_at = 0;
  Where written;
  // The last use by each thread, on that thread's clock; 0 for none.
  Clock used_at{};
  std::array<Where, kMaxThreads> used{};
  // For yield(): how often it was changed, in all and by each thread; and the thread's wait that it
  // was last noted for.
  uint32_t changes = 0;
  std::array<uint32_t, kMaxThreads> changes_by{};
  std::array<uint32_t, kMaxThreads> noted_for{};
  // Locks: what leaving it has published, and what leaving it as a reader has.
  Clock released{};
  Clock released_by_readers{};
  // Atomics: Relacy's part, and the values in its slots.
  void* atomic = nullptr;
  std::array<uint64_t, kSlots> values{};
  uint32_t newest = 0;

  uint32_t changes_by_others(size_t thread) const { return changes - changes_by[thread]; }
};

enum class Wait : uint8_t {
  kNo,      // can go on
  kMutex,   // until `lock` is free
  kReader,  // until it admits a reader
  kWriter,  // until it admits a writer
  kSleep,   // until it is woken
  kYield,   // until something it has read has changed
};

struct HeldLock {
  const LockState* lock = nullptr;
  LockMode mode = LockMode::kMutex;
  bool by_try = false;
  Where where;
};

struct Thread {
  bool finished = false;
  // At a scheduling point:
  Wait wait = Wait::kNo;
  Step next;
  LockState* lock = nullptr;      // of kMutex, kReader, kWriter; the mutex to get back of kSleep
  const char* condvar = nullptr;  // name, of kSleep
  Where where;                    // of the operation it stands at, or of the last one

  uint64_t operations = 0;
  std::vector<HeldLock> held;

  // What it has read since its last yield, and how often others had changed that by then.
  struct Seen {
    const Cell* cell;
    uint32_t changes;
  };
  std::vector<Seen> seen;
  uint32_t round = 1;  // number of yields, plus one
  bool read_old_value = false;
  int fruitless_yields = 0;
};

struct Violation {
  Kind kind = Kind::kNone;
  std::string message;
  Where where;
  int thread = 0;
  Phase phase = Phase::kOutside;
  std::string state;  // what each thread holds and waits for
};

class Engine : public SimulatorClient {
 public:
  struct Limits {
    uint64_t executions = 0;  // 0: no limit
    std::chrono::milliseconds time{0};
    uint64_t max_steps = 0;
    bool report_inversions = true;
  };

  Engine(const AnyScenario& scenario, Strategy& strategy, const Limits& limits, bool every_point,
         std::function<bool(const SearchProgress&)> progress);
  ~Engine() override;

  // Runs executions until the strategy has no more, a limit is reached or one is violated.
  void run();

  const std::optional<Violation>& violation() const { return violation_; }
  uint64_t executions() const { return executions_; }
  bool exhausted() const { return exhausted_; }
  const std::string& bounded_by() const { return bounded_by_; }
  const Schedule& schedule() const { return schedule_; }
  LockOrder& lock_order() { return lock_order_; }
  bool keeps_lock_order() const { return limits_.report_inversions; }
  // The violation that the order of locks is, when no execution has another one.
  void check_lock_order(bool last);
  Trace* trace = nullptr;  // if set, everything is recorded

  // --- for Relacy
  void execution_begin() override;
  void create() override;
  void body(int thread) override;
  void after() override;
  void destroy() override;
  int next_thread() override;
  uint32_t pick(uint32_t n) override;
  bool execution_end() override;

  // --- for the operations (operations.cc, locks.cc). All are called in some thread's fiber.
  Thread& me() { return threads_[static_cast<size_t>(hot.thread)]; }
  size_t my_index() const { return static_cast<size_t>(hot.thread); }
  // The cell of an object of the seam. Reports an object that is gone.
  Cell& cell(const void* object, const char* what, const Where& where);
  void check_alive(const void* object, const char* what, const Where& where);
  // Notes that the running thread is about to use a lock, condition variable or atomic.
  void use(Cell& cell, bool write, const Where& where);
  // The part of it that Guarded fields need too.
  void first_use(Cell& cell, const Where& where);
  // The object is entered with tryenter: leaving it matters to others.
  void tried(Cell& cell);
  bool is_point(const Cell& cell) const { return cell.shared || every_point_; }
  bool exit_is_point(const Cell& cell) const { return every_point_ || (cell.shared && cell.tried); }
  // A scheduling point: returns when the strategy lets the running thread go on.
  void point(Wait wait, const Step& next, LockState* lock, const char* condvar, const Where& where);
  // Counts an operation, and notes where.
  void operation(const Where& where);
  // What the thread has just done to the object: it counts as read, or as changed.
  void did(Cell& cell, bool change, const Where& where);
  void acquire(const Clock& released);
  void release(Clock& released);
  void make_atomic(Cell& cell, uint64_t value);
  // Reports a use of anything in the object by another thread that nothing orders before now.
  void check_unused(const Block& block, const Where& where);
  bool has_sleeper(const void* condvar) const { return sleepers(condvar) != 0; }
  // Wakes sleepers of the condition variable: all, or one that the strategy picks.
  void wake(const void* condvar, bool all);
  [[noreturn]] void violated(Kind kind, std::string message, const Where& where);
  void record(const std::string& text, const Where& where, const void* object = nullptr);
  bool tracing() const { return trace != nullptr; }

 private:
  bool can_go_on(const Thread& thread) const;
  ThreadSet enabled();
  bool something_changed(size_t thread) const;
  void decide();
  int choose_thread();
  void note_run(int next);
  void close_run();
  [[noreturn]] void stuck();
  std::string describe_threads() const;
  std::string find_cycle() const;
  ThreadSet blockers(size_t thread) const;
  void learn(Cell& cell, uint8_t what);
  ThreadSet sleepers(const void* condvar) const;
  void check_no_locks(const char* when);
  void forget_cells();
  bool out_of_limits();

  const AnyScenario scenario_;
  Strategy& strategy_;
  const Limits limits_;
  const bool every_point_;
  const std::function<bool(const SearchProgress&)> progress_;
  std::unique_ptr<Simulator> simulator_;

  // The search.
  std::unordered_map<const void*, uint8_t> learnt_;  // kShared, kTried
  uint64_t executions_ = 0;
  uint64_t started_ = 0;
  bool exhausted_ = false;
  bool stop_ = false;
  std::string bounded_by_;
  std::optional<Violation> violation_;
  LockOrder lock_order_;  // of all executions
  std::chrono::steady_clock::time_point start_time_;

  // The current execution.
  void* object_ = nullptr;
  std::array<Thread, kMaxThreads> threads_;
  std::deque<Cell> cells_;  // number 0 is never used
  uint32_t cells_used_ = 1;
  int next_ = 0;
  uint64_t steps_ = 0;
  bool learning_ = false;  // met a new object: the execution does not count
  bool redundant_ = false;
  bool spurious_used_ = false;
  Schedule schedule_;
  int running_ = 0;
  uint64_t run_start_ = 0;
};

// The engine that runs now, or null.
Engine* engine();

}  // namespace hatcheck::inline HATCHECK_BACKEND::model

#endif  // HATCHECK_PLATFORM_RELACY_ENGINE_H_
