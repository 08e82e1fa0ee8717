// Sharing page tables between address spaces (ISM, and DISM, whose pages are not locked in memory).
//
// A source hat holds the segment once. A sharer's table of the same shape does not get a frame of
// its own: its parent's pointer entry leads to the source's frame (HTABLE_SHARED_PFN). Its
// ht_valid_cnt is a snapshot of the source's and only says that the table is in use. What cannot be
// shared as a table (ends of the range, addresses that are not aligned alike) is mapped page by
// page.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "hat/hat.h"
#include "hat/hat_load.h"
#include "hat/hat_page.h"
#include "hat/htable.h"
#include "hat/htable_walk.h"
#include "hat/pte_ops.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// One hat_share call.
struct Sharing {
  System& sys;
  hat_t* hat;
  uintptr_t addr;
  uintptr_t src_addr;
  uint64_t len;

  uintptr_t dest_of(uintptr_t src_va) const { return addr + (src_va - src_addr); }
};

// A mapping found in the source; ht is held.
struct Source {
  htable_t* ht;
  uintptr_t va;
  x86pte_t pte;
  // DISM: pages and tables may go at any time.
  bool unlocked;
};

// Could the sharer use the frame of the source's table?
bool table_can_be_shared(const Sharing& share, const Source& source) {
  const MmuGeometry& mmu = share.sys.mmu();
  const level_t level = source.ht->ht_level();
  if (level == mmu.max_level() || (source.unlocked && level > 0)) return false;
  // Into a gap of a shared upper table a new table could be linked for either hat, and would appear
  // in the other. Relaxed: a hint; tables of locked segments do not change.
  if (level > 0 && source.ht->ht_valid_cnt.load(std::memory_order_relaxed) <
                       static_cast<int32_t>(mmu.ptes_per_table())) {
    return false;
  }
  const uintptr_t span = mmu.level_size(level + 1);
  const uintptr_t start = source.ht->ht_vaddr();
  return start >= share.src_addr && start - share.src_addr <= share.len - span &&
         span <= share.len && (share.dest_of(start) & (span - 1)) == 0;
}

// Shares the table. False if the sharer has something else in its place.
bool share_table(const Sharing& share, htable_t* src_ht) {
  System& sys = share.sys;
  const level_t level = src_ht->ht_level();
  const uintptr_t va = share.dest_of(src_ht->ht_vaddr());
  htable_t* ht = htable_lookup(sys, share.hat, va, level);
  if (ht == nullptr) {
    if (hat_probe(sys, share.hat, va)) return false;  // a large page
    ht = htable_create(sys, share.hat, va, level, src_ht);
  } else if (ht->ht_shares() != src_ht) {
    htable_release(sys, ht);
    return false;
  }
  // A source without entries leaves 0, and the release below takes the table away again. Relaxed:
  // our hold keeps everybody from concluding anything from the count.
  const int32_t now = src_ht->ht_valid_cnt.load(std::memory_order_relaxed);
  const int32_t before = ht->ht_valid_cnt.exchange(now, std::memory_order_relaxed);
  share.hat->hat_ism_pgcnt.fetch_add(
      (now - before) * static_cast<int64_t>(sys.mmu().level_frames(level)),
      std::memory_order_relaxed);
  htable_release(sys, ht);
  return true;
}

// Attributes that make hati_mkpte build the same permissions and caching.
uint32_t attributes_of(x86pte_t pte, level_t level) {
  const x86pte_t pat = level == 0 ? PT_PAT_4K : PT_PAT_LARGE;
  uint32_t attr = PROT_READ_ATTR;
  attr |= (pte & PT_WRITABLE) != 0 ? PROT_WRITE_ATTR : 0;
  attr |= (pte & PT_USER) != 0 ? PROT_USER_ATTR : 0;
  attr |= (pte & PT_NX) == 0 ? PROT_EXEC_ATTR : 0;
  if ((pte & PT_NOCACHE) == 0) return attr | HAT_STORECACHING_OK;
  return attr | ((pte & pat) != 0 ? HAT_MERGING_OK : HAT_STRICTORDER);
}

