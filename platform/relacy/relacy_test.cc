// The relacy backend beyond the conformance suite: what the search leaves out is really left out
// for nothing, weak memory is weak, reports say what happened and can be replayed.
//
// Its own main(): GoogleTest cannot share a process with Relacy.
#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <set>
#include <string>

#include "platform/platform.h"
#include "platform/relacy/run.h"
#include "platform/scenario.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr LockClass kOuter{"outer", 1};
constexpr LockClass kInner{"inner", 2};
constexpr LockClass kShared{"shared", 3};

int g_failures = 0;

void expect(bool good, const char* test, const std::string& what) {
  if (good) return;
  ++g_failures;
  std::printf("FAILED %s: %s\n", test, what.c_str());
}

void expect_in(const std::string& part, const std::string& text, const char* test) {
  expect(text.find(part) != std::string::npos, test,
         "expected to read '" + part + "' in:\n" + text);
}

// The states in which executions have ended, as hashes. A fixed table: a set of the standard
// library would be memory of the execution that inserts into it.
class Outcomes {
 public:
  void clear() { used_ = 0; }
  void add(uint64_t outcome) {
    const auto end = table_.begin() + static_cast<ptrdiff_t>(used_);
    if (std::find(table_.begin(), end, outcome) != end) return;
    if (used_ == table_.size()) panic("more outcomes than the table has room for");
    table_[used_++] = outcome;
  }
  std::set<uint64_t> all() const {
    return {table_.begin(), table_.begin() + static_cast<ptrdiff_t>(used_)};
  }

 private:
  std::array<uint64_t, 4096> table_{};
  size_t used_ = 0;
};

Outcomes g_outcomes;

uint64_t mixed(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

// --- reduced searches against the one that leaves nothing out ------------------------------------

struct Operation {
  uint32_t what;
  uint32_t object;
  uint32_t value;
  std::memory_order order;
};

constexpr int kProgramThreads = 2;
constexpr size_t kProgramLength = 3;
using Program = std::array<std::array<Operation, kProgramLength>, kProgramThreads>;

Program g_program;

Program random_program(uint64_t seed) {
  uint64_t state = seed;
  const auto below = [&state](uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>((state >> 33) % n);
  };
  constexpr std::memory_order kOrders[] = {std::memory_order_relaxed, std::memory_order_seq_cst,
                                           std::memory_order_acq_rel};
  Program program;
  for (auto& thread : program) {
    for (Operation& operation : thread) {
      operation = Operation{below(9), below(2), 1 + below(3), kOrders[below(3)]};
    }
  }
  return program;
}

std::memory_order for_load(std::memory_order order) {
  return order == std::memory_order_acq_rel ? std::memory_order_acquire : order;
}
std::memory_order for_store(std::memory_order order) {
  return order == std::memory_order_acq_rel ? std::memory_order_release : order;
}

// Runs g_program; what each thread saw and what is left is the outcome.
class ProgramScenario : public ScenarioDefaults {
 public:
  static constexpr int kThreads = kProgramThreads;
  static constexpr const char* kName = "relacy_test/program";
  static constexpr const char* kClaim = "any";

  void thread(int index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    uint64_t& seen = seen_[static_cast<size_t>(index)];
    for (const Operation& operation : g_program[static_cast<size_t>(index)]) {
      seen = mixed(seen, run(operation));
    }
  }
  void after() {
    uint64_t outcome = 1;
    for (const uint64_t seen : seen_) outcome = mixed(outcome, seen);
    for (const auto& word : words_) outcome = mixed(outcome, word.load(std::memory_order_relaxed));
    for (const auto& field : fields_) outcome = mixed(outcome, field());
    g_outcomes.add(mixed(outcome, shared_field_()));
  }

 private:
  uint64_t run(const Operation& operation) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const size_t i = operation.object;
    Atomic<uint32_t>& word = words_[i];
    Mutex& mutex = i == 0 ? outer_ : inner_;
    switch (operation.what) {
      case 0:
        return word.load(for_load(operation.order));
      case 1:
        word.store(operation.value, for_store(operation.order));
        return 0;
      case 2:
        return word.fetch_add(operation.value, operation.order);
      case 3: {
        uint32_t expected = 0;
        word.compare_exchange_strong(expected, operation.value, operation.order,
                                     std::memory_order_relaxed);
        return expected;
      }
      case 4: {
        const MutexGuard guard(mutex);
        fields_[i] = fields_[i]() * 3 + operation.value;
        return fields_[i]();
      }
      case 5: {
        if (!mutex.tryenter()) return 77;
        fields_[i] = fields_[i]() * 3 + operation.value;
        const uint64_t seen = fields_[i]();
        mutex.exit();
        return seen;
      }
      case 6: {
        const ReaderGuard guard(shared_);
        return shared_field_();
      }
      case 7: {
        shared_.enter(RwMode::kReader);
        const bool upgraded = shared_.tryupgrade();
        if (upgraded) shared_field_ = shared_field_() * 3 + operation.value;
        shared_.exit();
        return upgraded ? 1 : 2;
      }
      default: {
        const MutexGuard outer(outer_);
        const MutexGuard inner(inner_);
        fields_[1] = fields_[1]() + fields_[0]() + choose(2);
        return fields_[1]();
      }
    }
  }

  Atomic<uint32_t> words_[2];
  Mutex outer_{kOuter};
  Mutex inner_{kInner};
  RwLock shared_{kShared};
  Guarded<uint64_t> fields_[2];
  Guarded<uint64_t> shared_field_;
  std::array<uint64_t, kProgramThreads> seen_{};
};

