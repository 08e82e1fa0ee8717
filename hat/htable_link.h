// Pointers from a page table to the table below it.
#ifndef HATCHECK_HAT_HTABLE_LINK_H_
#define HATCHECK_HAT_HTABLE_LINK_H_

#include <cstdint>

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Makes higher's entry for vaddr point to new_table. The child's bucket mutex is held and higher is
// held. Raises higher's valid count first.
void link_ptp(System& sys, htable_t* higher, htable_t* new_table, uintptr_t vaddr);

// Takes the pointer to the empty table old_table out of higher. The child's bucket mutex is held.
// Flushes every CPU that runs the hat: a walk may have cached the pointer itself, although no leaf
// is left below it, and the frame is about to be reused. Not needed, and not done, for an exiting
// hat.
void unlink_ptp(System& sys, htable_t* higher, htable_t* old_table, uintptr_t vaddr);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HTABLE_LINK_H_
