#include <array>

#include "absl/strings/str_format.h"
#include "hat/hat.h"
#include "hat/hat_load.h"
#include "hat/hat_page.h"
#include "hat/hment.h"
#include "hat/hment_reserve.h"
#include "hat/htable.h"
#include "hat/htable_walk.h"
#include "hat/pte_ops.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Consecutive pages of one size that have been unloaded.
struct UnloadedRange {
  uintptr_t va = 0;
  uint64_t count = 0;
  level_t level = 0;
};

// Ranges waiting for the callback.
class RangeCollector {
 public:
  RangeCollector(const MmuGeometry& mmu, const HatUnloadCallback* callback)
      : mmu_(mmu), callback_(callback) {}

  void add(uintptr_t va, level_t level) {
    if (callback_ == nullptr) return;
    if (count_ > 0) {
      UnloadedRange& last = ranges_[count_ - 1];
      if (last.level == level && end_of(last) == va) {
        ++last.count;
        return;
      }
    }
    if (count_ == ranges_.size()) handle_ranges();
    ranges_[count_++] = UnloadedRange{va, 1, level};
  }

  void handle_ranges() {
    for (size_t i = 0; i < count_; ++i) (*callback_)(ranges_[i].va, end_of(ranges_[i]));
    count_ = 0;
  }

 private:
  uintptr_t end_of(const UnloadedRange& range) const {
    return range.va + (range.count << mmu_.level_shift(range.level));
  }

  const MmuGeometry& mmu_;
  const HatUnloadCallback* const callback_;
  std::array<UnloadedRange, 8> ranges_;
  size_t count_ = 0;
};

// Clears the entry, which was seen to map a page, and returns what was in it. If it was on a page's
// list (*ppp set then) the page's mlist is still held on return, because the record has to go with
// the entry. 0: somebody else was faster and did the accounting; there is nothing, or by now a
// pointer to a page table, or a locked mapping that a thief has to leave.
//
// The entry may change until the mlist of the page that it names is held, and also afterwards if it
// is off-list: each round starts from what was found last.
x86pte_t clear_entry(System& sys, htable_t* ht, uint32_t entry, uint32_t flags, x86pte_t pte,
                     page_t** ppp) {
  const level_t level = ht->ht_level();
  while (PTE_ISPAGE(pte, level)) {
    const pfn_t pfn = PTE2PFN(pte, level);
    page_t* const pp = page_numtopp_nolock(sys.vm, pfn);
    HAT_ASSERT(pp != nullptr || pte_is_noconsist(pte),
               absl::StrFormat("htable va=0x%x level=%d entry %u: no page for pte 0x%x",
                               ht->ht_vaddr(), level, entry, pte));
    // An off-list entry of memory takes the mlist too: meanwhile the same page may have been mapped
    // here on-list, and x86pte_inval compares frames only.
    if (pp != nullptr) x86_hm_enter(sys, pp);
    // Relaxed: the mlist orders it after the count of a loader that was here before us.
    if ((flags & HAT_UNLOAD_UNLESS_LOCKED) != 0 &&
        ht->ht_lock_cnt.load(std::memory_order_relaxed) != 0) {
      if (pp != nullptr) x86_hm_exit(sys, pp);
      return 0;
    }
    // Exiting hats too: an entry left behind would be found, and accounted for, a second time.
    pte = x86pte_inval(sys, ht, entry, pte);
    if (PTE_ISPAGE(pte, level) && PTE2PFN(pte, level) == pfn) {
      if (!pte_is_noconsist(pte)) {
        *ppp = pp;
      } else if (pp != nullptr) {
        x86_hm_exit(sys, pp);
      }
      return pte;
    }
    if (pp != nullptr) x86_hm_exit(sys, pp);
  }
  return 0;
}

void hat_kmap_unload(System& sys, uintptr_t addr, uint64_t len, uint32_t flags) {
  HAT_ASSERT(len <= sys.kmap_eaddr - addr, absl::StrFormat("unload at 0x%x leaves segkmap", addr));
  for (uint64_t done = 0; done < len; done += sys.mmu().pagesize()) {
    htable_t* const ht = hat_kmap_table(sys, addr + done);
    const uint32_t entry = htable_va2entry(sys, addr + done, ht);
    const x86pte_t pte = x86pte_get(sys, ht, entry);
    if (PTE_ISVALID(pte)) hat_pte_unmap(sys, ht, entry, flags, pte);
  }
}

