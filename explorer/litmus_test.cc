// Small programs with the exact number of executions that the reduction must need. A count that
// changes is a failure, in either direction: a missing one is a trace not explored, another one is
// a trace explored twice.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "explorer/search.h"
#include "explorer/small_program.h"
#include "explorer/sync.h"
#include "explorer/trace.h"

namespace explorer {
namespace {

struct World {
  Mutex a{Name{"a"}};
  Mutex b{Name{"b"}};
  Mutex c{Name{"c"}};
  RwLock rw{Name{"rw"}};
  CondVar cv{"cv"};
  Atomic<int> x;
  Atomic<int> y;
  Atomic<int> z;
  bool ready = false;
};

using Small = SmallProgram<World>;
using Body = Small::Body;

struct Litmus {
  const char* name;
  std::vector<Body> threads;
  uint64_t executions;
  Kind kind = Kind::kNone;  // found in some execution
  int spurious_wakeups = 0;
};

// ---- bodies

void nothing(World&) {}
void load_x(World& w) { w.x.load(); }
void store_x(World& w) { w.x.store(1); }
void store_x_load_y(World& w) {
  w.x.store(1);
  w.y.load();
}
void store_y_load_x(World& w) {
  w.y.store(1);
  w.x.load();
}
void store_x_store_y(World& w) {
  w.x.store(1);
  w.y.store(1);
}
void store_y_store_x(World& w) {
  w.y.store(1);
  w.x.store(1);
}
void load_y_load_x(World& w) {
  w.y.load();
  w.x.load();
}
void load_x_load_y(World& w) {
  w.x.load();
  w.y.load();
}
void load_x_store_y(World& w) {
  w.x.load();
  w.y.store(1);
}
void load_y_store_x(World& w) {
  w.y.load();
  w.x.store(1);
}
void store_y(World& w) { w.y.store(1); }
void load_x_twice(World& w) {
  w.x.load();
  w.x.load();
}
void add_x(World& w) { w.x.fetch_add(1); }
void lock_a(World& w) {
  w.a.lock();
  w.a.unlock();
}
void lock_b(World& w) {
  w.b.lock();
  w.b.unlock();
}
void lock_a_twice(World& w) {
  lock_a(w);
  lock_a(w);
}
void lock_a_then_b(World& w) {
  lock_a(w);
  lock_b(w);
}
void nest_a_b(World& w) {
  w.a.lock();
  w.b.lock();
  w.b.unlock();
  w.a.unlock();
}
void nest_b_a(World& w) {
  w.b.lock();
  w.a.lock();
  w.a.unlock();
  w.b.unlock();
}
void hand_over_hand(World& w) {
  w.a.lock();
  w.b.lock();
  w.a.unlock();
  w.c.lock();
  w.b.unlock();
  w.c.unlock();
}
void try_a(World& w) {
  if (w.a.try_lock()) w.a.unlock();
}
void read_rw(World& w) {
  w.rw.lock_shared();
  w.rw.unlock();
}
void write_rw(World& w) {
  w.rw.lock();
  w.rw.unlock();
}
void wait_ready(World& w) {
  w.a.lock();
  while (!w.ready) w.cv.wait(w.a);
  w.a.unlock();
}
void set_ready(World& w) {
  w.a.lock();
  w.ready = true;
  w.cv.signal();
  w.a.unlock();
}
void set_ready_broadcast(World& w) {
  w.a.lock();
  w.ready = true;
  w.cv.broadcast();
  w.a.unlock();
}
void wait_once(World& w) {
  w.a.lock();
  w.cv.wait(w.a);
  w.a.unlock();
}
void choose_three(World&) { choose(3); }
void choose_store(World& w) {
  if (choose(2) == 1) w.x.store(1);
}
// A loop spins if it comes back with the same on its stack and in its registers, of which some may
// be left there by the round before. So one round goes before those that look at x, whatever it is
// that the compiler leaves.
void spin_x(World& w) {
  for (const Atomic<int>* on = &w.z; on->load() == 0; on = &w.x) yield();
}

const Litmus kTable[] = {
    {"one_thread", {store_x}, 1},
    {"nothing_at_all", {nothing, nothing}, 1},
    {"two_loads", {load_x, load_x}, 1},
    {"load_and_store", {load_x, store_x}, 2},
    {"two_stores", {store_x, store_x}, 2},
    {"three_stores", {store_x, store_x, store_x}, 6},
    {"four_additions", {add_x, add_x, add_x, add_x}, 24},
    {"different_objects", {store_x, store_y}, 1},
    {"SB", {store_x_load_y, store_y_load_x}, 3},
    {"MP", {store_x_store_y, load_y_load_x}, 3},
    {"LB", {load_x_store_y, load_y_store_x}, 3},
    {"2+2W", {store_x_store_y, store_y_store_x}, 3},
    {"CoRR", {store_x, load_x_twice}, 3},
    {"WRC", {store_x, load_x_store_y, load_y_load_x}, 7},
    {"IRIW", {store_x, store_y, load_x_load_y, load_y_load_x}, 15},
    {"one_writer_two_readers", {store_x, load_x, load_x}, 4},
    {"one_writer_three_readers", {store_x, load_x, load_x, load_x}, 8},
    {"one_lock_two_threads", {lock_a, lock_a}, 2},
    {"one_lock_three_threads", {lock_a, lock_a, lock_a}, 6},
    {"one_lock_twice", {lock_a_twice, lock_a_twice}, 6},
    {"two_locks_in_turn", {lock_a_then_b, lock_a_then_b}, 4},
    {"different_locks", {lock_a, lock_b}, 1},
    {"nested_locks", {nest_a_b, nest_a_b}, 2},
    {"opposite_nesting", {nest_a_b, nest_b_a}, 3, Kind::kDeadlock},
    {"hand_over_hand", {hand_over_hand, hand_over_hand, hand_over_hand}, 6},
    {"tryenter_and_lock", {lock_a, try_a}, 3},
    {"two_tryenters", {try_a, try_a}, 4},
    {"two_readers", {read_rw, read_rw}, 1},
    {"reader_and_writer", {read_rw, write_rw}, 3},
    {"two_writers", {write_rw, write_rw}, 4},
    {"wait_and_signal", {wait_ready, set_ready}, 2},
    {"wait_and_signal_spurious", {wait_ready, set_ready}, 4, Kind::kNone, 1},
    {"two_sleepers_one_broadcast", {wait_ready, wait_ready, set_ready_broadcast}, 10},
    {"signal_picks_a_sleeper", {wait_once, wait_once, set_ready}, 10, Kind::kLostWakeup},
    {"a_choice", {choose_three}, 3},
    {"two_choices", {choose_three, choose_three}, 9},
    {"a_choice_that_matters", {choose_store, load_x}, 3},
    {"a_spin", {spin_x, store_x}, 2},
};

class LitmusTest : public testing::TestWithParam<Litmus> {};

TEST_P(LitmusTest, NeedsExactlyThisManyExecutions) {
  const Litmus& litmus = GetParam();
  Small program(litmus.threads, litmus.name);
  Options options;
  options.keep_going = true;
  options.engine.spurious_wakeups = litmus.spurious_wakeups;
  options.engine.check_lock_order = false;
  const Result result = search(program, options);
  EXPECT_EQ(result.executions, litmus.executions);
  EXPECT_EQ(result.cut_short, 0u);
  EXPECT_EQ(result.finding.kind, litmus.kind) << result.finding.message;

  // The number is that of the traces among all interleavings.
  std::set<TraceDigest> traces;
  options.method = Method::kFull;
  options.observer = [&traces](const Engine& engine, End) { traces.insert(trace_of(engine)); };
  options.restarted = [&traces] { traces.clear(); };
  EXPECT_EQ(search(program, options).verdict, result.verdict);
  EXPECT_EQ(traces.size(), litmus.executions);
}

INSTANTIATE_TEST_SUITE_P(Table, LitmusTest, testing::ValuesIn(kTable), [](const auto& info) {
  std::string name = info.param.name;
  for (char& c : name) {
    if (c == '+') c = '_';
  }
  return name;
});

// ---- formulas

class Locks : public Program {
 public:
  Locks(int threads, int locks, int rounds) : threads_(threads), locks_(locks), rounds_(rounds) {}
  const char* name() const override { return "locks"; }
  int threads() const override { return threads_; }
  void set_up() override { mutexes_ = new std::vector<Mutex>(static_cast<size_t>(locks_)); }
  void thread(int) override {
    for (int i = 0; i < rounds_; ++i) {
      for (Mutex& mutex : *mutexes_) {
        mutex.lock();
        mutex.unlock();
      }
    }
  }
  void finish() override { delete mutexes_; }

