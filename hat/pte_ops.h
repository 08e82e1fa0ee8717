// Access to page table entries (x86pte_*).
//
// Tables live in frames; the frame is reached through kpm, so no window and no lock are needed.
// Every access is an atomic operation on the 64-bit word, because the hardware sets REF and MOD in
// it at any time (hat-facts 3.14).
//
// Common preconditions: the caller holds ht. Nothing else need be held; mlist and htable mutexes
// may be.
#ifndef HATCHECK_HAT_PTE_OPS_H_
#define HATCHECK_HAT_PTE_OPS_H_

#include <cstdint>

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// The word of an entry.
Atomic<x86pte_t>& x86pte_access(System& sys, htable_t* ht, uint32_t entry);

// One atomic load.
x86pte_t x86pte_get(System& sys, htable_t* ht, uint32_t entry);

// Installs new_pte (nonzero; ht not shared). REF and MOD of an old entry of the same frame are
// carried over. Returns the old value, or new_pte if an equal entry was already there, or
// LPAGE_ERROR if a page table pointer is in the way (nothing changed then). Flushes if the old
// entry may be cached.
x86pte_t x86pte_set(System& sys, htable_t* ht, uint32_t entry, x86pte_t new_pte);

// Plain compare-and-swap without a flush, for pointer entries. Returns the value found.
x86pte_t x86pte_cas(System& sys, htable_t* ht, uint32_t entry, x86pte_t expect, x86pte_t new_pte);

// Clears the entry and flushes it; see PteInvalidation::invalidate. Returns the value found.
x86pte_t x86pte_inval(System& sys, htable_t* ht, uint32_t entry, x86pte_t expect);

// One compare-and-swap expect -> new_pte and a flush. Returns the value found; equal to expect
// means done. When the change took WRITABLE from a clean entry and the hardware set MOD before the
// flush was complete, WRITABLE is put back and the value returned differs from expect.
x86pte_t x86pte_update(System& sys, htable_t* ht, uint32_t entry, x86pte_t expect,
                       x86pte_t new_pte);

// Copies count entries from src[entry..] to dest[entry..]; zeroes count entries. Not for tables the
// hardware can reach.
void x86pte_copy(System& sys, htable_t* src, htable_t* dest, uint32_t entry, uint32_t count);
void x86pte_zero(System& sys, htable_t* dest, uint32_t entry, uint32_t count);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_PTE_OPS_H_
