// What only the threads backend promises: bindings, seeds, the failure handler, isolated runs and
// the memory of ObjectCache. The primitives themselves are tested by the conformance suite.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "platform/platform.h"

#ifdef HATCHECK_WITH_TSAN
// Otherwise every child that fails on purpose waits a second for further reports.
extern "C" const char* __tsan_default_options() { return "atexit_sleep_ms=0"; }
#endif

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using testing::ElementsAreArray;
using testing::ExitedWithCode;
using testing::HasSubstr;
using testing::Not;

constexpr LockClass kTestLock{"test_lock", 1};

std::vector<uint32_t> draw(CpuId cpu, uint64_t seed) {
  const CpuBinding binding(cpu, seed);
  std::vector<uint32_t> drawn;
  for (int i = 0; i < 32; ++i) drawn.push_back(choose(1000));
  return drawn;
}

TEST(Binding, SetsTheCpuForItsScope) {
  EXPECT_EQ(this_cpu(), 0u);
  {
    const CpuBinding binding(17);
    EXPECT_EQ(this_cpu(), 17u);
  }
  EXPECT_EQ(this_cpu(), 0u);
}

TEST(Binding, TheSameSeedRepeatsTheChoices) {
  EXPECT_THAT(draw(3, 42), ElementsAreArray(draw(3, 42)));
}

TEST(Binding, AnotherSeedOrCpuGivesOtherChoices) {
  EXPECT_THAT(draw(3, 42), Not(ElementsAreArray(draw(3, 43))));
  EXPECT_THAT(draw(3, 42), Not(ElementsAreArray(draw(4, 42))));
  EXPECT_THAT(draw(3, 42), Not(ElementsAreArray(draw(3, 42 + (uint64_t{1} << 32)))));
}

TEST(Binding, OneCpuRunsOneThread) {
  EXPECT_EXIT(
      {
        const CpuBinding binding(3);
        std::thread([] { const CpuBinding second(3); }).join();
      },
      ExitedWithCode(kExitViolated), "cpu 3 already runs another thread");
}

TEST(Binding, OneThreadRunsOnOneCpu) {
  EXPECT_EXIT(
      {
        const CpuBinding binding(3);
        const CpuBinding second(4);
      },
      ExitedWithCode(kExitViolated), "this thread is on cpu 3");
}

TEST(Binding, AHolderOfLocksCannotBeBound) {
  EXPECT_EXIT(
      {
        Mutex mutex(kTestLock);
        const MutexGuard guard(mutex);
        const CpuBinding binding(3);
      },
      ExitedWithCode(kExitViolated), "holds locks");
}

TEST(Binding, ACpuThatDoesNotExistIsRefused) {
  EXPECT_EXIT(CpuBinding binding(kMaxCpus), ExitedWithCode(kExitViolated), "out of range");
}

TEST(Choice, ReachesEveryNumber) {
  std::vector<int> seen(5);
  for (int i = 0; i < 1000; ++i) ++seen[choose(5)];
  for (const int count : seen) EXPECT_GT(count, 100);
}

TEST(Choice, ChanceHasTheProbabilityAskedFor) {
  int hits = 0;
  for (int i = 0; i < 10'000; ++i) hits += chance(300'000) ? 1 : 0;
  EXPECT_NEAR(hits, 3000, 300);
}

TEST(FailureReport, NamesKindPlaceCpuAndHeldLocks) {
  EXPECT_EXIT(
      {
        const CpuBinding binding(5);
        Mutex mutex(kTestLock, 2);
        const MutexGuard guard(mutex);
        panic("all is lost");
      },
      ExitedWithCode(kExitViolated),
      "hatcheck: panic: all is lost\n  at .*threads_test.cc:[0-9]+ \\(.*\\), cpu 5\n"
      "  holds test_lock\\[2\\] since .*threads_test.cc");
}

TEST(FailureReport, GoesToTheHandlerInstead) {
  EXPECT_EXIT(
      {
        set_failure_handler([](const Failure& failure) {
          std::string text = "seen: " + failure.message + "\n";
          if (::write(STDERR_FILENO, text.data(), text.size()) < 0) ::_exit(9);
        });
        panic("all is lost");
      },
      ExitedWithCode(kExitViolated), "^seen: all is lost\n$");
}

