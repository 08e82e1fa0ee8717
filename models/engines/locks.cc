// Programs of locks (programs.h) as scenarios: nothing of the HAT, but of known size.
#include "models/engines/programs.h"
#include "models/engines/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

template <class Program>
class LocksScenario : public ScenarioDefaults, public Program {
 public:
  static constexpr Bounds kBounds{.iterations = 100, .must_exhaust = true};
};

class SixLocks : public LocksScenario<LocksInTurn<Mutex, 2, 6, 1>> {
 public:
  static constexpr const char* kName = "locks/two_threads_six_locks";
  static constexpr const char* kClaim = "64 executions differ";
};

class TenLocks : public LocksScenario<LocksInTurn<Mutex, 2, 10, 1>> {
 public:
  static constexpr const char* kName = "locks/two_threads_ten_locks";
  static constexpr const char* kClaim = "1,024 executions differ";
};

class OneLockThree : public LocksScenario<LocksInTurn<Mutex, 3, 1, 4>> {
 public:
  static constexpr const char* kName = "locks/three_threads_one_lock_four_times";
  static constexpr const char* kClaim = "34,650 executions differ";
};

class OneLockFour : public LocksScenario<LocksInTurn<Mutex, 4, 1, 3>> {
 public:
  static constexpr const char* kName = "locks/four_threads_one_lock_three_times";
  static constexpr const char* kClaim = "369,600 executions differ";
};

class ThreeHandOverHand : public LocksScenario<HandOverHand<Mutex, 3>> {
 public:
  static constexpr const char* kName = "locks/three_threads_hand_over_hand";
  static constexpr const char* kClaim = "6 executions differ";
};

}  // namespace

std::vector<AnyScenario> locks_scenarios() {
  return {any_scenario<SixLocks>(), any_scenario<TenLocks>(), any_scenario<OneLockThree>(),
          any_scenario<OneLockFour>(), any_scenario<ThreeHandOverHand>()};
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
