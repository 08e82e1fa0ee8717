// Every conformance scenario. A backend passes when each list does on it; a runner is all that a
// new backend adds.
#ifndef HATCHECK_PLATFORM_CONFORMANCE_ALL_H_
#define HATCHECK_PLATFORM_CONFORMANCE_ALL_H_

#include "platform/conformance/atomic.h"
#include "platform/conformance/check.h"
#include "platform/conformance/condvar.h"
#include "platform/conformance/cpu.h"
#include "platform/conformance/guarded.h"
#include "platform/conformance/mutex.h"
#include "platform/conformance/nondeterminism.h"
#include "platform/conformance/object_cache.h"
#include "platform/conformance/rwlock.h"
#include "platform/conformance/rwlock_misuse.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

// Calls f.template operator()<S>() for each scenario.
template <class F>
void for_each_scenario(F&& f) {
  MutexScenarios::for_each(f);
  RwLockScenarios::for_each(f);
  RwLockMisuseScenarios::for_each(f);
  CondVarScenarios::for_each(f);
  AtomicScenarios::for_each(f);
  GuardedScenarios::for_each(f);
  ObjectCacheScenarios::for_each(f);
  NondeterminismScenarios::for_each(f);
  CheckScenarios::for_each(f);
  CpuScenarios::for_each(f);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_ALL_H_