struct Run {
  Report report;
  std::set<uint64_t> outcomes;
};

template <Scenario S>
Run run_of(Search search, bool every_point = false, bool report_inversions = true) {
  SearchOptions options;
  options.search = search;
  options.every_point = every_point;
  options.report_inversions = report_inversions;
  g_outcomes.clear();
  Run run;
  run.report = run_search<S>(options);
  run.outcomes = g_outcomes.all();
  return run;
}

template <Scenario S>
void expect_same_outcomes(const char* test, const std::string& label) {
  const Run all = run_of<S>(Search::kFull, true);
  expect(all.report.verdict == Verdict::kExhausted, test, label + verdict_line(all.report));
  expect(all.outcomes.size() > 1, test, label + "one outcome only, nothing is compared");
  for (const Search search : {Search::kFull, Search::kDpor}) {
    const Run reduced = run_of<S>(search);
    expect(reduced.report.verdict == Verdict::kExhausted, test,
           label + std::string(name_of(search)) + " is " + verdict_line(reduced.report));
    expect(reduced.outcomes == all.outcomes, test,
           label + std::string(name_of(search)) + " reaches " +
               std::to_string(reduced.outcomes.size()) + " of " +
               std::to_string(all.outcomes.size()) + " outcomes");
    expect(reduced.report.iterations <= all.report.iterations, test, label + "no reduction");
  }
}

void reduced_searches_reach_every_outcome_of_random_programs() {
  uint64_t saved = 0;
  uint64_t total = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    g_program = random_program(seed);
    const Run all = run_of<ProgramScenario>(Search::kFull, true);
    if (all.outcomes.size() < 2) continue;
    expect_same_outcomes<ProgramScenario>(__func__, "program " + std::to_string(seed) + ": ");
    total += all.report.iterations;
    saved += all.report.iterations - run_of<ProgramScenario>(Search::kDpor).report.iterations;
  }
  expect(saved * 2 > total, __func__, "less than half of the executions are saved");
}

// Sleepers, wake-ups out of the blue, and a flag that is polled.
class SleepAndPoll : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "relacy_test/sleep_and_poll";
  static constexpr const char* kClaim = "any";

  void thread(int index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (index == 2) {
      mutex_.enter();
      tokens_ = 2;
      mutex_.exit();
      changed_.broadcast();
      done_.store(true, std::memory_order_release);
      return;
    }
    mutex_.enter();
    while (tokens_() == 0) changed_.wait(mutex_);
    tokens_ = tokens_() - 1;
    order_ = order_() * 4 + static_cast<uint64_t>(index) + 1;
    mutex_.exit();
    if (index == 0) {
      while (!done_.load(std::memory_order_acquire)) yield();
      polled_ = true;
    }
  }
  void after() { g_outcomes.add(mixed(order_(), polled_() ? 1 : 0)); }

 private:
  Mutex mutex_{kOuter};
  CondVar changed_{"changed"};
  Guarded<int> tokens_{0};
  Guarded<uint64_t> order_{0};
  Guarded<bool> polled_{false};
  Atomic<bool> done_{false};
};

