// Statistics and wait-for tracking, in the observed build; in the plain build, that all of it is
// empty.
#include "platform/observe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "platform/conformance/condvar.h"
#include "platform/conformance/mutex.h"
#include "platform/conformance/rwlock_misuse.h"

#ifdef HATCHECK_WITH_TSAN
// Otherwise every child that fails on purpose waits a second for further reports.
extern "C" const char* __tsan_default_options() { return "atexit_sleep_ms=0"; }
#endif

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using testing::ExitedWithCode;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr LockClass kFirst{"first", 11};
constexpr LockClass kSecond{"second", 12};
constexpr LockClass kRw{"rw", 13};

class Observe : public testing::Test {
 protected:
  void SetUp() override {
    if (!kObserved) GTEST_SKIP() << "the plain build observes nothing";
    reset();
  }
};

LockClassReport report_of(const std::string& name) {
  for (const LockClassReport& report : snapshot()) {
    if (report.name == name) return report;
  }
  return {};
}

// Until the CPU waits, as a watchdog would see it.
CpuState await_waiting(CpuId cpu) {
  for (;;) {
    for (const CpuState& state : cpu_states()) {
      if (state.cpu == cpu && state.waiting) return state;
    }
    yield();
  }
}

// Waits until the CPU sleeps on a condition variable; before, it may wait for the mutex.
CpuState await_asleep(CpuId cpu) {
  for (;;) {
    const CpuState state = await_waiting(cpu);
    if (!state.condvar.empty()) return state;
    yield();
  }
}

uint64_t sum(const TimeHistogram& histogram) {
  uint64_t total = 0;
  for (const uint64_t count : histogram) total += count;
  return total;
}

TEST(PlainBuild, ReturnsEmptyResults) {
  if (kObserved) GTEST_SKIP();
  Mutex mutex(kFirst);
  const CpuBinding binding(1);
  const MutexGuard guard(mutex);
  EXPECT_THAT(snapshot(), IsEmpty());
  EXPECT_THAT(cpu_states(), IsEmpty());
  EXPECT_EQ(path_counts().lock_acquisitions, 0u);
  EXPECT_EQ(find_deadlock(), "");
  EXPECT_FALSE(all_stuck(1));
  EXPECT_EQ(describe_stuck(), "");
}

TEST_F(Observe, CountsAcquisitionsPerClass) {
  Mutex one(kFirst, 1), two(kFirst, 2), other(kSecond);
  for (Mutex* mutex : {&one, &two, &other}) {
    const MutexGuard guard(*mutex);
  }
  EXPECT_EQ(report_of("first").acquisitions, 2u);
  EXPECT_EQ(report_of("second").acquisitions, 1u);
  EXPECT_EQ(report_of("first").contended, 0u);
  EXPECT_EQ(sum(report_of("first").hold_times), 2u);
}

TEST_F(Observe, CountsFailedTryentersApart) {
  Mutex mutex(kFirst);
  const MutexGuard guard(mutex);
  std::thread([&] { EXPECT_FALSE(mutex.tryenter()); }).join();
  EXPECT_EQ(report_of("first").acquisitions, 1u);
  EXPECT_EQ(report_of("first").failed_tryenters, 1u);
}

TEST_F(Observe, CountsBothModesOfARwLock) {
  RwLock lock(kRw);
  { const ReaderGuard guard(lock); }
  { const WriterGuard guard(lock); }
  EXPECT_EQ(report_of("rw").acquisitions, 2u);
  EXPECT_EQ(sum(report_of("rw").hold_times), 2u);
}

TEST_F(Observe, SortsTheReportByPlace) {
  Mutex second(kSecond), first(kFirst);
  { const MutexGuard guard(second); }
  { const MutexGuard guard(first); }
  const LockReport report = snapshot();
  ASSERT_EQ(report.size(), 2u);
  EXPECT_EQ(report[0].name, "first");
  EXPECT_EQ(report[1].name, "second");
}

TEST_F(Observe, ResetStartsFromZero) {
  Mutex mutex(kFirst);
  { const MutexGuard guard(mutex); }
  reset();
  EXPECT_THAT(snapshot(), IsEmpty());
}

