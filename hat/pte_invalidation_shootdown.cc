// Invalidation by compare-and-swap, then shootdown.
//
// A CPU with a clean TLB entry may write for the first time between the two. Hardware that looks at
// the PTE again before it sets MOD faults; hardware that sets MOD blindly (ModVariant::kBlindDirty)
// leaves the bit in an entry that is gone, and the page counts as clean: the modification is lost.
// For such hardware there is the captured design.
#include "hat/htable.h"
#include "hat/pte_invalidation.h"
#include "hat/shootdown.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class ShootdownInvalidation final : public PteInvalidation {
 public:
  const char* name() const override { return "shootdown"; }
  bool joins_under_switch_mutex() const override { return false; }

  x86pte_t invalidate(System& sys, htable_t* ht, uint32_t entry, x86pte_t expect,
                      Atomic<x86pte_t>& pte) override {
    const level_t level = ht->ht_level();
    x86pte_t found = pte.load(std::memory_order_relaxed);
    do {
      if (!is_expected(found, expect, level)) return found;
      // seq_cst against hat_switch: a CPU that joins hat_cpus after we have looked at the set must
      // find the entry cleared.
    } while (!pte.compare_exchange_strong(found, 0, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    // Without REF it is cached nowhere. MOD without REF is what a blind dirty write leaves behind,
    // by a CPU that had it cached.
    if ((found & (PT_REF | PT_MOD)) != 0) {
      hat_tlb_inval(sys, ht->ht_hat(), htable_e2va(sys, ht, entry));
    }
    return found;
  }
};

}  // namespace

std::unique_ptr<PteInvalidation> make_shootdown_invalidation() {
  return std::make_unique<ShootdownInvalidation>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