void reduced_search_reaches_every_outcome_of_sleepers() {
  const Run full = run_of<SleepAndPoll>(Search::kFull);
  const Run reduced = run_of<SleepAndPoll>(Search::kDpor);
  expect(full.report.verdict == Verdict::kExhausted, __func__, verdict_line(full.report));
  expect(reduced.report.verdict == Verdict::kExhausted, __func__, verdict_line(reduced.report));
  expect(full.outcomes.size() == 2 && full.outcomes == reduced.outcomes, __func__,
         "outcomes differ");
}

// --- weak memory ---------------------------------------------------------------------------------

// Store buffering: each thread stores to one word and loads the other.
template <std::memory_order store, std::memory_order load>
class StoreBuffering : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "relacy_test/store_buffering";
  static constexpr const char* kClaim = "any";

  void thread(int index) {
    const auto i = static_cast<size_t>(index);
    words_[i].store(1, store);
    seen_[i] = words_[1 - i].load(load);
  }
  void after() { g_outcomes.add(seen_[0] * 2 + seen_[1]); }

 private:
  Atomic<uint32_t> words_[2];
  uint64_t seen_[2] = {};
};

void weak_stores_are_seen_late_and_strong_ones_are_not() {
  for (const Search search : {Search::kFull, Search::kDpor}) {
    const Run weak =
        run_of<StoreBuffering<std::memory_order_release, std::memory_order_acquire>>(search);
    expect(weak.outcomes == std::set<uint64_t>{0, 1, 2, 3}, __func__, "release and acquire");
    const Run strong =
        run_of<StoreBuffering<std::memory_order_seq_cst, std::memory_order_seq_cst>>(search);
    expect(strong.outcomes == std::set<uint64_t>{1, 2, 3}, __func__, "sequentially consistent");
  }
}

// Message passing through two words: is the first one seen by who sees the second?
template <std::memory_order store, std::memory_order load>
class MessagePassing : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "relacy_test/message_passing";
  static constexpr const char* kClaim = "any";

  void thread(int index) {
    if (index == 0) {
      data_.store(1, std::memory_order_relaxed);
      flag_.store(1, store);
    } else {
      const uint32_t flag = flag_.load(load);
      seen_ = flag * 2 + data_.load(std::memory_order_relaxed);
    }
  }
  void after() { g_outcomes.add(seen_); }

 private:
  Atomic<uint32_t> data_;
  Atomic<uint32_t> flag_;
  uint64_t seen_ = 0;
};

void a_message_arrives_with_its_flag_only_if_both_orders_are_right() {
  const std::set<uint64_t> all{0, 1, 2, 3};
  const std::set<uint64_t> right{0, 1, 3};
  constexpr auto kRelaxed = std::memory_order_relaxed;
  constexpr auto kRelease = std::memory_order_release;
  constexpr auto kAcquire = std::memory_order_acquire;
  const auto search = Search::kDpor;
  expect(run_of<MessagePassing<kRelease, kAcquire>>(search).outcomes == right, __func__, "both");
  expect(run_of<MessagePassing<kRelaxed, kAcquire>>(search).outcomes == all, __func__,
         "relaxed store");
  expect(run_of<MessagePassing<kRelease, kRelaxed>>(search).outcomes == all, __func__,
         "relaxed load");
}

// --- findings ------------------------------------------------------------------------------------

struct Node {
  Atomic<uint32_t> count{2};
  Guarded<uint32_t> value{0};
};

// Both threads drop their reference; the last one frees. Reads of the value come before the drop.
template <std::memory_order order, bool read_late>
class DropReference : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "relacy_test/drop_reference";
  static constexpr const char* kClaim = "the last user frees";

  void thread(int) {
    if (!read_late) read(*node_);
    const bool last = node_->count.fetch_sub(1, order) == 1;
    if (read_late) read(*node_);
    if (last) nodes_.free(node_);
  }

 private:
  static void read(Node& node) { HAT_ASSERT(node.value() == 0); }
  ObjectCache<Node> nodes_{"node"};
  Node* const node_ = nodes_.alloc(KmFlag::kSleep);
};

