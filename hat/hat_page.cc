#include "hat/hat_page.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hat/hment.h"
#include "hat/hment_index.h"
#include "hat/hment_reserve.h"
#include "hat/htable.h"
#include "hat/kpm_mapping.h"
#include "hat/pte_ops.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr x86pte_t kRefMod = PT_REF | PT_MOD;

bool is_syncable(x86pte_t pte) { return (pte & PT_SOFTWARE) < PT_NOSYNC; }

uint32_t page_bits_of(x86pte_t pte) {
  return ((pte & PT_REF) != 0 ? P_REF : 0) | ((pte & PT_MOD) != 0 ? P_MOD : 0);
}

// Sets bits of every small page that a mapping of pp at `level` covers.
void set_constituents(System& sys, page_t* pp, uint32_t bits, level_t level) {
  const uint64_t count = page_get_pagecnt(sys.vm, level);
  for (uint64_t i = 0; i < count; ++i) {
    hat_page_setattr(sys, page_numtopp_nolock(sys.vm, pp->p_pagenum + i), bits);
  }
}

// The calling thread no longer touches hat's tables: an exiter may be asleep for that.
void hat_unmapper_done(System& sys, hat_t* hat) {
  // Store, then look at the other's word, on both sides: the exiter raises hat_free_waiters before
  // it looks at hat_unmappers. One of the two sees the other, hence seq_cst. The hat may be gone as
  // soon as the count is down.
  hat->hat_unmappers.fetch_sub(1, std::memory_order_seq_cst);
  if (sys.hat_free_waiters.load(std::memory_order_seq_cst) == 0) return;
  // Under the lock, so that it does not fall between the exiter's look and its sleep.
  MutexGuard guard(sys.hat_list_lock);
  sys.hat_list_cv.broadcast();
}

}  // namespace

void hati_sync_pte_to_page(System& sys, page_t* pp, x86pte_t pte, level_t level) {
  HAT_ASSERT(x86_hm_held(sys, pp));
  if (!is_syncable(pte)) return;  // has both bits set from the start, they mean nothing
  const uint32_t bits = page_bits_of(pte);
  if (bits != 0) set_constituents(sys, pp, bits, level);
}

bool hati_update_pte(System& sys, page_t* pp, htable_t* ht, uint32_t entry, x86pte_t expected,
                     x86pte_t new_pte, x86pte_t* found) {
  HAT_ASSERT(x86_hm_held(sys, pp));
  // Bits that would get lost, or that could not be told from bits of the future, go to the page.
  uint32_t moved = 0;
  if (is_syncable(expected) && (expected & kRefMod) != 0) {
    if (!is_syncable(new_pte)) {
      moved = page_bits_of(expected);  // new_pte keeps both bits: NOSYNC entries do
    } else if ((new_pte & PT_WRITABLE) == 0 || (new_pte & kRefMod) == 0) {
      moved = page_bits_of(expected);
      new_pte &= ~kRefMod;
    }
  }
  *found = x86pte_update(sys, ht, entry, expected, new_pte);
  if (*found != expected) return false;
  if (moved != 0) set_constituents(sys, pp, moved, ht->ht_level());
  return true;
}

hment_t* hati_page_unmap(System& sys, page_t* pp, htable_t* ht, uint32_t entry) {
  HAT_ASSERT(x86_hm_held(sys, pp));
  hat_t* hat = ht->ht_hat();
  const level_t level = ht->ht_level();

  // The mapping is still recorded and we hold its mlist, so its owner has not unmapped everything
  // yet and hat_free_end lies ahead of it. Once our record is gone nothing else keeps it from
  // freeing the table and the hat before we have dropped our hold. Relaxed: the owner's way to
  // hat_free_end passes htable_release of this table, whose mutex htable_acquire enters after this.
  hat->hat_unmappers.fetch_add(1, std::memory_order_relaxed);
  // valid_cnt is about to fall, perhaps to 0: a hold keeps the table until we are done with it.
  htable_acquire(sys, ht);

  const x86pte_t pte = x86pte_inval(sys, ht, entry, 0);
  if (!PTE_ISPAGE(pte, level) || PTE2PFN(pte, level) != pp->p_pagenum) {
    panic(absl::StrFormat("invariant 7: hati_page_unmap: %s recorded, PTE is %#x",
                          to_string(HmentKey{ht, entry, pp->p_pagenum}), pte));
  }
  HTABLE_DEC(sys, ht);
  hat->hat_pages_mapped[level].fetch_sub(1, std::memory_order_relaxed);
  hati_sync_pte_to_page(sys, pp, pte, level);
  hment_t* hm = hment_remove(sys, pp, ht, entry);
  x86_hm_exit(sys, pp);

  // May free the table and its parents, so only now (rule L3).
  htable_release(sys, ht);
  hat_unmapper_done(sys, hat);
  return hm;
}

