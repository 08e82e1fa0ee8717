// Mutex and MutexGuard on the explorer. The contract is that of platform/README.md.
#ifndef HATCHECK_PLATFORM_EXPLORER_MUTEX_H_
#define HATCHECK_PLATFORM_EXPLORER_MUTEX_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "platform/explorer/backend.h"
#include "platform/lock_class.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class ABSL_LOCKABLE Mutex {
 public:
  explicit Mutex(const LockClass& lock_class, uint32_t instance = 0)
      : class_(&lock_class), mutex_(explorer::Name{lock_class.name, instance}) {
    register_lock_class(lock_class);
  }

  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void enter(Where where = Where::here())
      ABSL_EXCLUSIVE_LOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    mutex_.lock(site_of(where));
  }
  bool tryenter(Where where = Where::here())
      ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return mutex_.try_lock(site_of(where));
  }
  void exit(Where where = Where::here()) ABSL_UNLOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    mutex_.unlock(site_of(where));
  }

  // Whether the calling thread owns the mutex.
  bool held() const { return mutex_.held(); }

  // Fails unless held(), and tells clang's analysis that it is.
  void assert_held(Where where = Where::here()) const ABSL_ASSERT_EXCLUSIVE_LOCK() {
    if (held()) return;
    explorer::fail(explorer::Kind::kAssertion,
                   to_string(mutex_.name()) + " is not held by this thread", site_of(where));
  }

  const LockClass& lock_class() const { return *class_; }
  uint32_t instance() const { return mutex_.name().number; }

 private:
  friend class CondVar;

  const LockClass* const class_;
  explorer::Mutex mutex_;
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

#endif  // HATCHECK_PLATFORM_EXPLORER_MUTEX_H_
