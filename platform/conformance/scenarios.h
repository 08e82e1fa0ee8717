// What the conformance scenarios share.
//
// Each scenario states one behaviour of one primitive, over the seam only, in as few steps as will
// do: the model engines run all interleavings of it. A scenario may also have
//
//   static constexpr const char* kSays = "text that the report of the violation contains";
#ifndef HATCHECK_PLATFORM_CONFORMANCE_SCENARIOS_H_
#define HATCHECK_PLATFORM_CONFORMANCE_SCENARIOS_H_

#include <atomic>

#include "platform/platform.h"
#include "platform/scenario.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

inline constexpr LockClass kOuter{"outer", 1};
inline constexpr LockClass kInner{"inner", 2};
inline constexpr LockClass kShared{"shared", 3};

template <int threads>
class ConformanceScenario : public ScenarioDefaults {
 public:
  static constexpr int kThreads = threads;
  static constexpr Bounds kBounds{.iterations = 300};
};

// A violation is certain in each run, so there is no point in many.
template <int threads, Kind kind>
class ViolatedScenario : public ScenarioDefaults {
 public:
  static constexpr int kThreads = threads;
  static constexpr Bounds kBounds{.iterations = 20};
  static constexpr Expectation kExpected = Expectation::violated(kind);
};

// A step that threads wait for without a lock.
class Step {
 public:
  void reach(int step) { at_.store(step, std::memory_order_release); }
  void await(int step) const {
    while (at_.load(std::memory_order_acquire) < step) yield();
  }

 private:
  Atomic<int> at_{0};
};

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_SCENARIOS_H_
