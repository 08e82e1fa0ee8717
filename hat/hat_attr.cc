#include "absl/strings/str_format.h"
#include "hat/hat.h"
#include "hat/hat_load.h"
#include "hat/hat_page.h"
#include "hat/hment.h"
#include "hat/htable.h"
#include "hat/htable_walk.h"
#include "hat/pte_ops.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr x86pte_t kRefMod = PT_REF | PT_MOD;

// How a call changes the attributes that it is given.
enum class Change { kSet, kClear, kReplace, kReplaceProt };

x86pte_t with_bit(x86pte_t pte, x86pte_t bit, bool on) { return on ? pte | bit : pte & ~bit; }

// Only writing, execution and syncing can be changed.
x86pte_t changed(x86pte_t pte, uint32_t attr, Change how) {
  const bool replace = how == Change::kReplace || how == Change::kReplaceProt;
  const bool on = how != Change::kClear;  // what becomes of an attribute that was named
  if (replace || (attr & PROT_WRITE_ATTR) != 0) {
    pte = with_bit(pte, PT_WRITABLE, on && (attr & PROT_WRITE_ATTR) != 0);
  }
  if (replace || (attr & PROT_EXEC_ATTR) != 0) {
    pte = with_bit(pte, PT_NX, !on || (attr & PROT_EXEC_ATTR) == 0);
  }
  if (how == Change::kReplace || (attr & HAT_NOSYNC) != 0) {
    pte = with_bit(pte, PT_NOSYNC, on && (attr & HAT_NOSYNC) != 0);
  }
  // Nobody collects the bits of such an entry, so the hardware need not set them.
  if (pte_is_nosync(pte)) pte |= kRefMod;
  return pte;
}

// Calls visit(ht, entry, pte, pp) for each on-list mapping of memory in the range, with pp's mlist
// held. The entry was read before the mlist was taken; if visit finds that it has changed since
// then it returns false, and the walk looks at the same address again.
template <class Visit>
void for_each_listed(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, Visit visit) {
  HAT_ASSERT(hat == sys.kas_hat() || AS_LOCK_HELD(hat->hat_as()),
             "change of a user hat without a_lock");
  const uintptr_t eaddr = addr + len;
  htable_t* ht = nullptr;
  for (uintptr_t va = addr; va < eaddr;) {
    const x86pte_t pte = htable_walk(sys, hat, &ht, &va, eaddr);
    if (ht == nullptr) break;
    const level_t level = ht->ht_level();
    if (!pte_is_noconsist(pte)) {
      page_t* const pp = page_numtopp_nolock(sys.vm, PTE2PFN(pte, level));
      if (pp != nullptr) {
        x86_hm_enter(sys, pp);
        const bool done = visit(ht, htable_va2entry(sys, va, ht), pte, pp);
        x86_hm_exit(sys, pp);
        if (!done) continue;
      }
    }
    va += sys.mmu().level_size(level);
  }
  if (ht != nullptr) htable_release(sys, ht);
}

void hat_updateattr(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t attr,
                    Change how) {
  for_each_listed(sys, hat, addr, len, [&](htable_t* ht, uint32_t entry, x86pte_t pte, page_t* pp) {
    const x86pte_t wanted = changed(pte, attr, how);
    x86pte_t found;
    return wanted == pte || hati_update_pte(sys, pp, ht, entry, pte, wanted, &found);
  });
}

// A valid leaf as it was a moment ago; pte 0 if there is none.
struct Mapping {
  x86pte_t pte = 0;
  level_t level = 0;
};

Mapping mapping_at(System& sys, hat_t* hat, uintptr_t addr) {
  if (hat == sys.kas_hat() && hat_in_kmap(sys, addr)) {
    htable_t* const ht = hat_kmap_table(sys, addr);
    const x86pte_t pte = x86pte_get(sys, ht, htable_va2entry(sys, addr, ht));
    return PTE_ISVALID(pte) ? Mapping{pte, 0} : Mapping{};
  }
  uint32_t entry;
  x86pte_t pte;
  htable_t* const ht = htable_getpte(sys, hat, addr, &entry, &pte, sys.mmu().max_page_level);
  if (ht == nullptr) return Mapping{};
  const level_t level = ht->ht_level();
  htable_release(sys, ht);
  return PTE_ISPAGE(pte, level) ? Mapping{pte, level} : Mapping{};
}

}  // namespace

