// Mutex (kmutex_t) on the relacy backend. The contract is that of platform/README.md.
//
// enter() is a place where other threads go on; exit() is one for mutexes that somebody enters with
// tryenter(), since only tryenter() can tell how long a mutex is held. A thread that waits is not
// run, so waiting costs no executions.
#ifndef HATCHECK_PLATFORM_RELACY_MUTEX_H_
#define HATCHECK_PLATFORM_RELACY_MUTEX_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "platform/relacy/model.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class ABSL_LOCKABLE Mutex {
 public:
  explicit Mutex(const LockClass& lock_class, uint32_t instance = 0)
      : lock_{.lock_class = &lock_class, .instance = instance} {}
  ~Mutex() { model::lock_destroyed(lock_); }

  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void enter(Where where = Where::here())
      ABSL_EXCLUSIVE_LOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    model::mutex_enter(lock_, where);
  }
  bool tryenter(Where where = Where::here())
      ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return model::mutex_tryenter(lock_, where);
  }
  void exit(Where where = Where::here()) ABSL_UNLOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    model::mutex_exit(lock_, where);
  }

  // Whether the calling thread owns the mutex.
  bool held() const { return lock_.writer == model::hot.thread; }

  // Fails unless held(), and tells clang's analysis that it is.
  void assert_held(Where where = Where::here()) const ABSL_ASSERT_EXCLUSIVE_LOCK() {
    if (!held()) [[unlikely]]
      model::lock_not_held(lock_, "held", where);
  }

  const LockClass& lock_class() const { return *lock_.lock_class; }
  uint32_t instance() const { return lock_.instance; }

 private:
  friend class CondVar;

  model::LockState lock_;
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

#endif  // HATCHECK_PLATFORM_RELACY_MUTEX_H_
