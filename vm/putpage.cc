// vop_putpage and the pvn_ helpers: modified pages to their backing. See vm/vnode.h.
#include <algorithm>
#include <cerrno>

#include "absl/container/fixed_array.h"
#include "vm/page_ring.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

bool takes_away(uint32_t flags) { return (flags & (B_INVAL | B_FREE)) != 0; }
se_t lock_mode(uint32_t flags) { return takes_away(flags) ? SE_EXCL : SE_SHARED; }
bool may_wait(uint32_t flags) { return (flags & B_INVAL) != 0 || (flags & B_ASYNC) == 0; }

// For pvn_write_done: whether a clean page, SHARED or EXCL, can be freed; EXCL and unmapped then.
bool page_freeable(Vm& vm, page_t* pp, uint32_t flags) {
  PageMappingOps& ops = vm.mapping_ops();
  if ((flags & B_FREE) == 0 && ops.hment_mapcnt(pp) != 0) return false;
  if (!PAGE_EXCL(pp) && !page_tryupgrade(vm, pp)) return false;
  if (pp->p_lckcnt() != 0 || pp->p_cowcnt() != 0) return false;
  if (pp->p_szc.load(std::memory_order_relaxed) != 0) return false;
  if ((ops.hat_pagesync(pp, 0) & (P_REF | P_MOD)) != 0) return false;
  ops.hat_pageunload(pp);
  // The last accesses before the unload have left their bits here.
  return (pp->p_nrm.load(std::memory_order_relaxed) & (P_REF | P_MOD)) == 0;
}

int put_one(Vm& vm, page_t* pp, uint32_t flags) {
  return pvn_getdirty(vm, pp, flags) ? pvn_putapage(vm, pp, flags) : 0;
}

// One walk over the ring. The walker's place is kept by a marker that stands before the next page
// to look at; a second marker at the tail keeps it from visiting pages that are modified, and so
// moved to the tail, while it walks. All members need the vph mutex.
class RingWalk {
 public:
  // again: at the end, goes on once with the pages that came behind it meanwhile.
  RingWalk(vnode_t* vp, bool again) : vp_(vp), again_(again) {
    page_vpadd(vp_, &here_, /*at_tail=*/false);
    page_vpadd(vp_, &end_, /*at_tail=*/true);
  }
  // Takes the markers out again.
  void finish() {
    page_vpsub(vp_, &here_);
    page_vpsub(vp_, &end_);
  }
  // The next page, or nullptr at the end. Does not move: to be asked again if vph was dropped.
  page_t* next() {
    for (;;) {
      page_t* pp = here_.p_vpnext();
      if (pp == &end_) {
        if (!again_) return nullptr;
        again_ = false;
        page_vpsub(vp_, &end_);
        page_vpadd(vp_, &end_, /*at_tail=*/true);
      } else if (!page_is_marker(pp)) {
        return pp;
      } else {
        step();
      }
    }
  }
  // Moves past the page that next() gave.
  void step() {
    page_t* passed = here_.p_vpnext();
    page_vpsub(vp_, &here_);
    page_vpinsert(&here_, passed->p_vpnext());
  }

 private:
  vnode_t* const vp_;
  bool again_;
  page_t here_;
  page_t end_;
};

bool pvn_wanted(Vm& vm, const vnode_t* vp, const page_t* pp, uint64_t off, uint32_t flags) {
  // vph keeps the identity of pages on the ring.
  if (pp->p_offset.load(std::memory_order_relaxed) < off) return false;
  // A clean page of a VMODSORT vnode is mapped read-only, so its software bit says all ...
  if (takes_away(flags) || !IS_VMODSORT(vp) || PP_ISMOD(pp)) return true;
  // ... unless somebody is writing it out: then the bit is clear already, the backing has the old
  // data still, and who waits for data to be written waits for these.
  if (!may_wait(flags)) return false;
  MutexGuard guard(page_io_mutex(vm, pp));
  return page_iolocked(pp) || PP_ISMOD(pp);
}

}  // namespace

int pvn_getdirty(Vm& vm, page_t* pp, uint32_t flags) {
  HAT_ASSERT(takes_away(flags) ? PAGE_EXCL(pp) : PAGE_LOCKED(pp));
  HAT_ASSERT(!PP_ISFREE(pp));
  PageMappingOps& ops = vm.mapping_ops();
  if (takes_away(flags) &&
      (pp->p_lckcnt() != 0 || pp->p_cowcnt() != 0 || !page_try_demote_pages(vm, pp))) {
    page_unlock(vm, pp);
    return 0;
  }
  if (may_wait(flags)) {
    page_io_lock(vm, pp);
  } else if (!page_io_trylock(vm, pp)) {
    page_unlock(vm, pp);
    return 0;
  }
  if (takes_away(flags)) {
    ops.hat_pageunload(pp);
  } else {
    ops.hat_pagesync(pp, kPageSyncZeroRm);
  }
  if (!PP_ISMOD(pp) || (flags & B_TRUNC) != 0) {
    page_io_unlock(vm, pp);
    if (takes_away(flags)) {
      VN_DISPOSE(vm, pp, flags, (flags & B_DONTNEED) != 0);
    } else {
      page_release(vm, pp, 1);
    }
    return 0;
  }
  // Before the transfer reads the frame: a write that comes later sets the bits anew.
  ops.hat_page_clrattr(pp, P_REF | P_MOD);
  if ((flags & (B_INVAL | B_FREE)) == B_FREE) page_downgrade(vm, pp);
  return 1;
}