namespace {

// Unloads all mappings of size code szc from `leader`, the first page of a group of that size.
void unload_size(System& sys, page_t* leader, int szc) {
  for (;;) {
    x86_hm_enter(sys, leader);
    htable_t* ht = nullptr;
    uint32_t entry = 0;
    hment_t* hm = hment_walk(sys, leader, &ht, &entry, nullptr);
    while (hm != nullptr && ht->ht_level() != szc) {
      hm = hment_walk(sys, leader, &ht, &entry, hm);
    }
    if (hm == nullptr) break;
    // Drops the mlist: the list may be another one by the time we have it again.
    hm = hati_page_unmap(sys, leader, ht, entry);
    if (hm != nullptr) hment_free(sys, hm);
  }
  x86_hm_exit(sys, leader);
}

}  // namespace

int hat_pageunload(System& sys, page_t* pp, uint32_t) {
  HAT_ASSERT(PAGE_EXCL(pp), absl::StrCat("hat_pageunload: page ", pp->p_pagenum, " not EXCL"));
  // p_szc without a lock: our EXCL keeps it from growing, and what a demotion takes off it has no
  // mappings any more.
  for (int szc = 0; szc <= pp->p_szc.load(std::memory_order_relaxed); ++szc) {
    unload_size(sys, PP_GROUPLEADER(sys.vm, pp, szc), szc);
  }
  sys.kpm->pageunload(sys, pp);
  return 0;
}

void hat_page_demote(System& sys, page_t* pp) {
  HAT_ASSERT(PAGE_EXCL(pp), absl::StrCat("hat_page_demote: page ", pp->p_pagenum, " not EXCL"));
  // Chosen by the largest group that pp can be in, so it also excludes demotions of groups that
  // contain or are contained in ours: p_szc of pp and of its root stay what they are until we
  // change them, and nothing need be looked at again under the root's mlist.
  MutexGuard guard(page_szc_lock(sys.vm, pp));
  const int szc = pp->p_szc.load(std::memory_order_relaxed);
  if (szc == 0) return;
  for (int size = 1; size <= szc; ++size) {
    unload_size(sys, PP_GROUPLEADER(sys.vm, pp, size), size);
  }

  page_t* root = PP_GROUPLEADER(sys.vm, pp, szc);
  x86_hm_enter(sys, root);
  HAT_ASSERT(root->p_szc.load(std::memory_order_relaxed) == szc,
             absl::StrCat("hat_page_demote: page ", pp->p_pagenum, " has p_szc ", szc,
                          ", its root ", root->p_pagenum, " has not"));
  // The root last: as long as it has the large size, a demotion is under way. Relaxed: who
  // concludes anything from a size holds page_szc, the page's lock, or this mlist.
  for (uint64_t i = page_get_pagecnt(sys.vm, szc); i-- > 0;) {
    page_t* constituent = page_numtopp_nolock(sys.vm, root->p_pagenum + i);
    HAT_ASSERT(PAGE_EXCL(constituent));
    constituent->p_szc.store(0, std::memory_order_relaxed);
  }
  x86_hm_exit(sys, root);
}

uint32_t hat_page_getshare(System& sys, page_t* pp) { return hment_mapcnt(sys, pp); }

bool hat_page_is_mapped(System& sys, page_t* pp) { return hment_mapcnt(sys, pp) != 0; }

}  // namespace hatcheck::inline HATCHECK_BACKEND
