// Page hash, searches and v_pages rings. See vm/page_cache.h.
#include "vm/page_cache.h"

#include "absl/strings/str_cat.h"
#include "vm/page_ring.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

bool page_is(const page_t* pp, const vnode_t* vp, uint64_t off) {
  // Relaxed: exact for who holds the page or the chain's mutex, otherwise rechecked.
  return pp->p_vnode.load(std::memory_order_relaxed) == vp &&
         pp->p_offset.load(std::memory_order_relaxed) == off;
}

// Walks the chain. With the chain's mutex the answer is exact, without it a hint: a page that moves
// to another chain meanwhile leads the walk astray, which ends there and finds nothing.
page_t* page_hash_search(const Vm& vm, const vnode_t* vp, uint64_t off) {
  // Relaxed: every page_t a link can lead to was built before the first thread started.
  page_t* pp = vm.page_hash[page_hash_bucket(vm, vp, off)].load(std::memory_order_relaxed);
  while (pp != nullptr && !page_is(pp, vp, off)) {
    pp = pp->p_hash.load(std::memory_order_relaxed);
  }
  return pp;
}

Mutex& chain_mutex(const Vm& vm, const vnode_t* vp, uint64_t off) {
  return vm.ph_mutex[page_hash_bucket(vm, vp, off)];
}

// The second, certain half of page_lookup. Out of line: most lookups succeed before.
page_t* page_lookup_locked(Vm& vm, vnode_t* vp, uint64_t off, se_t se) {
  Mutex& phm = chain_mutex(vm, vp, off);
  MutexGuard guard(phm);
  page_t* pp;
  do {
    pp = page_hash_search(vm, vp, off);
    if (pp == nullptr) return nullptr;
    // On refusal phm was dropped while we slept: whatever was found is forgotten.
  } while (!page_lock(vm, pp, se, &phm, P_RECLAIM));
  if (!page_is(pp, vp, off)) {
    panic(absl::StrCat("invariant 41: page ", pp->p_pagenum,
                       " changed its identity while its ph mutex was held"));
  }
  return pp;
}

int page_hashin_locked(Vm& vm, page_t* pp, vnode_t* vp, uint64_t off) {
  if (page_hash_search(vm, vp, off) != nullptr) return 0;
  MutexGuard guard(page_vnode_mutex(vm, vp));
  // Identity before links, for readability of a trace only: walkers recheck. Release, because
  // hat_page_setattr follows the pointer to a vnode that it has not locked.
  pp->p_vnode.store(vp, std::memory_order_release);
  pp->p_offset.store(off, std::memory_order_relaxed);
  Atomic<page_t*>& head = vm.page_hash[page_hash_bucket(vm, vp, off)];
  pp->p_hash.store(head.load(std::memory_order_relaxed), std::memory_order_relaxed);
  head.store(pp, std::memory_order_relaxed);
  page_vpadd(vp, pp, IS_VMODSORT(vp) && PP_ISMOD(pp));
  return 1;
}

void page_unchain(Vm& vm, page_t* pp, const vnode_t* vp, uint64_t off) {
  Atomic<page_t*>* link = &vm.page_hash[page_hash_bucket(vm, vp, off)];
  for (;;) {
    page_t* at = link->load(std::memory_order_relaxed);
    if (at == nullptr) {
      panic(absl::StrCat("invariant 42: page ", pp->p_pagenum, " (", vp->v_name, ", ", off,
                         ") is not on its hash chain"));
    }
    if (at == pp) break;
    link = &at->p_hash;
  }
  link->store(pp->p_hash.load(std::memory_order_relaxed), std::memory_order_relaxed);
  // A walker that stands on pp ends here and repeats its search under the mutex.
  pp->p_hash.store(nullptr, std::memory_order_relaxed);
}

void page_hashout_locked(Vm& vm, page_t* pp, vnode_t* vp, uint64_t off) {
  MutexGuard guard(page_vnode_mutex(vm, vp));
  page_unchain(vm, pp, vp, off);
  page_vpsub(vp, pp);
  pp->p_vnode.store(nullptr, std::memory_order_relaxed);
  pp->p_offset.store(0, std::memory_order_relaxed);
  pp->p_nrm.store(0, std::memory_order_relaxed);
}

}  // namespace

page_t* page_lookup(Vm& vm, vnode_t* vp, uint64_t off, se_t se) {
  page_t* pp = page_hash_search(vm, vp, off);
  if (pp == nullptr || !page_try_reclaim_lock(vm, pp, se)) {
    return page_lookup_locked(vm, vp, off, se);
  }
  if (!page_is(pp, vp, off)) {
    page_unlock(vm, pp);
    return page_lookup_locked(vm, vp, off, se);
  }
  if (!PP_ISFREE(pp)) return pp;
  // Free, so it was granted EXCL whatever was asked.
  if (!page_reclaim(vm, pp, nullptr)) return page_lookup_locked(vm, vp, off, se);
  if (se == SE_SHARED) page_downgrade(vm, pp);
  return pp;
}

page_t* page_lookup_nowait(Vm& vm, vnode_t* vp, uint64_t off, se_t se) {
  page_t* pp = page_hash_search(vm, vp, off);
  if (pp != nullptr && page_trylock(vm, pp, se)) {
    const bool match = page_is(pp, vp, off);
    if (match && !PP_ISFREE(pp)) return pp;
    page_unlock(vm, pp);
    if (match) return nullptr;
  }
  MutexGuard guard(chain_mutex(vm, vp, off));
  pp = page_hash_search(vm, vp, off);
  if (pp == nullptr || !page_trylock(vm, pp, se)) return nullptr;
  if (!PP_ISFREE(pp)) return pp;
  page_unlock(vm, pp);
  return nullptr;
}

