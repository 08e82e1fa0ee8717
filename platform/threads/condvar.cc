#include "platform/threads/condvar.h"

#include <mutex>

#include "platform/threads/lock_stats.h"

namespace hatcheck::inline HATCHECK_BACKEND {

void CondVar::wait(Mutex& mutex, Where where) {
  Cpu& me = Cpu::current();
  if (!mutex.held()) mutex.misuse(Kind::kUnlockByNonOwner, where);
  Pauses::before_sync(where);
  // In this order, so that the CPU never appears to wait for a mutex that it holds itself.
  mutex.no_longer_owned(me);
  // What else is held is held while the mutex is entered again.
  if constexpr (kObserved) stats_taking(me, mutex.id(), false, where);
  if constexpr (kObserved) stats_sleep_begin(me, mutex.id(), name_, this, where);
  {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condvar_.wait(lock);
    lock.release();
  }
  if constexpr (kObserved) stats_wait_end(me);
  mutex.now_owned(me, where);
  if constexpr (kObserved) stats_acquired(me, mutex.id(), false, 0);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
