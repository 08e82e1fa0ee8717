// CondVar.
#ifndef HATCHECK_PLATFORM_CONFORMANCE_CONDVAR_H_
#define HATCHECK_PLATFORM_CONFORMANCE_CONDVAR_H_

#include "platform/conformance/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

class SignalWakes : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "condvar/a_signal_wakes_the_sleeper";
  static constexpr const char* kClaim =
      "a condition set under the mutex and signalled is never missed";

  void thread(int index) {
    const MutexGuard guard(mutex_);
    if (index == 0) {
      while (!ready_()) changed_.wait(mutex_);
      HAT_ASSERT(mutex_.held());
    } else {
      ready_ = true;
      changed_.signal();
    }
  }

 private:
  Mutex mutex_{kOuter};
  CondVar changed_{"changed"};
  Guarded<bool> ready_{false};
};

class SignalAfterExit : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "condvar/a_signal_after_exit_wakes_too";
  static constexpr const char* kClaim = "the mutex need not be held by who signals";

  void thread(int index) {
    mutex_.enter();
    if (index == 0) {
      while (!ready_()) changed_.wait(mutex_);
      mutex_.exit();
    } else {
      ready_ = true;
      mutex_.exit();
      changed_.signal();
    }
  }

 private:
  Mutex mutex_{kOuter};
  CondVar changed_{"changed"};
  Guarded<bool> ready_{false};
};

class BroadcastWakesAll : public ConformanceScenario<3> {
 public:
  static constexpr const char* kName = "condvar/a_broadcast_wakes_every_sleeper";
  static constexpr const char* kClaim = "one broadcast is enough for two sleepers";

  void thread(int index) {
    const MutexGuard guard(mutex_);
    if (index != 0) {
      while (!ready_()) changed_.wait(mutex_);
    } else {
      ready_ = true;
      changed_.broadcast();
    }
  }

 private:
  Mutex mutex_{kOuter};
  CondVar changed_{"changed"};
  Guarded<bool> ready_{false};
};

class WaitReleasesTheMutex : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "condvar/a_sleeper_does_not_hold_the_mutex";
  static constexpr const char* kClaim =
      "others can enter the mutex while a thread sleeps, and the sleeper has it again afterwards";

  void thread(int index) {
    mutex_.enter();
    if (index == 0) {
      asleep_ = true;
      while (asleep_()) woken_.wait(mutex_);
      HAT_ASSERT(mutex_.held());
    } else {
      while (!asleep_()) {
        mutex_.exit();
        yield();
        mutex_.enter();
      }
      asleep_ = false;
      woken_.signal();
    }
    mutex_.exit();
  }

 private:
  Mutex mutex_{kOuter};
  CondVar woken_{"woken"};
  Guarded<bool> asleep_{false};
};

class PingPong : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "condvar/two_threads_take_turns";
  static constexpr const char* kClaim = "two threads hand one token to and fro";

  void thread(int index) {
    for (int i = 0; i < 2; ++i) {
      const MutexGuard guard(mutex_);
      while (turn_() != index) changed_.wait(mutex_);
      turns_ = turns_() + 1;
      turn_ = 1 - index;
      changed_.signal();
    }
  }
  void after() { HAT_ASSERT(turns_() == 4); }

 private:
  Mutex mutex_{kOuter};
  CondVar changed_{"turn"};
  Guarded<int> turn_{0};
  Guarded<int> turns_{0};
};

class WaitWithoutTheMutex : public ViolatedScenario<1, Kind::kUnlockByNonOwner> {
 public:
  static constexpr const char* kName = "condvar/a_wait_without_the_mutex_is_reported";
  static constexpr const char* kClaim = "a thread that waits must own the mutex";
  static constexpr const char* kSays = "outer[7]";

  void thread(int) ABSL_NO_THREAD_SAFETY_ANALYSIS { changed_.wait(mutex_); }

 private:
  Mutex mutex_{kOuter, 7};
  CondVar changed_{"changed"};
};

class ForgottenSignal : public ViolatedScenario<2, Kind::kLostWakeup> {
 public:
  static constexpr const char* kName = "condvar/a_sleeper_that_nobody_can_wake_is_reported";
  static constexpr const char* kClaim =
      "a condition that is set without a signal is a lost wake-up, with the name of the variable";
  static constexpr const char* kSays = "never signalled";

  void thread(int index) {
    mutex_.enter();
    if (index == 0) {
      asleep_ = true;
      while (!ready_()) changed_.wait(mutex_);
    } else {
      while (!asleep_()) {
        mutex_.exit();
        yield();
        mutex_.enter();
      }
      ready_ = true;
    }
    mutex_.exit();
  }

 private:
  Mutex mutex_{kOuter};
  CondVar changed_{"never signalled"};
  Guarded<bool> asleep_{false};
  Guarded<bool> ready_{false};
};

using CondVarScenarios =
    ScenarioList<SignalWakes, SignalAfterExit, BroadcastWakesAll, WaitReleasesTheMutex, PingPong,
                 WaitWithoutTheMutex, ForgottenSignal>;

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_CONDVAR_H_
