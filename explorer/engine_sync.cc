// Engine: mutexes, condition variables, atomics, choices, plain variables.
#include <bit>
#include <utility>

#include "explorer/engine.h"
#include "explorer/local_state.h"
#include "explorer/lock_order.h"
#include "explorer/recorder.h"
#include "explorer/sync.h"

namespace explorer {
namespace {

bool acquires(std::memory_order order) {
  return order == std::memory_order_acquire || order == std::memory_order_consume ||
         order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}

bool releases(std::memory_order order) {
  return order == std::memory_order_release || order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}

}  // namespace

void Engine::used_dead(const void* p, const char* what, const Site& site) {
  if (recorder_ != nullptr) recorder_->used_freed(p);
  const bool freed = arena_.state(p) == Arena::State::kFreed;
  fail(freed ? Kind::kUseAfterFree : Kind::kUninitialisedRead,
       std::string(what) + " in memory that is " + (freed ? "freed" : "not allocated"), site);
}

void Engine::touch(Object& object, const char* what, const Site& site) {
  check_alive(&object, what, site);
  object.touched.set(current_->id, current_->now[current_->id]);
}

void Engine::destroy(const Object& object, const Site& site) {
  const Clock& now = current_->now;
  if (alone_ || now.covers(object.touched)) return;
  if (recorder_ != nullptr) {
    recorder_->access(*this, &object, Recorder::Access::kDestroy, Value{}, site);
    for (int i = 0; i < thread_count_; ++i) {
      if (object.touched[i] > now[i]) recorder_->conflict(&object, i);
    }
  }
  fail(Kind::kUseAfterFree,
       "an object is destroyed while another thread may still use it: no happens-before between "
       "the use and this",
       site);
}

// ---- mutexes

void Engine::took(Object& lock, const Name& name, bool writer, bool blocking, const Site& site) {
  Thread& t = *current_;
  if (t.held_count == kMaxHeld) fail(Kind::kInternalError, "a thread holds too many locks", site);
  // What an earlier execution did as well is known.
  if (t.held_count > 0 && options_.check_lock_order && !alone_ && depth_ >= known_) {
    note_order(name, !blocking, site);
  }
  t.held[t.held_count++] = Held{&lock, &name, writer, !blocking, site};
}

void Engine::note_order(const Name& name, bool tried, const Site& site) {
  const Thread& t = *current_;
  const auto lock_of = [](const Held& held) {
    return LockOrder::Lock{*held.name, held.site, held.tried};
  };
  const LockOrder::Lock taken{name, site, tried};
  for (int i = t.held_count - 1; i >= 0; --i) {
    const LockOrder::Lock held = lock_of(t.held[i]);
    if (!lock_order_->knows(held, taken)) {
      const HostScope host;
      LockOrder::Edge edge{held, taken, t.id, {}};
      for (int k = 0; k < t.held_count; ++k) edge.holds.push_back(lock_of(t.held[k]));
      lock_order_->add(std::move(edge));
    }
    if (!held.tried) return;
  }
}

void Engine::dropped(Object& lock) {
  Thread& t = *current_;
  for (int i = t.held_count - 1; i >= 0; --i) {
    if (t.held[i].lock != &lock) continue;
    for (int j = i; j + 1 < t.held_count; ++j) t.held[j] = t.held[j + 1];
    --t.held_count;
    return;
  }
}

void Engine::acquire_mutex(Mutex& mutex, bool blocking, const Site& site) {
  touch(mutex, "a mutex", site);
  mutex.owner_ = current_->id;
  current_->now.join(mutex.sync);
  took(mutex, mutex.name_, true, blocking, site);
}

void Engine::release_mutex(Mutex& mutex) {
  Thread& t = *current_;
  mutex.owner_ = -1;
  mutex.sync = t.now;
  tick(t);
  dropped(mutex);
}

void Engine::lock(Mutex& mutex, const Site& site) {
  check_alive(&mutex, "a mutex", site);
  const int8_t me = current_->id;
  if (mutex.owner_ == me) {
    fail(Kind::kRecursion, to_string(mutex.name_) + " is entered by its owner", site);
  }
  if (alone_) {
    if (mutex.owner_ >= 0) {
      fail(Kind::kDeadlock, to_string(mutex.name_) + " is held and nobody is there to release it",
           site);
    }
    acquire_mutex(mutex, true, site);
    return;
  }
  const Label label{mutex.id(), 0, static_cast<uint8_t>(me), Op::kLock, Label::kWrites, 0};
  want(label, &mutex, site);
  if (mutex.owner_ >= 0) check_cycle(*current_, site);
  stop_here();
  acquire_mutex(mutex, true, site);
  made(label, Event::kDone, &mutex, nullptr);
}

bool Engine::try_lock(Mutex& mutex, const Site& site) {
  check_alive(&mutex, "a mutex", site);
  Thread& t = *current_;
  if (alone_) {
    if (mutex.owner_ >= 0) return false;
    acquire_mutex(mutex, false, site);
    return true;
  }
  CAPTURE_LOCAL_STATE(t);
  Label label{mutex.id(), 0, static_cast<uint8_t>(t.id), Op::kTryLock, 0, 0};
  stop_here(label, &mutex, site);
  if (mutex.owner_ >= 0) {
    touch(mutex, "a mutex", site);
    made(label, Event::kFailed, &mutex, nullptr);
    return false;
  }
  label.access = Label::kWrites;
  acquire_mutex(mutex, false, site);
  made(label, Event::kDone, &mutex, nullptr);
  return true;
}

void Engine::unlock(Mutex& mutex, const Site& site) {
  check_alive(&mutex, "a mutex", site);
  const int8_t me = current_->id;
  if (mutex.owner_ != me) {
    fail(Kind::kUnlockByNonOwner,
         to_string(mutex.name_) + (mutex.owner_ < 0
                                       ? " is owned by nobody"
                                       : " is owned by thread " + std::to_string(mutex.owner_)),
         site);
  }
  if (alone_) {
    release_mutex(mutex);
    return;
  }
  const Label label{mutex.id(), 0, static_cast<uint8_t>(me), Op::kUnlock, Label::kWrites, 0};
  stop_here(label, &mutex, site);
  touch(mutex, "a mutex", site);
  release_mutex(mutex);
  made(label, Event::kDone, &mutex, nullptr);
}

void Mutex::destroy() {
  Engine* const engine = Engine::active;
  if (engine == nullptr) return;
  if (owner_ >= 0) {
    engine->fail(
        Kind::kDestroyWhileHeld,
        to_string(name_) + " is destroyed while thread " + std::to_string(owner_) + " holds it",
        Site{});
  }
  engine->destroy(static_cast<const Object&>(*this), Site{});
}

// ---- condition variables

void Engine::wait(CondVar& condvar, Mutex& mutex, const Site& site) {
  check_alive(&condvar, "a condition variable", site);
  check_alive(&mutex, "a mutex", site);
  Thread& t = *current_;
  const uint8_t me = static_cast<uint8_t>(t.id);
  if (mutex.owner_ != t.id) {
    fail(Kind::kUnlockByNonOwner,
         std::string("a wait for ") + condvar.name_ + " without owning " + to_string(mutex.name_),
         site);
  }
  if (alone_) {
    fail(Kind::kLostWakeup,
         std::string("a sleep on ") + condvar.name_ + " when nobody is there to wake up", site);
  }
  const uint16_t choices = t.spurious_left > 0 ? 2 : 1;
  Label label{mutex.id(), condvar.id(), me, Op::kWait, Label::kWrites, 0};
  stop_here(label, &mutex, site, choices);
  label.choice = decide(this->choices(t));
  touch(condvar, "a condition variable", site);
  release_mutex(mutex);
  if (label.choice == 0) {
    condvar.sleepers_ |= static_cast<uint8_t>(1 << me);
    t.status = Status::kSleeping;
  } else {
    --t.spurious_left;
  }
  t.sleeps_on = &condvar;
  made(label, Event::kDone, &mutex, &condvar);
  const Label again{mutex.id(), 0, me, Op::kReacquire, Label::kWrites, 0};
  want(again, &mutex, site);
  reschedule();
  acquire_mutex(mutex, true, site);
  made(again, Event::kDone, &mutex, nullptr);
}

void Engine::wake(int sleeper, CondVar& condvar) {
  Thread& t = threads_[sleeper];
  condvar.sleepers_ &= static_cast<uint8_t>(~(1 << sleeper));
  t.status = Status::kReady;
  // What the sleeper does next depends on the step that woke it. It orders no memory: the mutex
  // does.
  t.clock.join(current_->clock);
}

void Engine::signal(CondVar& condvar, const Site& site) {
  check_alive(&condvar, "a condition variable", site);
  if (alone_) return;
  Thread& t = *current_;
  Label label{condvar.id(), 0, static_cast<uint8_t>(t.id), Op::kSignal, Label::kWrites, 0};
  stop_here(label, &condvar, site);
  touch(condvar, "a condition variable", site);
  const uint8_t sleepers = condvar.sleepers_;
  label.choice = decide(choices(t));
  t.wanted.choices = static_cast<uint16_t>(std::popcount(sleepers));
  Event& e = made(label, Event::kDone, &condvar, nullptr);
  e.mask = sleepers;
  if (sleepers != 0) wake(label.choice, condvar);
}

void Engine::broadcast(CondVar& condvar, const Site& site) {
  check_alive(&condvar, "a condition variable", site);
  if (alone_) return;
  Thread& t = *current_;
  const Label label{condvar.id(), 0, static_cast<uint8_t>(t.id), Op::kBroadcast, Label::kWrites, 0};
  stop_here(label, &condvar, site);
  touch(condvar, "a condition variable", site);
  Event& e = made(label, Event::kDone, &condvar, nullptr);
  e.mask = condvar.sleepers_;
  for (int i = 0; i < thread_count_; ++i) {
    if ((e.mask >> i & 1) != 0) wake(i, condvar);
  }
}

CondVar::~CondVar() {
  Engine* const engine = Engine::active;
  if (engine == nullptr || Engine::alone()) return;
  if (sleepers_ != 0) {
    engine->fail(Kind::kDestroyWhileHeld,
                 std::string(name_) + " is destroyed while a thread sleeps on it", Site{});
  }
  engine->destroy(static_cast<const Object&>(*this), Site{});
}

// ---- atomics and choices

void Engine::want_atomic(Object& object, Op op, const Site& site) {
  check_alive(&object, "an atomic", site);
  Thread& t = *current_;
  CAPTURE_LOCAL_STATE(t);
  const uint8_t access = op == Op::kLoad ? 0 : Label::kWrites;
  const Label label{object.id(), 0, static_cast<uint8_t>(t.id), op, access, 0};
  stop_here(label, &object, site);
}

void Engine::atomic_done(Object& object, std::memory_order order, bool loads, bool stores,
                         Value before, Value after, const Site& site) {
  Thread& t = *current_;
  touch(object, "an atomic", site);
  if (loads && acquires(order)) t.now.join(object.sync);
  if (stores) {
    if (releases(order)) {
      if (loads) {
        object.sync.join(t.now);
      } else {
        object.sync = t.now;
      }
      tick(t);
    } else if (!loads) {
      object.sync = Clock{};
    }
  }
  if (recorder_ != nullptr) {
    recorder_->values(loads ? before : Value{}, stores ? after : Value{});
  }
  made(t.wanted.label, Event::kDone, &object, nullptr);
}

uint32_t Engine::choose(uint32_t n, const Site& site) {
  if (n == 0 || n > 64) {
    fail(Kind::kPanic, "choose(" + std::to_string(n) + "): expected 1 to 64", site);
  }
  if (n == 1) return 0;
  if (alone_) {
    fail(Kind::kPanic, "choose() in set-up or finish(): only the threads can choose", site);
  }
  Thread& t = *current_;
  Label label{0, 0, static_cast<uint8_t>(t.id), Op::kChoose, 0, 0};
  stop_here(label, nullptr, site, static_cast<uint16_t>(n));
  label.choice = decide(choices(t));
  made(label, Event::kDone, nullptr, nullptr);
  return label.choice;
}

// ---- plain variables

void Engine::read(Cell& cell, const void* address, Value value, const Site& site) {
  if (recorder_ != nullptr) {
    recorder_->access(*this, address, Recorder::Access::kRead, value, site);
  }
  check_alive(&cell, "a variable", site);
  if (cell.state_ != Cell::kInitialised) [[unlikely]] {
    fail(Kind::kUninitialisedRead, "a variable is read before anything was written to it", site);
  }
  if (alone_) return;
  Thread& t = *current_;
  if (cell.write_time_ > t.now[cell.writer_]) [[unlikely]]
    race(cell, address, false, site);
  cell.reads_[t.id] = t.now[t.id];
}

void Engine::write(Cell& cell, const void* address, Value value, const Site& site) {
  if (recorder_ != nullptr) {
    recorder_->access(*this, address, Recorder::Access::kWrite, value, site);
  }
  check_alive(&cell, "a variable", site);
  cell.state_ = Cell::kInitialised;
  if (alone_) return;
  Thread& t = *current_;
  Clock reads;
  std::memcpy(&reads, cell.reads_, sizeof(reads));
  if (cell.write_time_ > t.now[cell.writer_] || !t.now.covers(reads)) [[unlikely]] {
    race(cell, address, true, site);
  }
  cell.writer_ = static_cast<uint8_t>(t.id);
  cell.write_time_ = t.now[t.id];
}

void Engine::destroy(const Cell& cell, const void* address, const Site& site) {
  if (alone_) return;
  Thread& t = *current_;
  Clock reads;
  std::memcpy(&reads, cell.reads_, sizeof(reads));
  if (cell.write_time_ > t.now[cell.writer_] || !t.now.covers(reads)) [[unlikely]] {
    if (recorder_ != nullptr) {
      recorder_->access(*this, address, Recorder::Access::kDestroy, Value{}, site);
      recorder_->conflict(address, other_access(cell));
    }
    fail(Kind::kUseAfterFree,
         "a variable is destroyed while another thread may still use it: no happens-before "
         "between the use and this",
         site);
  }
}

// Who made an access that the running thread knows nothing of.
int Engine::other_access(const Cell& cell) const {
  const Clock& now = current_->now;
  if (cell.write_time_ > now[cell.writer_]) return cell.writer_;
  int other = current_->id;
  for (int i = 0; i < thread_count_; ++i) {
    if (cell.reads_[i] > now[i]) other = i;
  }
  return other;
}

void Engine::race(const Cell& cell, const void* address, bool writes, const Site& site) {
  const Thread& t = *current_;
  const int other = other_access(cell);
  const char* const what = cell.write_time_ > t.now[cell.writer_] ? "a write" : "a read";
  if (recorder_ != nullptr) recorder_->conflict(address, other);
  fail(Kind::kDataRace,
       std::string(writes ? "a write" : "a read") + " by thread " + std::to_string(t.id) + " and " +
           what + " by thread " + std::to_string(other) +
           " of the same variable, with no happens-before between them",
       site);
}

}  // namespace explorer
