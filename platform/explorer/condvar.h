// CondVar on the explorer: which sleeper a signal wakes is explored. The contract is that of
// platform/README.md.
#ifndef HATCHECK_PLATFORM_EXPLORER_CONDVAR_H_
#define HATCHECK_PLATFORM_EXPLORER_CONDVAR_H_

#include "absl/base/thread_annotations.h"
#include "platform/explorer/mutex.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class CondVar {
 public:
  // The name, a literal, appears in reports about sleepers.
  explicit CondVar(const char* name = "cv") : condvar_(name) {}

  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;

  void wait(Mutex& mutex, Where where = Where::here()) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    condvar_.wait(mutex.mutex_, site_of(where));
  }
  void signal(Where where = Where::here()) { condvar_.signal(site_of(where)); }
  void broadcast(Where where = Where::here()) { condvar_.broadcast(site_of(where)); }

  const char* name() const { return condvar_.name(); }

 private:
  explorer::CondVar condvar_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_EXPLORER_CONDVAR_H_
