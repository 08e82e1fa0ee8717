// Guarded.
#ifndef HATCHECK_PLATFORM_CONFORMANCE_GUARDED_H_
#define HATCHECK_PLATFORM_CONFORMANCE_GUARDED_H_

#include "platform/conformance/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

class WritesAreRead : public ConformanceScenario<1> {
 public:
  static constexpr const char* kName = "guarded/reads_give_what_was_written_last";
  static constexpr const char* kClaim =
      "a read gives the last value written, converted to the type of the field";

  void thread(int) {
    HAT_ASSERT(number_() == 0 && pointer_() == nullptr && flag_());
    number_ = 3;
    number_ = number_() * 2;
    pointer_ = this;
    flag_ = false;
    HAT_ASSERT(number_() == 6u && pointer_() == this && !flag_());
    pointer_ = nullptr;
    HAT_ASSERT(pointer_() == nullptr);
  }

 private:
  Guarded<uint64_t> number_;
  Guarded<WritesAreRead*> pointer_{nullptr};
  Guarded<bool> flag_{true};
};

class ConcurrentReads : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "guarded/concurrent_reads_are_no_race";
  static constexpr const char* kClaim = "two threads may read a field without a lock";

  ConcurrentReads() { value_ = 5; }

  void thread(int) { HAT_ASSERT(value_() == 5); }

 private:
  Guarded<int> value_;
};

class ConcurrentWrites : public ViolatedScenario<2, Kind::kDataRace> {
 public:
  static constexpr const char* kName = "guarded/concurrent_writes_are_a_race";
  static constexpr const char* kClaim = "two writes without a lock between them are a data race";

  void thread(int index) { value_ = index; }

 private:
  Guarded<int> value_;
};

class WrongLock : public ViolatedScenario<2, Kind::kDataRace> {
 public:
  static constexpr const char* kName = "guarded/two_different_locks_do_not_protect";
  static constexpr const char* kClaim = "two accesses under different locks are a data race";

  void thread(int index) {
    const MutexGuard guard(index == 0 ? outer_ : inner_);
    value_ = value_() + 1;
  }

 private:
  Mutex outer_{kOuter};
  Mutex inner_{kInner};
  Guarded<int> value_{0};
};

using GuardedScenarios = ScenarioList<WritesAreRead, ConcurrentReads, ConcurrentWrites, WrongLock>;

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_GUARDED_H_
