#include "hat/hat_load.h"

#include "absl/strings/str_format.h"
#include "hat/hat.h"
#include "hat/hment.h"
#include "hat/hment_reserve.h"
#include "hat/htable.h"
#include "hat/pte_ops.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Bits in which a valid entry may differ from the one that replaces it, besides the frame.
constexpr x86pte_t kMayChange = PT_NX | PT_WRITABLE | PT_WRITETHRU | PT_NOCACHE | PT_REF | PT_MOD;

// For the duration of one load the thread is one level deeper, which decides who may draw on the
// reserves. Entered before any table is held: the thread design may sleep here.
class LoadScope {
 public:
  LoadScope(System& sys, uint32_t flags) : sys_(sys), flags_(flags) {
    sys_.reserve_ownership->enter(sys_, flags_);
  }
  ~LoadScope() { sys_.reserve_ownership->exit(sys_, flags_); }
  LoadScope(const LoadScope&) = delete;
  LoadScope& operator=(const LoadScope&) = delete;

 private:
  System& sys_;
  const uint32_t flags_;
};

uint32_t with_order(uint32_t attr, uint32_t order) { return (attr & ~HAT_ORDER_MASK) | order; }

std::string describe(const htable_t* ht, uint32_t entry, x86pte_t old_pte, x86pte_t new_pte) {
  return absl::StrFormat("htable va=0x%x level=%d entry %u: old pte 0x%x, new pte 0x%x",
                         ht->ht_vaddr(), ht->ht_level(), entry, old_pte, new_pte);
}

// A valid entry was replaced by a different one: was that allowed?
void check_remap(System& sys, const htable_t* ht, uint32_t entry, x86pte_t old_pte,
                 x86pte_t new_pte, uint32_t flags) {
  const level_t level = ht->ht_level();
  HAT_ASSERT(PTE_ISPAGE(old_pte, level), "invariant 36: " + describe(ht, entry, old_pte, new_pte));
  const pfn_t old_pfn = PTE2PFN(old_pte, level);
  const pfn_t new_pfn = PTE2PFN(new_pte, level);
  if (old_pfn != new_pfn &&
      ((flags & HAT_LOAD_REMAP) == 0 || !pte_is_noconsist(old_pte) || !pte_is_noconsist(new_pte) ||
       pf_is_memory(sys, old_pfn) != pf_is_memory(sys, new_pfn))) {
    panic("invariant 33: frame of a mapping changed: " + describe(ht, entry, old_pte, new_pte));
  }
  const x86pte_t large_pat_or_address = level == 0 ? PT_PADDR | PT_PAT_4K : PT_PADDR;
  if (((old_pte ^ new_pte) & ~(kMayChange | large_pat_or_address)) != 0) {
    panic("hati_pte_map: " + describe(ht, entry, old_pte, new_pte));
  }
}

void assert_may_load(const System& sys, const hat_t* hat, uintptr_t addr, uint64_t len) {
  HAT_ASSERT((addr & sys.mmu().level_offset(0)) == 0 && (len & sys.mmu().level_offset(0)) == 0);
  if (hat == sys.kas_hat()) return;
  HAT_ASSERT(AS_LOCK_HELD(hat->hat_as()), "load into a user hat without a_lock");
  HAT_ASSERT(addr < sys.userlimit && len <= sys.userlimit - addr,
             absl::StrFormat("user load at 0x%x, 0x%x bytes", addr, len));
}

void assert_may_map(const page_t* pp) {
  HAT_ASSERT(PAGE_LOCKED(pp) && !PP_ISFREE(pp),
             absl::StrFormat("load of page %u: p_selock %d, p_state 0x%x", pp->p_pagenum,
                             pp->p_selock.load(std::memory_order_relaxed),
                             pp->p_state.load(std::memory_order_relaxed)));
}

