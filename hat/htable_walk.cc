#include "hat/htable_walk.h"

#include <algorithm>

#include "hat/htable.h"
#include "hat/pte_ops.h"

namespace hatcheck::inline HATCHECK_BACKEND {

x86pte_t htable_scan(System& sys, htable_t* ht, uintptr_t* vap, uintptr_t eaddr) {
  const level_t level = ht->ht_level();
  const uint32_t ptes_per_table = sys.mmu().ptes_per_table();
  uint32_t entry = htable_va2entry(sys, *vap, ht);
  uintptr_t va = htable_e2va(sys, ht, entry);
  // A table is an array in memory. Acquire, as in x86pte_get, and for an exiting hat: who finds an
  // entry cleared by an outsider also sees the outsider counted in hat_unmappers.
  Atomic<x86pte_t>* const ptes = &x86pte_access(sys, ht, 0);
  for (; entry < ptes_per_table && va < eaddr; ++entry) {
    const x86pte_t pte = ptes[entry].load(std::memory_order_acquire);
    if (PTE_ISVALID(pte)) {
      *vap = va;
      return pte;
    }
    va = NEXT_ENTRY_VA(sys, va, level);
  }
  *vap = va;
  return 0;
}

namespace {

htable_t* lowest_table(System& sys, hat_t* hat, uintptr_t va, level_t max_level) {
  for (level_t level = 0; level <= max_level; ++level) {
    htable_t* const ht = htable_lookup(sys, hat, va, level);
    if (ht != nullptr) return ht;
  }
  return nullptr;
}

}  // namespace

x86pte_t htable_walk(System& sys, hat_t* hat, htable_t** table, uintptr_t* va, uintptr_t end) {
  const MmuGeometry& mmu = sys.mmu();
  // The upper entries of a user's top table are the kernel's, and their tables not in its hash.
  if (hat != sys.kas_hat()) end = std::min(end, sys.kernelbase);
  htable_t* ht = *table;
  uintptr_t at = mmu.in_va_hole(*va) ? mmu.hole_end() : *va;
  // A caller that stepped over the last page of the space comes with an address below its table.
  bool more = ht == nullptr || at >= ht->ht_vaddr();
  if (ht != nullptr && (!more || htable_base(sys, at, ht->ht_level()) != ht->ht_vaddr())) {
    htable_release(sys, ht);
    ht = nullptr;
  }
  while (more && at < end) {
    if (ht == nullptr) ht = lowest_table(sys, hat, at, mmu.max_level());
    HAT_ASSERT(ht != nullptr, "a hat without a top table");
    const uintptr_t from = at;
    const x86pte_t pte = htable_scan(sys, ht, &at, end);
    if (PTE_ISPAGE(pte, ht->ht_level())) {
      *table = ht;
      *va = at;
      return pte;
    }
    if (PTE_ISVALID(pte)) {
      // On in the table below, from where we were. If that has just gone, the search ends up here
      // again and finds the pointer cleared.
      at = std::max(at, from);
    } else {
      more = at > from;  // else it wrapped at the end of the space
    }
    htable_release(sys, ht);
    ht = nullptr;
  }
  if (ht != nullptr) htable_release(sys, ht);
  *table = nullptr;
  *va = 0;
  return 0;
}

htable_t* htable_getpte(System& sys, hat_t* hat, uintptr_t va, uint32_t* entry, x86pte_t* pte,
                        level_t max_level) {
  HAT_ASSERT(max_level <= sys.mmu().max_level());
  if (sys.mmu().in_va_hole(va)) return nullptr;
  htable_t* const ht = lowest_table(sys, hat, va, max_level);
  if (ht == nullptr) return nullptr;
  const uint32_t e = htable_va2entry(sys, va, ht);
  if (entry != nullptr) *entry = e;
  if (pte != nullptr) *pte = x86pte_get(sys, ht, e);
  return ht;
}

htable_t* htable_getpage(System& sys, hat_t* hat, uintptr_t va, uint32_t* entry) {
  x86pte_t pte = 0;
  htable_t* const ht = htable_getpte(sys, hat, va, entry, &pte, sys.mmu().max_page_level);
  if (ht == nullptr) return nullptr;
  if (PTE_ISPAGE(pte, ht->ht_level())) return ht;
  htable_release(sys, ht);
  return nullptr;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
