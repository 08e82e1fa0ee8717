// A CPU's own place in an address space: addresses above all segments that no other thread loads
// anything at, so that what is mapped there is known exactly, and compared exactly.
//
// Only a stealer may take a translation away meanwhile, and not even that one if it was loaded
// locked.
#ifndef HATCHECK_STRESS_PLACE_H_
#define HATCHECK_STRESS_PLACE_H_

#include <cstdint>

#include "stress/world.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Its first address. It is three large pages long, so that a large page fits in beside its
// alignment.
uintptr_t place_of(World& world, CpuId cpu);

// Whether segments of p lie there. a_lock held.
bool is_taken(World& world, Process& p, uintptr_t place);

// Reports a place that does not map what was loaded there. locked: nobody may have stolen it.
void expect_mapped(World& world, const char* op, Process& p, uintptr_t va, pfn_t expected,
                   bool locked);
void expect_unmapped(World& world, const char* op, Process& p, uintptr_t va);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_PLACE_H_
