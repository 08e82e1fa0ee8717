#include "segmap/smap_freelist.h"

#include "absl/strings/str_cat.h"
#include "hat/hat.h"
#include "segmap/segmap_fault.h"
#include "segmap/smap_hash.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

smap* next_of(const smap* smp) { return smp->sm_next.load(std::memory_order_relaxed); }
void set_next(smap* smp, smap* next) { smp->sm_next.store(next, std::memory_order_relaxed); }

}  // namespace

smap* get_free_smp(Segmap& seg, uint32_t free_ndx) {
  smap* const smp = seg.waiting->get_free_smp(seg, free_ndx);
  HAT_ASSERT(smp->sm_mtx.held() && !smap_on_queue(smp) && smp->sm_vp() == nullptr);
  return smp;
}

void segmap_smapadd(Segmap& seg, smap* smp) {
  HAT_ASSERT(smp->sm_mtx.held());
  if (smp->sm_refcnt() != 0 || smap_on_queue(smp)) {
    panic(absl::StrCat("invariant 44: segmap_smapadd: slot ", smp->sm_index, " has refcnt ",
                       smp->sm_refcnt(), smap_on_queue(smp) ? " and is on a queue" : ""));
  }
  seg.waiting->smapadd(seg, smp);
}

void smap_unqueue(Segmap& seg, smap* smp) {
  HAT_ASSERT(smp->sm_mtx.held() && smap_on_queue(smp));
  sm_freeq& queue =
      seg.smd_free[smp->sm_free_ndx].sm_freeq[(smp->sm_flags() & SM_QNDX_ZERO) != 0 ? 0 : 1];
  {
    MutexGuard guard(queue.smq_mtx);
    smap_ring_remove(queue, smp);
  }
  smap_clear_links(smp);
}

void grab_smp(Segmap& seg, smap* smp, page_t* pp) {
  HAT_ASSERT(smp->sm_mtx.held() && !smap_on_queue(smp) && smp->sm_refcnt() == 0);
  vnode_t* const vp = smp->sm_vp();
  if (vp == nullptr) return;
  const uint64_t off = smp->sm_off();
  SMSTAT_INC(seg, get_reuse);
  // First: from here on nobody finds the slot, and its translations are ours alone.
  segmap_hashout(seg, smp);
  if (pp != nullptr) {
    hat_kpm_mapout(seg.sys, pp, &smp->sm_kpme, hat_kpm_page2va(seg.sys, pp));
    page_unlock(seg.sys.vm, pp);
  }
  const bool own_translations = (smp->sm_flags() & SM_NOTKPM_RELEASED) != 0;
  HAT_ASSERT(own_translations || seg.segmap_kpm,
             absl::StrCat("invariant 57: slot ", smp->sm_index, " lacks SM_NOTKPM_RELEASED"));
  if (own_translations) {
    smp->sm_flags = smp->sm_flags() & ~SM_NOTKPM_RELEASED;
    segmap_unload(seg, seg.smap_addr(smp), vp, off);
  }
  segmap_pagefree(seg, vp, off);
}

bool smap_lock_page(Segmap& seg, smap* smp, page_t** pp, page_t** busy) {
  *pp = nullptr;
  if (!seg.segmap_kpm || smp->sm_vp() == nullptr) return true;
  // Unlocked: hat_pageunload may take the page away from under us until we have it locked.
  page_t* const candidate = smp->sm_kpme.kpe_page.load(std::memory_order_relaxed);
  if (candidate == nullptr) return true;
  if (!page_trylock(seg.sys.vm, candidate, SE_SHARED)) {
    *busy = candidate;
    return false;
  }
  if (smp->sm_kpme.kpe_page.load(std::memory_order_relaxed) == nullptr) {
    page_unlock(seg.sys.vm, candidate);
    return true;
  }
  *pp = candidate;
  return true;
}

FreeSlot smap_scan_queue(Segmap& seg, sm_freeq& queue,
                         smap** skipped) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  HAT_ASSERT(queue.smq_mtx.held());
  smap* const first = queue.smq_free();
  smap* smp = first;
  if (first == nullptr) return {};
  do {
    // Against the order, so only if it can be had now (M3).
    if (smp->sm_mtx.tryenter()) {
      FreeSlot slot{smp, nullptr};
      page_t* busy = nullptr;
      if (smap_lock_page(seg, smp, &slot.pp, &busy)) {
        smap_ring_remove(queue, smp);
        return slot;
      }
      smp->sm_mtx.exit();
    }
    *skipped = smp;
    smp = next_of(smp);
  } while (smp != first);
  return {};
}

void smap_clear_links(smap* smp) {
  HAT_ASSERT(smp->sm_mtx.held());
  set_next(smp, nullptr);
  smp->sm_prev = nullptr;
}

sm_freeq& smap_append(Segmap& seg, smap* smp, bool* was_empty) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  smfree& list = seg.smd_free[smp->sm_free_ndx];
  // Relaxed: if the roles are exchanged meanwhile the slot goes to what is now the allocation
  // queue, where it is found as well; SM_QNDX_ZERO names the queue, not its role.
  sm_freeq& queue = *list.sm_releq.load(std::memory_order_relaxed);
  const uint32_t flags = smp->sm_flags() & ~SM_QNDX_ZERO;
  smp->sm_flags = flags | (&queue == &list.sm_freeq[0] ? SM_QNDX_ZERO : 0);
  queue.smq_mtx.enter();
  *was_empty = queue.smq_free() == nullptr;
  smap_ring_insert_tail(queue, smp);
  return queue;
}

void smap_ring_insert_tail(sm_freeq& queue, smap* smp) {
  smap* const head = queue.smq_free();
  if (head == nullptr) {
    queue.smq_free = smp;
    set_next(smp, smp);
    smp->sm_prev = smp;
    return;
  }
  smap* const tail = head->sm_prev();
  set_next(smp, head);
  smp->sm_prev = tail;
  set_next(tail, smp);
  head->sm_prev = smp;
}

void smap_ring_remove(sm_freeq& queue, smap* smp) {
  smap* const next = next_of(smp);
  smap* const prev = smp->sm_prev();
  HAT_ASSERT(next != nullptr && prev != nullptr,
             absl::StrCat("invariant 43: slot ", smp->sm_index, " is on no queue"));
  if (next == smp) {
    queue.smq_free = nullptr;
    return;
  }
  set_next(prev, next);
  next->sm_prev = prev;
  if (queue.smq_free() == smp) queue.smq_free = next;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
