// CondVar (kcondvar_t): sleep until another thread says that something changed.
//
// Guarantees
// - wait() releases the mutex and falls asleep in one step: a signal or broadcast by a thread that
//   entered the mutex after that wakes the sleeper.
// - wait() returns with the mutex held. A wake-up may be spurious, so wait in a loop that tests the
//   condition. This backend adds none of its own, not even in the observed build; the operating
//   system may, and the model engines do.
// - signal() wakes at least one sleeper if there is one, and which one is not specified;
//   broadcast() wakes all. A call that finds no sleeper has no effect later.
//
// Preconditions: the caller of wait() owns the mutex and all sleepers at a time use the same one.
// signal() and broadcast() may be called with or without it. Nobody sleeps on a CondVar that is
// destroyed.
//
// Lock places: a thread that waits should hold no other lock; the observed build shows those it
// holds.
#ifndef HATCHECK_PLATFORM_THREADS_CONDVAR_H_
#define HATCHECK_PLATFORM_THREADS_CONDVAR_H_

#include <condition_variable>

#include "absl/base/thread_annotations.h"
#include "platform/threads/mutex.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class CondVar {
 public:
  // The name, a literal, appears in reports about sleepers.
  explicit CondVar(const char* name = "cv") : name_(name) {}

  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;

  void wait(Mutex& mutex, Where where = Where::here()) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void signal(Where where = Where::here()) {
    Pauses::before_sync(where);
    condvar_.notify_one();
    if constexpr (kObserved) stats_signalled(this);
  }
  void broadcast(Where where = Where::here()) {
    Pauses::before_sync(where);
    condvar_.notify_all();
    if constexpr (kObserved) stats_signalled(this);
  }

  const char* name() const { return name_; }

 private:
  std::condition_variable condvar_;
  const char* const name_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_CONDVAR_H_
