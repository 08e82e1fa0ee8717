// Mapping lists: which PTEs map a page.
//
// A page with one mapping keeps it in itself (p_embed, p_mapping = table, p_mlentry = entry). The
// second mapping turns both into hments on a doubly linked list headed by p_mapping, and each hment
// is also in the index (hat/hment_index.h). A list that shrinks to one stays a list.
//
// All of it is protected by the page's mlist mutex (class mlist, place 10), chosen by frame number.
// An mlist pairs the change of a PTE with the change of the list: while it is held, invariant 7
// says that every record names a valid leaf PTE of this page.
//
//   1  p_embed 1: p_mapping is a live table and p_share is 0
//   2  p_embed 0: p_share is the length of the list, and p_mapping is null iff p_share is 0
//   3  the list is well formed: head's hm_prev null, links agree, no cycle
//   4  every hment on the list has hm_pfn == p_pagenum
#ifndef HATCHECK_HAT_HMENT_H_
#define HATCHECK_HAT_HMENT_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "hat/hat_types.h"
#include "hat/system.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// The mlist of a page. Two pages may share one: never hold two (rule L1).
inline Mutex& mlist_of(System& sys, const page_t* pp) {
  const pfn_t pfn = pp->p_pagenum;
  return sys.mlist_lock[pfn + (pfn >> 9)];
}
inline void x86_hm_enter(System& sys, page_t* pp,
                         Where where = Where::here()) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  mlist_of(sys, pp).enter(where);
}
inline void x86_hm_exit(System& sys, page_t* pp,
                        Where where = Where::here()) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  mlist_of(sys, pp).exit(where);
}
inline bool x86_hm_held(System& sys, const page_t* pp) { return mlist_of(sys, pp).held(); }

// Walk cookie for the single mapping stored in the page itself.
inline hment_t* const HMENT_EMBEDDED = reinterpret_cast<hment_t*>(uintptr_t{1});

// Gets ready to record the mapping (ht, entry) of pp. Returns the hment that hment_assign will
// need, or nullptr if none is needed (first mapping, or a refault of the embedded one). mlist held
// on entry and on exit, but possibly dropped in between: whatever the caller knew about the page's
// mappings must be looked at again. The caller holds ht.
hment_t* hment_prepare(System& sys, htable_t* ht, uint32_t entry, page_t* pp);

// Records the mapping with the hment (or nullptr) that hment_prepare returned; mlist held since.
void hment_assign(System& sys, htable_t* ht, uint32_t entry, page_t* pp, hment_t* hm);

// Takes the record of (ht, entry) off pp. Panics if there is none. mlist held. Returns the hment,
// to be freed after the mlist is dropped, or nullptr if the mapping was embedded.
hment_t* hment_remove(System& sys, page_t* pp, htable_t* ht, uint32_t entry);

// Next mapping of pp after the cookie prev (nullptr starts). Sets *ht and *entry; nullptr ends.
// mlist held throughout the walk.
hment_t* hment_walk(System& sys, page_t* pp, htable_t** ht, uint32_t* entry, hment_t* prev);

// Number of mappings of pp at its own and at larger sizes. No mlist held. Takes the mlists of pp
// and of its larger group leaders one after the other, so the sum is not a snapshot.
uint32_t hment_mapcnt(System& sys, page_t* pp);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HMENT_H_
