#include "segmap/segmap_fault.h"

#include <array>
#include <cerrno>

#include "absl/strings/str_format.h"
#include "hat/hat.h"
#include "hat/hat_page.h"
#include "hat/hment.h"
#include "segmap/segmap_kpm.h"
#include "vm/page_alloc.h"
#include "vm/page_cache.h"
#include "vm/page_ring.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Most pages of a slot (SegmapConfig::maxbsize), and the null that ends a page list.
constexpr size_t kMostPages = 16;
using PageList = std::array<page_t*, kMostPages + 1>;

uint64_t pagesize(const Segmap& seg) { return seg.sys.vm.pagesize; }

uint32_t page_bit(const Segmap& seg, uintptr_t addr) {
  return uint32_t{1} << ((addr & seg.maxboffset()) >> seg.sys.vm.pageshift);
}

void assert_within_slot(const Segmap& seg, const char* what, uintptr_t addr, size_t len) {
  if ((addr & seg.maxboffset()) + len > seg.maxbsize) {
    panic(absl::StrFormat("%s: [0x%x, 0x%x) crosses a slot of %d bytes", what, addr, addr + len,
                          seg.maxbsize));
  }
}

void set_bit(smap* smp, uint32_t bit) {
  MutexGuard guard(smp->sm_mtx);
  // Relaxed, under the mutex: a set bit concerns only the thread that set it.
  smp->sm_bitmap.store(smp->sm_bitmap.load(std::memory_order_relaxed) | bit,
                       std::memory_order_relaxed);
}

// Clears the bit; false if it was not set.
bool clear_bit(smap* smp, uint32_t bit) {
  if ((smp->sm_bitmap.load(std::memory_order_relaxed) & bit) == 0) return false;
  MutexGuard guard(smp->sm_mtx);
  smp->sm_bitmap.store(smp->sm_bitmap.load(std::memory_order_relaxed) & ~bit,
                       std::memory_order_relaxed);
  return true;
}

page_t* must_find(Segmap& seg, const char* what, vnode_t* vp, uint64_t off) {
  page_t* const pp = page_find(seg.sys.vm, vp, off);
  if (pp == nullptr) {
    panic(absl::StrFormat("invariant 51: %s: no page (%s, 0x%x)", what, vp->v_name, off));
  }
  return pp;
}

// What the caller did with a page he had locked.
void note_use(Segmap& seg, page_t* pp, seg_rw rw) {
  if (rw == S_WRITE) {
    hat_setrefmod(seg.sys, pp);
  } else if (rw == S_READ) {
    hat_setref(seg.sys, pp);
  }
}

// F_SOFTUNLOCK.
void segmap_unlock(Segmap& seg, hat_t* hat, uintptr_t addr, size_t len, seg_rw rw, smap* smp) {
  HAT_ASSERT(!hat_in_kpm(seg.sys, addr), "segmap_unlock of a kpm address");
  vnode_t* const vp = smp->sm_vp();
  const uint64_t off = smp->sm_off() + (addr & seg.maxboffset());
  hat_unlock(seg.sys, hat, addr, len);
  for (uint64_t done = 0; done < len; done += pagesize(seg)) {
    page_t* const pp = must_find(seg, "segmap_unlock", vp, off + done);
    note_use(seg, pp, rw);
    clear_bit(smp, page_bit(seg, addr + done));
    page_unlock(seg.sys.vm, pp);
  }
}