page_t* page_find(Vm& vm, vnode_t* vp, uint64_t off) {
  MutexGuard guard(chain_mutex(vm, vp, off));
  page_t* pp = page_hash_search(vm, vp, off);
  HAT_ASSERT(pp == nullptr || PAGE_LOCKED(pp));
  return pp;
}

page_t* page_exists(Vm& vm, vnode_t* vp, uint64_t off) { return page_hash_search(vm, vp, off); }

int page_hashin(Vm& vm, page_t* pp, vnode_t* vp, uint64_t off, Mutex* held) {
  HAT_ASSERT(PAGE_EXCL(pp) && vp != nullptr && (off & (vm.pagesize - 1)) == 0);
  HAT_ASSERT(pp->p_vnode.load(std::memory_order_relaxed) == nullptr);
  Mutex& phm = chain_mutex(vm, vp, off);
  if (held != nullptr) {
    HAT_ASSERT(held == &phm && phm.held());
    return page_hashin_locked(vm, pp, vp, off);
  }
  MutexGuard guard(phm);
  return page_hashin_locked(vm, pp, vp, off);
}

void page_hashout(Vm& vm, page_t* pp, Mutex* held) {
  vnode_t* vp = pp->p_vnode.load(std::memory_order_relaxed);
  const uint64_t off = pp->p_offset.load(std::memory_order_relaxed);
  HAT_ASSERT(PAGE_EXCL(pp) && vp != nullptr && !page_iolocked(pp));
  Mutex& phm = chain_mutex(vm, vp, off);
  if (held != nullptr) {
    HAT_ASSERT(held == &phm && phm.held());
    page_hashout_locked(vm, pp, vp, off);
  } else {
    MutexGuard guard(phm);
    page_hashout_locked(vm, pp, vp, off);
  }
  // Sleepers wait for an identity that is gone: let them search again now rather than when the
  // frame's next owner lets go. There is no EWANTED to clear: the grant of EXCL did.
  MutexGuard guard(page_se_mutex(vm, pp));
  pp->p_cv.broadcast();
}

void page_rename(Vm& vm, page_t* pp, vnode_t* vp, uint64_t off) {
  HAT_ASSERT(PAGE_EXCL(pp) && !PP_ISFREE(pp));
  const uint8_t nrm = pp->p_nrm.load(std::memory_order_relaxed);
  page_hashout(vm, pp);
  pp->p_nrm.fetch_or(nrm, std::memory_order_relaxed);
  while (!page_hashin(vm, pp, vp, off)) {
    page_t* old = page_lookup(vm, vp, off, SE_EXCL);
    if (old != nullptr) page_destroy(vm, old, 0);
  }
}

Mutex& page_hash_mutex(Vm& vm, const vnode_t* vp, uint64_t off) { return chain_mutex(vm, vp, off); }

Mutex& page_vnode_mutex(Vm& vm, const vnode_t* vp) { return vm.vph_mutex[vp->v_id]; }

void page_vpinsert(page_t* pp, page_t* next) {
  page_t* prev = next->p_vpprev();
  pp->p_vpnext = next;
  pp->p_vpprev = prev;
  prev->p_vpnext = pp;
  next->p_vpprev = pp;
}

void page_vpadd(vnode_t* vp, page_t* pp, bool at_tail) {
  page_t* head = vp->v_pages.load(std::memory_order_relaxed);
  if (head == nullptr) {
    pp->p_vpnext = pp;
    pp->p_vpprev = pp;
  } else {
    page_vpinsert(pp, head);  // before the head is the tail of the ring
  }
  if (head == nullptr || !at_tail) vp->v_pages.store(pp, std::memory_order_relaxed);
}

void page_vpsub(vnode_t* vp, page_t* pp) {
  page_t* next = pp->p_vpnext();
  page_t* prev = pp->p_vpprev();
  if (next == pp) {
    vp->v_pages.store(nullptr, std::memory_order_relaxed);
  } else {
    prev->p_vpnext = next;
    next->p_vpprev = prev;
    if (vp->v_pages.load(std::memory_order_relaxed) == pp) {
      vp->v_pages.store(next, std::memory_order_relaxed);
    }
  }
  pp->p_vpnext = nullptr;
  pp->p_vpprev = nullptr;
}

void page_vpmove_to_tail(Vm& vm, page_t* pp) {
  vnode_t* vp = pp->p_vnode.load(std::memory_order_relaxed);
  HAT_ASSERT(vp != nullptr && page_vnode_mutex(vm, vp).held());
  page_t* head = vp->v_pages.load(std::memory_order_relaxed);
  if (head == pp) {
    // The ring is turned instead: its second page becomes the first. v_pages is never null.
    vp->v_pages.store(pp->p_vpnext(), std::memory_order_relaxed);
    return;
  }
  page_t* next = pp->p_vpnext();
  page_t* prev = pp->p_vpprev();
  prev->p_vpnext = next;
  next->p_vpprev = prev;
  page_vpinsert(pp, head);
}

page_t* page_numtopp_nolock(Vm& vm, pfn_t pfn) {
  return pfn < vm.npages ? &vm.pages[pfn] : nullptr;
}

page_t* page_first(Vm& vm) { return &vm.pages[0]; }

page_t* page_next(Vm& vm, page_t* pp) {
  const pfn_t next = pp->p_pagenum + 1;
  return &vm.pages[next < vm.npages ? next : 0];
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
