#include "segmap/segmap_kpm.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hat/hat.h"
#include "hat/hat_page.h"
#include "segmap/segmap.h"
#include "segmap/smap_hash.h"
#include "vm/page_alloc.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Relaxed: exact for who holds the page and a reference to the slot, else looked at again.
page_t* kpe_page_of(const smap* smp) {
  return smp->sm_kpme.kpe_page.load(std::memory_order_relaxed);
}

bool is_page_of(const page_t* pp, const smap* smp) {
  return pp->p_vnode.load(std::memory_order_relaxed) == smp->sm_vp() &&
         pp->p_offset.load(std::memory_order_relaxed) == smp->sm_off();
}

// The kpm address of pp, which is locked and has the identity of smp (refcnt held).
uintptr_t map_page(Segmap& seg, smap* smp, page_t* pp) {
  page_t* const mapped = kpe_page_of(smp);
  if (mapped == pp) return hat_kpm_page2va(seg.sys, pp);
  if (mapped != nullptr) {
    panic(absl::StrFormat("invariant 56: slot %d (%s, 0x%x): kpe_page is page %d, its page is %d",
                          smp->sm_index, smp->sm_vp()->v_name, smp->sm_off(), mapped->p_pagenum,
                          pp->p_pagenum));
  }
  return hat_kpm_mapin(seg.sys, pp, &smp->sm_kpme);
}

// The page that the slot has mapped in, or had, locked SHARED, without asking the file system; null
// if there is none.
page_t* lock_cached_page(Segmap& seg, smap* smp) {
  Vm& vm = seg.sys.vm;
  page_t* const pp = kpe_page_of(smp);
  if (pp == nullptr) return nullptr;
  // kpe_page was read unlocked: it may have been freed, and be anybody's.
  if (page_trylock(vm, pp, SE_SHARED)) {
    if (!PP_ISFREE(pp) && is_page_of(pp, smp)) return pp;
    page_unlock(vm, pp);
  }
  return page_lookup(vm, smp->sm_vp(), smp->sm_off(), SE_SHARED);
}

// The fast path: 0 if the file system has to be asked.
uintptr_t getmap_fast(Segmap& seg, smap* smp, seg_rw rw) {
  const bool reads = rw == S_READ;
  if (!reads && rw != S_WRITE) return 0;
  page_t* const pp = lock_cached_page(seg, smp);
  if (pp == nullptr) return 0;
  // The first write to a clean page is the file system's business.
  const bool known_as_modified = hat_ismod(pp) && hat_isref(pp);
  if (!reads && !known_as_modified) {
    page_unlock(seg.sys.vm, pp);
    return 0;
  }
  if (reads) hat_setref(seg.sys, pp);
  return map_page(seg, smp, pp);
}

void add_flags(smap* smp, uint32_t flags) {
  MutexGuard guard(smp->sm_mtx);
  smp->sm_flags = smp->sm_flags() | flags;
}

}  // namespace

uintptr_t segmap_getmap_kpm(Segmap& seg, smap* smp, bool newslot, int* forcefault, seg_rw rw) {
  if (*forcefault == SM_PAGECREATE && rw == S_WRITE) return segmap_pagecreate_kpm(seg, smp, rw);
  if (!newslot) {
    const uintptr_t va = getmap_fast(seg, smp, rw);
    if (va != 0) return va;
  }
  std::array<page_t*, 2> pages{};
  uint32_t prot = 0;
  const uintptr_t colour_va = segkpm_create_va(seg, smp->sm_off());
  HAT_ASSERT(colour_va != 0);
  // An error is met again, and told, by segmap_fault on the slot's own address.
  if (vop_getpage(seg.sys.vm, smp->sm_vp(), smp->sm_off(), seg.maxbsize, &prot,
                  absl::MakeSpan(pages), rw) != 0 ||
      pages[0] == nullptr) {
    return 0;
  }
  if (*forcefault == SM_LOCKPROTO && prot != PROT_ALL_PAGE) {
    // The caller wants to be told of writes, which a kpm address cannot.
    page_unlock(seg.sys.vm, pages[0]);
    *forcefault = 0;
    return 0;
  }
  return map_page(seg, smp, pages[0]);
}

