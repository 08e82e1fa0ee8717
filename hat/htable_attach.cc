#include "absl/strings/str_cat.h"
#include "hat/htable.h"
#include "hat/htable_alloc.h"
#include "hat/pte_ops.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

// The frame is a table from now on: nobody may get its page EXCL.
void claim_frame(System& sys, pfn_t pfn) {
  page_t* const pp = page_numtopp_nolock(sys.vm, pfn);
  if (pp == nullptr || page_trylock(sys.vm, pp, SE_SHARED) == 0) {
    panic(absl::StrCat("htable_attach: page table frame ", pfn, " cannot be claimed"));
  }
  HAT_ASSERT(!PP_ISFREE(pp), absl::StrCat("invariant 21: page table frame ", pfn, " is free"));
  HATSTAT_INC(sys, hs_ptable_allocs);
  sys.active_ptables.fetch_add(1, std::memory_order_relaxed);
}

// Takes over one valid entry of ht, with all that is below.
void attach_entry(System& sys, htable_t* ht, uint32_t entry, x86pte_t pte) {
  const level_t level = ht->ht_level();
  // Counted first: a table below may turn out to be empty, and is then unlinked again.
  HTABLE_INC(ht);
  if (PTE_ISPAGE(pte, level)) {
    ht->ht_hat()->hat_pages_mapped[level].fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const pfn_t below = PTE2PFN(pte, level);
  htable_attach(sys, ht->ht_hat(), htable_e2va(sys, ht, entry), level - 1, ht, below);
}

}  // namespace

htable_t* htable_attach(System& sys, hat_t* hat, uintptr_t va, level_t level, htable_t* above,
                        pfn_t frame) {
  htable_t* const ht = htable_get_reserve(sys);
  if (ht == nullptr) panic("htable_attach: the boot reserve is empty");
  claim_frame(sys, frame);
  htable_init(sys, ht, hat, va, level, nullptr);
  ht->ht_pfn = frame;
  ht->ht_parent = above;
  if (above == nullptr) {
    hat->hat_htable = ht;
  } else {
    htable_acquire(sys, above);
  }
  const uint32_t bucket = htable_hash(sys, hat, ht->ht_vaddr(), level);
  HTABLE_ENTER(sys, bucket);
  HAT_ASSERT(htable_search(sys, hat, bucket, ht->ht_vaddr(), level) == nullptr,
             "invariant 17: attached twice: " + htable_describe(ht));
  htable_hash_insert(sys, bucket, ht);
  HTABLE_EXIT(sys, bucket);

  for (uint32_t entry = 0; entry < sys.mmu().ptes_per_table(); ++entry) {
    const x86pte_t pte = x86pte_get(sys, ht, entry);
    if (PTE_ISVALID(pte)) attach_entry(sys, ht, entry, pte);
  }

  // Boot mappings of low addresses will be cleared; their tables must not outlive them.
  if (above == nullptr || ht->ht_vaddr() >= sys.kernelbase) return ht;
  const bool empty = ht->ht_valid_cnt.load(std::memory_order_relaxed) == 0;
  htable_release(sys, ht);
  return empty ? nullptr : ht;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