// The build is part of the test: an engine that keeps its marks in the dead objects loses them to
// the optimiser.
void a_read_of_a_freed_object_is_found() {
  const Run run = run_of<DropReference<std::memory_order_acq_rel, true>>(Search::kDpor);
  expect(run.report.kind == Kind::kUseAfterFree, __func__, verdict_line(run.report));
  expect_in("node@", run.report.message, __func__);
  expect_in("(read)", run.report.message, __func__);
  expect_in("(thread)", run.report.message, __func__);
}

void a_free_that_nothing_orders_after_a_read_is_found() {
  const Run weak = run_of<DropReference<std::memory_order_relaxed, false>>(Search::kDpor);
  expect(weak.report.kind == Kind::kUseAfterFree, __func__, verdict_line(weak.report));
  const Run right = run_of<DropReference<std::memory_order_acq_rel, false>>(Search::kDpor);
  expect(right.report.verdict == Verdict::kExhausted, __func__, verdict_line(right.report));
}

class Published : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "relacy_test/published";
  static constexpr const char* kClaim = "an object is handed over by a relaxed store";

  void thread(int index) {
    if (index == 0) {
      where_.store(nodes_.alloc(KmFlag::kSleep), std::memory_order_relaxed);
    } else if (Node* node = where_.load(std::memory_order_relaxed)) {
      HAT_ASSERT(node->count.load(std::memory_order_relaxed) == 2);
    }
  }
  void after() { nodes_.free(where_.load(std::memory_order_relaxed)); }

 private:
  ObjectCache<Node> nodes_{"node"};
  Atomic<Node*> where_;
};

void an_object_that_is_not_handed_over_properly_is_a_race() {
  const Run run = run_of<Published>(Search::kDpor);
  expect(run.report.kind == Kind::kDataRace, __func__, verdict_line(run.report));
  expect_in("allocation by cpu 0", run.report.message, __func__);
}

class Inversion : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "relacy_test/inversion";
  static constexpr const char* kClaim = "two locks in two orders";

  void thread(int index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Mutex& first = index == 0 ? outer_ : inner_;
    Mutex& second = index == 0 ? inner_ : outer_;
    first.enter();
    second.enter();
    second.exit();
    first.exit();
  }

 private:
  Mutex outer_{kOuter, 3};
  Mutex inner_{kInner, 4};
};

void a_deadlock_report_shows_who_waits_for_whom() {
  const Run run = run_of<Inversion>(Search::kDpor, false, false);
  const std::string& text = run.report.message;
  expect(run.report.kind == Kind::kDeadlock, __func__, verdict_line(run.report));
  expect_in("cpu 0 waits for inner[4] held by cpu 1, cpu 1 waits for outer[3] held by cpu 0", text,
            __func__);
  expect_in("    holds outer[3] since platform/relacy/relacy_test.cc:", text, __func__);
  expect_in("enter inner[4]", text, __func__);
  expect(run_of<Inversion>(Search::kFull, false, false).report.kind == Kind::kDeadlock, __func__,
         "full");
  expect(run_of<Inversion>(Search::kBound, false, false).report.kind == Kind::kDeadlock, __func__,
         "bound");
  expect(run_of<Inversion>(Search::kRandom, false, false).report.kind == Kind::kDeadlock, __func__,
         "random");
}

void what_a_violation_prints_replays_it() {
  for (const Search search : {Search::kDpor, Search::kRandom}) {
    const Run found = run_of<Inversion>(search, false, false);
    SearchOptions options;
    options.search = Search::kReplay;
    options.replay = found.report.replay;
    const Report replayed = run_search<Inversion>(options);
    expect(replayed.kind == Kind::kDeadlock, __func__, verdict_line(replayed));
    expect(replayed.message == found.report.message, __func__, "another report");
  }
}

void a_bad_replay_text_is_refused() {
  SearchOptions options;
  options.search = Search::kReplay;
  options.replay = "nonsense";
  const Report report = run_search<Inversion>(options);
  expect(report.kind == Kind::kInternalError, __func__, verdict_line(report));
  expect_in("'nonsense' is not a schedule", report.message, __func__);
}