TEST(FailureReport, OnlyTheFirstFailureIsReported) {
  EXPECT_EXIT(
      {
        Atomic<bool> first{false};
        std::thread second;
        set_failure_handler([&](const Failure& failure) {
          // The second thread fails while the first is in the handler.
          second = std::thread([&] {
            first.store(true, std::memory_order_release);
            panic("second");
          });
          while (!first.load(std::memory_order_acquire)) yield();
          delay(20);
          std::string text = failure.message + "\n";
          if (::write(STDERR_FILENO, text.data(), text.size()) < 0) ::_exit(9);
        });
        panic("first");
      },
      ExitedWithCode(kExitViolated), "^first\n$");
}

TEST(FailureReport, AFailingHandlerStillEndsTheProcess) {
  EXPECT_EXIT(
      {
        set_failure_handler([](const Failure&) { panic("again"); });
        panic("first");
      },
      ExitedWithCode(kExitViolated), "the failure handler failed\n.*again");
}

template <void (*body)()>
class OneThread : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "test/one_thread";
  static constexpr const char* kClaim = "none";
  static constexpr Bounds kBounds{.iterations = 1};

  void thread(int) { body(); }
};

void do_nothing() {}
void throw_an_exception() { throw std::runtime_error("oops"); }
void kill_itself() { ::raise(SIGKILL); }
void exit_quietly() { ::_exit(0); }
void never_end() {
  for (;;) yield();
}
void print_and_panic() {
  const std::string text = "last words\n";
  if (::write(STDERR_FILENO, text.data(), text.size()) > 0) panic("end");
}

TEST(IsolatedRun, ThatFindsNothingIsBounded) {
  RunOptions options;
  options.iterations = 7;
  const Report report = run_isolated<OneThread<do_nothing>>(options);
  EXPECT_EQ(verdict_line(report), "bounded (by 7 iterations)") << report.message;
  EXPECT_EQ(exit_code(report), kExitBounded);
}

TEST(IsolatedRun, EndsWhenItsTimeIsUp) {
  RunOptions options;
  options.iterations = 1'000'000'000;
  options.time = std::chrono::milliseconds(20);
  const Report report = run_isolated<OneThread<do_nothing>>(options);
  EXPECT_THAT(verdict_line(report),
              testing::MatchesRegex("bounded .by [0-9]+ iterations in 20 ms."));
  EXPECT_GT(report.iterations, 0u);
  EXPECT_LT(report.iterations, options.iterations);
}

TEST(IsolatedRun, ReportsAnException) {
  const Report report = run_isolated<OneThread<throw_an_exception>>();
  EXPECT_EQ(report.kind, Kind::kException);
  EXPECT_THAT(report.message, HasSubstr("oops"));
}

TEST(IsolatedRun, ReportsASignal) {
  const Report report = run_isolated<OneThread<kill_itself>>();
  EXPECT_EQ(report.kind, Kind::kCrash);
  EXPECT_THAT(report.message, HasSubstr("Killed"));
}

TEST(IsolatedRun, ReportsAnEndWithoutAResult) {
  const Report report = run_isolated<OneThread<exit_quietly>>();
  EXPECT_EQ(report.kind, Kind::kCrash);
  EXPECT_THAT(report.message, HasSubstr("without a result"));
}

TEST(IsolatedRun, EndsARunThatHangs) {
  RunOptions options;
  options.limit = std::chrono::milliseconds(300);
  const Report report = run_isolated<OneThread<never_end>>(options);
  EXPECT_EQ(verdict_line(report), "violated (no progress)");
}

TEST(IsolatedRun, KeepsWhatTheScenarioPrinted) {
  const Report report = run_isolated<OneThread<print_and_panic>>();
  EXPECT_EQ(report.kind, Kind::kPanic);
  EXPECT_THAT(report.message, HasSubstr("last words"));
}

