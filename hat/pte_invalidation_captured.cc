// Invalidation inside a captured cross call.
//
// While the entry is cleared, every CPU that runs the hat is captured: it executes nothing, so it
// can neither cache the entry anew nor write through a cached one. Each flushes before it goes on.
// A CPU that does not run the hat yet is kept from joining by hat_switch_mutex, until the entry is
// gone.
#include "hat/htable.h"
#include "hat/pte_invalidation.h"
#include "hat/shootdown.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

bool is_shared(const hat_t* hat) {
  // Relaxed: set before the first mapping that a sharer can see, and never cleared. Who unloads
  // that mapping was ordered after its load by the page's mlist.
  return (hat->hat_flags.load(std::memory_order_relaxed) & HAT_SHARED) != 0;
}

struct Target {
  htable_t* ht;
  uint32_t entry;
  x86pte_t expect;
  Atomic<x86pte_t>& pte;
};

// Clears and flushes on the CPUs given. va is DEMAP_ALL_ADDR if the CPUs may know the page under
// other addresses.
x86pte_t clear_captured(System& sys, const Target& target, const CpuSet& cpus, uintptr_t va) {
  const level_t level = target.ht->ht_level();
  const CpuId self = this_cpu();
  for (;;) {
    const x86pte_t sample = target.pte.load(std::memory_order_relaxed);
    if (sample == 0) return 0;
    if (!is_expected(sample, target.expect, level)) return sample;
    bool cleared = false;
    sys.machine.xc_wait_sync(cpus, [&](Core& core) {
      if (core.id() == self) {
        // It fails if the hardware set REF or MOD since the sample was taken. Relaxed: the capture
        // and hat_switch_mutex order this against everybody who may cache the entry.
        x86pte_t found = sample;
        cleared = target.pte.compare_exchange_strong(found, 0, std::memory_order_relaxed,
                                                     std::memory_order_relaxed);
      }
      if (va == DEMAP_ALL_ADDR) {
        core.load_cr3(core.cr3());
      } else {
        core.invlpg(va);
      }
    });
    if (cleared) return sample;
  }
}

class CapturedInvalidation final : public PteInvalidation {
 public:
  const char* name() const override { return "captured"; }
  bool joins_under_switch_mutex() const override { return true; }

  x86pte_t invalidate(System& sys, htable_t* ht, uint32_t entry, x86pte_t expect,
                      Atomic<x86pte_t>& pte) override {
    hat_t* const hat = ht->ht_hat();
    const uintptr_t va = htable_e2va(sys, ht, entry);
    const Target target{ht, entry, expect, pte};
    HATSTAT_INC(sys, hs_shootdowns);
    // Idle CPUs are captured like any other: this design has no delayed flush.
    if (is_shared(hat)) {
      return clear_captured(sys, target, sys.khat_cpuset.snapshot(), DEMAP_ALL_ADDR);
    }
    if (hat == sys.kas_hat()) return clear_captured(sys, target, sys.khat_cpuset.snapshot(), va);

    x86pte_t found;
    {
      MutexGuard guard(hat->hat_switch_mutex);
      CpuSet cpus = hat->hat_cpus.snapshot();
      cpus.add(this_cpu());
      found = clear_captured(sys, target, cpus, va);
    }
    // The hat may have become shared since we chose the CPUs, and a sharer may have cached the
    // entry.
    if (is_shared(hat)) hat_tlb_inval(sys, hat, va);
    return found;
  }
};

}  // namespace

std::unique_ptr<PteInvalidation> make_captured_invalidation() {
  return std::make_unique<CapturedInvalidation>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
