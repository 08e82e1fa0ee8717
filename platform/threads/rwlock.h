// RwLock (krwlock_t): many readers or one writer.
//
//   state     | enter/tryenter(kReader)   | enter/tryenter(kWriter) | tryupgrade | downgrade
//   ----------|---------------------------|-------------------------|------------|----------
//   free      | yes, unless a writer waits| yes                     | -          | -
//   n readers | yes, unless a writer waits| waits / false           | n == 1 and | -
//             |                           |                         | no writer  |
//             |                           |                         | waits      |
//   writer    | waits / false             | waits / false           | -          | yes
//
// Guarantees
// - A waiting writer keeps new readers out, so readers cannot starve it. For the same reason a
//   reader must not enter again: it would wait for the writer that waits for it.
// - tryupgrade() and downgrade() do not let another writer in between.
// - What was written under the lock is visible to whoever enters in a conflicting mode later.
// - exit() touches nothing of the lock once another thread can enter it; see mutex.h.
// - Misuse is reported: enter() by a holder ("recursion on a mutex"), exit(), tryupgrade() or
//   downgrade() without the hold they need ("unlock by a non-owner"), destruction while held or
//   wanted, and a thread that ends as a holder. tryenter() by a holder is false.
//
// read_held() and write_held() speak of the calling thread only (illumos' RW_READ_HELD is true for
// any reader); write_held() implies not read_held().
//
// The mode is a run-time value, so clang's analysis follows the guards and assert_*() only.
//
// Lock places: given by the LockClass. The mutex inside is innermost and private.
#ifndef HATCHECK_PLATFORM_THREADS_RWLOCK_H_
#define HATCHECK_PLATFORM_THREADS_RWLOCK_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "platform/lock_class.h"
#include "platform/threads/cpu.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

enum class RwMode { kReader, kWriter };

class ABSL_LOCKABLE RwLock {
 public:
  explicit RwLock(const LockClass& lock_class, uint32_t instance = 0);
  ~RwLock();

  RwLock(const RwLock&) = delete;
  RwLock& operator=(const RwLock&) = delete;

  void enter(RwMode mode, Where where = Where::here());
  bool tryenter(RwMode mode, Where where = Where::here());
  bool tryupgrade(Where where = Where::here());
  void downgrade(Where where = Where::here());
  void exit(Where where = Where::here());

  bool read_held() const;
  bool write_held() const;

  // Fail unless the calling thread has the hold, and tell clang's analysis that it has.
  void assert_read_held(Where where = Where::here()) const ABSL_ASSERT_SHARED_LOCK();
  void assert_write_held(Where where = Where::here()) const ABSL_ASSERT_EXCLUSIVE_LOCK();

  const LockClass& lock_class() const { return *class_; }
  uint32_t instance() const { return instance_; }

 private:
  LockId id(LockMode mode) const { return LockId{this, class_, instance_, mode}; }
  bool can_enter(RwMode mode) const {
    return mode == RwMode::kReader ? !writer_ && writers_waiting_ == 0 : !writer_ && readers_ == 0;
  }
  void take(RwMode mode);
  void wake();
  [[noreturn]] void misuse(Kind kind, const char* what, const Where& where) const;

  const LockClass* const class_;
  const uint32_t instance_;
  std::mutex mutex_;
  std::condition_variable readers_wake_;
  std::condition_variable writers_wake_;
  uint32_t readers_ = 0;  // these four under mutex_
  bool writer_ = false;
  uint32_t readers_waiting_ = 0;
  uint32_t writers_waiting_ = 0;
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

#endif  // HATCHECK_PLATFORM_THREADS_RWLOCK_H_
