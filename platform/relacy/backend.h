// The name of this backend's inline namespace, and its limits. Included before anything else of the
// backend.
#ifndef HATCHECK_PLATFORM_RELACY_BACKEND_H_
#define HATCHECK_PLATFORM_RELACY_BACKEND_H_

#include <cstdint>

#define HATCHECK_BACKEND on_relacy

namespace hatcheck::inline HATCHECK_BACKEND {

// Relacy is compiled once for each number of threads.
inline constexpr int kMaxThreads = 4;

// Virtual CPUs may be more than there are threads.
inline constexpr uint32_t kMaxCpus = 64;

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_RELACY_BACKEND_H_