// The segkmap window's fast path: no search and no hold, since its tables are held for ever.
void hat_kmap_load(System& sys, uintptr_t addr, page_t* pp, uint32_t attr, uint32_t flags) {
  const LoadScope scope(sys, flags);
  if (sys.reserve_ownership->nested_load_is_noconsist(sys)) flags |= HAT_LOAD_NOCONSIST;
  htable_t* const ht = hat_kmap_table(sys, addr);
  const x86pte_t pte = hati_mkpte(pp->p_pagenum, attr & ~PROT_USER_ATTR, 0, flags) | PT_GLOBAL;
  hati_pte_map(sys, ht, htable_va2entry(sys, addr, ht), pp, pte, flags);
}

// True if the entries pages[0..] are the constituents, in order, of (part of) a large page that a
// leaf of `level` can map.
bool is_large_run(const MmuGeometry& mmu, page_t* const* pages, level_t level) {
  const pfn_t first = pages[0]->p_pagenum;
  const uint64_t frames = mmu.level_frames(level);
  if ((first & (frames - 1)) != 0) return false;
  // Relaxed: the caller holds the pages, which freezes p_szc.
  if (pages[0]->p_szc.load(std::memory_order_relaxed) < level) return false;
  for (uint64_t i = 1; i < frames; ++i) {
    if (pages[i]->p_pagenum != first + i) return false;
  }
  return true;
}

// Largest page size for the start of a run of frames without page structures: by alignment and
// length; consistent mappings of memory also need the page itself to be that large, or the page's
// unloader would not find them.
level_t dev_level(System& sys, uintptr_t va, uint64_t len, pfn_t pfn, bool consistent) {
  const MmuGeometry& mmu = sys.mmu();
  for (level_t level = mmu.max_page_level; level > 0; --level) {
    const uint64_t frames = mmu.level_frames(level);
    if ((va & mmu.level_offset(level)) != 0 || (pfn & (frames - 1)) != 0) continue;
    if (len < mmu.level_size(level)) continue;
    const page_t* const pp = page_numtopp_nolock(sys.vm, pfn);
    if ((pp != nullptr) != pf_is_memory(sys, pfn + frames - 1)) continue;
    // Relaxed: nobody locks the page here, the caller answers for it staying what it is.
    if (pp != nullptr && consistent && pp->p_szc.load(std::memory_order_relaxed) < level) continue;
    return level;
  }
  return 0;
}

}  // namespace

bool pf_is_memory(System& sys, pfn_t pfn) { return page_numtopp_nolock(sys.vm, pfn) != nullptr; }

x86pte_t hati_mkpte(pfn_t pfn, uint32_t attr, level_t level, uint32_t flags) {
  x86pte_t pte = MAKEPTE(pfn, level);
  pte |= (attr & PROT_WRITE_ATTR) != 0 ? PT_WRITABLE : 0;
  pte |= (attr & PROT_USER_ATTR) != 0 ? PT_USER : 0;
  pte |= (attr & PROT_EXEC_ATTR) == 0 ? PT_NX : 0;

  // Bits that nobody will collect are set from the start: the hardware never writes such an entry.
  if ((flags & HAT_LOAD_NOCONSIST) != 0) {
    pte |= PT_NOCONSIST | PT_REF | PT_MOD;
  } else if ((attr & HAT_NOSYNC) != 0) {
    pte |= PT_NOSYNC | PT_REF | PT_MOD;
  }

  const x86pte_t pat = level == 0 ? PT_PAT_4K : PT_PAT_LARGE;
  switch (attr & HAT_ORDER_MASK) {
    case HAT_STRICTORDER:
      return pte | PT_NOCACHE;
    case HAT_MERGING_OK:
    case HAT_LOADCACHING_OK:
      return pte | PT_NOCACHE | pat;
    case HAT_UNORDERED_OK:
    case HAT_STORECACHING_OK:
      return pte;
    default:
      panic(absl::StrFormat("hati_mkpte: attributes 0x%x have no caching order", attr));
  }
}

