// The name of this backend's inline namespace, its limits, and what its types share. Included
// before anything else of the backend.
#ifndef HATCHECK_PLATFORM_EXPLORER_BACKEND_H_
#define HATCHECK_PLATFORM_EXPLORER_BACKEND_H_

#include <cstdint>

#include "explorer/sync.h"
#include "platform/lock_class.h"
#include "platform/where.h"

#define HATCHECK_BACKEND on_explorer

namespace hatcheck::inline HATCHECK_BACKEND {

inline constexpr int kMaxThreads = explorer::kMaxThreads;

// Virtual CPUs may be more than there are threads.
inline constexpr uint32_t kMaxCpus = 64;

// The engine knows locks by name; this is how their classes are found again. Called when a lock is
// made.
void register_lock_class(const LockClass& lock_class);

inline explorer::Site site_of(const Where& where) {
  return explorer::Site{where.file, where.function, where.line, where.column};
}

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_EXPLORER_BACKEND_H_
