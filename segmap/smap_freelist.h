// Free lists: two queues per list, and the recycling of what comes off them.
//
// Rings run through sm_next and sm_prev; smq_free is the head, allocation takes from the head,
// releases go to the tail. A slot's sm_mtx is held while it comes or goes (invariants 43, 44).
//
// Locks: sm_mtx (6), then smq_mtx (8); walking a queue it is the other way round, by try
// (segmap/locking.h, M3).
#ifndef HATCHECK_SEGMAP_SMAP_FREELIST_H_
#define HATCHECK_SEGMAP_SMAP_FREELIST_H_

#include <cstdint>

#include "segmap/smap.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// A free slot of the colour of list free_ndx, looking there first: sm_mtx held, off queue, blank.
// Sleeps until there is one. In: no segmap mutex held, and M6.
smap* get_free_smp(Segmap& seg, uint32_t free_ndx);

// Puts smp (sm_mtx held, off queue, refcnt 0: panics otherwise) at the tail of its list's release
// queue. sm_mtx stays held.
void segmap_smapadd(Segmap& seg, smap* smp);

// Takes smp (sm_mtx held) off the queue that SM_QNDX_ZERO names. Off queue on return.
void smap_unqueue(Segmap& seg, smap* smp);

inline bool smap_on_queue(const smap* smp) {
  // Relaxed: null or not changes under sm_mtx, which the caller holds.
  return smp->sm_next.load(std::memory_order_relaxed) != nullptr;
}

// --- for the waiting protocols -----------------------------------------------------------------

// Readies smp (sm_mtx held, off queue, refcnt 0) for another identity: hashes it out, takes its
// translations and, where nobody else uses them, its pages away. With kpm pp is the page that it
// has mapped in, locked SHARED, or null; the lock is consumed. sm_mtx stays held.
void grab_smp(Segmap& seg, smap* smp, page_t* pp);

// A slot that an allocator may have: sm_mtx held, and with kpm its page locked SHARED.
struct FreeSlot {
  smap* smp = nullptr;
  page_t* pp = nullptr;
};

// Tries to get at smp, which is on a queue whose mutex the caller holds, or has been: sm_mtx held
// on entry. False if, with kpm, its page is busy; *busy is that page then.
bool smap_lock_page(Segmap& seg, smap* smp, page_t** pp, page_t** busy);

// The first slot of the queue (smq_mtx held) that can be had at once, taken off it. smp null if
// there is none; *skipped is then the last one that was passed over, if any. The links of the slot
// are still set: to be cleared with smap_clear_links once smq_mtx is dropped.
FreeSlot smap_scan_queue(Segmap& seg, sm_freeq& queue, smap** skipped);
void smap_clear_links(smap* smp);

// Appends smp to its list's release queue, or to what was the release queue a moment ago, which is
// as good; sets or clears SM_QNDX_ZERO accordingly. Returns that queue with its smq_mtx held.
// *was_empty: whether smp is its only slot.
sm_freeq& smap_append(Segmap& seg, smap* smp, bool* was_empty) ABSL_NO_THREAD_SAFETY_ANALYSIS;

// Ring operations, smq_mtx of the queue held.
void smap_ring_insert_tail(sm_freeq& queue, smap* smp);
void smap_ring_remove(sm_freeq& queue, smap* smp);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_SMAP_FREELIST_H_