// One page that vop_getpage gave for a fault on [addr, addr + len) of slot smp. *prot: what may be
// allowed; once writing is taken away it stays so for the pages that follow.
void load_page(Segmap& seg, const smap* smp, page_t* pp, uintptr_t addr, size_t len,
               fault_type type, seg_rw rw, uint32_t* prot) {
  const uint64_t poff = pp->p_offset.load(std::memory_order_relaxed);
  const uint64_t within = poff - smp->sm_off();
  if (within >= seg.maxbsize) {
    // The file system gave more than was asked for.
    page_release(seg.sys.vm, pp, 1);
    return;
  }
  const uintptr_t va = seg.smap_addr(smp) + within;
  bool stays_locked = false;
  if (va >= addr && va < addr + len) {
    hat_setref(seg.sys, pp);
    stays_locked = type == F_SOFTLOCK;
  }
  // A VMODSORT vnode is told of the first write to a clean page: by this fault, or by the next one.
  const bool told = IS_VMODSORT(smp->sm_vp()) && rw != S_OTHER;
  if (told) {
    // So that it stays modified until it is mapped, see load_modified.
    page_io_lock(seg.sys.vm, pp);
    if (rw == S_WRITE) {
      hat_setmod(seg.sys, pp);
    } else if (!hat_ismod(pp)) {
      *prot &= ~PROT_WRITE_ATTR;
    }
  }
  hat_memload(seg.sys, seg.kas(), va, pp, *prot, stays_locked ? HAT_LOAD_LOCK : HAT_LOAD);
  if (told) page_io_unlock(seg.sys.vm, pp);
  if (!stays_locked) page_unlock(seg.sys.vm, pp);
}

// Marks pp, a page of a VMODSORT vnode, modified and maps it writable. A walk that looks for
// modified pages goes by the mark alone, so a writable page must have it. A write-back clears it,
// takes WRITABLE from the mappings there are, and needs only a SHARED page lock as we do: the I/O
// lock, which it holds too, keeps it from coming between the mark and the mapping. The published
// routines do not take it here.
void load_modified(Segmap& seg, uintptr_t va, page_t* pp, uint32_t flags) {
  page_io_lock(seg.sys.vm, pp);
  hat_setmod(seg.sys, pp);
  hat_memload(seg.sys, seg.kas(), va, pp, seg.config.prot, flags);
  page_io_unlock(seg.sys.vm, pp);
}

// The page at off for segmap_pagecreate: SHARED if it was there, EXCL if made now (*made).
page_t* page_for_create(Segmap& seg, vnode_t* vp, uint64_t off, bool* made) {
  Vm& vm = seg.sys.vm;
  for (;;) {
    *made = false;
    page_t* pp = page_lookup(vm, vp, off, SE_SHARED);
    if (pp != nullptr) return pp;
    // PG_EXCL: a page that somebody else makes now has valid data and must not be taken for ours.
    page_t* ring = page_create_va(vm, vp, off, vm.pagesize, PG_EXCL | PG_WAIT);
    if (ring == nullptr) continue;
    pp = ring;
    page_sub(&ring, pp);
    page_io_unlock(vm, pp);
    *made = true;
    return pp;
  }
}

}  // namespace

faultcode_t segmap_fault(Segmap& seg, hat_t* hat, uintptr_t addr, size_t len, fault_type type,
                         seg_rw rw) {
  SMSTAT_INC(seg, fault);
  if (hat_in_kpm(seg.sys, addr)) return segmap_faultkpm(seg, addr, type, rw);
  smap* const smp = get_smap(seg, addr);
  // Our reference keeps the identity: no lock is needed.
  vnode_t* const vp = smp->sm_vp();
  if (vp == nullptr) return FC_MAKE_ERR(EIO);
  assert_within_slot(seg, "segmap_fault", addr, len);
  if (type == F_SOFTUNLOCK) {
    segmap_unlock(seg, hat, addr, len, rw, smp);
    return 0;
  }
  PageList pages;
  uint32_t prot = PROT_ALL_PAGE;
  const uint64_t off = smp->sm_off() + (addr & seg.maxboffset());
  const int error = vop_getpage(seg.sys.vm, vp, off, len, &prot, absl::MakeSpan(pages), rw);
  if (error != 0) return FC_MAKE_ERR(error);
  prot &= seg.config.prot;
  for (size_t i = 0; pages[i] != nullptr; ++i) {
    load_page(seg, smp, pages[i], addr, len, type, rw, &prot);
  }
  return 0;
}

faultcode_t segmap_faulta(Segmap& seg, uintptr_t addr) {
  SMSTAT_INC(seg, faulta);
  smap* const smp = get_smap(seg, addr);
  vnode_t* const vp = smp->sm_vp();
  if (vp == nullptr) return FC_MAKE_ERR(EIO);
  const uint64_t off = smp->sm_off() + (addr & seg.maxboffset() & ~(pagesize(seg) - 1));
  const int error = vop_getpage(seg.sys.vm, vp, off, pagesize(seg), nullptr, {}, S_READ);
  return error == 0 ? 0 : FC_MAKE_ERR(error);
}

