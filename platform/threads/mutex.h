// Mutex (kmutex_t): mutual exclusion with an owner.
//
// Guarantees
// - What a thread wrote before exit() is visible to the thread whose enter() or successful
//   tryenter() comes next.
// - exit() touches nothing of the mutex once another thread can own it. So a thread that enters
//   the mutex and finds that it holds the last reference may exit, destroy and free it, even if
//   the previous owner is still inside its exit().
// - Misuse is reported: enter() by the owner ("recursion on a mutex"), exit() by anybody else
//   ("unlock by a non-owner"), destruction while held, and a thread that ends as the owner.
// - tryenter() never blocks and does not fail spuriously; it fails for the owner.
//
// Preconditions: the LockClass outlives the mutex. A thread holds at most kMaxHeldLocks locks (and
// ThreadSanitizer's deadlock detector follows at most 64).
//
// Lock places: given by the LockClass; see lock_class.h.
#ifndef HATCHECK_PLATFORM_THREADS_MUTEX_H_
#define HATCHECK_PLATFORM_THREADS_MUTEX_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "absl/base/thread_annotations.h"
#include "platform/lock_class.h"
#include "platform/threads/cpu.h"
#include "platform/threads/lock_stats.h"
#include "platform/threads/pauses.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class ABSL_LOCKABLE Mutex {
 public:
  explicit Mutex(const LockClass& lock_class, uint32_t instance = 0)
      : class_(&lock_class), instance_(instance) {
    if constexpr (kObserved) stats_register(lock_class);
  }
  ~Mutex();

  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void enter(Where where = Where::here())
      ABSL_EXCLUSIVE_LOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Pauses::before_sync(where);
    Cpu& me = Cpu::current();
    if (owner_.load(std::memory_order_relaxed) == &me) [[unlikely]] {
      misuse(Kind::kRecursion, where);
    }
    if constexpr (kObserved) {
      lock_observed(me, where);
    } else {
      mutex_.lock();
      now_owned(me, where);
    }
  }

  bool tryenter(Where where = Where::here())
      ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Pauses::before_sync(where);
    Cpu& me = Cpu::current();
    // std::mutex leaves try_lock by the owner undefined.
    if (owner_.load(std::memory_order_relaxed) == &me || !mutex_.try_lock()) {
      if constexpr (kObserved) stats_failed_tryenter(me, id());
      return false;
    }
    if constexpr (kObserved) stats_taking(me, id(), true, where);
    now_owned(me, where);
    if constexpr (kObserved) stats_acquired_by_try(me, id());
    return true;
  }

  void exit(Where where = Where::here()) ABSL_UNLOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Pauses::before_sync(where);
    Cpu& me = Cpu::current();
    if (owner_.load(std::memory_order_relaxed) != &me) [[unlikely]] {
      misuse(Kind::kUnlockByNonOwner, where);
    }
    no_longer_owned(me);
    mutex_.unlock();
  }

  // Whether the calling thread owns the mutex.
  bool held() const { return owner_.load(std::memory_order_relaxed) == &Cpu::current(); }

  // Fails unless held(), and tells clang's analysis that it is.
  void assert_held(Where where = Where::here()) const ABSL_ASSERT_EXCLUSIVE_LOCK() {
    if (!held()) [[unlikely]]
      not_held(where);
  }

  const LockClass& lock_class() const { return *class_; }
  uint32_t instance() const { return instance_; }

 private:
  friend class CondVar;

  LockId id() const { return LockId{this, class_, instance_, LockMode::kMutex}; }
  void now_owned(Cpu& me, const Where& where) {
    owner_.store(&me, std::memory_order_relaxed);
    me.acquired(id(), where);
  }
  void no_longer_owned(Cpu& me) {
    if constexpr (kObserved) stats_releasing(me, id());
    me.released(this);
    owner_.store(nullptr, std::memory_order_relaxed);
  }
  void lock_observed(Cpu& me, const Where& where);
  [[noreturn]] void misuse(Kind kind, const Where& where) const;
  [[noreturn]] void not_held(const Where& where) const;

  std::mutex mutex_;
  // Written by the owner only, so a thread always reads correctly whether it is the owner itself.
  std::atomic<const Cpu*> owner_{nullptr};
  const LockClass* const class_;
  const uint32_t instance_;
};

// Holds a mutex for a scope.
class ABSL_SCOPED_LOCKABLE MutexGuard {
 public:
  explicit MutexGuard(Mutex& mutex, Where where = Where::here()) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex)
      : mutex_(mutex), where_(where) {
    mutex_.enter(where);
  }
  ~MutexGuard() ABSL_UNLOCK_FUNCTION() { mutex_.exit(where_); }

  MutexGuard(const MutexGuard&) = delete;
  MutexGuard& operator=(const MutexGuard&) = delete;

 private:
  Mutex& mutex_;
  const Where where_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_MUTEX_H_