// Maps one page of an unlocked segment, if it can be had at once: else the sharer will fault for
// it. The page is on-list, so that its unloader finds the copy.
void copy_unlocked(const Sharing& share, const Source& source, uintptr_t dest, pfn_t pfn) {
  System& sys = share.sys;
  page_t* const pp = page_numtopp_nolock(sys.vm, pfn);
  if (pp == nullptr || pte_is_noconsist(source.pte)) return;
  if (page_trylock(sys.vm, pp, SE_SHARED) == 0) return;
  // The walk's word for the frame is old: it may have been freed and be somebody else's page by
  // now. If the source maps it even though we hold the page, it is the right one and will stay.
  const uint32_t entry = htable_va2entry(sys, source.va, source.ht);
  const x86pte_t now = x86pte_get(sys, source.ht, entry);
  if (PTE_EQUIV(now, source.pte)) {
    hati_load_common(sys, share.hat, dest, pp, attributes_of(now, source.ht->ht_level()), HAT_LOAD,
                     0, pfn);
  }
  page_unlock(sys.vm, pp);
}

// Maps one page of a locked segment, as large as possible up to max_level; returns the level used.
// Off-list is right because the source keeps the page in memory, and locked because nobody would
// fault the mapping in again.
level_t copy_locked(const Sharing& share, const Source& source, uintptr_t dest, pfn_t pfn,
                    uint64_t len) {
  const MmuGeometry& mmu = share.sys.mmu();
  level_t level = source.ht->ht_level();
  while (level > 0 && ((dest & mmu.level_offset(level)) != 0 ||
                       (pfn & (mmu.level_frames(level) - 1)) != 0 || len < mmu.level_size(level))) {
    --level;
  }
  const uint32_t attr = attributes_of(source.pte, source.ht->ht_level());
  while (!hati_load_common(share.sys, share.hat, dest, nullptr, attr,
                           HAT_LOAD_LOCK | HAT_LOAD_NOCONSIST, level, pfn)) {
    if (--level < 0) panic(absl::StrFormat("hat_share: no room at 0x%x", dest));
  }
  return level;
}

// Maps the part of the source's page that lies in the range, except what the sharer has already: a
// second hat_share of the same range must not lock anything twice.
void copy_mapping(const Sharing& share, const Source& source) {
  System& sys = share.sys;
  const MmuGeometry& mmu = sys.mmu();
  const level_t src_level = source.ht->ht_level();
  const uintptr_t end = std::min(source.va + mmu.level_size(src_level), share.src_addr + share.len);
  uintptr_t va = std::max(source.va, share.src_addr);
  while (va < end) {
    const uintptr_t dest = share.dest_of(va);
    const pfn_t pfn = PTE2PFN(source.pte, src_level) + ((va - source.va) >> mmu.page_shift());
    const int64_t mapped = hat_getpagesize(sys, share.hat, dest);
    if (mapped > 0) {
      const auto size = static_cast<uintptr_t>(mapped);
      va += size - (dest & (size - 1));
    } else if (source.unlocked) {
      copy_unlocked(share, source, dest, pfn);
      va += mmu.pagesize();
    } else {
      va += mmu.level_size(copy_locked(share, source, dest, pfn, end - va));
    }
  }
}

// Stops sharing the table ht (held; the hold is dropped). The TLBs still know its mappings.
void unshare_table(System& sys, htable_t* ht) {
  // With nothing valid the last release takes the table away, pointer entry and hold on the
  // source's table included. Relaxed: see share_table.
  const int32_t before = ht->ht_valid_cnt.exchange(0, std::memory_order_relaxed);
  ht->ht_hat()->hat_ism_pgcnt.fetch_sub(
      before * static_cast<int64_t>(sys.mmu().level_frames(ht->ht_level())),
      std::memory_order_relaxed);
  htable_release(sys, ht);
}

