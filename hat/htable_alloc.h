// Where htables and their frames come from, and where they go: kmem, the per-hat cache of empty
// tables, the reserve, the page layer.
//
// Owns htable_reserve_mutex (class htable_reserve, place 22, leaf); uses each hat's hat_mutex
// (place 20, leaf) for its cache.
//
//   18  an htable is in exactly one of: private, hashed, a hat's cache, the reserve, a stolen list
//   19  a cached table has a frame and no valid entry
//   20  a reserve table has neither frame nor hat; the count equals the list's length
//   21  a frame backs at most one table that is not SHARED_PFN; its page is held SHARED
//   60  active_ptables == tables with a frame of their own
#ifndef HATCHECK_HAT_HTABLE_ALLOC_H_
#define HATCHECK_HAT_HTABLE_ALLOC_H_

#include <cstdint>

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// A frame for a table, its page held SHARED for life and marked as a table for the hardware;
// PFN_INVALID if memory is short. No HAT mutex held. seed spreads the frames (an htable's address).
pfn_t ptable_alloc(System& sys, uintptr_t seed);

// Gives the frame back. The page keeps its identity while it is unlocked, so that nobody can take
// it for another between unlock and relock. No HAT mutex held.
void ptable_free(System& sys, pfn_t pfn);

// A private table for (hat, va, level): busy 1, counts 0, own zeroed frame unless shared is given.
// Never nullptr (panics when all means fail). May steal. No HAT mutex held; holds on parents may
// be.
htable_t* htable_alloc(System& sys, hat_t* hat, uintptr_t va, level_t level, htable_t* shared);

// Disposes of an unreachable table: the hat's cache if it may be cached, else frame to the page
// layer and htable to the reserve or kmem. A table whose ht_hat is null (stolen) is never cached.
// No HAT mutex.
void htable_free(System& sys, htable_t* ht);

void htable_put_reserve(System& sys, htable_t* ht);
htable_t* htable_get_reserve(System& sys);
void htable_initial_reserve(System& sys, uint32_t count);
void htable_adjust_reserve(System& sys);

// Empties the hat's cache. For an exiting hat also frees every table, whatever its counts: the
// caller is then the only user of the hat, and hat_unshare has taken out every shared table.
void htable_purge_hat(System& sys, hat_t* hat);

// Internal to htable_*.cc.

// Takes a table off the hat's cache; nullptr if there is none. No HAT mutex held.
htable_t* htable_uncache(hat_t* hat);

// Fills in every field but ht_pfn: busy 1, counts 0, no links. ht is private.
void htable_init(System& sys, htable_t* ht, hat_t* hat, uintptr_t va, level_t level,
                 htable_t* shared);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HTABLE_ALLOC_H_
