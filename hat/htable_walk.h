// Finding mappings: scan one table, walk a range.
//
// Everything found here is a hint: only the hold on the table is lasting, the entry may change
// before the caller acts on it.
#ifndef HATCHECK_HAT_HTABLE_WALK_H_
#define HATCHECK_HAT_HTABLE_WALK_H_

#include <cstdint>

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// The first valid entry of ht at or after *vap and before eaddr; 0 if none. *vap becomes its
// address, or the address after the table.
x86pte_t htable_scan(System& sys, htable_t* ht, uintptr_t* vap, uintptr_t eaddr);

// The next mapping of hat at or after *va and before end (HTABLE_WALK_TO_END: no end). On success
// returns the PTE, sets *va to where its page begins (for a large page perhaps before the old *va),
// and *table, with a hold that the next call takes over; the caller advances *va. At the end
// returns 0 with *table nullptr and *va 0. Pass *table nullptr to start; to stop early, release
// *table. User hats end at kernelbase.
x86pte_t htable_walk(System& sys, hat_t* hat, htable_t** table, uintptr_t* va, uintptr_t end);

// The lowest existing table covering va at level 0..max_level, with a hold; nullptr if none (also
// in the hole). *entry and *pte (may be null) describe va in it.
htable_t* htable_getpte(System& sys, hat_t* hat, uintptr_t va, uint32_t* entry, x86pte_t* pte,
                        level_t max_level);

// The same, but only if the entry is a valid leaf.
htable_t* htable_getpage(System& sys, hat_t* hat, uintptr_t va, uint32_t* entry);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HTABLE_WALK_H_
