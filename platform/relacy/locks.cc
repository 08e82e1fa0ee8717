// Mutex, RwLock and CondVar: what the engine does with each operation.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "platform/relacy/engine.h"
#include "platform/relacy/sync.h"

namespace hatcheck::inline HATCHECK_BACKEND::model {

namespace {

std::string name_of(const LockState& lock) { return lock_name(lock.lock_class, lock.instance); }
uint8_t my_bit() { return static_cast<uint8_t>(1 << hot.thread); }
bool mine(const LockState& lock) {
  return lock.writer == hot.thread || (lock.readers & my_bit()) != 0;
}

// The thread has the lock from now on.
void push_held(const LockState& lock, LockMode mode, bool by_try, const Where& where) {
  if (!active()) return;
  const OutsideArena outside;
  Engine& e = *engine();
  std::vector<HeldLock>& held = e.me().held;
  if (modelled() && !held.empty() && e.keeps_lock_order()) {
    const auto use = [&held](uint32_t i) {
      const HeldLock& h = held[i];
      return LockUse{h.lock->lock_class, h.lock->instance, h.by_try, h.where};
    };
    e.lock_order().taking(static_cast<uint32_t>(held.size()), use,
                          LockUse{lock.lock_class, lock.instance, by_try, where},
                          static_cast<CpuId>(hot.thread));
  }
  held.push_back(HeldLock{.lock = &lock, .mode = mode, .by_try = by_try, .where = where});
}
HeldLock* find_held(const LockState& lock) {
  if (!active()) return nullptr;
  std::vector<HeldLock>& held = engine()->me().held;
  const auto it =
      std::find_if(held.rbegin(), held.rend(), [&](const HeldLock& h) { return h.lock == &lock; });
  return it != held.rend() ? &*it : nullptr;
}
void pop_held(const LockState& lock) {
  if (HeldLock* found = find_held(lock)) {
    std::vector<HeldLock>& held = engine()->me().held;
    held.erase(held.begin() + (found - held.data()));
  }
}

[[noreturn]] void recursion(const LockState& lock, const char* by, const Where& where) {
  fail(Kind::kRecursion, absl::StrCat("enter of ", name_of(lock), " by ", by), where);
}
[[noreturn]] void no_owner(const LockState& lock, const char* what, const Where& where) {
  std::string who = "not held";
  if (lock.writer >= 0) who = absl::StrCat("held by cpu ", lock.writer);
  if (lock.readers != 0) who = "held by readers";
  fail(Kind::kUnlockByNonOwner, absl::StrCat(what, " of ", name_of(lock), ", which is ", who),
       where);
}

void trace(const char* what, const LockState& lock, const Where& where) {
  if (active() && engine()->tracing()) {
    engine()->record(absl::StrCat(what, " ", name_of(lock)), where);
  }
}

// The common beginning: the thread is about to do something to the lock. Null outside kThreads.
Cell* arrive(LockState& lock, const char* what, const Where& where) {
  if (!active()) return nullptr;
  Engine& e = *engine();
  if (!modelled()) {
    e.check_alive(&lock, what, where);
    return nullptr;
  }
  Cell& cell = e.cell(&lock, what, where);
  e.use(cell, true, where);
  return &cell;
}

void stop_here(Cell& cell, Wait wait, LockState& lock, const char* what, const Where& where) {
  Engine& e = *engine();
  e.point(wait, Step{.object = cell.object, .write = true}, &lock, nullptr, where);
  e.check_alive(&lock, what, where);
}

void take_mutex(Cell* cell, LockState& lock, bool by_try, const Where& where) {
  lock.writer = hot.thread;
  push_held(lock, LockMode::kMutex, by_try, where);
  if (cell != nullptr) {
    engine()->acquire(cell->released);
    engine()->did(*cell, true, where);
  }
}

void give_mutex(Cell* cell, LockState& lock, const Where& where) {
  if (cell != nullptr) {
    engine()->release(cell->released);
    engine()->did(*cell, true, where);
  }
  lock.writer = -1;
  pop_held(lock);
}

void take_rw(Cell* cell, LockState& lock, bool write, bool by_try, const Where& where) {
  if (write) {
    lock.writer = hot.thread;
  } else {
    lock.readers |= my_bit();
  }
  push_held(lock, write ? LockMode::kWriter : LockMode::kReader, by_try, where);
  if (cell == nullptr) return;
  engine()->acquire(cell->released);
  if (write) engine()->acquire(cell->released_by_readers);
  engine()->did(*cell, true, where);
}

bool admits(const LockState& lock, bool write) {
  if (lock.writer >= 0) return false;
  return write ? lock.readers == 0 : lock.writers_waiting == 0;
}

}  // namespace

// --- Mutex ---------------------------------------------------------------------------------------

void mutex_enter(LockState& lock, const Where& where) {
  Cell* const cell = arrive(lock, "enter of", where);
  if (lock.writer == hot.thread) recursion(lock, "its owner", where);
  if (cell != nullptr) {
    if (engine()->is_point(*cell) || lock.writer >= 0) {
      stop_here(*cell, Wait::kMutex, lock, "enter of", where);
    }
    engine()->operation(where);
  }
  take_mutex(cell, lock, /*by_try=*/false, where);
  trace("enter", lock, where);
}

bool mutex_tryenter(LockState& lock, const Where& where) {
  Cell* const cell = arrive(lock, "tryenter of", where);
  if (cell != nullptr) {
    engine()->tried(*cell);
    if (engine()->is_point(*cell)) stop_here(*cell, Wait::kNo, lock, "tryenter of", where);
    engine()->operation(where);
  }
  if (lock.writer >= 0) {
    if (cell != nullptr) engine()->did(*cell, false, where);
    trace("tryenter fails:", lock, where);
    return false;
  }
  take_mutex(cell, lock, /*by_try=*/true, where);
  trace("tryenter", lock, where);
  return true;
}

void mutex_exit(LockState& lock, const Where& where) {
  Cell* const cell = arrive(lock, "exit of", where);
  if (lock.writer != hot.thread) no_owner(lock, "exit", where);
  if (cell != nullptr) {
    if (engine()->exit_is_point(*cell)) stop_here(*cell, Wait::kNo, lock, "exit of", where);
    engine()->operation(where);
  }
  trace("exit", lock, where);
  give_mutex(cell, lock, where);
}

// --- RwLock --------------------------------------------------------------------------------------

void rw_enter(LockState& lock, bool write, const Where& where) {
  Cell* const cell = arrive(lock, "enter of", where);
  if (mine(lock)) recursion(lock, "a holder", where);
  if (cell != nullptr) {
    Engine& e = *engine();
    if (e.is_point(*cell)) stop_here(*cell, Wait::kNo, lock, "enter of", where);
    e.operation(where);
    if (!admits(lock, write)) {
      if (write) lock.writers_waiting |= my_bit();
      e.did(*cell, true, where);
      trace(write ? "waits to write" : "waits to read", lock, where);
      stop_here(*cell, write ? Wait::kWriter : Wait::kReader, lock, "enter of", where);
      e.operation(where);
      if (write) lock.writers_waiting &= static_cast<uint8_t>(~my_bit());
    }
  }
  take_rw(cell, lock, write, /*by_try=*/false, where);
  trace(write ? "enter as the writer" : "enter as a reader", lock, where);
}

bool rw_tryenter(LockState& lock, bool write, const Where& where) {
  Cell* const cell = arrive(lock, "tryenter of", where);
  if (cell != nullptr) {
    if (engine()->is_point(*cell)) stop_here(*cell, Wait::kNo, lock, "tryenter of", where);
    engine()->operation(where);
  }
  if (mine(lock) || !admits(lock, write)) {
    if (cell != nullptr) engine()->did(*cell, false, where);
    trace("tryenter fails:", lock, where);
    return false;
  }
  take_rw(cell, lock, write, /*by_try=*/true, where);
  trace(write ? "tryenter as the writer" : "tryenter as a reader", lock, where);
  return true;
}

bool rw_tryupgrade(LockState& lock, const Where& where) {
  Cell* const cell = arrive(lock, "tryupgrade of", where);
  if ((lock.readers & my_bit()) == 0) no_owner(lock, "tryupgrade", where);
  if (cell != nullptr) {
    if (engine()->is_point(*cell)) stop_here(*cell, Wait::kNo, lock, "tryupgrade of", where);
    engine()->operation(where);
  }
  const bool alone = lock.readers == my_bit() && lock.writers_waiting == 0;
  if (alone) {
    lock.readers = 0;
    lock.writer = hot.thread;
    if (HeldLock* held = find_held(lock)) held->mode = LockMode::kWriter;
  }
  if (cell != nullptr) {
    if (alone) engine()->acquire(cell->released_by_readers);
    engine()->did(*cell, alone, where);
  }
  trace(alone ? "tryupgrade" : "tryupgrade fails:", lock, where);
  return alone;
}

void rw_downgrade(LockState& lock, const Where& where) {
  Cell* const cell = arrive(lock, "downgrade of", where);
  if (lock.writer != hot.thread) no_owner(lock, "downgrade", where);
  if (cell != nullptr) {
    if (engine()->is_point(*cell)) stop_here(*cell, Wait::kNo, lock, "downgrade of", where);
    engine()->operation(where);
    engine()->release(cell->released);
    engine()->did(*cell, true, where);
  }
  lock.writer = -1;
  lock.readers = my_bit();
  if (HeldLock* held = find_held(lock)) held->mode = LockMode::kReader;
  trace("downgrade", lock, where);
}

void rw_exit(LockState& lock, const Where& where) {
  Cell* const cell = arrive(lock, "exit of", where);
  if (!mine(lock)) no_owner(lock, "exit", where);
  if (cell != nullptr) {
    if (engine()->is_point(*cell)) stop_here(*cell, Wait::kNo, lock, "exit of", where);
    engine()->operation(where);
  }
  trace("exit", lock, where);
  if (lock.writer == hot.thread) {
    lock.writer = -1;
    if (cell != nullptr) engine()->release(cell->released);
  } else {
    lock.readers &= static_cast<uint8_t>(~my_bit());
    if (cell != nullptr) engine()->release(cell->released_by_readers);
  }
  if (cell != nullptr) engine()->did(*cell, true, where);
  pop_held(lock);
}

// --- both ----------------------------------------------------------------------------------------

void lock_destroyed(const LockState& lock) {
  if (lock.writer < 0 && lock.readers == 0 && lock.writers_waiting == 0) return;
  Where where;
  if (const HeldLock* held = find_held(lock)) where = held->where;
  fail(Kind::kDestroyWhileHeld, name_of(lock) + " is destroyed while it is held", where);
}

void lock_not_held(const LockState& lock, const char* how, const Where& where) {
  fail(Kind::kAssertion, absl::StrCat(name_of(lock), " is not ", how, " by this thread"), where);
}

// --- CondVar -------------------------------------------------------------------------------------

void condvar_wait(const void* condvar, const char* name, LockState& mutex, const Where& where) {
  if (mutex.writer != hot.thread) no_owner(mutex, "wait", where);
  if (!modelled()) {
    fail(Kind::kLostWakeup,
         absl::StrCat("a wait on condition variable '", name, "' with no other thread to end it"),
         where);
  }
  Engine& e = *engine();
  Cell& cell = e.cell(condvar, "wait on", where);
  Cell& mutex_cell = e.cell(&mutex, "wait with", where);
  e.use(cell, true, where);
  // It also leaves the mutex, which somebody's tryenter may notice.
  const bool both = e.exit_is_point(mutex_cell);
  if (e.is_point(cell) || both) {
    e.point(Wait::kNo, Step{.object = condvar, .write = true, .orders_all = both}, nullptr, nullptr,
            where);
  }
  e.operation(where);
  if (e.tracing()) {
    e.record(absl::StrCat("wait on '", name, "', leaving ", name_of(mutex)), where);
  }
  give_mutex(&mutex_cell, mutex, where);
  e.did(cell, true, where);
  e.point(Wait::kSleep, Step{.object = condvar, .write = true}, &mutex, name, where);
  e.check_alive(&mutex, "enter of", where);
  e.operation(where);
  take_mutex(&mutex_cell, mutex, /*by_try=*/false, where);
  if (e.tracing()) e.record(absl::StrCat("awake with ", name_of(mutex)), where);
}

void condvar_wake(const void* condvar, const char* name, bool all, const Where& where) {
  if (!active()) return;
  Engine& e = *engine();
  const char* const what = all ? "broadcast on" : "signal on";
  if (!modelled()) return e.check_alive(condvar, what, where);
  Cell& cell = e.cell(condvar, what, where);
  e.use(cell, true, where);
  if (e.is_point(cell)) {
    e.point(Wait::kNo, Step{.object = condvar, .write = true}, nullptr, nullptr, where);
    e.check_alive(condvar, what, where);
  }
  e.operation(where);
  if (e.tracing()) e.record(absl::StrCat(all ? "broadcast '" : "signal '", name, "'"), where);
  e.wake(condvar, all);
  e.did(cell, true, where);
}

void condvar_destroyed(const void* condvar, const char* name) {
  if (!modelled() || !engine()->has_sleeper(condvar)) return;
  fail(Kind::kDestroyWhileHeld,
       absl::StrCat("condition variable '", name, "' is destroyed while somebody sleeps on it"),
       Where{});
}

}  // namespace hatcheck::inline HATCHECK_BACKEND::model
