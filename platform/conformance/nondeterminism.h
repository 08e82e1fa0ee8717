// choose, chance, delay and yield.
#ifndef HATCHECK_PLATFORM_CONFORMANCE_NONDETERMINISM_H_
#define HATCHECK_PLATFORM_CONFORMANCE_NONDETERMINISM_H_

#include "platform/conformance/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

class ChooseInRange : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "nondeterminism/choose_gives_a_number_below_n";
  static constexpr const char* kClaim = "choose(n) is one of 0 to n-1 and choose(1) is 0";

  void thread(int) {
    HAT_ASSERT(choose(1) == 0);
    HAT_ASSERT(choose(3) < 3);
  }
};

class ChanceAtTheEnds : public ConformanceScenario<1> {
 public:
  static constexpr const char* kName = "nondeterminism/chance_is_certain_at_both_ends";
  static constexpr const char* kClaim = "chance(0) is false and chance(1000000) is true";

  void thread(int) {
    HAT_ASSERT(!chance(0));
    HAT_ASSERT(chance(1'000'000));
    chance(500'000);
  }
};

class YieldLetsOthersRun : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName =
      "nondeterminism/a_loop_with_yield_lets_the_other_thread_finish";
  static constexpr const char* kClaim =
      "a thread that waits with yield does not keep the other from running";

  void thread(int index) {
    if (index == 0) {
      while (!done_.load(std::memory_order_acquire)) yield();
    } else {
      done_.store(true, std::memory_order_release);
    }
  }

 private:
  Atomic<bool> done_{false};
};

class DelayLetsOthersRun : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName =
      "nondeterminism/a_loop_with_delay_lets_the_other_thread_finish";
  static constexpr const char* kClaim =
      "a thread that waits with delay does not keep the other from running";

  void thread(int index) {
    if (index == 0) {
      while (!done_.load(std::memory_order_acquire)) delay();
    } else {
      delay(1);
      done_.store(true, std::memory_order_release);
    }
  }

 private:
  Atomic<bool> done_{false};
};

class ChooseFromNothing : public ViolatedScenario<1, Kind::kPanic> {
 public:
  static constexpr const char* kName = "nondeterminism/choose_from_nothing_is_reported";
  static constexpr const char* kClaim = "choose(0) has no answer";

  void thread(int) { choose(0); }
};

using NondeterminismScenarios = ScenarioList<ChooseInRange, ChanceAtTheEnds, YieldLetsOthersRun,
                                             DelayLetsOthersRun, ChooseFromNothing>;

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_NONDETERMINISM_H_