class NullPointer : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "relacy_test/null_pointer";
  static constexpr const char* kClaim = "a null pointer is followed";

  void thread(int index) {
    if (index == 0) {
      gone_.store(nullptr, std::memory_order_relaxed);
    } else {
      HAT_ASSERT(*gone_.load(std::memory_order_relaxed) == 7);
    }
  }

 private:
  int value_ = 7;
  Atomic<int*> gone_{&value_};
};

void a_crash_is_a_violation_with_a_schedule() {
  const Run run = run_of<NullPointer>(Search::kDpor);
  expect(run.report.kind == Kind::kCrash, __func__, verdict_line(run.report));
  expect_in("load relaxed", run.report.message, __func__);
  expect(!run.report.replay.empty(), __func__, "no schedule");
}

class Spinner : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "relacy_test/spinner";
  static constexpr const char* kClaim = "a flag that nobody sets is polled";

  void thread(int index) {
    if (index == 0) {
      while (!flag_.load(std::memory_order_acquire)) yield();
    }
  }

 private:
  Atomic<bool> flag_{false};
};

void a_loop_that_nobody_can_end_is_a_livelock() {
  const Run run = run_of<Spinner>(Search::kDpor);
  expect(run.report.kind == Kind::kLivelock, __func__, verdict_line(run.report));
}

int g_executions = 0;

class Unpredictable : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "relacy_test/unpredictable";
  static constexpr const char* kClaim = "a global decides";

  void thread(int) {
    if (++g_executions % 3 == 0) word_.fetch_add(1, std::memory_order_relaxed);
    word_.fetch_add(1, std::memory_order_relaxed);
    if (choose(g_executions % 2 == 0 ? 2 : 3) == 0) word_.fetch_add(1, std::memory_order_relaxed);
  }

 private:
  Atomic<int> word_{0};
};

void a_scenario_that_does_not_repeat_is_called_nondeterministic() {
  const Run run = run_of<Unpredictable>(Search::kFull);
  expect(run.report.kind == Kind::kNondeterminism, __func__, verdict_line(run.report));
}

void limits_are_named_in_the_verdict() {
  SearchOptions options;
  options.search = Search::kRandom;
  options.executions = 7;
  expect(verdict_line(run_search<SleepAndPoll>(options)) == "bounded (by 7 executions)", __func__,
         "executions");
  options.executions = 0;
  options.progress = [](const SearchProgress&) { return false; };
  expect_in("bounded (by interruption after ", verdict_line(run_search<SleepAndPoll>(options)),
            __func__);
  options.search = Search::kBound;
  options.progress = nullptr;
  options.preemptions = 1;
  expect(verdict_line(run_search<SleepAndPoll>(options)) == "bounded (by 1 preemptions)", __func__,
         "preemptions");
}

void the_same_seed_finds_the_same_schedule() {
  SearchOptions options;
  options.search = Search::kRandom;
  options.seed = 42;
  const Report first = run_search<Inversion>(options);
  const Report second = run_search<Inversion>(options);
  expect(!first.replay.empty() && first.replay == second.replay, __func__, first.replay);
  expect(first.iterations == second.iterations, __func__, "another number of executions");
}

}  // namespace

int run_tests() {
  reduced_searches_reach_every_outcome_of_random_programs();
  reduced_search_reaches_every_outcome_of_sleepers();
  weak_stores_are_seen_late_and_strong_ones_are_not();
  a_message_arrives_with_its_flag_only_if_both_orders_are_right();
  a_read_of_a_freed_object_is_found();
  a_free_that_nothing_orders_after_a_read_is_found();
  an_object_that_is_not_handed_over_properly_is_a_race();
  a_deadlock_report_shows_who_waits_for_whom();
  what_a_violation_prints_replays_it();
  a_bad_replay_text_is_refused();
  a_crash_is_a_violation_with_a_schedule();
  a_loop_that_nobody_can_end_is_a_livelock();
  a_scenario_that_does_not_repeat_is_called_nondeterministic();
  limits_are_named_in_the_verdict();
  the_same_seed_finds_the_same_schedule();
  std::printf("%d failed\n", g_failures);
  return g_failures == 0 ? 0 : 1;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND

int main() { return hatcheck::run_tests(); }
