// Who may draw on the htable and hment reserves: two published designs behind one policy.
//
// Loading a translation may need memory, and getting kernel memory may itself load a translation.
// The inner load must not allocate again, so it lives on reserves.
//
//   by_depth   (reserve_ownership_depth.cc) a thread whose loads are nested more than one deep uses
//              the reserves; nothing else is serialised
//   by_thread  (reserve_ownership_thread.cc) at most one thread owns the reserves; it becomes the
//              owner when its depth exceeds one, and while there is an owner every other loader
//              waits at enter(). Owns hat_reserves_lock (place 25, leaf) and hat_reserves_cv.
//
// The depth is System::PerCpu::t_hatdepth; it returns to its old value when a load returns
// (invariant 58) and stays below 16.
#ifndef HATCHECK_HAT_RESERVE_OWNERSHIP_H_
#define HATCHECK_HAT_RESERVE_OWNERSHIP_H_

#include <memory>

#include "hat/hat_types.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct System;

class ReserveOwnership {
 public:
  virtual ~ReserveOwnership() = default;
  virtual const char* name() const = 0;

  // Start of a load by the calling thread; flags are the load flags (HAT_NO_KALLOC counts as one
  // more level of nesting in the thread design). No HAT mutex held; may sleep (thread design).
  virtual void enter(System& sys, uint32_t flags) = 0;

  // End of that load: same thread, same flags, no HAT mutex held.
  virtual void exit(System& sys, uint32_t flags) = 0;

  // May the calling thread draw on the reserves now? Unlocked.
  virtual bool may_use(System& sys) const = 0;

  // Must a nested load create its mapping off-list? (Thread design: yes, at depth above one.)
  virtual bool nested_load_is_noconsist(System& sys) const = 0;
};

std::unique_ptr<ReserveOwnership> make_depth_ownership();
std::unique_ptr<ReserveOwnership> make_thread_ownership();

// USE_HAT_RESERVES(): booting, or the ownership design says so. Re-evaluate it after every
// allocation: an allocation may change the answer.
bool USE_HAT_RESERVES(System& sys);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_RESERVE_OWNERSHIP_H_