int pvn_putapage(Vm& vm, page_t* pp, uint32_t flags) {
  // Our page lock keeps the identity.
  vnode_t* vp = pp->p_vnode.load(std::memory_order_relaxed);
  const uint64_t off = pp->p_offset.load(std::memory_order_relaxed);
  int error = vp->v_backing == nullptr ? ENOSYS : 0;
  const uint64_t size = error == 0 ? vp->v_backing->size() : 0;
  if (off < size) {
    absl::FixedArray<uint8_t> buffer(vm.pagesize);
    const size_t bytes = std::min<uint64_t>(vm.pagesize, size - off);
    vm.machine.mem().read_bytes(pp->p_pagenum, 0, absl::MakeSpan(buffer));
    error = vp->v_backing->write(off, absl::MakeConstSpan(buffer).first(bytes));
  }
  pvn_write_done(vm, pp, flags, error);
  return error;
}

void pvn_write_done(Vm& vm, page_t* pp, uint32_t flags, int error) {
  if (error != 0) {
    // Where it is on the ring: a walk that waits for this transfer must not lose the page.
    pp->p_nrm.fetch_or(P_MOD, std::memory_order_relaxed);
    page_io_unlock(vm, pp);
    if ((flags & (B_INVAL | B_FORCE)) == (B_INVAL | B_FORCE)) {
      page_destroy(vm, pp, 0);
    } else {
      page_unlock(vm, pp);
    }
    return;
  }
  page_io_unlock(vm, pp);
  if ((flags & B_INVAL) != 0) {
    page_destroy(vm, pp, 0);
  } else if (page_freeable(vm, pp, flags)) {
    page_free(vm, pp, (flags & B_DONTNEED) != 0);
  } else {
    page_unlock(vm, pp);
  }
}

int vop_putpage(Vm& vm, vnode_t* vp, uint64_t off, size_t len, uint32_t flags) {
  HAT_ASSERT((off & (vm.pagesize - 1)) == 0);
  if (len == 0) return pvn_vplist_dirty(vm, vp, off, flags);
  int first_error = 0;
  for (const uint64_t end = off + len; off < end; off += vm.pagesize) {
    page_t* pp = may_wait(flags) ? page_lookup(vm, vp, off, lock_mode(flags))
                                 : page_lookup_nowait(vm, vp, off, lock_mode(flags));
    if (pp == nullptr) continue;
    const int error = put_one(vm, pp, flags);
    if (first_error == 0) first_error = error;
  }
  return first_error;
}

int pvn_vplist_dirty(Vm& vm, vnode_t* vp, uint64_t off, uint32_t flags) {
  int first_error = 0;
  Mutex& vphm = page_vnode_mutex(vm, vp);
  vphm.enter();
  if (vn_has_cached_data(vp)) {
    // A write-back that finds a page modified again, by a write that came before this walk, moves
    // it behind the end, and its transfer may still be on the way. It does so once: until the next
    // write the page can be written to by nobody. So who waits for data goes there once, too.
    RingWalk walk(vp, /*again=*/may_wait(flags) && IS_VMODSORT(vp));
    // A free page is clean, and so of interest only if it is to go.
    const reclaim_t reclaim = (flags & B_INVAL) != 0 ? P_RECLAIM : P_NO_RECLAIM;
    while (page_t* pp = walk.next()) {
      if (!pvn_wanted(vm, vp, pp, off, flags)) {
        walk.step();
        continue;
      }
      if (may_wait(flags)) {
        // Refused: vph was dropped while we slept, and the page may have left the ring.
        if (!page_lock(vm, pp, lock_mode(flags), &vphm, reclaim)) continue;
      } else if (!page_trylock(vm, pp, lock_mode(flags))) {
        walk.step();
        continue;
      }
      walk.step();
      if (PP_ISFREE(pp)) {
        page_unlock(vm, pp);
        continue;
      }
      vphm.exit();
      const int error = put_one(vm, pp, flags);
      if (first_error == 0) first_error = error;
      vphm.enter();
    }
    walk.finish();
  }
  vphm.exit();
  return first_error;
}

int vn_recycle(Vm& vm, vnode_t* vp) {
  // A page of a large group may be refused while another of its pages is busy, and a page may move
  // to the tail past the end of a walk.
  for (int attempts = 0; vn_has_cached_data(vp) && attempts < 8; ++attempts) {
    if (attempts > 0) yield();
    pvn_vplist_dirty(vm, vp, 0, B_INVAL | B_TRUNC);
  }
  return vn_has_cached_data(vp) ? EBUSY : 0;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
