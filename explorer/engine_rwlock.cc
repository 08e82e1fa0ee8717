// Engine: reader-writer locks. A writer that finds the lock taken announces itself, which is a step
// of its own, and from then on keeps new readers out; getting in is another step.
#include <bit>

#include "explorer/engine.h"
#include "explorer/local_state.h"
#include "explorer/recorder.h"
#include "explorer/sync.h"

namespace explorer {

void Engine::acquire_rw(RwLock& lock, bool writer, bool blocking, const Site& site) {
  Thread& t = *current_;
  touch(lock, "a reader-writer lock", site);
  t.now.join(lock.sync);
  if (writer) {
    t.now.join(lock.readers_sync_);
    lock.writer_ = t.id;
  } else {
    lock.readers_ |= static_cast<uint8_t>(1 << t.id);
  }
  took(lock, lock.name_, writer, blocking, site);
}

void Engine::no_rw_recursion(const RwLock& lock, const Site& site) {
  check_alive(&lock, "a reader-writer lock", site);
  if (lock.writer_ != current_->id && (lock.readers_ >> current_->id & 1) == 0) return;
  fail(Kind::kRecursion, to_string(lock.name_) + " is entered by a thread that holds it", site);
}

void Engine::enter_reader(RwLock& lock, const Site& site) {
  no_rw_recursion(lock, site);
  Thread& t = *current_;
  if (alone_) {
    if (!lock.free_for_reader()) fail(Kind::kDeadlock, to_string(lock.name_) + " is held", site);
    acquire_rw(lock, false, true, site);
    return;
  }
  const Label label{lock.id(), 0, static_cast<uint8_t>(t.id), Op::kReadEnter, 0, 0};
  want(label, &lock, site);
  if (!lock.free_for_reader()) check_cycle(t, site);
  stop_here();
  acquire_rw(lock, false, true, site);
  made(label, Event::kDone, &lock, nullptr);
}

void Engine::enter_writer(RwLock& lock, const Site& site) {
  no_rw_recursion(lock, site);
  Thread& t = *current_;
  if (alone_) {
    if (!lock.free_for_writer()) fail(Kind::kDeadlock, to_string(lock.name_) + " is held", site);
    acquire_rw(lock, true, true, site);
    return;
  }
  const uint8_t me = static_cast<uint8_t>(t.id);
  const Label label{lock.id(), 0, me, Op::kWriteEnter, Label::kWrites, 0};
  stop_here(label, &lock, site);
  if (lock.free_for_writer()) {
    acquire_rw(lock, true, true, site);
    made(label, Event::kDone, &lock, nullptr);
    return;
  }
  touch(lock, "a reader-writer lock", site);
  lock.waiting_ |= static_cast<uint8_t>(1 << me);
  made(label, Event::kAnnounced, &lock, nullptr);
  const Label again{lock.id(), 0, me, Op::kWriteAcquire, Label::kWrites, 0};
  want(again, &lock, site);
  check_cycle(t, site);
  stop_here();
  lock.waiting_ &= static_cast<uint8_t>(~(1 << me));
  acquire_rw(lock, true, true, site);
  made(again, Event::kDone, &lock, nullptr);
}

bool Engine::try_enter(RwLock& lock, bool writer, const Site& site) {
  check_alive(&lock, "a reader-writer lock", site);
  Thread& t = *current_;
  const uint8_t bit = static_cast<uint8_t>(1 << t.id);
  // A tryenter by a holder fails: for a reader even where another reader would get in.
  const auto can = [&] {
    return writer ? lock.free_for_writer() : lock.free_for_reader() && (lock.readers_ & bit) == 0;
  };
  if (alone_) {
    if (!can()) return false;
    acquire_rw(lock, writer, false, site);
    return true;
  }
  CAPTURE_LOCAL_STATE(t);
  const Label label{lock.id(),
                    0,
                    static_cast<uint8_t>(t.id),
                    writer ? Op::kTryWrite : Op::kTryRead,
                    writer ? Label::kWrites : uint8_t{0},
                    0};
  stop_here(label, &lock, site);
  if (!can()) {
    touch(lock, "a reader-writer lock", site);
    made(label, Event::kFailed, &lock, nullptr);
    return false;
  }
  acquire_rw(lock, writer, false, site);
  made(label, Event::kDone, &lock, nullptr);
  return true;
}

bool Engine::try_upgrade(RwLock& lock, const Site& site) {
  check_alive(&lock, "a reader-writer lock", site);
  Thread& t = *current_;
  const uint8_t bit = static_cast<uint8_t>(1 << t.id);
  if ((lock.readers_ & bit) == 0) {
    fail(Kind::kUnlockByNonOwner,
         "an upgrade of " + to_string(lock.name_) + " by a thread that is no reader of it", site);
  }
  const Label label{lock.id(), 0, static_cast<uint8_t>(t.id), Op::kTryUpgrade, Label::kWrites, 0};
  if (!alone_) stop_here(label, &lock, site);
  const bool can = lock.readers_ == bit && lock.waiting_ == 0;
  if (can) {
    lock.readers_ = 0;
    lock.writer_ = t.id;
    t.now.join(lock.readers_sync_);
    for (int i = 0; i < t.held_count; ++i) {
      if (t.held[i].lock == &lock) t.held[i].writer = true;
    }
  }
  if (alone_) return can;
  touch(lock, "a reader-writer lock", site);
  made(label, can ? Event::kDone : Event::kFailed, &lock, nullptr);
  return can;
}

void Engine::downgrade(RwLock& lock, const Site& site) {
  check_alive(&lock, "a reader-writer lock", site);
  Thread& t = *current_;
  if (lock.writer_ != t.id) {
    fail(Kind::kUnlockByNonOwner,
         "a downgrade of " + to_string(lock.name_) + " by a thread that is not its writer", site);
  }
  const Label label{lock.id(), 0, static_cast<uint8_t>(t.id), Op::kDowngrade, Label::kWrites, 0};
  if (!alone_) stop_here(label, &lock, site);
  touch(lock, "a reader-writer lock", site);
  lock.writer_ = -1;
  lock.readers_ |= static_cast<uint8_t>(1 << t.id);
  lock.sync = t.now;
  lock.readers_sync_ = Clock{};
  tick(t);
  for (int i = 0; i < t.held_count; ++i) {
    if (t.held[i].lock == &lock) t.held[i].writer = false;
  }
  if (!alone_) made(label, Event::kDone, &lock, nullptr);
}

void Engine::exit(RwLock& lock, const Site& site) {
  check_alive(&lock, "a reader-writer lock", site);
  Thread& t = *current_;
  const uint8_t bit = static_cast<uint8_t>(1 << t.id);
  const bool writer = lock.writer_ == t.id;
  if (!writer && (lock.readers_ & bit) == 0) {
    fail(Kind::kUnlockByNonOwner,
         to_string(lock.name_) + " is left by a thread that does not hold it", site);
  }
  const Label label{lock.id(),
                    0,
                    static_cast<uint8_t>(t.id),
                    writer ? Op::kWriteExit : Op::kReadExit,
                    writer ? Label::kWrites : uint8_t{0},
                    0};
  if (!alone_) stop_here(label, &lock, site);
  touch(lock, "a reader-writer lock", site);
  if (writer) {
    lock.writer_ = -1;
    lock.sync = t.now;
    lock.readers_sync_ = Clock{};
  } else {
    lock.readers_ &= static_cast<uint8_t>(~bit);
    lock.readers_sync_.join(t.now);
  }
  tick(t);
  dropped(lock);
  if (!alone_) made(label, Event::kDone, &lock, nullptr);
}

RwLock::~RwLock() {
  Engine* const engine = Engine::active;
  if (engine == nullptr) return;
  if (writer_ >= 0 || readers_ != 0 || waiting_ != 0) {
    engine->fail(Kind::kDestroyWhileHeld,
                 to_string(name_) + " is destroyed while a thread holds it or waits for it",
                 Site{});
  }
  engine->destroy(static_cast<const Object&>(*this), Site{});
}

}  // namespace explorer
