// The kpm variant: where a page is as large as a slot, a window can be the page's own address in
// the kpm window, and no translation of the slot's address is loaded.
//
// The address that segmap_getmapflt returns then stays good until segmap_release because the page
// is locked all the while: SHARED, or EXCL if this call made it. While the page is locked and the
// slot referenced, kpe_page does not change (invariant 56). After the last release the slot keeps
// its kpme mapped in, as a cache; anybody with the page EXCL may take it away (hat_pageunload).
//
// A kpm address carries no REF and MOD bits of its own: they are set by these functions, from what
// the caller said it would do (rw).
//
// Locks: p_selock before sm_mtx, but for segkpm_mapout_validkpme (segmap/locking.h, M4).
#ifndef HATCHECK_SEGMAP_SEGMAP_KPM_H_
#define HATCHECK_SEGMAP_SEGMAP_KPM_H_

#include <cstdint>

#include "segmap/segmap_fault.h"
#include "segmap/smap.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Internal to segmap: the kpm halves of the calls of the same names.

// The rest of segmap_getmapflt for slot smp (refcnt held), which was found cached or in use unless
// newslot. Returns the kpm address with the page locked, or 0: use the slot's own address;
// *forcefault may have been taken back.
uintptr_t segmap_getmap_kpm(Segmap& seg, smap* smp, bool newslot, int* forcefault, seg_rw rw);

// SM_PAGECREATE for writing: the page is looked up or made (SM_KPM_NEWPAGE).
uintptr_t segmap_pagecreate_kpm(Segmap& seg, smap* smp, seg_rw rw);

// Whether segmap_pagecreate_kpm has made the page at addr; says so once.
int segmap_pagecreatekpm(Segmap& seg, uintptr_t addr);

// Nothing to do but for F_SOFTUNLOCK, which notes the use.
faultcode_t segmap_faultkpm(Segmap& seg, uintptr_t addr, fault_type type, seg_rw rw);

// The slot behind a kpm address that is out, with sm_mtx held, and its page, which the caller has
// locked.
smap* get_smap_kpm(Segmap& seg, uintptr_t addr, page_t** pp);

// Takes a cached kpm mapping away, whoever else may be doing so. Blocks for a reader's lock on the
// page. In: the sm_mtx of the kpme's slot, refcnt 0.
void segkpm_mapout_validkpme(Segmap& seg, kpme* kpme);

// An address without meaning but for its colour, for file systems that want one.
uintptr_t segkpm_create_va(Segmap& seg, uint64_t off);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_SEGMAP_KPM_H_