int segmap_pagecreate(Segmap& seg, uintptr_t addr, size_t len, bool softlock) {
  SMSTAT_INC(seg, pagecreate);
  if (hat_in_kpm(seg.sys, addr)) return segmap_pagecreatekpm(seg, addr);
  assert_within_slot(seg, "segmap_pagecreate", addr, len);
  smap* const smp = get_smap(seg, addr);
  vnode_t* const vp = smp->sm_vp();
  HAT_ASSERT(vp != nullptr, "segmap_pagecreate on a slot without identity");
  int newpage = 0;
  const uintptr_t end = addr + len;
  for (uintptr_t va = addr & ~(pagesize(seg) - 1); va < end; va += pagesize(seg)) {
    bool made;
    page_t* const pp = page_for_create(seg, vp, smp->sm_off() + (va & seg.maxboffset()), &made);
    if (made) {
      newpage = 1;
      set_bit(smp, page_bit(seg, va));
    }
    const bool stays_locked = made || softlock;
    const uint32_t flags = stays_locked ? HAT_LOAD_LOCK : HAT_LOAD;
    if (IS_VMODSORT(vp) && (seg.config.prot & PROT_WRITE_ATTR) != 0) {
      load_modified(seg, va, pp, flags);
    } else {
      hat_memload(seg.sys, seg.kas(), va, pp, seg.config.prot, flags);
    }
    if (!stays_locked) page_unlock(seg.sys.vm, pp);
  }
  return newpage;
}

void segmap_pageunlock(Segmap& seg, uintptr_t addr, size_t len, seg_rw rw) {
  if (hat_in_kpm(seg.sys, addr)) return;  // the page is unlocked by segmap_release
  assert_within_slot(seg, "segmap_pageunlock", addr, len);
  smap* const smp = get_smap(seg, addr);
  vnode_t* const vp = smp->sm_vp();
  const uintptr_t end = addr + len;
  for (uintptr_t va = addr & ~(pagesize(seg) - 1); va < end; va += pagesize(seg)) {
    if (!clear_bit(smp, page_bit(seg, va))) continue;
    hat_unlock(seg.sys, seg.kas(), va, pagesize(seg));
    page_t* const pp =
        must_find(seg, "segmap_pageunlock", vp, smp->sm_off() + (va & seg.maxboffset()));
    note_use(seg, pp, rw);
    page_unlock(seg.sys.vm, pp);
  }
}

void segmap_unload(Segmap& seg, uintptr_t addr, vnode_t* vp, uint64_t off) {
  hat_unload(seg.sys, seg.kas(), addr, seg.maxbsize, HAT_UNLOAD);
  // hat_unload passes over a translation that a hat_pageunload has cleared, though that one may not
  // have flushed it yet. It does so under the page's mlist, before the page loses its name.
  for (uint64_t done = 0; done < seg.maxbsize; done += pagesize(seg)) {
    Vm& vm = seg.sys.vm;
    page_t* pp;
    {
      MutexGuard guard(vm.ph_mutex[page_hash_bucket(vm, vp, off + done)]);
      pp = page_exists(vm, vp, off + done);
    }
    if (pp == nullptr) continue;
    x86_hm_enter(seg.sys, pp);
    x86_hm_exit(seg.sys, pp);
  }
}

void segmap_pagefree(Segmap& seg, vnode_t* vp, uint64_t off) {
  for (uint64_t done = 0; done < seg.maxbsize; done += pagesize(seg)) {
    page_t* const pp = page_lookup_nowait(seg.sys.vm, vp, off + done, SE_EXCL);
    if (pp == nullptr) continue;
    switch (page_release(seg.sys.vm, pp, 1)) {
      case PGREL_NOTREL:
        SMSTAT_INC(seg, free_notfree);
        break;
      case PGREL_MOD:
        SMSTAT_INC(seg, free_dirty);
        break;
      case PGREL_CLEAN:
        SMSTAT_INC(seg, free);
        break;
    }
  }
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