// One small page, nobody to tell: no walk.
void unload_one(System& sys, hat_t* hat, uintptr_t addr, uint32_t flags) {
  uint32_t entry;
  x86pte_t pte;
  htable_t* const ht = htable_getpte(sys, hat, addr, &entry, &pte, 0);
  if (ht == nullptr) return;
  if (PTE_ISVALID(pte)) hat_pte_unmap(sys, ht, entry, flags, pte);
  htable_release(sys, ht);
}

}  // namespace

void hat_pte_unmap(System& sys, htable_t* ht, uint32_t entry, uint32_t flags, x86pte_t old_pte) {
  HAT_ASSERT(ht->ht_busy.load(std::memory_order_relaxed) > 0, "invariant 13: unmap without a hold");
  hat_t* const hat = ht->ht_hat();
  const level_t level = ht->ht_level();
  if ((flags & HAT_UNLOAD_UNLOCK) != 0 && hat != sys.kas_hat()) HTABLE_LOCK_DEC(sys, ht);

  page_t* pp = nullptr;
  const x86pte_t pte = clear_entry(sys, ht, entry, flags, old_pte, &pp);
  if (!PTE_ISVALID(pte)) return;

  if (pp != nullptr) {
    if ((flags & HAT_UNLOAD_NOSYNC) == 0) hati_sync_pte_to_page(sys, pp, pte, level);
    hment_t* const hm = hment_remove(sys, pp, ht, entry);
    x86_hm_exit(sys, pp);
    if (hm != nullptr) hment_free(sys, hm);
  }
  HTABLE_DEC(sys, ht);
  // A plain counter, see hati_pte_map.
  hat->hat_pages_mapped[level].fetch_sub(1, std::memory_order_relaxed);
}

void hat_unload(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t flags) {
  if (hat == sys.kas_hat() && hat_in_kmap(sys, addr)) {
    hat_kmap_unload(sys, addr, len, flags);
  } else {
    hat_unload_callback(sys, hat, addr, len, flags, nullptr);
  }
}

void hat_unload_callback(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t flags,
                         const HatUnloadCallback* callback) {
  const MmuGeometry& mmu = sys.mmu();
  HAT_ASSERT((addr & mmu.level_offset(0)) == 0 && (len & mmu.level_offset(0)) == 0);
  if (callback == nullptr && len == mmu.pagesize()) {
    unload_one(sys, hat, addr, flags);
    return;
  }

  RangeCollector collector(mmu, callback);
  const uintptr_t eaddr = addr + len;
  htable_t* ht = nullptr;
  for (uintptr_t va = addr; va < eaddr;) {
    const x86pte_t pte = htable_walk(sys, hat, &ht, &va, eaddr);
    if (ht == nullptr) break;
    if (va < addr) {
      panic(absl::StrFormat("hat_unload_callback: 0x%x is inside the page at 0x%x", addr, va));
    }
    const level_t level = ht->ht_level();
    hat_pte_unmap(sys, ht, htable_va2entry(sys, va, ht), flags, pte);
    collector.add(va, level);
    va += mmu.level_size(level);
  }
  if (ht != nullptr) htable_release(sys, ht);
  collector.handle_ranges();
}

void hat_unlock(System& sys, hat_t* hat, uintptr_t addr, uint64_t len) {
  if (hat == sys.kas_hat()) return;
  HAT_ASSERT(AS_LOCK_HELD(hat->hat_as()), "hat_unlock without a_lock");
  const uintptr_t eaddr = addr + len;
  htable_t* ht = nullptr;
  for (uintptr_t va = addr; va < eaddr;) {
    htable_walk(sys, hat, &ht, &va, eaddr);
    if (ht == nullptr) break;
    // Relaxed: the caller's own locks are among those counted.
    if (ht->ht_lock_cnt.load(std::memory_order_relaxed) < 1) {
      panic(absl::StrFormat("invariant 22: hat_unlock at 0x%x: htable va=0x%x has ht_lock_cnt %d",
                            va, ht->ht_vaddr(), ht->ht_lock_cnt.load(std::memory_order_relaxed)));
    }
    HTABLE_LOCK_DEC(sys, ht);
    va += sys.mmu().level_size(ht->ht_level());
  }
  if (ht != nullptr) htable_release(sys, ht);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