bool hati_pte_map(System& sys, htable_t* ht, uint32_t entry, page_t* pp, x86pte_t pte,
                  uint32_t flags) {
  HAT_ASSERT(ht->ht_busy.load(std::memory_order_relaxed) > 0, "invariant 13: map without a hold");
  hat_t* const hat = ht->ht_hat();
  const bool on_list = pp != nullptr && !pte_is_noconsist(pte);
  const bool locked = (flags & HAT_LOAD_LOCK) != 0 && hat != sys.kas_hat();
  // The lock first: stealers leave a table with locks alone, so the entry cannot be stolen between
  // its becoming valid and its becoming locked.
  if (locked) HTABLE_LOCK_INC(sys, ht);

  hment_t* unused = nullptr;
  if (on_list) {
    x86_hm_enter(sys, pp);
    unused = hment_prepare(sys, ht, entry, pp);
  } else {
    // Nothing keeps others away from an off-list entry: whoever finds it valid may take it out at
    // once, and must then find it counted.
    HTABLE_INC(ht);
  }

  const x86pte_t old_pte = x86pte_set(sys, ht, entry, pte);
  const bool blocked = old_pte == LPAGE_ERROR;
  const bool fresh = !PTE_ISVALID(old_pte);
  if (fresh) {
    if (on_list) {
      hment_assign(sys, ht, entry, pp, unused);
      unused = nullptr;
      HTABLE_INC(ht);  // before the mlist goes, under which an unmapper would lower it
    }
    // A plain counter: htable_walk only bounds its search by it.
    hat->hat_pages_mapped[ht->ht_level()].fetch_add(1, std::memory_order_relaxed);
  } else if (!blocked && !PTE_EQUIV(old_pte, pte)) {
    check_remap(sys, ht, entry, old_pte, pte, flags);
  }

  if (on_list) {
    x86_hm_exit(sys, pp);
    if (unused != nullptr) hment_free(sys, unused);
  } else if (!fresh) {
    HTABLE_DEC(sys, ht);
  }
  // The caller will try again with smaller pages, and count the lock there.
  if (blocked && locked) HTABLE_LOCK_DEC(sys, ht);
  return !blocked;
}

bool hati_load_common(System& sys, hat_t* hat, uintptr_t va, page_t* pp, uint32_t attr,
                      uint32_t flags, level_t level, pfn_t pfn) {
  const LoadScope scope(sys, flags);
  // Relaxed: what is shared is read by others only after a hat_share that happens after this load.
  if ((flags & HAT_LOAD_SHARE) != 0 &&
      (hat->hat_flags.load(std::memory_order_relaxed) & HAT_SHARED) == 0) {
    hat->hat_flags.fetch_or(HAT_SHARED, std::memory_order_relaxed);
  }

  htable_t* ht = htable_lookup(sys, hat, va, level);
  if (ht == nullptr) ht = htable_create(sys, hat, va, level, nullptr);
  HAT_ASSERT((ht->ht_flags() & HTABLE_SHARED_PFN) == 0,
             absl::StrFormat("invariant 62: load at 0x%x into a shared table", va));

  if (pp == nullptr || sys.reserve_ownership->nested_load_is_noconsist(sys)) {
    flags |= HAT_LOAD_NOCONSIST;
  }
  if (hat == sys.kas_hat()) attr &= ~PROT_USER_ATTR;
  x86pte_t pte = hati_mkpte(pfn, attr, level, flags);
  if (hat == sys.kas_hat() && va >= sys.kernelbase) pte |= PT_GLOBAL;

  const bool mapped = hati_pte_map(sys, ht, htable_va2entry(sys, va, ht), pp, pte, flags);
  htable_release(sys, ht);
  return mapped;
}

