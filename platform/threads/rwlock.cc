#include "platform/threads/rwlock.h"

#include <string>

#include "platform/threads/lock_stats.h"
#include "platform/threads/pauses.h"

#ifdef HATCHECK_WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

// ThreadSanitizer sees only the mutex inside, which is never held for long. These tell its deadlock
// detector and its race reports about the lock as a whole: when the lock is really held, so the
// order of pre and post is kept without wrapping the code that blocks. An acquisition that cannot
// block says `may_block` false and draws no lock-order edge.
#ifdef HATCHECK_WITH_TSAN
unsigned tsan_flags(RwMode mode) {
  return mode == RwMode::kReader ? static_cast<unsigned>(__tsan_mutex_read_lock) : 0u;
}
void tsan_acquired(void* lock, RwMode mode, bool may_block) {
  const unsigned flags =
      tsan_flags(mode) | (may_block ? 0u : static_cast<unsigned>(__tsan_mutex_try_lock));
  __tsan_mutex_pre_lock(lock, flags);
  __tsan_mutex_post_lock(lock, flags, 0);
}
void tsan_releasing(void* lock, RwMode mode) {
  __tsan_mutex_pre_unlock(lock, tsan_flags(mode));
  __tsan_mutex_post_unlock(lock, tsan_flags(mode));
}
void tsan_created(void* lock) { __tsan_mutex_create(lock, __tsan_mutex_not_static); }
void tsan_destroyed(void* lock) { __tsan_mutex_destroy(lock, __tsan_mutex_not_static); }
#else
void tsan_acquired(void*, RwMode, bool) {}
void tsan_releasing(void*, RwMode) {}
void tsan_created(void*) {}
void tsan_destroyed(void*) {}
#endif

LockMode lock_mode(RwMode mode) {
  return mode == RwMode::kReader ? LockMode::kReader : LockMode::kWriter;
}
RwMode rw_mode(LockMode mode) {
  return mode == LockMode::kReader ? RwMode::kReader : RwMode::kWriter;
}

}  // namespace

RwLock::RwLock(const LockClass& lock_class, uint32_t instance)
    : class_(&lock_class), instance_(instance) {
  if constexpr (kObserved) stats_register(lock_class);
  tsan_created(this);
}

RwLock::~RwLock() {
  bool in_use;
  {
    // The last holder may still be inside exit(); the mutex is what it leaves last.
    const std::lock_guard<std::mutex> guard(mutex_);
    in_use = writer_ || readers_ != 0 || readers_waiting_ != 0 || writers_waiting_ != 0;
  }
  if (in_use) {
    misuse(Kind::kDestroyWhileHeld, "is destroyed while it is held or wanted", Where::here());
  }
  tsan_destroyed(this);
}

void RwLock::take(RwMode mode) {
  if (mode == RwMode::kReader) {
    ++readers_;
  } else {
    writer_ = true;
  }
}

// Precondition: under mutex_, so that nobody can enter and destroy the lock during the call.
void RwLock::wake() {
  if (writers_waiting_ != 0) {
    if (!writer_ && readers_ == 0) writers_wake_.notify_one();
  } else if (readers_waiting_ != 0 && !writer_) {
    readers_wake_.notify_all();
  }
}

void RwLock::enter(RwMode mode, Where where) {
  Pauses::before_sync(where);
  Cpu& me = Cpu::current();
  if (me.find(this) != nullptr) [[unlikely]] {
    misuse(Kind::kRecursion, "is entered by a thread that holds it", where);
  }
  if constexpr (kObserved) stats_taking(me, id(lock_mode(mode)), false, where);
  bool contended = false;
  uint64_t waited = 0;
  {
    std::unique_lock<std::mutex> guard(mutex_);
    if (!can_enter(mode)) {
      contended = true;
      const bool reads = mode == RwMode::kReader;
      uint32_t& waiting = reads ? readers_waiting_ : writers_waiting_;
      std::condition_variable& wake = reads ? readers_wake_ : writers_wake_;
      uint64_t start = 0;
      if constexpr (kObserved) {
        start = stats_ticks();
        stats_wait_begin(me, id(lock_mode(mode)), where);
      }
      ++waiting;
      // A waiting writer is no obstacle to itself, nor to the other writers.
      while (!can_enter(mode)) wake.wait(guard);
      --waiting;
      if constexpr (kObserved) {
        stats_wait_end(me);
        waited = stats_ticks() - start;
      }
    }
    take(mode);
  }
  tsan_acquired(this, mode, /*may_block=*/true);
  me.acquired(id(lock_mode(mode)), where);
  if constexpr (kObserved) stats_acquired(me, id(lock_mode(mode)), contended, waited);
}

