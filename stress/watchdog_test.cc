#include "stress/watchdog.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "platform/observe.h"
#include "platform/threads/run.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

std::string Name(size_t i) { return "thread " + std::to_string(i); }

class WatchdogTest : public testing::Test {
 protected:
  // Lets `time` pass in steps, as the coordinator's ticks do.
  std::optional<Stuck> Pass(absl::Duration time) {
    std::optional<Stuck> found;
    for (; time > absl::ZeroDuration() && !found; time -= absl::Milliseconds(500)) {
      now_ += absl::Milliseconds(500);
      had_ += absl::Milliseconds(500) * share_;
      found = dog_.look(now_, had_);
    }
    return found;
  }

  void BeatAll() {
    for (Pulse& pulse : pulses_) {
      pulse.begin();
      pulse.end();
    }
  }

  absl::Duration now_, had_;
  double share_ = 1;  // of the processors that it wants
  Pulse pulses_[3];
  Watchdog dog_{{&pulses_[0], &pulses_[1], &pulses_[2]}, absl::Seconds(10), Name};
};

TEST_F(WatchdogTest, ThreadsBetweenOperationsAreNeverLate) {
  EXPECT_FALSE(Pass(absl::Seconds(100)));
}

TEST_F(WatchdogTest, ThreadsThatEndOperationsAreNeverLate) {
  for (int i = 0; i < 100; ++i) {
    for (Pulse& pulse : pulses_) pulse.begin();
    EXPECT_FALSE(Pass(absl::Seconds(5)));
    for (Pulse& pulse : pulses_) pulse.end();
  }
}

TEST_F(WatchdogTest, IfNoOperationEndsAllAreNamed) {
  pulses_[0].begin();
  pulses_[2].begin();
  EXPECT_FALSE(Pass(absl::Seconds(9)));
  const auto stuck = Pass(absl::Seconds(3));
  ASSERT_TRUE(stuck);
  EXPECT_EQ(stuck->kind, Kind::kNoProgress);
  EXPECT_EQ(stuck->message, "stuck: no operation has ended for 10s: thread 0, thread 2");
}

TEST_F(WatchdogTest, OneLateThreadIsNamedThoughOthersGoOn) {
  pulses_[1].begin();
  std::optional<Stuck> stuck;
  for (int i = 0; i < 30 && !stuck; ++i) {
    pulses_[0].begin();
    stuck = Pass(absl::Seconds(1));
    if (!stuck) pulses_[0].end();
  }
  ASSERT_TRUE(stuck);
  EXPECT_EQ(stuck->message, "stuck: thread 1 in one operation for 10s while others go on");
}

TEST_F(WatchdogTest, OthersThatAreInAnOperationForAMomentDoNotGoOn) {
  pulses_[0].begin();
  EXPECT_FALSE(Pass(absl::Seconds(9)));
  pulses_[1].begin();
  EXPECT_FALSE(Pass(absl::Seconds(2)));
  pulses_[1].end();
  const auto stuck = Pass(absl::Seconds(1));
  ASSERT_TRUE(stuck);
  EXPECT_EQ(stuck->message, "stuck: no operation has ended for 10s: thread 0");
}

TEST_F(WatchdogTest, TimeInWhichItDidNotRunDoesNotCount) {
  pulses_[0].begin();
  EXPECT_FALSE(Pass(absl::Seconds(5)));
  now_ += absl::Hours(8);  // the laptop was closed
  EXPECT_FALSE(Pass(absl::Seconds(3)));
  EXPECT_TRUE(Pass(absl::Seconds(3)));
}

TEST_F(WatchdogTest, OnABusyHostOnlyTheTimeThatTheProcessHadCounts) {
  share_ = 0.25;
  pulses_[0].begin();
  EXPECT_FALSE(Pass(absl::Seconds(39)));
  EXPECT_TRUE(Pass(absl::Seconds(3)));
}

TEST_F(WatchdogTest, IfAllWhoAreInAnOperationSleepItIsALostWakeup) {
  static constexpr LockClass kClass{"sleep.lock", 50};
  Mutex mutex(kClass);
  CondVar cv("bed");
  bool wake = false;
  std::vector<std::thread> threads;
  for (CpuId cpu = 0; cpu < 2; ++cpu) {
    threads.emplace_back([&, cpu] {
      const CpuBinding binding(cpu);
      MutexGuard guard(mutex);
      pulses_[cpu].begin();
      while (!wake) cv.wait(mutex);
      pulses_[cpu].end();
    });
  }
  // Asleep means that both are seen on the condition variable.
  for (;;) {
    size_t asleep = 0;
    for (const CpuState& state : cpu_states()) asleep += state.condvar == "bed" ? 1 : 0;
    if (asleep == 2) break;
    std::this_thread::yield();
  }
  share_ = 0;  // who sleeps needs no processor
  const auto stuck = Pass(absl::Seconds(20));
  ASSERT_TRUE(stuck);
  EXPECT_EQ(stuck->kind, Kind::kLostWakeup);
  EXPECT_NE(stuck->message.find("cpu 1 sleeps on 'bed'"), std::string::npos) << stuck->message;
  {
    MutexGuard guard(mutex);
    wake = true;
    cv.broadcast();
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(TimeLimit, AScopeThatEndsInTimeIsFine) {
  const TimeLimit limit("nothing", absl::Hours(1));
  const TimeLimit none("nothing", absl::InfiniteDuration());
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
