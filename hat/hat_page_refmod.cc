// Reference and modified bits: from the hardware's PTEs to the page, and back to the hardware.
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "hat/hat_page.h"
#include "hat/hment.h"
#include "hat/pte_ops.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// HAT_SYNC_STOPON_SHARED: a page with more mappings than this counts as in use, unseen (po_share).
constexpr uint32_t kPoShare = 8;

constexpr uint8_t kNrmBits = P_REF | P_MOD | P_RO;

// Calls visit(list page, table, entry) under that page's mlist for every mapping that covers pp, at
// any size, until it returns false. Not a snapshot: the mlists are taken one after the other.
void for_each_mapping(System& sys, page_t* pp,
                      absl::FunctionRef<bool(page_t*, htable_t*, uint32_t)> visit) {
  page_t* walked = nullptr;
  // p_szc unlocked: a page lock, or the I/O lock of a small page, keeps it; and if it falls, the
  // large mappings are gone.
  for (int szc = 0; szc <= pp->p_szc.load(std::memory_order_relaxed); ++szc) {
    page_t* leader = PP_GROUPLEADER(sys.vm, pp, szc);
    // One walk of a list sees the mappings of this size and of all larger ones.
    if (leader == walked) continue;
    walked = leader;
    x86_hm_enter(sys, leader);
    htable_t* ht = nullptr;
    uint32_t entry = 0;
    hment_t* hm = nullptr;
    bool more = true;
    while (more && (hm = hment_walk(sys, leader, &ht, &entry, hm)) != nullptr) {
      // Smaller ones belong to the leader alone and do not cover pp.
      if (ht->ht_level() >= szc) more = visit(leader, ht, entry);
    }
    x86_hm_exit(sys, leader);
    if (!more) return;
  }
}

// Takes `bits` out of the PTE, which a record on pp's locked list names; REF and MOD move to the
// page. Entries that are not synced keep both.
void clear_pte_bits(System& sys, page_t* pp, htable_t* ht, uint32_t entry, x86pte_t bits) {
  x86pte_t pte = x86pte_get(sys, ht, entry);
  // Valid as long as we hold the mlist; the hardware may set REF and MOD in between.
  while (PTE_ISVALID(pte)) {
    const bool nosync = (pte & PT_SOFTWARE) >= PT_NOSYNC;
    const x86pte_t wanted = pte & ~(nosync ? bits & ~(PT_REF | PT_MOD) : bits);
    if (wanted == pte) return;
    // On failure it looked: go on from what is there, which may be nothing.
    if (hati_update_pte(sys, pp, ht, entry, pte, wanted, &pte)) return;
  }
}

// Makes the next write through any mapping of pp fault.
void hati_page_clrwrt(System& sys, page_t* pp) {
  for_each_mapping(sys, pp, [&sys](page_t* leader, htable_t* ht, uint32_t entry) {
    clear_pte_bits(sys, leader, ht, entry, PT_REF | PT_MOD | PT_WRITABLE);
    return true;
  });
}

// Is what the caller wants to know known already?
bool may_stop(const page_t* pp, uint32_t flags) {
  return ((flags & HAT_SYNC_STOPON_REF) != 0 && hat_page_getattr(pp, P_REF) != 0) ||
         ((flags & HAT_SYNC_STOPON_MOD) != 0 && hat_page_getattr(pp, P_MOD) != 0);
}

}  // namespace

uint32_t hat_pagesync(System& sys, page_t* pp, uint32_t flags) {
  HAT_ASSERT(PAGE_LOCKED(pp), absl::StrCat("hat_pagesync: page ", pp->p_pagenum, " not locked"));
  const bool zerorm = (flags & HAT_SYNC_ZERORM) != 0;
  if ((flags & HAT_SYNC_STOPON_MOD) != 0 && hat_page_getattr(pp, P_RO) != 0) {
    return hat_page_getattr(pp, kNrmBits);
  }
  // Who asks for the bits to be cleared wants it in all mappings, whatever is known.
  if (!zerorm) {
    if (may_stop(pp, flags)) return hat_page_getattr(pp, kNrmBits);
    if ((flags & HAT_SYNC_STOPON_SHARED) != 0 && hat_page_getshare(sys, pp) > kPoShare) {
      return hat_page_getattr(pp, kNrmBits);
    }
  }
  for_each_mapping(sys, pp, [&](page_t* leader, htable_t* ht, uint32_t entry) {
    if (zerorm) {
      clear_pte_bits(sys, leader, ht, entry, PT_REF | PT_MOD);
      return true;
    }
    hati_sync_pte_to_page(sys, leader, x86pte_get(sys, ht, entry), ht->ht_level());
    return !may_stop(pp, flags);
  });
  return hat_page_getattr(pp, kNrmBits);
}

void hat_page_setattr(System& sys, page_t* pp, uint32_t bits) {
  const auto wanted = static_cast<uint8_t>(bits);
  // p_nrm is a set of independent bits and carries no other data: relaxed throughout. Whoever must
  // see a bit (a writer of pages, after hat_pagesync) meets its setter at an mlist.
  if ((pp->p_nrm.load(std::memory_order_relaxed) & wanted) == wanted) return;
  for (;;) {
    vnode_t* vp = pp->p_vnode.load(std::memory_order_acquire);
    if ((wanted & P_MOD) == 0 || vp == nullptr || !IS_VMODSORT(vp)) {
      pp->p_nrm.fetch_or(wanted, std::memory_order_relaxed);
      return;
    }
    // Modified pages are found at the tail of the vnode's list.
    MutexGuard guard(page_vnode_mutex(sys.vm, vp));
    // The identity was read without a lock: the EXCL owner may have renamed the page.
    if (pp->p_vnode.load(std::memory_order_relaxed) != vp) continue;
    pp->p_nrm.fetch_or(wanted, std::memory_order_relaxed);
    page_vpmove_to_tail(sys.vm, pp);
    return;
  }
}

void hat_page_clrattr(System& sys, page_t* pp, uint32_t bits) {
  pp->p_nrm.fetch_and(static_cast<uint8_t>(~bits), std::memory_order_relaxed);
  if ((bits & P_MOD) == 0) return;
  // The caller's page or I/O lock keeps the identity.
  vnode_t* vp = pp->p_vnode.load(std::memory_order_relaxed);
  // After the bit: a write that comes before its mapping is cleared sets the bit again.
  if (vp != nullptr && IS_VMODSORT(vp)) hati_page_clrwrt(sys, pp);
}

uint32_t hat_page_getattr(const page_t* pp, uint32_t bits) {
  return pp->p_nrm.load(std::memory_order_relaxed) & bits;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
