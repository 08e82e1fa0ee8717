// choose, chance, delay and yield on the explorer: every answer is explored.
//
// yield() and delay() mean "I wait for another thread". What that does to the order of steps is in
// explorer/README.md.
#ifndef HATCHECK_PLATFORM_EXPLORER_NONDETERMINISM_H_
#define HATCHECK_PLATFORM_EXPLORER_NONDETERMINISM_H_

#include <cstdint>

#include "platform/explorer/backend.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// One of 0 .. n-1. Precondition: 0 < n <= 64; not in set-up or after().
inline uint32_t choose(uint32_t n, Where where = Where::here()) {
  return explorer::choose(n, site_of(where));
}

// Both answers for anything between 0 (never) and 1,000,000 or more (always).
inline bool chance(uint32_t per_million, Where where = Where::here()) {
  if (per_million == 0) return false;
  return per_million >= 1'000'000 || explorer::choose(2, site_of(where)) == 1;
}

inline void yield(Where where = Where::here()) { explorer::yield(site_of(where)); }

inline void delay(uint32_t = 1, Where where = Where::here()) { explorer::yield(site_of(where)); }

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_EXPLORER_NONDETERMINISM_H_
