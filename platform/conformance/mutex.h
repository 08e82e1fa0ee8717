// Mutex and MutexGuard.
#ifndef HATCHECK_PLATFORM_CONFORMANCE_MUTEX_H_
#define HATCHECK_PLATFORM_CONFORMANCE_MUTEX_H_

#include "platform/conformance/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

class MutexExcludes : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "mutex/critical_sections_do_not_overlap";
  static constexpr const char* kClaim = "increments under a mutex are never lost";

  void thread(int) {
    for (int i = 0; i < 2; ++i) {
      const MutexGuard guard(mutex_);
      count_ = count_() + 1;
    }
  }
  void after() { HAT_ASSERT(count_() == 4); }

 private:
  Mutex mutex_{kOuter};
  Guarded<int> count_{0};
};

class MutexHeldSpeaksOfTheCaller : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "mutex/held_is_true_for_the_owner_only";
  static constexpr const char* kClaim =
      "held() is true between enter and exit and only for the thread that entered";

  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(!mutex_.held());
      mutex_.enter();
      HAT_ASSERT(mutex_.held());
      mutex_.assert_held();
      step_.reach(1);
      step_.await(2);
      mutex_.exit();
      HAT_ASSERT(!mutex_.held());
    } else {
      step_.await(1);
      HAT_ASSERT(!mutex_.held());
      step_.reach(2);
    }
  }

 private:
  Mutex mutex_{kOuter};
  Step step_;
};

class TryenterFailsOnATakenMutex : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "mutex/tryenter_fails_while_another_thread_owns_it";
  static constexpr const char* kClaim = "tryenter neither waits for the owner nor gets in";

  void thread(int index) {
    if (index == 0) {
      mutex_.enter();
      step_.reach(1);
      step_.await(2);
      mutex_.exit();
    } else {
      step_.await(1);
      HAT_ASSERT(!mutex_.tryenter());
      HAT_ASSERT(!mutex_.held());
      step_.reach(2);
    }
  }

 private:
  Mutex mutex_{kOuter};
  Step step_;
};

class TryenterEntersAFreeMutex : public ConformanceScenario<1> {
 public:
  static constexpr const char* kName = "mutex/tryenter_enters_a_free_mutex";
  static constexpr const char* kClaim = "tryenter does not fail spuriously";

  void thread(int) {
    const bool entered = mutex_.tryenter();
    HAT_ASSERT(entered);
    if (!entered) return;
    HAT_ASSERT(mutex_.held());
    mutex_.exit();
  }

 private:
  Mutex mutex_{kOuter};
};

class TryenterFailsForTheOwner : public ConformanceScenario<1> {
 public:
  static constexpr const char* kName = "mutex/tryenter_fails_for_the_owner";
  static constexpr const char* kClaim = "tryenter by the owner is false and leaves it the owner";

  void thread(int) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    mutex_.enter();
    HAT_ASSERT(!mutex_.tryenter());
    HAT_ASSERT(mutex_.held());
    mutex_.exit();
    HAT_ASSERT(!mutex_.held());
  }

 private:
  Mutex mutex_{kOuter};
};

class LastOwnerMayFree : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "mutex/the_last_user_may_free_it_right_after_exit";
  static constexpr const char* kClaim =
      "exit() touches nothing once the next owner is in, so that one may free the mutex";

  LastOwnerMayFree() : node_(nodes_.alloc(KmFlag::kSleep)) {}

  void thread(int) {
    Node& node = *node_;
    node.mutex.enter();
    node.users = node.users() - 1;
    const bool last = node.users() == 0;
    node.mutex.exit();
    if (last) nodes_.free(&node);
  }
  void after() { HAT_ASSERT(nodes_.outstanding() == 0); }

 private:
  struct Node {
    Mutex mutex{kOuter};
    Guarded<int> users{2};
  };
  ObjectCache<Node> nodes_{"node"};
  Node* const node_;
};

class TryenterAgainstTheOrder : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "mutex/tryenter_against_the_lock_order_is_no_inversion";
  static constexpr const char* kClaim =
      "a lock taken with tryenter cannot be part of a deadlock and is not reported";

  void thread(int index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (index == 0) {
      outer_.enter();
      inner_.enter();
      inner_.exit();
      outer_.exit();
    } else {
      inner_.enter();
      if (outer_.tryenter()) outer_.exit();
      inner_.exit();
    }
  }

 private:
  Mutex outer_{kOuter};
  Mutex inner_{kInner};
};

class ExitOutOfOrder : public ConformanceScenario<1> {
 public:
  static constexpr const char* kName = "mutex/locks_may_be_released_in_any_order";
  static constexpr const char* kClaim = "releasing an outer lock first leaves the inner one held";

  void thread(int) {
    outer_.enter();
    inner_.enter();
    outer_.exit();
    HAT_ASSERT(!outer_.held() && inner_.held());
    inner_.exit();
    HAT_ASSERT(!inner_.held());
  }

 private:
  Mutex outer_{kOuter};
  Mutex inner_{kInner};
};

