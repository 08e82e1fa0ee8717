// RwLock (krwlock_t) on the relacy backend. The contract is that of platform/README.md, the table
// of transitions that of platform/threads/rwlock.h.
//
// Built on the engine's own bookkeeping and not on Relacy's rwlock, which lets a reader enter past
// a waiting writer and takes an upgrade for misuse.
#ifndef HATCHECK_PLATFORM_RELACY_RWLOCK_H_
#define HATCHECK_PLATFORM_RELACY_RWLOCK_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "platform/relacy/model.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

enum class RwMode { kReader, kWriter };

class ABSL_LOCKABLE RwLock {
 public:
  explicit RwLock(const LockClass& lock_class, uint32_t instance = 0)
      : lock_{.lock_class = &lock_class, .instance = instance} {}
  ~RwLock() { model::lock_destroyed(lock_); }

  RwLock(const RwLock&) = delete;
  RwLock& operator=(const RwLock&) = delete;

  void enter(RwMode mode, Where where = Where::here()) {
    model::rw_enter(lock_, mode == RwMode::kWriter, where);
  }
  bool tryenter(RwMode mode, Where where = Where::here()) {
    return model::rw_tryenter(lock_, mode == RwMode::kWriter, where);
  }
  bool tryupgrade(Where where = Where::here()) { return model::rw_tryupgrade(lock_, where); }
  void downgrade(Where where = Where::here()) { model::rw_downgrade(lock_, where); }
  void exit(Where where = Where::here()) { model::rw_exit(lock_, where); }

  bool read_held() const { return (lock_.readers & (1 << model::hot.thread)) != 0; }
  bool write_held() const { return lock_.writer == model::hot.thread; }

  // Fail unless the calling thread has the hold, and tell clang's analysis that it has.
  void assert_read_held(Where where = Where::here()) const ABSL_ASSERT_SHARED_LOCK() {
    if (!read_held()) [[unlikely]]
      model::lock_not_held(lock_, "held as a reader", where);
  }
  void assert_write_held(Where where = Where::here()) const ABSL_ASSERT_EXCLUSIVE_LOCK() {
    if (!write_held()) [[unlikely]]
      model::lock_not_held(lock_, "held as the writer", where);
  }

  const LockClass& lock_class() const { return *lock_.lock_class; }
  uint32_t instance() const { return lock_.instance; }

 private:
  model::LockState lock_;
};

// Holds a RwLock as a reader for a scope.
class ABSL_SCOPED_LOCKABLE ReaderGuard {
 public:
  explicit ReaderGuard(RwLock& lock, Where where = Where::here()) ABSL_SHARED_LOCK_FUNCTION(lock)
      : lock_(lock), where_(where) {
    lock_.enter(RwMode::kReader, where);
  }
  ~ReaderGuard() ABSL_UNLOCK_FUNCTION() { lock_.exit(where_); }

  ReaderGuard(const ReaderGuard&) = delete;
  ReaderGuard& operator=(const ReaderGuard&) = delete;

 private:
  RwLock& lock_;
  const Where where_;
};

// Holds a RwLock as the writer for a scope.
class ABSL_SCOPED_LOCKABLE WriterGuard {
 public:
  explicit WriterGuard(RwLock& lock, Where where = Where::here()) ABSL_EXCLUSIVE_LOCK_FUNCTION(lock)
      : lock_(lock), where_(where) {
    lock_.enter(RwMode::kWriter, where);
  }
  ~WriterGuard() ABSL_UNLOCK_FUNCTION() { lock_.exit(where_); }

  WriterGuard(const WriterGuard&) = delete;
  WriterGuard& operator=(const WriterGuard&) = delete;

 private:
  RwLock& lock_;
  const Where where_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_RELACY_RWLOCK_H_
