// RwLock, ReaderGuard and WriterGuard on the explorer. The contract is that of platform/README.md.
#ifndef HATCHECK_PLATFORM_EXPLORER_RWLOCK_H_
#define HATCHECK_PLATFORM_EXPLORER_RWLOCK_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "platform/explorer/backend.h"
#include "platform/lock_class.h"

namespace hatcheck::inline HATCHECK_BACKEND {

enum class RwMode { kReader, kWriter };

class ABSL_LOCKABLE RwLock {
 public:
  explicit RwLock(const LockClass& lock_class, uint32_t instance = 0)
      : class_(&lock_class), lock_(explorer::Name{lock_class.name, instance}) {
    register_lock_class(lock_class);
  }

  RwLock(const RwLock&) = delete;
  RwLock& operator=(const RwLock&) = delete;

  void enter(RwMode mode, Where where = Where::here()) {
    if (mode == RwMode::kReader) {
      lock_.lock_shared(site_of(where));
    } else {
      lock_.lock(site_of(where));
    }
  }
  bool tryenter(RwMode mode, Where where = Where::here()) {
    return mode == RwMode::kReader ? lock_.try_lock_shared(site_of(where))
                                   : lock_.try_lock(site_of(where));
  }
  bool tryupgrade(Where where = Where::here()) { return lock_.try_upgrade(site_of(where)); }
  void downgrade(Where where = Where::here()) { lock_.downgrade(site_of(where)); }
  void exit(Where where = Where::here()) { lock_.unlock(site_of(where)); }

  bool read_held() const { return lock_.read_held(); }
  bool write_held() const { return lock_.write_held(); }

  // Fail unless the calling thread has the hold, and tell clang's analysis that it has.
  void assert_read_held(Where where = Where::here()) const ABSL_ASSERT_SHARED_LOCK() {
    if (!read_held()) not_held("a reader", where);
  }
  void assert_write_held(Where where = Where::here()) const ABSL_ASSERT_EXCLUSIVE_LOCK() {
    if (!write_held()) not_held("the writer", where);
  }

  const LockClass& lock_class() const { return *class_; }
  uint32_t instance() const { return lock_.name().number; }

 private:
  [[noreturn]] void not_held(const char* who, const Where& where) const {
    explorer::fail(explorer::Kind::kAssertion,
                   "this thread is not " + std::string(who) + " of " + to_string(lock_.name()),
                   site_of(where));
  }

  const LockClass* const class_;
  explorer::RwLock lock_;
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

#endif  // HATCHECK_PLATFORM_EXPLORER_RWLOCK_H_