uintptr_t segmap_pagecreate_kpm(Segmap& seg, smap* smp, seg_rw rw) {
  Vm& vm = seg.sys.vm;
  vnode_t* const vp = smp->sm_vp();
  const uint64_t off = smp->sm_off();
  page_t* pp = page_lookup(vm, vp, off, SE_SHARED);
  while (pp == nullptr) {
    // PG_EXCL: as in segmap_pagecreate.
    page_t* ring = page_create_va(vm, vp, off, vm.pagesize, PG_EXCL | PG_WAIT);
    if (ring == nullptr) {
      pp = page_lookup(vm, vp, off, SE_SHARED);
      continue;
    }
    pp = ring;
    page_sub(&ring, pp);
    page_io_unlock(vm, pp);
    add_flags(smp, SM_KPM_NEWPAGE);
  }
  const uintptr_t va = map_page(seg, smp, pp);
  if (rw == S_WRITE) {
    hat_setrefmod(seg.sys, pp);
  } else {
    hat_setref(seg.sys, pp);
  }
  return va;
}

// Without analysis: get_smap_kpm enters the slot.
int segmap_pagecreatekpm(Segmap& seg, uintptr_t addr) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  page_t* pp;
  smap* const smp = get_smap_kpm(seg, addr, &pp);
  const int newpage = (smp->sm_flags() & SM_KPM_NEWPAGE) != 0 ? 1 : 0;
  smp->sm_flags = smp->sm_flags() & ~SM_KPM_NEWPAGE;
  smp->sm_mtx.exit();
  return newpage;
}

faultcode_t segmap_faultkpm(Segmap& seg, uintptr_t addr, fault_type type, seg_rw rw) {
  if (type != F_SOFTUNLOCK) return 0;
  page_t* const pp = hat_kpm_vaddr2page(seg.sys, addr);
  HAT_ASSERT(PAGE_LOCKED(pp), "F_SOFTUNLOCK of a kpm address that is not out");
  if (rw == S_WRITE) {
    hat_setrefmod(seg.sys, pp);
  } else if (rw == S_READ) {
    hat_setref(seg.sys, pp);
  }
  return 0;
}

smap* get_smap_kpm(Segmap& seg, uintptr_t addr, page_t** ppp) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  page_t* const pp = hat_kpm_vaddr2page(seg.sys, addr);
  HAT_ASSERT(PAGE_LOCKED(pp) && !PP_ISFREE(pp),
             absl::StrCat("invariant 56: kpm address of page ", pp->p_pagenum, " is not out"));
  vnode_t* const vp = pp->p_vnode.load(std::memory_order_relaxed);
  const uint64_t off = pp->p_offset.load(std::memory_order_relaxed);
  HAT_ASSERT((off & seg.maxboffset()) == 0);
  *ppp = pp;
  smap* const last = seg.cpu().scpu_last_smap();
  last->sm_mtx.enter();
  if (last->sm_vp() == vp && last->sm_off() == off) return last;
  last->sm_mtx.exit();
  smap* const smp = smap_find(seg, vp, off);
  HAT_ASSERT(smp != nullptr,
             absl::StrCat("invariant 56: no slot has the identity of page ", pp->p_pagenum));
  smp->sm_mtx.enter();
  // The caller's reference keeps it.
  HAT_ASSERT(smp->sm_vp() == vp && smp->sm_off() == off && smp->sm_refcnt() > 0);
  seg.cpu().scpu_last_smap = smp;
  return smp;
}

void segkpm_mapout_validkpme(Segmap& seg, kpme* k) {
  Vm& vm = seg.sys.vm;
  for (;;) {
    page_t* const pp = k->kpe_page.load(std::memory_order_relaxed);
    if (pp == nullptr) return;
    // No reclaim: a page that was freed meanwhile is none of ours, and nobody would free it again.
    if (!page_lock(vm, pp, SE_SHARED, nullptr, P_NO_RECLAIM)) continue;
    // Whoever had it EXCL may have unloaded it, and the page may have gone to somebody else since:
    // then it is not on our account any more.
    if (k->kpe_page.load(std::memory_order_relaxed) == pp) {
      hat_kpm_mapout(seg.sys, pp, k, hat_kpm_page2va(seg.sys, pp));
    }
    page_unlock(vm, pp);
    return;
  }
}

uintptr_t segkpm_create_va(Segmap& seg, uint64_t off) {
  segmap_cpu& cpu = seg.cpu();
  const uint64_t n = cpu.scpu_vcolor();
  cpu.scpu_vcolor = n + 1;
  const uint64_t colour = seg.color_of(off);
  return seg.sys.kpm_vbase + ((n * seg.smd_ncolor + colour) << seg.maxbshift);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