class EnterTwice : public ViolatedScenario<1, Kind::kRecursion> {
 public:
  static constexpr const char* kName = "mutex/enter_by_the_owner_is_reported";
  static constexpr const char* kClaim = "enter by the owner is a recursion on a mutex";
  static constexpr const char* kSays = "outer[7]";

  void thread(int) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    mutex_.enter();
    mutex_.enter();
  }

 private:
  Mutex mutex_{kOuter, 7};
};

class ExitOfAFreeMutex : public ViolatedScenario<1, Kind::kUnlockByNonOwner> {
 public:
  static constexpr const char* kName = "mutex/exit_of_a_free_mutex_is_reported";
  static constexpr const char* kClaim =
      "exit of a mutex that nobody owns is an unlock by a non-owner";
  static constexpr const char* kSays = "outer[7]";

  void thread(int) ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex_.exit(); }

 private:
  Mutex mutex_{kOuter, 7};
};

class ExitByAnotherThread : public ViolatedScenario<2, Kind::kUnlockByNonOwner> {
 public:
  static constexpr const char* kName = "mutex/exit_by_another_thread_is_reported";
  static constexpr const char* kClaim =
      "exit by a thread that is not the owner is an unlock by a non-owner";
  static constexpr const char* kSays = "outer[7]";

  void thread(int index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (index == 0) {
      mutex_.enter();
      step_.reach(1);
      step_.await(2);
    } else {
      step_.await(1);
      mutex_.exit();
    }
  }

 private:
  Mutex mutex_{kOuter, 7};
  Step step_;
};

class AssertHeldWithoutTheMutex : public ViolatedScenario<1, Kind::kAssertion> {
 public:
  static constexpr const char* kName = "mutex/assert_held_fails_without_the_mutex";
  static constexpr const char* kClaim =
      "assert_held is an assertion that fails for everyone but the owner";
  static constexpr const char* kSays = "outer[7]";

  void thread(int) { mutex_.assert_held(); }

 private:
  Mutex mutex_{kOuter, 7};
};

class DestroyAHeldMutex : public ViolatedScenario<1, Kind::kDestroyWhileHeld> {
 public:
  static constexpr const char* kName = "mutex/destruction_while_held_is_reported";
  static constexpr const char* kClaim = "an owned mutex must not be destroyed";
  static constexpr const char* kSays = "outer[7]";

  void thread(int) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Mutex mutex(kOuter, 7);
    mutex.enter();
  }
};

class EndAsTheOwner : public ViolatedScenario<1, Kind::kHeldAtThreadEnd> {
 public:
  static constexpr const char* kName = "mutex/a_mutex_held_at_thread_end_is_reported";
  static constexpr const char* kClaim = "a thread must not end as the owner of a mutex";
  static constexpr const char* kSays = "outer[7]";

  void thread(int) ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex_.enter(); }

 private:
  Mutex mutex_{kOuter, 7};
};

class DeadlockOfTwo : public ViolatedScenario<2, Kind::kDeadlock> {
 public:
  static constexpr const char* kName = "mutex/two_threads_that_wait_for_each_other_are_a_deadlock";
  static constexpr const char* kClaim =
      "two threads that each hold what the other wants are reported, with both locks";
  static constexpr const char* kSays = "outer";

  void thread(int index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Mutex& first = index == 0 ? outer_ : inner_;
    Mutex& second = index == 0 ? inner_ : outer_;
    first.enter();
    holding_.fetch_add(1, std::memory_order_relaxed);
    while (holding_.load(std::memory_order_relaxed) != 2) yield();
    second.enter();
    second.exit();
    first.exit();
  }

 private:
  Mutex outer_{kOuter};
  Mutex inner_{kInner};
  Atomic<int> holding_{0};
};

class OppositeOrders : public ViolatedScenario<2, Kind::kLockOrder> {
 public:
  static constexpr const char* kName = "mutex/opposite_lock_orders_are_reported_without_a_deadlock";
  static constexpr const char* kClaim =
      "two orders that could deadlock are reported even when they did not, with both chains";
  static constexpr const char* kSays = "; elsewhere inner[0] is entered with outer[0] held, at ";

  void thread(int index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (index == 1) step_.await(1);
    Mutex& first = index == 0 ? outer_ : inner_;
    Mutex& second = index == 0 ? inner_ : outer_;
    first.enter();
    second.enter();
    second.exit();
    first.exit();
    if (index == 0) step_.reach(1);
  }

 private:
  Mutex outer_{kOuter};
  Mutex inner_{kInner};
  Step step_;
};

using MutexScenarios =
    ScenarioList<MutexExcludes, MutexHeldSpeaksOfTheCaller, TryenterFailsOnATakenMutex,
                 TryenterEntersAFreeMutex, TryenterFailsForTheOwner, LastOwnerMayFree,
                 TryenterAgainstTheOrder, ExitOutOfOrder, EnterTwice, ExitOfAFreeMutex,
                 ExitByAnotherThread, AssertHeldWithoutTheMutex, DestroyAHeldMutex, EndAsTheOwner,
                 DeadlockOfTwo, OppositeOrders>;

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_MUTEX_H_
