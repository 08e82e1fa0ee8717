// RwLock, ReaderGuard and WriterGuard: what they guarantee. Misuse is in rwlock_misuse.h.
#ifndef HATCHECK_PLATFORM_CONFORMANCE_RWLOCK_H_
#define HATCHECK_PLATFORM_CONFORMANCE_RWLOCK_H_

#include "platform/conformance/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

class ReadersShare : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "rwlock/readers_are_in_at_the_same_time";
  static constexpr const char* kClaim = "two readers can both be inside";

  void thread(int) {
    const ReaderGuard guard(lock_);
    HAT_ASSERT(lock_.read_held() && !lock_.write_held());
    lock_.assert_read_held();
    inside_.fetch_add(1, std::memory_order_relaxed);
    while (inside_.load(std::memory_order_relaxed) != 2) yield();
  }

 private:
  RwLock lock_{kShared};
  Atomic<int> inside_{0};
};

class WriterExcludes : public ConformanceScenario<3> {
 public:
  static constexpr const char* kName = "rwlock/a_writer_excludes_readers_and_writers";
  static constexpr const char* kClaim =
      "what a writer changes in two steps is never seen half done";

  void thread(int index) {
    if (index == 0) {
      const ReaderGuard guard(lock_);
      HAT_ASSERT(first_() == second_());
    } else {
      const WriterGuard guard(lock_);
      HAT_ASSERT(lock_.write_held() && !lock_.read_held());
      lock_.assert_write_held();
      first_ = first_() + 1;
      second_ = second_() + 1;
    }
  }
  void after() { HAT_ASSERT(first_() == 2 && second_() == 2); }

 private:
  RwLock lock_{kShared};
  Guarded<int> first_{0};
  Guarded<int> second_{0};
};

class HeldSpeaksOfTheCaller : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "rwlock/the_held_queries_speak_of_the_caller_only";
  static constexpr const char* kClaim =
      "read_held() and write_held() are false for a thread that does not hold the lock";

  void thread(int index) {
    if (index == 0) {
      lock_.enter(RwMode::kReader);
      step_.reach(1);
      step_.await(2);
      lock_.exit();
      lock_.enter(RwMode::kWriter);
      step_.reach(3);
      step_.await(4);
      lock_.exit();
    } else {
      step_.await(1);
      HAT_ASSERT(!lock_.read_held() && !lock_.write_held());
      step_.reach(2);
      step_.await(3);
      HAT_ASSERT(!lock_.read_held() && !lock_.write_held());
      step_.reach(4);
    }
  }

 private:
  RwLock lock_{kShared};
  Step step_;
};

class TryenterOfATakenRwLock : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "rwlock/tryenter_follows_the_table";
  static constexpr const char* kClaim =
      "beside a reader tryenter admits a reader and no writer, beside a writer nobody";

  void thread(int index) {
    if (index == 0) {
      lock_.enter(RwMode::kReader);
      step_.reach(1);
      step_.await(2);
      lock_.exit();
      lock_.enter(RwMode::kWriter);
      step_.reach(3);
      step_.await(4);
      lock_.exit();
    } else {
      step_.await(1);
      HAT_ASSERT(!lock_.tryenter(RwMode::kWriter));
      HAT_ASSERT(lock_.tryenter(RwMode::kReader));
      HAT_ASSERT(!lock_.tryenter(RwMode::kReader), "tryenter by a holder");
      lock_.exit();
      step_.reach(2);
      step_.await(3);
      HAT_ASSERT(!lock_.tryenter(RwMode::kWriter));
      HAT_ASSERT(!lock_.tryenter(RwMode::kReader));
      step_.reach(4);
    }
  }

 private:
  RwLock lock_{kShared};
  Step step_;
};

class WaitingWriterKeepsReadersOut : public ConformanceScenario<3> {
 public:
  static constexpr const char* kName = "rwlock/a_waiting_writer_keeps_new_readers_out";
  static constexpr const char* kClaim =
      "while a writer waits no new reader enters and no reader upgrades, and the writer is next";

  void thread(int index) {
    if (index == 0) {
      lock_.enter(RwMode::kReader);
      step_.reach(1);
      step_.await(2);
      HAT_ASSERT(!lock_.tryupgrade());
      HAT_ASSERT(lock_.read_held());
      lock_.exit();
    } else if (index == 1) {
      step_.await(1);
      lock_.enter(RwMode::kWriter);
      wrote_ = true;
      lock_.exit();
    } else {
      step_.await(1);
      while (lock_.tryenter(RwMode::kReader)) {
        lock_.exit();
        yield();
      }
      step_.reach(2);
      lock_.enter(RwMode::kReader);
      HAT_ASSERT(wrote_());
      lock_.exit();
    }
  }

 private:
  RwLock lock_{kShared};
  Guarded<bool> wrote_{false};
  Step step_;
};

