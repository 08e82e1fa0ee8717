// Entries of kernel tables that somebody outside the HAT sets by hand.
#include "hat/hat.h"
#include "hat/htable.h"
#include "hat/pte_ops.h"
#include "hat/reserve_ownership.h"

namespace hatcheck::inline HATCHECK_BACKEND {

MemPte hat_mempte_setup(System& sys, uintptr_t addr) {
  HAT_ASSERT(addr >= sys.kernelbase, "hat_mempte_setup: user va " + std::to_string(addr));
  // Making the table is like a load; what may use the reserves is told by both ends.
  sys.reserve_ownership->enter(sys, HAT_LOAD);
  htable_t* const ht = htable_create(sys, sys.kas_hat(), addr, 0, nullptr);
  sys.reserve_ownership->exit(sys, HAT_LOAD);

  const uint32_t entry = htable_va2entry(sys, addr, ht);
  HAT_ASSERT(!PTE_ISVALID(x86pte_get(sys, ht, entry)),
             "hat_mempte_setup: va " + std::to_string(addr) + " is mapped");
  // Counted as valid whatever the caller puts there: that keeps the table without a hold.
  HTABLE_INC(ht);
  htable_release(sys, ht);
  return {ht, entry};
}

void hat_mempte_release(System& sys, uintptr_t addr, MemPte mempte) {
  htable_t* const ht = htable_lookup(sys, sys.kas_hat(), addr, 0);
  HAT_ASSERT(ht != nullptr && ht == mempte.ht && htable_va2entry(sys, addr, ht) == mempte.entry,
             "hat_mempte_release: va " + std::to_string(addr) + " was not set up so");
  x86pte_inval(sys, ht, mempte.entry, 0);
  HTABLE_DEC(sys, ht);
  htable_release(sys, ht);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
