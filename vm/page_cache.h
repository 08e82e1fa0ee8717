// The page cache: pages by (vnode, offset), and each vnode's ring of pages.
//
// A page with an identity is on one chain of the page hash and on its vnode's v_pages ring.
// Searches first walk the chain without a lock. That is safe because page_t memory never goes away,
// and right because nothing is concluded from the walk: a page found is locked and its identity
// looked at again, a miss is repeated under the chain's mutex. All loads of the walk are therefore
// relaxed.
//
// Ring order of a VMODSORT vnode: a page whose P_MOD was set goes to the tail, so that a walk finds
// the modified pages together. Rings may also contain markers: page_t objects that pvn_vplist_dirty
// puts there to remember its place; their p_pagenum is PFN_INVALID.
//
// Invariants:
//
//   42  a page with an identity is on exactly one hash chain and one v_pages ring, and (vnode,
//       offset) is unique among hashed pages
//   42a a page without an identity is on neither
//
// Locks, in order: ph (place 30, hashed by chain) -> vph (31, hashed by vnode) -> pse (33).
#ifndef HATCHECK_VM_PAGE_CACHE_H_
#define HATCHECK_VM_PAGE_CACHE_H_

#include <cstdint>

#include "platform/platform.h"
#include "vm/page.h"
#include "vm/page_alloc.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// --- searches. off: bytes, page aligned --------------------------------------------------------

// The page, locked as asked and not free (taken off the cache list if need be), or nullptr if there
// is none, which was then made sure of under the chain's mutex. Sleeps for the page's lock and, if
// memory is all promised to others, for memory. In: no ph, vph, page_freelock; no hold on this
// page.
page_t* page_lookup(Vm& vm, vnode_t* vp, uint64_t off, se_t se);

// The same without sleeping: nullptr also if the page is busy or on the cache list.
page_t* page_lookup_nowait(Vm& vm, vnode_t* vp, uint64_t off, se_t se);

// Search under the mutex, no page lock taken. In: the caller already holds the page if it exists,
// which is asserted.
page_t* page_find(Vm& vm, vnode_t* vp, uint64_t off);

// Search without any lock: a hint. The page may be locked, free or gone by now.
page_t* page_exists(Vm& vm, vnode_t* vp, uint64_t off);

// --- identity ----------------------------------------------------------------------------------

// Gives pp (EXCL, no identity) an identity. 1, or 0 if another page has it. `held`: the mutex of
// that identity's chain if the caller has it, else nullptr.
int page_hashin(Vm& vm, page_t* pp, vnode_t* vp, uint64_t off, Mutex* held = nullptr);

// Takes the identity and p_nrm of pp (EXCL, not I/O locked) away and wakes sleepers for the page,
// so that they search again. `held` as above, for pp's chain.
void page_hashout(Vm& vm, page_t* pp, Mutex* held = nullptr);

// Moves pp (EXCL, not free, has an identity) to (vp, off). A page that is there already is
// destroyed; the call sleeps for its lock. pp stays EXCL.
void page_rename(Vm& vm, page_t* pp, vnode_t* vp, uint64_t off);

// The mutex of the chain that (vp, off) hashes to (class ph).
Mutex& page_hash_mutex(Vm& vm, const vnode_t* vp, uint64_t off);

// --- v_pages ring ------------------------------------------------------------------------------

// Protects vp's ring (class vph).
Mutex& page_vnode_mutex(Vm& vm, const vnode_t* vp);

// Moves pp to the tail of its vnode's ring. vph held; pp is on that ring. v_pages is never null in
// between, so that unlocked "has it pages" checks do not see an empty vnode.
void page_vpmove_to_tail(Vm& vm, page_t* pp);

// --- the array ---------------------------------------------------------------------------------

// The page of a frame, or nullptr for a frame that is not memory. No protection of any kind.
page_t* page_numtopp_nolock(Vm& vm, pfn_t pfn);

// All page_ts in frame order; page_next wraps round and never returns nullptr.
page_t* page_first(Vm& vm);
page_t* page_next(Vm& vm, page_t* pp);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_PAGE_CACHE_H_
