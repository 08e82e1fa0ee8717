// Internal to vm/: a vnode's ring of pages, through p_vpnext and p_vpprev. Every function needs the
// vnode's vph mutex. v_pages is the head; the page before the head is the tail.
#ifndef HATCHECK_VM_PAGE_RING_H_
#define HATCHECK_VM_PAGE_RING_H_

#include "platform/platform.h"
#include "vm/vnode.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Puts pp, which is on no ring, at the head or the tail.
void page_vpadd(vnode_t* vp, page_t* pp, bool at_tail);

// Puts pp, which is on no ring, before `next`, which is on one; v_pages stays.
void page_vpinsert(page_t* pp, page_t* next);

void page_vpsub(vnode_t* vp, page_t* pp);

// A marker of pvn_vplist_dirty rather than a page.
inline bool page_is_marker(const page_t* pp) { return pp->p_pagenum == PFN_INVALID; }

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_PAGE_RING_H_
