// Internal to vm/: how pages hang together by identity, the hash function and a vnode's ring of
// pages.
//
// The ring runs through p_vpnext and p_vpprev. v_pages is the head; the page before the head is the
// tail. Every function on rings needs the vnode's vph mutex.
#ifndef HATCHECK_VM_PAGE_RING_H_
#define HATCHECK_VM_PAGE_RING_H_

#include "platform/platform.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Which chain an identity belongs on. Uses the vnode's number, not its address, so that equal runs
// have equal chains.
inline uint64_t page_hash_bucket(const Vm& vm, const vnode_t* vp, uint64_t off) {
  // Multiplication spreads neighbouring offsets; the high half of the product is the good one.
  const uint64_t key = (off >> vm.pageshift) + (vp->v_id << 24) + vp->v_id;
  return (key * 0x9e3779b97f4a7c15u >> 32) & (vm.config.page_hash_size - 1);
}

// Puts pp, which is on no ring, at the head or the tail.
void page_vpadd(vnode_t* vp, page_t* pp, bool at_tail);

// Puts pp, which is on no ring, before `next`, which is on one; v_pages stays.
void page_vpinsert(page_t* pp, page_t* next);

void page_vpsub(vnode_t* vp, page_t* pp);

// A marker of pvn_vplist_dirty rather than a page.
inline bool page_is_marker(const page_t* pp) { return pp->p_pagenum == PFN_INVALID; }

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_PAGE_RING_H_
