// Translations of a slot: faults, soft locking, creation of pages. The plain variant; kpm addresses
// are passed on to segmap_kpm.h.
//
// Common preconditions: the caller has a reference to the slot (segmap_getmapflt), which keeps its
// identity; the range lies within the slot (else panic). No segmap mutex held, and no page of the
// range unless said so.
#ifndef HATCHECK_SEGMAP_SEGMAP_FAULT_H_
#define HATCHECK_SEGMAP_SEGMAP_FAULT_H_

#include <cstddef>
#include <cstdint>

#include "segmap/smap.h"

namespace hatcheck::inline HATCHECK_BACKEND {

enum fault_type { F_INVAL, F_PROT, F_SOFTLOCK, F_SOFTUNLOCK };

// 0, or what went wrong: FC_OBJERR with an errno value in it.
using faultcode_t = uint32_t;
inline constexpr faultcode_t FC_OBJERR = 3;
constexpr faultcode_t FC_MAKE_ERR(int error) {
  return (static_cast<faultcode_t>(error) << 8) | FC_OBJERR;
}
constexpr int FC_ERRNO(faultcode_t fault) { return static_cast<int>(fault >> 8); }

// Translations for [addr, addr + len), whole pages.
//   F_INVAL, F_PROT  gets the pages from the vnode and loads their translations. Pageout may take
//                    these away again at any time, so whoever accesses them must be ready to come
//                    back.
//   F_SOFTLOCK       the same, and each page stays locked, so that its translation stays.
//   F_SOFTUNLOCK     undoes F_SOFTLOCK, and segmap_pagecreate with softlock; rw says what was done
//                    with the pages meanwhile. Panics if they are not there.
// Returns 0, or FC_MAKE_ERR of what vop_getpage returned (EIO for a slot without identity); then
// nothing is locked.
faultcode_t segmap_fault(Segmap& seg, hat_t* hat, uintptr_t addr, size_t len, fault_type type,
                         seg_rw rw);

// Reads the page at addr ahead. Returns 0 or FC_MAKE_ERR.
faultcode_t segmap_faulta(Segmap& seg, uintptr_t addr);

// Pages for [addr, addr + len) without reading them: for a caller who is going to overwrite them.
// Returns 1 if a page was made by this call; its contents are undefined, and the caller writes all
// of it before anybody else may see it (segmap_pageunlock). 0 if all were there, with valid data.
// Pages made stay EXCL locked until segmap_pageunlock or F_SOFTUNLOCK; with softlock those that
// were there stay locked SHARED until F_SOFTUNLOCK. With kpm: whether segmap_getmapflt has made the
// page; tells it once.
int segmap_pagecreate(Segmap& seg, uintptr_t addr, size_t len, bool softlock);

// Unlocks what segmap_pagecreate made in the range and leaves other pages alone. rw: S_WRITE or
// S_READ, what was done with them.
void segmap_pageunlock(Segmap& seg, uintptr_t addr, size_t len, seg_rw rw);

// Takes the translations of the slot at addr away, which showed (vp, off) and has no identity any
// more (sm_mtx held). On return no CPU reaches a page through it, so it can show something else. vp
// is a key, as below.
void segmap_unload(Segmap& seg, uintptr_t addr, vnode_t* vp, uint64_t off);

// Frees the pages of [off, off + MAXBSIZE) that nobody needs. In: the caller may hold an sm_mtx; vp
// may be of a recycled vnode, it is a key here. Never waits.
void segmap_pagefree(Segmap& seg, vnode_t* vp, uint64_t off);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_SEGMAP_FAULT_H_
