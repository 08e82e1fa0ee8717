// CondVar (kcondvar_t) on the relacy backend. The contract is that of platform/README.md.
//
// signal() wakes each of the sleepers in some execution. One wait in each execution may also end
// without a signal, at any place.
#ifndef HATCHECK_PLATFORM_RELACY_CONDVAR_H_
#define HATCHECK_PLATFORM_RELACY_CONDVAR_H_

#include "absl/base/thread_annotations.h"
#include "platform/relacy/model.h"
#include "platform/relacy/mutex.h"
#include "platform/where.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class CondVar {
 public:
  // The name, a literal, appears in reports about sleepers.
  explicit CondVar(const char* name = "cv") : name_(name) {}
  ~CondVar() { model::condvar_destroyed(this, name_); }

  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;

  void wait(Mutex& mutex, Where where = Where::here()) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    model::condvar_wait(this, name_, mutex.lock_, where);
  }
  void signal(Where where = Where::here()) { model::condvar_wake(this, name_, false, where); }
  void broadcast(Where where = Where::here()) { model::condvar_wake(this, name_, true, where); }

  const char* name() const { return name_; }

 private:
  const char* const name_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_RELACY_CONDVAR_H_
