// Taking page tables away from other address spaces when memory is short.
//
// A victim hat is marked HAT_VICTIM under hat_list_lock (place 24, leaf), worked on without that
// lock, and unmarked under it again; hat_free_start waits for the mark to go. One stealer per hat
// at a time.
#ifndef HATCHECK_HAT_HTABLE_STEAL_H_
#define HATCHECK_HAT_HTABLE_STEAL_H_

#include <cstdint>

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Up to cnt tables, unlinked, with their frames, as a private list through ht_next. Their ht_hat is
// null: the victim may be gone as soon as it is no longer marked. Pass 0 takes cached tables only;
// pass p > 0 also empties level-0 tables with few valid entries. active says whether tables in use
// may be emptied. No HAT mutex held.
htable_t* htable_steal(System& sys, uint32_t cnt, bool active = true);

// Memory is wanted back: frees cached tables, as many as there are tables but no more than a
// twentieth of memory, and at least 10; then trims both reserves. Tables in use are left alone. No
// HAT mutex held.
void htable_reap(System& sys);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HTABLE_STEAL_H_