void hat_setattr(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t attr) {
  hat_updateattr(sys, hat, addr, len, attr, Change::kSet);
}

void hat_clrattr(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t attr) {
  hat_updateattr(sys, hat, addr, len, attr, Change::kClear);
}

void hat_chgattr(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t attr) {
  hat_updateattr(sys, hat, addr, len, attr, Change::kReplace);
}

void hat_chgprot(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t prot) {
  hat_updateattr(sys, hat, addr, len, prot & PROT_ALL_ATTR, Change::kReplaceProt);
}

void hat_sync(System& sys, hat_t* hat, uintptr_t addr, uint64_t len, uint32_t flags) {
  const bool zero = (flags & HAT_SYNC_ZERORM) != 0;
  for_each_listed(sys, hat, addr, len, [&](htable_t* ht, uint32_t entry, x86pte_t pte, page_t* pp) {
    // Nothing to collect, and nothing to clear either: such entries keep both bits.
    if (pte_is_nosync(pte)) return true;
    // A shared table belongs to its source: through us it is read only (invariant 62).
    if (zero && (pte & kRefMod) != 0 && (ht->ht_flags() & HTABLE_SHARED_PFN) == 0) {
      x86pte_t found;
      return hati_update_pte(sys, pp, ht, entry, pte, pte & ~kRefMod, &found);
    }
    // Under the mlist an entry that still is what was read cannot be unmapped. The hardware may
    // add bits at any time; those that matter now are in pte or will be found next time.
    const x86pte_t now = x86pte_get(sys, ht, entry);
    if (!PTE_EQUIV(now, pte)) return false;
    hati_sync_pte_to_page(sys, pp, now, ht->ht_level());
    return true;
  });
}

bool hat_probe(System& sys, hat_t* hat, uintptr_t addr) {
  return mapping_at(sys, hat, addr).pte != 0;
}

pfn_t hat_getpfnum(System& sys, hat_t* hat, uintptr_t addr) {
  const Mapping mapping = mapping_at(sys, hat, addr);
  if (mapping.pte == 0) return PFN_INVALID;
  const MmuGeometry& mmu = sys.mmu();
  const uintptr_t offset = addr & mmu.level_offset(mapping.level);
  return PTE2PFN(mapping.pte, mapping.level) + (offset >> mmu.page_shift());
}

int hat_getattr(System& sys, hat_t* hat, uintptr_t addr, uint32_t* attr) {
  const x86pte_t pte = mapping_at(sys, hat, addr).pte;
  if (pte == 0) return -1;
  uint32_t result = PROT_READ_ATTR;
  if ((pte & PT_WRITABLE) != 0) result |= PROT_WRITE_ATTR;
  if ((pte & PT_USER) != 0) result |= PROT_USER_ATTR;
  if ((pte & PT_NX) == 0) result |= PROT_EXEC_ATTR;
  if (pte_is_nosync(pte)) result |= HAT_NOSYNC;
  *attr = result;
  return 0;
}

int64_t hat_getpagesize(System& sys, hat_t* hat, uintptr_t addr) {
  const Mapping mapping = mapping_at(sys, hat, addr);
  if (mapping.pte == 0) return -1;
  return static_cast<int64_t>(sys.mmu().level_size(mapping.level));
}

uint64_t hat_get_mapped_size(const System& sys, const hat_t* hat) {
  // Plain counters: the sum is no snapshot anyway.
  int64_t pages = hat->hat_ism_pgcnt.load(std::memory_order_relaxed);
  for (level_t level = 0; level <= sys.mmu().max_page_level; ++level) {
    pages += hat->hat_pages_mapped[level].load(std::memory_order_relaxed) *
             static_cast<int64_t>(sys.mmu().level_frames(level));
  }
  return pages > 0 ? static_cast<uint64_t>(pages) << sys.mmu().page_shift() : 0;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
