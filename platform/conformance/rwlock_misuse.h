// RwLock: what every backend must report, and deadlocks that it takes part in.
#ifndef HATCHECK_PLATFORM_CONFORMANCE_RWLOCK_MISUSE_H_
#define HATCHECK_PLATFORM_CONFORMANCE_RWLOCK_MISUSE_H_

#include "platform/conformance/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

class ReaderEntersTwice : public ViolatedScenario<1, Kind::kRecursion> {
 public:
  static constexpr const char* kName = "rwlock/a_second_read_entry_is_reported";
  static constexpr const char* kClaim =
      "a reader that enters again could wait for the writer that waits for it";
  static constexpr const char* kSays = "shared[5]";

  void thread(int) {
    lock_.enter(RwMode::kReader);
    lock_.enter(RwMode::kReader);
  }

 private:
  RwLock lock_{kShared, 5};
};

class WriterEntersTwice : public ViolatedScenario<1, Kind::kRecursion> {
 public:
  static constexpr const char* kName = "rwlock/entry_by_the_writer_is_reported";
  static constexpr const char* kClaim = "the writer must not enter again";
  static constexpr const char* kSays = "shared[5]";

  void thread(int) {
    lock_.enter(RwMode::kWriter);
    lock_.enter(RwMode::kReader);
  }

 private:
  RwLock lock_{kShared, 5};
};

class ExitOfAFreeRwLock : public ViolatedScenario<1, Kind::kUnlockByNonOwner> {
 public:
  static constexpr const char* kName = "rwlock/exit_without_a_hold_is_reported";
  static constexpr const char* kClaim =
      "exit by a thread that holds nothing is an unlock by a non-owner";
  static constexpr const char* kSays = "shared[5]";

  void thread(int) { lock_.exit(); }

 private:
  RwLock lock_{kShared, 5};
};

class UpgradeWithoutAHold : public ViolatedScenario<1, Kind::kUnlockByNonOwner> {
 public:
  static constexpr const char* kName = "rwlock/upgrade_without_a_read_hold_is_reported";
  static constexpr const char* kClaim = "only a reader can upgrade";
  static constexpr const char* kSays = "shared[5]";

  void thread(int) { lock_.tryupgrade(); }

 private:
  RwLock lock_{kShared, 5};
};

class DowngradeAsAReader : public ViolatedScenario<1, Kind::kUnlockByNonOwner> {
 public:
  static constexpr const char* kName = "rwlock/downgrade_by_a_reader_is_reported";
  static constexpr const char* kClaim = "only the writer can downgrade";
  static constexpr const char* kSays = "shared[5]";

  void thread(int) {
    lock_.enter(RwMode::kReader);
    lock_.downgrade();
  }

 private:
  RwLock lock_{kShared, 5};
};

class EndAsAReader : public ViolatedScenario<1, Kind::kHeldAtThreadEnd> {
 public:
  static constexpr const char* kName = "rwlock/a_read_hold_at_thread_end_is_reported";
  static constexpr const char* kClaim = "a thread must not end as a reader";
  static constexpr const char* kSays = "shared[5]";

  void thread(int) { lock_.enter(RwMode::kReader); }

 private:
  RwLock lock_{kShared, 5};
};

class AssertWriteHeldAsAReader : public ViolatedScenario<1, Kind::kAssertion> {
 public:
  static constexpr const char* kName = "rwlock/assert_write_held_fails_for_a_reader";
  static constexpr const char* kClaim = "a read hold is no write hold";
  static constexpr const char* kSays = "shared[5]";

  void thread(int) {
    lock_.enter(RwMode::kReader);
    lock_.assert_write_held();
  }

 private:
  RwLock lock_{kShared, 5};
};

class DestroyAHeldRwLock : public ViolatedScenario<1, Kind::kDestroyWhileHeld> {
 public:
  static constexpr const char* kName = "rwlock/destruction_while_held_is_reported";
  static constexpr const char* kClaim = "a held lock must not be destroyed";
  static constexpr const char* kSays = "shared[5]";

  void thread(int) {
    RwLock lock(kShared, 5);
    lock.enter(RwMode::kReader);
  }
};

class ReaderBehindAWaitingWriter : public ViolatedScenario<3, Kind::kDeadlock> {
 public:
  static constexpr const char* kName = "rwlock/a_cycle_through_a_waiting_writer_is_a_deadlock";
  static constexpr const char* kClaim =
      "a reader that waits behind a writer waits for the readers that the writer waits for";
  static constexpr const char* kSays = "shared[5]";

  void thread(int index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (index == 0) {
      lock_.enter(RwMode::kReader);
      step_.reach(1);
      step_.await(3);
      mutex_.enter();
    } else if (index == 1) {
      step_.await(2);
      lock_.enter(RwMode::kWriter);
    } else {
      step_.await(1);
      mutex_.enter();
      step_.reach(2);
      // Once this fails the writer waits.
      while (lock_.tryenter(RwMode::kReader)) {
        lock_.exit();
        yield();
      }
      step_.reach(3);
      lock_.enter(RwMode::kReader);
    }
  }

 private:
  RwLock lock_{kShared, 5};
  Mutex mutex_{kInner};
  Step step_;
};

class OppositeOrdersWithRwLock : public ViolatedScenario<2, Kind::kLockOrder> {
 public:
  static constexpr const char* kName =
      "rwlock/opposite_lock_orders_are_reported_without_a_deadlock";
  static constexpr const char* kClaim = "a RwLock takes part in the lock order like a mutex";
  static constexpr const char* kSays = "shared[0] is entered with inner[0] held, at ";

  void thread(int index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (index == 0) {
      lock_.enter(RwMode::kWriter);
      mutex_.enter();
      mutex_.exit();
      lock_.exit();
      step_.reach(1);
    } else {
      step_.await(1);
      mutex_.enter();
      lock_.enter(RwMode::kReader);
      lock_.exit();
      mutex_.exit();
    }
  }

 private:
  RwLock lock_{kShared};
  Mutex mutex_{kInner};
  Step step_;
};

using RwLockMisuseScenarios =
    ScenarioList<ReaderEntersTwice, WriterEntersTwice, ExitOfAFreeRwLock, UpgradeWithoutAHold,
                 DowngradeAsAReader, EndAsAReader, AssertWriteHeldAsAReader, DestroyAHeldRwLock,
                 ReaderBehindAWaitingWriter, OppositeOrdersWithRwLock>;

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_RWLOCK_MISUSE_H_