TEST_F(Observe, ShowsAWaiterTheOwnerAndTheWaitTime) {
  Mutex mutex(kFirst, 4);
  const CpuBinding binding(0);
  std::thread waiter;
  {
    const MutexGuard guard(mutex);
    waiter = std::thread([&] {
      const CpuBinding other(1);
      const MutexGuard inside(mutex);
    });
    const CpuState state = await_waiting(1);
    EXPECT_EQ(state.wants, "first[4]");
    EXPECT_EQ(state.owner, 0u);
    EXPECT_THAT(state.where.file, HasSubstr("observe_test.cc"));
    EXPECT_THAT(describe_stuck(), HasSubstr("cpu 1 waits for first[4], blocked by cpu 0"));
    EXPECT_THAT(describe_stuck(), HasSubstr("cpu 0 runs\n  holds first[4] since "));
    EXPECT_EQ(find_deadlock(), "") << "one thread waits and the other runs";
    delay(2);  // the wait that is measured below
  }
  waiter.join();
  const LockClassReport report = report_of("first");
  EXPECT_EQ(report.acquisitions, 2u);
  EXPECT_EQ(report.contended, 1u);
  EXPECT_EQ(sum(report.wait_times), 1u);
  EXPECT_GT(report.wait_ns, 1'000'000u);
  EXPECT_GT(report.hold_ns, 1'000'000u);
  EXPECT_LT(report.hold_ns, 60'000'000'000u);
}

TEST_F(Observe, ShowsASleeperWithItsConditionVariable) {
  Mutex mutex(kFirst);
  CondVar changed("pages freed");
  Guarded<bool> ready{false};
  std::thread sleeper([&] {
    const CpuBinding binding(1);
    const MutexGuard guard(mutex);
    while (!ready()) changed.wait(mutex);
  });
  const CpuState state = await_asleep(1);
  EXPECT_THAT(describe_stuck(), HasSubstr("pages freed"));
  EXPECT_EQ(state.condvar, "pages freed");
  EXPECT_THAT(state.holds, IsEmpty());
  {
    const MutexGuard guard(mutex);
    ready = true;
    changed.broadcast();
  }
  sleeper.join();
  EXPECT_THAT(cpu_states(), IsEmpty()) << "the CPU has no thread any more";
}

TEST_F(Observe, CountsThePathOfTheCallingThread) {
  const CpuBinding binding(2);
  Mutex mutex(kFirst);
  Atomic<uint64_t> word{0};
  const PathCounts before = path_counts();
  {
    const MutexGuard guard(mutex);
    uint64_t expected = 0;
    word.compare_exchange_strong(expected, 1, std::memory_order_relaxed, std::memory_order_relaxed);
    word.compare_exchange_strong(expected, 1, std::memory_order_relaxed, std::memory_order_relaxed);
    word.fetch_add(1, std::memory_order_relaxed);
    word.load(std::memory_order_relaxed);
  }
  std::thread([&] { const MutexGuard guard(mutex); }).join();
  const PathCounts after = path_counts();
  EXPECT_EQ(after.lock_acquisitions - before.lock_acquisitions, 1u);
  EXPECT_EQ(after.cas_operations - before.cas_operations, 2u);
  EXPECT_EQ(after.rmw_operations - before.rmw_operations, 1u);
}

TEST_F(Observe, RefusesTwoClassesInOnePlace) {
  static constexpr LockClass kIntruder{"intruder", 11};
  EXPECT_EXIT(
      {
        Mutex mutex(kFirst);
        Mutex intruder(kIntruder);
      },
      ExitedWithCode(kExitViolated), "first and intruder both have place 11");
}

TEST_F(Observe, RefusesAPlaceOutOfRange) {
  static constexpr LockClass kFar{"far", 64};
  EXPECT_EXIT(Mutex mutex(kFar), ExitedWithCode(kExitViolated), "far has place 64");
}

// A thread waits for a lock of a sleeper and has the mutex that the sleeper needs back.
class CycleThroughASleeper : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "test/cycle_through_a_sleeper";
  static constexpr const char* kClaim = "a sleeper that holds a lock waits for its mutex too";
  static constexpr Bounds kBounds{.iterations = 1};

  void thread(int index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (index == 0) {
      outer_.enter();
      mutex_.enter();
      asleep_ = true;
      while (asleep_()) woken_.wait(mutex_);
      mutex_.exit();
      outer_.exit();
      return;
    }
    mutex_.enter();
    while (!asleep_()) {
      mutex_.exit();
      yield();
      mutex_.enter();
    }
    outer_.enter();  // the sleeper holds it, and cannot wake while this thread has the mutex
  }

 private:
  Mutex outer_{kFirst};
  Mutex mutex_{kSecond};
  CondVar woken_{"woken"};
  Guarded<bool> asleep_{false};
};

