#include "hat/htable_link.h"

#include "hat/htable.h"
#include "hat/pte_ops.h"
#include "hat/shootdown.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// What the hardware alone may leave in a cleared entry.
constexpr x86pte_t kLeftovers = PT_REF | PT_MOD;

bool bucket_held(System& sys, const htable_t* ht) {
  const uint32_t bucket = htable_hash(sys, ht->ht_hat(), ht->ht_vaddr(), ht->ht_level());
  return htable_mutex_of(sys, bucket).held();
}

[[noreturn]] void bad_entry(const char* what, const htable_t* higher, uintptr_t vaddr,
                            x86pte_t found, x86pte_t wanted) {
  panic(std::string(what) + ": table at level " + std::to_string(higher->ht_level()) + ", va " +
        std::to_string(vaddr) + ": found PTE " + std::to_string(found) + ", wanted " +
        std::to_string(wanted));
}

}  // namespace

void link_ptp(System& sys, htable_t* higher, htable_t* new_table, uintptr_t vaddr) {
  HAT_ASSERT(bucket_held(sys, new_table));
  HAT_ASSERT(higher->ht_busy.load(std::memory_order_relaxed) > 0);
  HAT_ASSERT(higher->ht_level() == new_table->ht_level() + 1);
  // Counted before it is there: a valid entry that is not counted would let the table be freed.
  HTABLE_INC(higher);

  const uint32_t entry = htable_va2entry(sys, vaddr, higher);
  const x86pte_t pointer = MAKEPTP(new_table->ht_pfn());
  x86pte_t expect = 0;
  for (;;) {
    const x86pte_t found = x86pte_cas(sys, higher, entry, expect, pointer);
    if (found == expect) return;
    // The swap did nothing: anything but leftovers in the way is a second child or a page.
    if ((found & ~kLeftovers) != 0) bad_entry("link_ptp", higher, vaddr, found, 0);
    expect = found;
  }
}

void unlink_ptp(System& sys, htable_t* higher, htable_t* old_table, uintptr_t vaddr) {
  HAT_ASSERT(bucket_held(sys, old_table));
  HAT_ASSERT(higher->ht_busy.load(std::memory_order_relaxed) > 0);
  HAT_ASSERT(higher->ht_level() == old_table->ht_level() + 1);

  const uint32_t entry = htable_va2entry(sys, vaddr, higher);
  const x86pte_t pointer = MAKEPTP(old_table->ht_pfn());
  const x86pte_t found = x86pte_cas(sys, higher, entry, pointer, 0);
  // Exact: pointer entries have REF from the start, so the hardware never changes them.
  if (found != pointer) bad_entry("unlink_ptp", higher, vaddr, found, pointer);
  HTABLE_DEC(sys, higher);

  // A flush of any address drops a CPU's cached pointers. An exiting hat is skipped in there.
  hat_tlb_inval(sys, higher->ht_hat(), vaddr);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