// Unshares the shared table that covers va, if there is one (*found set). Returns the first address
// that has not been looked at.
uintptr_t unshare_at(System& sys, hat_t* hat, uintptr_t va, bool* found) {
  const MmuGeometry& mmu = sys.mmu();
  level_t level = mmu.max_level() - 1;
  for (; level >= 0; --level) {
    htable_t* const ht = htable_lookup(sys, hat, va, level);
    if (ht == nullptr) break;  // and so none below
    if ((ht->ht_flags() & HTABLE_SHARED_PFN) != 0) {
      unshare_table(sys, ht);
      *found = true;
      break;
    }
    htable_release(sys, ht);
  }
  const uintptr_t span = mmu.level_size(std::max(level, 0) + 1);
  return (va & ~(span - 1)) + span;
}

// Unmaps what copy_mapping has mapped: off-list mappings are those that were locked.
void unload_copies(System& sys, hat_t* hat, uintptr_t addr, uintptr_t eaddr) {
  htable_t* ht = nullptr;
  for (uintptr_t va = addr; va < eaddr;) {
    const x86pte_t pte = htable_walk(sys, hat, &ht, &va, eaddr);
    if (ht == nullptr) break;
    const uint32_t unlock = pte_is_noconsist(pte) ? HAT_UNLOAD_UNLOCK : 0;
    hat_pte_unmap(sys, ht, htable_va2entry(sys, va, ht), HAT_UNLOAD_UNMAP | unlock, pte);
    va += sys.mmu().level_size(ht->ht_level());
  }
  if (ht != nullptr) htable_release(sys, ht);
}

}  // namespace

int hat_share(System& sys, hat_t* hat, uintptr_t addr, hat_t* src_hat, uintptr_t src_addr,
              uint64_t len, uint32_t ismszc) {
  const MmuGeometry& mmu = sys.mmu();
  HAT_ASSERT(AS_LOCK_HELD(hat->hat_as()), "hat_share without a_lock");
  HAT_ASSERT(static_cast<int>(ismszc) <= mmu.max_page_level);
  HAT_ASSERT(((addr | src_addr | len) & mmu.level_offset(0)) == 0);
  // Unless unloads through the source reach every CPU, its tables cannot be shared. Relaxed: the
  // flag was set by the loads that the caller waited for.
  if ((src_hat->hat_flags.load(std::memory_order_relaxed) & HAT_SHARED) == 0) return 0;

  const Sharing share{sys, hat, addr, src_addr, len};
  const uintptr_t src_eaddr = src_addr + len;
  htable_t* ht = nullptr;
  for (uintptr_t va = src_addr; va < src_eaddr;) {
    const x86pte_t pte = htable_walk(sys, src_hat, &ht, &va, src_eaddr);
    if (ht == nullptr) break;
    // Relaxed: a segment is locked as a whole before it is shared, or not at all.
    const bool unlocked = ht->ht_lock_cnt.load(std::memory_order_relaxed) == 0;
    const Source source{ht, va, pte, unlocked};
    if (table_can_be_shared(share, source) && share_table(share, ht)) {
      va = ht->ht_vaddr() + mmu.level_size(ht->ht_level() + 1);
      htable_release(sys, ht);
      ht = nullptr;
      continue;
    }
    copy_mapping(share, source);
    va += mmu.level_size(ht->ht_level());
  }
  if (ht != nullptr) htable_release(sys, ht);
  return 0;
}

void hat_unshare(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t /*ismszc*/) {
  HAT_ASSERT(AS_LOCK_HELD(hat->hat_as()), "hat_unshare without a_lock");
  const uintptr_t eaddr = addr + len;
  bool unshared = false;
  for (uintptr_t va = addr; va < eaddr;) va = unshare_at(sys, hat, va, &unshared);

  // One flush for all of them. Until now our CPUs could still reach the pages; none can have been
  // freed meanwhile, because an unload through the source flushes all CPUs (HAT_SHARED). Relaxed:
  // only the caller sets FREEING for this hat.
  if (unshared && (hat->hat_flags.load(std::memory_order_relaxed) & HAT_FREEING) == 0) {
    hat_tlb_inval(sys, hat, DEMAP_ALL_ADDR);
  }
  unload_copies(sys, hat, addr, eaddr);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