// Only a cycle is reported in time, and not that nothing moves.
RunOptions patient() {
  RunOptions options;
  options.quiet = std::chrono::minutes(10);
  return options;
}

TEST_F(Observe, FindsACycleOfTwoMutexes) {
  if (kTsan) GTEST_SKIP() << "ThreadSanitizer reports the lock order first";
  const Report report = run_isolated<conformance::DeadlockOfTwo>(patient());
  EXPECT_EQ(verdict_line(report), "violated (deadlock)") << report.message;
  EXPECT_THAT(report.message, HasSubstr("cpu 0 waits for inner[0] held by cpu 1"));
  EXPECT_THAT(report.message, HasSubstr("cpu 1 waits for outer[0] held by cpu 0"));
}

TEST_F(Observe, FindsACycleThroughAWaitingWriter) {
  if (kTsan) GTEST_SKIP() << "ThreadSanitizer reports the lock order first";
  const Report report = run_isolated<conformance::ReaderBehindAWaitingWriter>(patient());
  EXPECT_EQ(verdict_line(report), "violated (deadlock)") << report.message;
  EXPECT_THAT(
      report.message,
      HasSubstr("cpu 2 waits for shared[5] as a reader also wanted by the writer on cpu 1"));
  EXPECT_THAT(report.message, HasSubstr("cpu 1 waits for shared[5] as the writer held by cpu 0"));
}

TEST_F(Observe, FindsASleeperThatNobodyCanWake) {
  const Report report = run_isolated<conformance::ForgottenSignal>(patient());
  EXPECT_EQ(verdict_line(report), "violated (lost wake-up)") << report.message;
  EXPECT_THAT(report.message, HasSubstr("'never signalled'"));
}

TEST_F(Observe, DoesNotCallASignalledSleeperStuck) {
  Mutex mutex(kFirst);
  CondVar changed("changed");
  Guarded<bool> ready{false};
  std::thread sleeper([&] {
    const CpuBinding binding(1);
    const MutexGuard guard(mutex);
    while (!ready()) changed.wait(mutex);
  });
  await_asleep(1);
  // Entered only once the sleeper has given up the mutex.
  {
    const MutexGuard guard(mutex);
    EXPECT_TRUE(all_stuck(1));
    EXPECT_FALSE(all_stuck(2)) << "another thread might wake it";
    changed.signal();
    EXPECT_FALSE(all_stuck(1)) << "woken, but it cannot have the mutex yet";
    ready = true;
  }
  sleeper.join();
}

TEST_F(Observe, FindsACycleThroughASleeper) {
  if (kTsan) GTEST_SKIP() << "ThreadSanitizer reports the lock order first";
  const Report report = run_isolated<CycleThroughASleeper>(patient());
  EXPECT_EQ(verdict_line(report), "violated (deadlock)") << report.message;
  EXPECT_THAT(report.message, HasSubstr("cpu 1 waits for first[0] held by cpu 0"));
  EXPECT_THAT(report.message, HasSubstr("sleeps on condition variable 'woken' with second[0]"));
}

TEST(Percentile, IsTheUpperBoundOfItsBucket) {
  TimeHistogram histogram{};
  EXPECT_EQ(percentile_ns(histogram, 0.5), 0u);
  histogram[3] = 90;  // 8 to 15 ns
  histogram[6] = 10;  // 64 to 127 ns
  EXPECT_EQ(percentile_ns(histogram, 0.5), 15u);
  EXPECT_EQ(percentile_ns(histogram, 0.9), 15u);
  EXPECT_EQ(percentile_ns(histogram, 0.91), 127u);
  EXPECT_EQ(percentile_ns(histogram, 1.0), 127u);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
