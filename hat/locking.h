// Lock classes of the HAT layer and the protocol that ties them together.
//
// Order, outer to inner (the number is LockClass::place):
//
//   a_lock 1 -> p_selock 2 -> page_szc 3 -> mlist 10 -> { hash_lock 11 | htable 12 }
//     -> hat_switch 40 -> xc_mbox 45 -> core gate 46
//   mlist 10 -> vph 31 (only hat_page_setattr on a VMODSORT vnode)
//   leaves: hash_lock, hat_mutex, the two reserve mutexes, hat_list, hat_reserves
//
// Rules that no annotation can express:
//
//   L1  Two mlist mutexes are never held together: two pages may hash to the same one.
//   L2  Two htable mutexes are never held together: a parent table is reached through the hold
//       that its child owns, never through the parent's mutex.
//   L3  mlist comes before htable (hati_page_unmap). Whoever holds an htable mutex must drop it
//       before entering an mlist (htable_steal), and nobody calls htable_release with an mlist
//       held, because the release may free tables.
//   L4  Neither hments nor htables are allocated or freed under an mlist or an htable mutex.
//       hment_prepare drops its mlist for that and must look at everything again.
//   L5  Cross calls are sent under mlist, htable and hat_switch mutexes. The target services them
//       whatever it is blocked on, so none of these may be taken by the service routines.
#ifndef HATCHECK_HAT_LOCKING_H_
#define HATCHECK_HAT_LOCKING_H_

#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Per-page mapping lists: p_mapping, p_embed, p_mlentry, p_share and the hm_next/hm_prev links.
// Pairs every change of a PTE with the change of the page's list.
inline constexpr LockClass kMlistLock{"mlist", 10};

// Buckets of the hment index. Leaf.
inline constexpr LockClass kHmentHashLock{"hment_hash", 11};

// Htable hash chains, ht_busy, the decision to free a table, linking a child to its parent.
inline constexpr LockClass kHtableLock{"htable", 12};

// A hat's cache of empty tables. Leaf.
inline constexpr LockClass kHatLock{"hat", 20};

// Reserve lists and their counts. Leaves.
inline constexpr LockClass kHmentReserveLock{"hment_reserve", 21};
inline constexpr LockClass kHtableReserveLock{"htable_reserve", 22};

// List of user hats, HAT_VICTIM and HAT_FREEING. Leaf.
inline constexpr LockClass kHatListLock{"hat_list", 24};

// Owner of the reserves under the thread-ownership design. Leaf.
inline constexpr LockClass kHatReservesLock{"hat_reserves", 25};

// Spin mutex that keeps CPUs from joining a hat while one of its PTEs is being invalidated
// (captured invalidation design only).
inline constexpr LockClass kHatSwitchLock{"hat_switch", 40};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_LOCKING_H_
