// What the HAT does for a page rather than for an address: unload, sync, reference and modified
// bits.
#ifndef HATCHECK_HAT_HAT_PAGE_H_
#define HATCHECK_HAT_HAT_PAGE_H_

#include <cstdint>

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Removes every mapping of pp, at its own and at larger sizes, and its kpm users. p_selock EXCL
// held. force is
// accepted and ignored. Always succeeds (0).
int hat_pageunload(System& sys, page_t* pp, uint32_t force = HAT_FORCE_PGUNLOAD);

// Breaks pp's large page into small ones: unloads large mappings, then lowers p_szc of the
// constituents from the highest frame down, the root last. p_selock EXCL on all constituents,
// page_szc mutex held by this call.
void hat_page_demote(System& sys, page_t* pp);

// REF and MOD of all mappings into p_nrm; returns p_nrm & (P_REF|P_MOD|P_RO). Page locked. With
// HAT_SYNC_ZERORM the mappings' bits are cleared, p_nrm's are not. Mappings loaded HAT_NOSYNC keep
// both.
uint32_t hat_pagesync(System& sys, page_t* pp, uint32_t flags);

// Number of mappings; not a snapshot.
uint32_t hat_page_getshare(System& sys, page_t* pp);
bool hat_page_is_mapped(System& sys, page_t* pp);

// Sets bits of p_nrm. P_MOD on a VMODSORT vnode moves the page to the tail of the vnode's list,
// under that vnode's mutex (vph, place 31). May be called under an mlist.
void hat_page_setattr(System& sys, page_t* pp, uint32_t bits);
// Clears bits of p_nrm. P_MOD on a VMODSORT vnode also takes WRITABLE from every mapping, so that
// the next write faults. Caller owns the page's I/O lock or has it EXCL; no mlist held.
void hat_page_clrattr(System& sys, page_t* pp, uint32_t bits);
// Unlocked, advisory.
uint32_t hat_page_getattr(const page_t* pp, uint32_t bits);

inline void hat_setref(System& sys, page_t* pp) { hat_page_setattr(sys, pp, P_REF); }
inline void hat_setmod(System& sys, page_t* pp) { hat_page_setattr(sys, pp, P_MOD); }
inline void hat_setrefmod(System& sys, page_t* pp) { hat_page_setattr(sys, pp, P_REF | P_MOD); }
inline bool hat_ismod(const page_t* pp) { return hat_page_getattr(pp, P_MOD) != 0; }
inline bool hat_isref(const page_t* pp) { return hat_page_getattr(pp, P_REF) != 0; }

// Internal to hat_*.cc and hment_reserve.cc.

// Takes the mapping (ht, entry) of pp away from another address space. pp's mlist held on entry,
// mapping present; the mlist is released on exit. Returns the hment to free, nullptr if embedded.
// Keeps the hat from being freed (hat_unmappers) until the table's hold is dropped.
hment_t* hati_page_unmap(System& sys, page_t* pp, htable_t* ht, uint32_t entry);

// ORs REF and MOD of a PTE into p_nrm of each 4K constituent. mlist held.
void hati_sync_pte_to_page(System& sys, page_t* pp, x86pte_t pte, level_t level);

// Replaces expected by new_pte at (ht, entry), keeping REF/MOD that would be lost in p_nrm. mlist
// of pp held. True if done; else *found is what is there now.
bool hati_update_pte(System& sys, page_t* pp, htable_t* ht, uint32_t entry, x86pte_t expected,
                     x86pte_t new_pte, x86pte_t* found);

// Flag of hat_pte_unmap for thieves: leaves the entry if its table has locks by the time the mlist
// is held. A loader raises ht_lock_cnt before it enters the mlist, so either its lock is seen, or
// it comes later, finds the entry gone and sets it anew.
inline constexpr uint32_t HAT_UNLOAD_UNLESS_LOCKED = 0x100;

// Unmaps one entry of ht (held), whatever happens to it meanwhile; old_pte is what the caller saw.
// No mlist, no htable mutex held. Drops HAT_LOAD_LOCK with HAT_UNLOAD_UNLOCK.
void hat_pte_unmap(System& sys, htable_t* ht, uint32_t entry, uint32_t flags, x86pte_t old_pte);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HAT_PAGE_H_
