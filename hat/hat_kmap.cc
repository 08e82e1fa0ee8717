// Fixed windows of the kernel: segkmap, whose tables are always there, and kpm, which maps all
// memory.
#include "hat/hat.h"
#include "hat/htable.h"
#include "hat/kpm_mapping.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {

void hat_kmap_init(System& sys, uintptr_t base, uint64_t len) {
  const uint64_t span = sys.mmu().level_size(1);
  HAT_ASSERT(base % span == 0 && len % span == 0, "the segkmap window consists of whole tables");
  sys.kmap_addr = base;
  sys.kmap_eaddr = base + len;
  for (uint64_t offset = 0; offset < len; offset += span) {
    // The hold is never dropped, so loads and unloads in the window need neither lookup nor hold.
    sys.kmap_tables.push_back(htable_create(sys, sys.kas_hat(), base + offset, 0, nullptr));
  }
}

bool hat_in_kmap(const System& sys, uintptr_t va) {
  return va - sys.kmap_addr < sys.kmap_eaddr - sys.kmap_addr;
}

htable_t* hat_kmap_table(const System& sys, uintptr_t va) {
  HAT_ASSERT(hat_in_kmap(sys, va));
  return sys.kmap_tables[(va - sys.kmap_addr) >> sys.mmu().level_shift(1)];
}

uintptr_t hat_kpm_page2va(System& sys, const page_t* pp) {
  return sys.kpm_vbase + pp->p_pagenum * sys.mmu().pagesize();
}

page_t* hat_kpm_vaddr2page(System& sys, uintptr_t va) {
  HAT_ASSERT(hat_in_kpm(sys, va), "no kpm address: " + std::to_string(va));
  return page_numtopp_nolock(sys.vm, (va - sys.kpm_vbase) / sys.mmu().pagesize());
}

bool hat_in_kpm(const System& sys, uintptr_t va) {
  return va - sys.kpm_vbase < sys.kpm_eaddr - sys.kpm_vbase;
}

uintptr_t hat_kpm_mapin(System& sys, page_t* pp, kpme* kpme) {
  HAT_ASSERT(PAGE_LOCKED(pp),
             "hat_kpm_mapin: page " + std::to_string(pp->p_pagenum) + " is not locked");
  const uintptr_t va = hat_kpm_page2va(sys, pp);
  HAT_ASSERT(hat_in_kpm(sys, va), "hat_kpm_mapin: this system has no kpm window");
  sys.kpm->mapin(sys, pp, kpme, va);
  return va;
}

void hat_kpm_mapout(System& sys, page_t* pp, kpme* kpme, uintptr_t va) {
  HAT_ASSERT(PAGE_LOCKED(pp),
             "hat_kpm_mapout: page " + std::to_string(pp->p_pagenum) + " is not locked");
  HAT_ASSERT(hat_kpm_vaddr2page(sys, va) == pp, "hat_kpm_mapout: va " + std::to_string(va) +
                                                    " is not of page " +
                                                    std::to_string(pp->p_pagenum));
  sys.kpm->mapout(sys, pp, kpme, va);
}

void hat_kpm_fault(System& /*sys*/, uintptr_t va) {
  panic("fault in the kpm window: va " + std::to_string(va));
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