 private:
  const int threads_;
  const int locks_;
  const int rounds_;
  std::vector<Mutex>* mutexes_ = nullptr;
};

uint64_t executions(int threads, int locks, int rounds) {
  Locks program(threads, locks, rounds);
  const Result result = search(program, {});
  EXPECT_EQ(result.verdict, Verdict::kExhausted) << verdict_line(result);
  EXPECT_EQ(result.cut_short, 0u);
  return result.executions;
}

uint64_t factorial(uint64_t n) { return n < 2 ? 1 : n * factorial(n - 1); }

uint64_t power(uint64_t base, int exponent) {
  return exponent == 0 ? 1 : base * power(base, exponent - 1);
}

TEST(Locks, IndependentLocksInTurnAreTheProductOfTheirOrders) {
  for (const auto& [threads, locks] : {std::pair{2, 1}, {2, 3}, {2, 6}, {3, 2}, {3, 3}, {4, 2}}) {
    EXPECT_EQ(executions(threads, locks, 1),
              power(factorial(static_cast<uint64_t>(threads)), locks))
        << threads << " threads, " << locks << " locks";
  }
}

TEST(Locks, OneLockSeveralTimesIsTheNumberOfMerges) {
  for (const auto& [threads, rounds] : {std::pair{2, 1}, {2, 2}, {2, 5}, {3, 2}, {3, 3}, {4, 3}}) {
    const auto n = static_cast<uint64_t>(threads);
    const auto k = static_cast<uint64_t>(rounds);
    EXPECT_EQ(executions(threads, 1, rounds), factorial(n * k) / power(factorial(k), threads))
        << threads << " threads, " << rounds << " times";
  }
}

}  // namespace
}  // namespace explorer