bool RwLock::tryenter(RwMode mode, Where where) {
  Pauses::before_sync(where);
  Cpu& me = Cpu::current();
  bool entered = false;
  if (me.find(this) == nullptr) {
    const std::lock_guard<std::mutex> guard(mutex_);
    entered = can_enter(mode);
    if (entered) take(mode);
  }
  if (!entered) {
    if constexpr (kObserved) stats_failed_tryenter(me, id(lock_mode(mode)));
    return false;
  }
  tsan_acquired(this, mode, /*may_block=*/false);
  if constexpr (kObserved) stats_taking(me, id(lock_mode(mode)), true, where);
  me.acquired(id(lock_mode(mode)), where);
  if constexpr (kObserved) stats_acquired_by_try(me, id(lock_mode(mode)));
  return true;
}

bool RwLock::tryupgrade(Where where) {
  Pauses::before_sync(where);
  Cpu& me = Cpu::current();
  HeldLock* held = me.find(this);
  if (held == nullptr || held->id.mode() != LockMode::kReader) [[unlikely]] {
    misuse(Kind::kUnlockByNonOwner, "is upgraded by a thread that is not its reader", where);
  }
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (readers_ != 1 || writers_waiting_ != 0) return false;
    readers_ = 0;
    writer_ = true;
  }
  tsan_releasing(this, RwMode::kReader);
  tsan_acquired(this, RwMode::kWriter, /*may_block=*/false);
  me.set_mode(*held, LockMode::kWriter);
  return true;
}

void RwLock::downgrade(Where where) {
  Pauses::before_sync(where);
  Cpu& me = Cpu::current();
  HeldLock* held = me.find(this);
  if (held == nullptr || held->id.mode() != LockMode::kWriter) [[unlikely]] {
    misuse(Kind::kUnlockByNonOwner, "is downgraded by a thread that is not its writer", where);
  }
  me.set_mode(*held, LockMode::kReader);
  tsan_releasing(this, RwMode::kWriter);
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    writer_ = false;
    readers_ = 1;
    wake();
  }
  tsan_acquired(this, RwMode::kReader, /*may_block=*/false);
}

void RwLock::exit(Where where) {
  Pauses::before_sync(where);
  Cpu& me = Cpu::current();
  const HeldLock* held = me.find(this);
  if (held == nullptr) [[unlikely]] {
    misuse(Kind::kUnlockByNonOwner, "is released by a thread that does not hold it", where);
  }
  const LockMode mode = held->id.mode();
  if constexpr (kObserved) stats_releasing(me, id(mode));
  me.released(this);
  tsan_releasing(this, rw_mode(mode));
  const std::lock_guard<std::mutex> guard(mutex_);
  if (mode == LockMode::kReader) {
    --readers_;
  } else {
    writer_ = false;
  }
  wake();
}

bool RwLock::read_held() const {
  const HeldLock* held = Cpu::current().find(this);
  return held != nullptr && held->id.mode() == LockMode::kReader;
}

bool RwLock::write_held() const {
  const HeldLock* held = Cpu::current().find(this);
  return held != nullptr && held->id.mode() == LockMode::kWriter;
}

void RwLock::assert_read_held(Where where) const {
  if (!read_held()) misuse(Kind::kAssertion, "is not held by this thread as a reader", where);
}

void RwLock::assert_write_held(Where where) const {
  if (!write_held()) misuse(Kind::kAssertion, "is not held by this thread as the writer", where);
}

void RwLock::misuse(Kind kind, const char* what, const Where& where) const {
  fail(kind, lock_name(class_, instance_) + " " + what, where);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