TEST(VerdictWords, EveryPhraseStandsForOneKind) {
  for (int i = 0; i < kKinds; ++i) {
    const Kind kind = static_cast<Kind>(i);
    EXPECT_EQ(kind_of(phrase(kind)), kind);
  }
  EXPECT_EQ(kind_of("no such phrase"), std::nullopt);
}

struct Item {
  Guarded<uint64_t> owner;
  Guarded<uint64_t> pad[9];
};

// Threads on CPUs and two unbound threads, which all claim to be CPU 0, exchange objects.
TEST(ObjectCacheMemory, IsSharedByBoundAndUnboundThreads) {
  constexpr uint64_t kThreads = 4;
  constexpr int kRounds = kTsan || kAsan ? 3000 : 100'000;  // the threads must overlap
  ObjectCache<Item> cache("item");
  std::vector<std::thread> threads;
  Atomic<Item*> mailbox;
  for (uint64_t t = 1; t <= kThreads; ++t) {
    threads.emplace_back([&cache, &mailbox, t] {
      std::optional<CpuBinding> binding;
      if (t <= kThreads / 2) binding.emplace(static_cast<CpuId>(t - 1));
      std::vector<Item*> mine;
      for (int i = 0; i < kRounds; ++i) {
        Item* item = cache.alloc(KmFlag::kSleep);
        item->owner = t;
        mine.push_back(item);
        if (mine.size() > 150) {
          for (Item* each : mine) {
            HAT_ASSERT(each->owner() == t);
            if (each != item) cache.free(each);
          }
          mine.clear();
          // The last one is somebody else's to free.
          Item* other = mailbox.exchange(item, std::memory_order_acq_rel);
          if (other != nullptr) cache.free(other);
        }
      }
      for (Item* each : mine) cache.free(each);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(cache.outstanding(), 1);
  cache.free(mailbox.load(std::memory_order_acquire));
  EXPECT_EQ(cache.outstanding(), 0);
}

// An unbound thread says CPU 0 too, but the magazine of CPU 0 is not its to touch.
TEST(ObjectCacheMemory, AMagazineServesTheBoundThreadOnly) {
  if (kTsan || kAsan) GTEST_SKIP() << "sanitizer builds have no magazines";
  ObjectCache<Item> cache("item");
  Item* in_magazine = nullptr;
  {
    const CpuBinding binding(0);
    in_magazine = cache.alloc(KmFlag::kSleep);
    cache.free(in_magazine);
  }
  Item* item = cache.alloc(KmFlag::kSleep);
  EXPECT_NE(item, in_magazine);
  cache.free(item);
}

TEST(ObjectCacheMemory, AWriteAfterFreeIsFoundWhenTheCacheEnds) {
  if (kTsan || kAsan) GTEST_SKIP() << "a sanitizer reports the write itself";
  EXPECT_EXIT(
      {
        ObjectCache<Item> cache("item");
        Item* item = cache.alloc(KmFlag::kSleep);
        cache.free(item);
        item->owner = 1;
      },
      ExitedWithCode(kExitViolated), "use after free: byte 0 of a freed object of cache 'item'");
}

TEST(ObjectCacheMemory, AWriteAfterFreeInAMagazineIsFoundToo) {
  if (kTsan || kAsan) GTEST_SKIP() << "a sanitizer reports the write itself";
  EXPECT_EXIT(
      {
        const CpuBinding binding(2);
        ObjectCache<Item> cache("item");
        Item* item = cache.alloc(KmFlag::kSleep);
        cache.free(item);
        item->pad[0] = 1;
      },
      ExitedWithCode(kExitViolated), "use after free: byte 8 of a freed object of cache 'item'");
}

TEST(ObjectCacheMemory, ALeakIsReportedWithThePlaceOfTheAllocation) {
  if (kTsan || kAsan) GTEST_SKIP() << "the place is in the sanitizer's report";
  EXPECT_EXIT(
      {
        ObjectCache<Item> cache("item");
        cache.alloc(KmFlag::kSleep);
        cache.alloc(KmFlag::kSleep);
      },
      ExitedWithCode(kExitViolated), "2 objects of cache 'item'.*allocated at .*threads_test.cc");
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