class OnlyReaderUpgrades : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "rwlock/the_only_reader_can_upgrade";
  static constexpr const char* kClaim =
      "tryupgrade makes the only reader the writer, with nobody in between";

  void thread(int) {
    lock_.enter(RwMode::kReader);
    const int seen = count_();
    if (lock_.tryupgrade()) {
      HAT_ASSERT(lock_.write_held() && !lock_.read_held());
      HAT_ASSERT(count_() == seen);
      count_ = seen + 1;
      upgrades_.fetch_add(1, std::memory_order_relaxed);
    } else {
      HAT_ASSERT(lock_.read_held() && !lock_.write_held());
    }
    lock_.exit();
  }
  void after() {
    const int upgrades = upgrades_.load(std::memory_order_relaxed);
    HAT_ASSERT(count_() == upgrades);
    // The last thread to leave was alone, unless it had already failed beside the other.
    HAT_ASSERT(upgrades >= 0 && upgrades <= 2);
    HAT_ASSERT(lock_.tryenter(RwMode::kReader));
    HAT_ASSERT(lock_.tryupgrade(), "alone");
    lock_.exit();
  }

 private:
  RwLock lock_{kShared};
  Guarded<int> count_{0};
  Atomic<int> upgrades_{0};
};

class UpgradeBesideAReader : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "rwlock/upgrade_fails_beside_another_reader";
  static constexpr const char* kClaim =
      "tryupgrade fails while another reader is in and keeps the read hold";

  void thread(int index) {
    if (index == 0) {
      lock_.enter(RwMode::kReader);
      step_.reach(1);
      step_.await(2);
      lock_.exit();
    } else {
      step_.await(1);
      lock_.enter(RwMode::kReader);
      HAT_ASSERT(!lock_.tryupgrade());
      HAT_ASSERT(lock_.read_held());
      lock_.exit();
      step_.reach(2);
    }
  }

 private:
  RwLock lock_{kShared};
  Step step_;
};

class DowngradeAdmitsReaders : public ConformanceScenario<3> {
 public:
  static constexpr const char* kName = "rwlock/downgrade_admits_readers_and_no_writer";
  static constexpr const char* kClaim =
      "after a downgrade another reader enters, and no writer until both have left";

  void thread(int index) {
    if (index == 0) {
      lock_.enter(RwMode::kWriter);
      value_ = 1;
      lock_.downgrade();
      HAT_ASSERT(lock_.read_held() && !lock_.write_held());
      step_.reach(1);
      step_.await(2);
      HAT_ASSERT(value_() == 1);
      lock_.exit();
    } else if (index == 1) {
      step_.await(1);
      lock_.enter(RwMode::kReader);
      HAT_ASSERT(value_() == 1);
      lock_.exit();
      step_.reach(2);
    } else {
      step_.await(2);
      lock_.enter(RwMode::kWriter);
      value_ = 2;
      lock_.exit();
    }
  }
  void after() { HAT_ASSERT(value_() == 2); }

 private:
  RwLock lock_{kShared};
  Guarded<int> value_{0};
  Step step_;
};

class DowngradeWakesSleepingReaders : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "rwlock/downgrade_wakes_waiting_readers";
  static constexpr const char* kClaim =
      "a reader that waits for the writer gets in when the writer downgrades";

  void thread(int index) {
    if (index == 0) {
      lock_.enter(RwMode::kWriter);
      step_.reach(1);
      // Right for any timing; on real threads this lets the reader fall asleep first, often.
      if (choose(2) == 0) delay();
      lock_.downgrade();
      step_.await(2);
      lock_.exit();
    } else {
      step_.await(1);
      lock_.enter(RwMode::kReader);
      step_.reach(2);
      lock_.exit();
    }
  }

 private:
  RwLock lock_{kShared};
  Step step_;
};

class LastHolderMayFreeRwLock : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "rwlock/the_last_user_may_free_it_right_after_exit";
  static constexpr const char* kClaim =
      "exit() touches nothing once a conflicting holder is in, so that one may free the lock";

  LastHolderMayFreeRwLock() : node_(nodes_.alloc(KmFlag::kSleep)) {}

  void thread(int) {
    Node& node = *node_;
    node.lock.enter(RwMode::kWriter);
    node.users = node.users() - 1;
    const bool last = node.users() == 0;
    node.lock.exit();
    if (last) nodes_.free(&node);
  }

 private:
  struct Node {
    RwLock lock{kShared};
    Guarded<int> users{2};
  };
  ObjectCache<Node> nodes_{"node"};
  Node* const node_;
};

using RwLockScenarios =
    ScenarioList<ReadersShare, WriterExcludes, HeldSpeaksOfTheCaller, TryenterOfATakenRwLock,
                 WaitingWriterKeepsReadersOut, OnlyReaderUpgrades, UpgradeBesideAReader,
                 DowngradeAdmitsReaders, DowngradeWakesSleepingReaders, LastHolderMayFreeRwLock>;

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_RWLOCK_H_
