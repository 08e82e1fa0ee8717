// Loading translations: what hat_load.cc shares with the other files of this layer.
//
// A load goes through hati_load_common, which finds or makes the page table, and hati_pte_map,
// which sets the entry and records the mapping on the page's list. The segkmap window skips the
// first: its tables exist for ever.
//
// Locks: none held on entry or exit (a_lock by contract of the public calls). Inside: htable
// mutexes for the table, then the page's mlist with hash_lock, xc_mbox below it.
#ifndef HATCHECK_HAT_HAT_LOAD_H_
#define HATCHECK_HAT_HAT_LOAD_H_

#include <cstdint>

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// REF and MOD of the entry are not moved to the page / there is no record of the mapping either.
inline bool pte_is_nosync(x86pte_t pte) { return (pte & PT_SOFTWARE) >= PT_NOSYNC; }
inline bool pte_is_noconsist(x86pte_t pte) { return (pte & PT_SOFTWARE) >= PT_NOCONSIST; }

// Is there a page_t for the frame?
bool pf_is_memory(System& sys, pfn_t pfn);

// The leaf that maps pfn at a level with these attributes (PROT_*, HAT_NOSYNC, caching order) and
// load flags (HAT_LOAD_NOCONSIST). GLOBAL is the caller's business.
x86pte_t hati_mkpte(pfn_t pfn, uint32_t attr, level_t level, uint32_t flags);

// Sets entry of ht (held; not shared) to pte and records the mapping with pp unless pp is null or
// pte is off-list. True if mapped now, by this call or before; false if a page table is in the way
// of a large page, and then nothing is left of the attempt. HAT_LOAD_LOCK counts also if the
// mapping was there already.
bool hati_pte_map(System& sys, htable_t* ht, uint32_t entry, page_t* pp, x86pte_t pte,
                  uint32_t flags);

// Maps pfn at va with a page of `level`. pp is its page (of a large page, the first), or null for
// an off-list mapping. Result as of hati_pte_map.
bool hati_load_common(System& sys, hat_t* hat, uintptr_t va, page_t* pp, uint32_t attr,
                      uint32_t flags, level_t level, pfn_t pfn);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HAT_LOAD_H_
