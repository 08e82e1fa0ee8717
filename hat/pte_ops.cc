// Page table entries: read, install, change, take away.
//
// Every loop here is a compare-and-swap loop for one reason: the hardware may set REF or MOD
// between the look and the swap. The value swapped out is then the last the hardware wrote, so no
// bit is lost.
//
// What such a loop finds, it compares and hands on, but follows to no page or table without the
// mlist or bucket mutex under which the entry was made: relaxed. A lone look is x86pte_get's.
#include "hat/pte_ops.h"

#include "hat/htable.h"
#include "hat/pte_invalidation.h"
#include "hat/shootdown.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr x86pte_t kRefMod = PT_REF | PT_MOD;

// After a downgrade of a clean writable entry: a CPU whose TLB still allowed writing may have set
// MOD until the flush was complete. The page is modified then, and the mapping must stay writable,
// or a caller that meant "not modified, so write-protect" would have lost the modification. Returns
// the entry as it is now, or `done` if nothing of the kind happened.
x86pte_t undo_if_written(Atomic<x86pte_t>& pte, x86pte_t done) {
  x86pte_t now = pte.load(std::memory_order_relaxed);
  while ((now & (PT_VALID | PT_MOD)) == (PT_VALID | PT_MOD)) {
    if (pte.compare_exchange_strong(now, now | PT_WRITABLE, std::memory_order_seq_cst,
                                    std::memory_order_relaxed)) {
      return now | PT_WRITABLE;
    }
  }
  return done;
}

std::string describe_entry(const htable_t* ht, uint32_t entry) {
  return "htable va=" + std::to_string(ht->ht_vaddr()) +
         " level=" + std::to_string(ht->ht_level()) + " entry=" + std::to_string(entry);
}

}  // namespace

Atomic<x86pte_t>& x86pte_access(System& sys, htable_t* ht, uint32_t entry) {
  return sys.machine.mem().word(ht->ht_pfn(), entry);
}

x86pte_t x86pte_get(System& sys, htable_t* ht, uint32_t entry) {
  // Acquire: who follows the entry to a table or a page sees it as it was when it was entered here.
  return x86pte_access(sys, ht, entry).load(std::memory_order_acquire);
}

x86pte_t x86pte_set(System& sys, htable_t* ht, uint32_t entry, x86pte_t new_pte) {
  HAT_ASSERT(new_pte != 0, describe_entry(ht, entry) + ": x86pte_set of 0");
  HAT_ASSERT((ht->ht_flags() & HTABLE_SHARED_PFN) == 0,
             "invariant 62: " + describe_entry(ht, entry) + ": set through a sharer");
  const level_t level = ht->ht_level();
  Atomic<x86pte_t>& pte = x86pte_access(sys, ht, entry);

  x86pte_t prev = pte.load(std::memory_order_relaxed);
  for (;;) {
    // Invariant 36: a page never replaces a pointer to a table.
    if (PTE_ISPTP(prev, level)) return LPAGE_ERROR;

    x86pte_t candidate = new_pte;
    if (PTE_ISVALID(prev) && PTE2PFN(prev, level) == PTE2PFN(new_pte, level)) {
      candidate |= prev & kRefMod;
    }
    if (prev == candidate) {
      // Somebody was faster, or the fault came from an entry in our own TLB that is stricter than
      // memory. Other CPUs with such an entry will fault and come here themselves.
      const uintptr_t va = htable_e2va(sys, ht, entry);
      sys.machine.with_core(this_cpu(), [va](Core& core) { core.invlpg(va); });
      return new_pte;
    }
    // seq_cst: against hat_switch, as for every change that is followed by a shootdown.
    if (pte.compare_exchange_strong(prev, candidate, std::memory_order_seq_cst,
                                    std::memory_order_relaxed)) {
      break;
    }
  }
  // The hardware caches nothing without setting REF first.
  if ((prev & PT_REF) != 0) hat_tlb_inval(sys, ht->ht_hat(), htable_e2va(sys, ht, entry));
  return prev;
}

x86pte_t x86pte_cas(System& sys, htable_t* ht, uint32_t entry, x86pte_t expect, x86pte_t new_pte) {
  x86pte_t found = expect;
  // Linking publishes the zeroed table below; unlinking is followed by a shootdown.
  x86pte_access(sys, ht, entry)
      .compare_exchange_strong(found, new_pte, std::memory_order_seq_cst,
                               std::memory_order_relaxed);
  return found;
}

x86pte_t x86pte_inval(System& sys, htable_t* ht, uint32_t entry, x86pte_t expect) {
  HAT_ASSERT((ht->ht_flags() & HTABLE_SHARED_PFN) == 0,
             "invariant 62: " + describe_entry(ht, entry) + ": cleared through a sharer");
  return sys.invalidation->invalidate(sys, ht, entry, expect, x86pte_access(sys, ht, entry));
}

x86pte_t x86pte_update(System& sys, htable_t* ht, uint32_t entry, x86pte_t expect,
                       x86pte_t new_pte) {
  HAT_ASSERT(PTE_ISVALID(new_pte), describe_entry(ht, entry) + ": x86pte_update to invalid");
  HAT_ASSERT((ht->ht_flags() & HTABLE_SHARED_PFN) == 0,
             "invariant 62: " + describe_entry(ht, entry) + ": changed through a sharer");
  Atomic<x86pte_t>& pte = x86pte_access(sys, ht, entry);

  x86pte_t found = expect;
  if (!pte.compare_exchange_strong(found, new_pte, std::memory_order_seq_cst,
                                   std::memory_order_relaxed)) {
    return found;
  }
  hat_tlb_inval(sys, ht->ht_hat(), htable_e2va(sys, ht, entry));

  const bool was_clean_writable = (expect & (PT_WRITABLE | PT_MOD)) == PT_WRITABLE;
  if (was_clean_writable && (new_pte & (PT_WRITABLE | PT_MOD)) == 0) {
    return undo_if_written(pte, expect);
  }
  return expect;
}

void x86pte_copy(System& sys, htable_t* src, htable_t* dest, uint32_t entry, uint32_t count) {
  // Relaxed: entries of the kernel's top table do not change once user hats exist, and nobody walks
  // dest before it has been handed over to hat_switch.
  for (uint32_t e = entry; e < entry + count; ++e) {
    const x86pte_t pte = x86pte_access(sys, src, e).load(std::memory_order_relaxed);
    x86pte_access(sys, dest, e).store(pte, std::memory_order_relaxed);
  }
}

void x86pte_zero(System& sys, htable_t* dest, uint32_t entry, uint32_t count) {
  // Relaxed: linking the table publishes the zeroes.
  for (uint32_t e = entry; e < entry + count; ++e) {
    x86pte_access(sys, dest, e).store(0, std::memory_order_relaxed);
  }
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
