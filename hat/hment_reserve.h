// Where hments come from: the kmem cache, a reserve, and stealing.
//
// Owns hment_reserve_mutex (class hment_reserve, place 21, leaf).
// Invariant 39: allocated == listed + reserved + in threads' hands.
#ifndef HATCHECK_HAT_HMENT_RESERVE_H_
#define HATCHECK_HAT_HMENT_RESERVE_H_

#include <cstdint>

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// A fresh hment; never nullptr (panics when kmem, reserve and stealing all fail time after time, on
// real threads for five seconds). No mlist held, since it may sleep. Unless the caller may use the
// reserves, kmem is asked first, and each success is donated while the reserve is below its target.
hment_t* hment_alloc(System& sys);

// Gives one back, to the reserve if it is short or being used, else to kmem. No mlist held.
void hment_free(System& sys, hment_t* hm);

void hment_put_reserve(System& sys, hment_t* hm);
hment_t* hment_get_reserve(System& sys);

// Fills the reserve to count more than its target (boot).
void hment_reserve_fill(System& sys, uint32_t count);

// Frees what the reserve holds above its target, unless the caller may use the reserves.
void hment_adjust_reserve(System& sys);

// Takes a mapping away from some user page that has several, and returns its hment; nullptr after a
// full circle over all pages. No mlist held. Skips the kernel's tables, tables with holds or locks,
// and hats that are shared or exiting.
hment_t* hment_steal(System& sys);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HMENT_RESERVE_H_