void hat_memload(System& sys, hat_t* hat, uintptr_t addr, page_t* pp, uint32_t attr,
                 uint32_t flags) {
  assert_may_load(sys, hat, addr, sys.mmu().pagesize());
  assert_may_map(pp);
  attr = with_order(attr, HAT_STORECACHING_OK);
  if (hat == sys.kas_hat() && hat_in_kmap(sys, addr)) {
    hat_kmap_load(sys, addr, pp, attr, flags);
  } else if (!hati_load_common(sys, hat, addr, pp, attr, flags, 0, pp->p_pagenum)) {
    panic(absl::StrFormat("hat_memload: page %u at 0x%x: no room", pp->p_pagenum, addr));
  }
}

void hat_memload_array(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, page_t** pages,
                       uint32_t attr, uint32_t flags) {
  const MmuGeometry& mmu = sys.mmu();
  assert_may_load(sys, hat, addr, len);
  attr = with_order(attr, HAT_STORECACHING_OK);
  for (uint64_t done = 0; done < len;) {
    const uintptr_t va = addr + done;
    page_t* const* const here = pages + (done >> mmu.page_shift());
    assert_may_map(*here);
    level_t level = mmu.max_page_level;
    while (level > 0 && ((va & mmu.level_offset(level)) != 0 ||
                         len - done < mmu.level_size(level) || !is_large_run(mmu, here, level))) {
      --level;
    }
    while (!hati_load_common(sys, hat, va, *here, attr, flags, level, (*here)->p_pagenum)) {
      if (--level < 0) panic(absl::StrFormat("hat_memload_array: no room at 0x%x", va));
    }
    done += mmu.level_size(level);
  }
}

void hat_devload(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, pfn_t pfn, uint32_t attr,
                 uint32_t flags) {
  const MmuGeometry& mmu = sys.mmu();
  assert_may_load(sys, hat, addr, len);
  for (uint64_t done = 0; done < len;) {
    const uintptr_t va = addr + done;
    const pfn_t frame = pfn + (done >> mmu.page_shift());
    page_t* pp = page_numtopp_nolock(sys.vm, frame);
    uint32_t a = attr;
    if (pp != nullptr && (attr & HAT_PLAT_NOCACHE) == 0) a = with_order(a, HAT_STORECACHING_OK);
    if ((flags & HAT_LOAD_NOCONSIST) != 0) pp = nullptr;
    level_t level = dev_level(sys, va, len - done, frame, pp != nullptr);
    // hati_load_common makes mappings without a page off-list.
    while (!hati_load_common(sys, hat, va, pp, a, flags, level, frame)) {
      if (--level < 0) panic(absl::StrFormat("hat_devload: no room at 0x%x", va));
    }
    done += mmu.level_size(level);
  }
}

MemPte hat_mempte_setup(System& sys, uintptr_t addr) {
  hat_t* const hat = sys.kas_hat();
  HAT_ASSERT(addr >= sys.kernelbase, absl::StrFormat("hat_mempte_setup: user address 0x%x", addr));
  const LoadScope scope(sys, HAT_LOAD);
  htable_t* const ht = htable_create(sys, hat, addr, 0, nullptr);
  const uint32_t entry = htable_va2entry(sys, addr, ht);
  const x86pte_t pte = x86pte_get(sys, ht, entry);
  if (PTE_ISVALID(pte)) panic(absl::StrFormat("hat_mempte_setup: 0x%x has pte 0x%x", addr, pte));
  HTABLE_INC(ht);  // keeps the table until hat_mempte_release
  htable_release(sys, ht);
  return MemPte{ht, entry};
}

void hat_mempte_release(System& sys, uintptr_t addr, MemPte mempte) {
  htable_t* const ht = htable_lookup(sys, sys.kas_hat(), addr, 0);
  HAT_ASSERT(ht == mempte.ht, absl::StrFormat("hat_mempte_release: 0x%x has another table", addr));
  x86pte_inval(sys, ht, mempte.entry, 0);
  HTABLE_DEC(sys, ht);
  htable_release(sys, ht);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
