#include "platform/threads/mutex.h"

#include <pthread.h>

#include <string>

namespace hatcheck::inline HATCHECK_BACKEND {

Mutex::~Mutex() {
  if (owner_.load(std::memory_order_relaxed) != nullptr) {
    const std::string name = lock_name(class_, instance_);
    fail(Kind::kDestroyWhileHeld, name + " is destroyed while it is held");
  }
  // libstdc++ destroys a std::mutex without a call. ThreadSanitizer needs the call, or a new mutex
  // at the same address inherits this one's lock order.
  if constexpr (kTsan) pthread_mutex_destroy(mutex_.native_handle());
}

#ifdef HATCHECK_OBSERVE
void Mutex::lock_observed(Cpu& me, const Where& where) {
  stats_taking(me, id(), false, where);
  bool contended;
  if constexpr (kTsan) {
    // Its deadlock detector draws no edge from a try_lock, so it must see a plain lock.
    contended = owner_.load(std::memory_order_relaxed) != nullptr;
  } else {
    contended = !mutex_.try_lock();
  }
  uint64_t waited = 0;
  if (kTsan || contended) {
    const uint64_t start = stats_ticks();
    stats_wait_begin(me, id(), where);
    mutex_.lock();
    stats_wait_end(me);
    waited = stats_ticks() - start;
  }
  now_owned(me, where);
  stats_acquired(me, id(), contended, waited);
}
#endif

void Mutex::misuse(Kind kind, const Where& where) const {
  const std::string name = lock_name(class_, instance_);
  if (kind == Kind::kRecursion) fail(kind, "enter of " + name + " by its owner", where);
  const Cpu* owner = owner_.load(std::memory_order_relaxed);
  fail(kind,
       "exit of " + name + ", which is " +
           (owner == nullptr ? "not held" : "held by " + Cpu::describe(owner)),
       where);
}

void Mutex::not_held(const Where& where) const {
  fail(Kind::kAssertion, lock_name(class_, instance_) + " is not held by this thread", where);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
