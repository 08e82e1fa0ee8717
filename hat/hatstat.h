// Event counters of the HAT layer (the kernel's hatstat), one set per CPU.
//
// A CPU adds to its own set with relaxed atomics and no lock; sum() reads all sets and is a
// snapshot only at quiescence.
#ifndef HATCHECK_HAT_HATSTAT_H_
#define HATCHECK_HAT_HATSTAT_H_

#include <cstdint>
#include <vector>

#include "platform/platform.h"

// X-macro: one line per counter, so that names, sums and printing cannot drift apart.
// hs_htable_rgets counts attempts, also those that found the reserve empty; hs_hm_alloc counts
// calls, also those served by stealing; hs_steals counts attempts of the allocation loop.
#define HATCHECK_HAT_STATS(X) \
  X(hs_reap_attempts)         \
  X(hs_reaped)                \
  X(hs_steals)                \
  X(hs_ptable_allocs)         \
  X(hs_ptable_frees)          \
  X(hs_htable_rgets)          \
  X(hs_htable_rputs)          \
  X(hs_htable_shared)         \
  X(hs_htable_unshared)       \
  X(hs_hm_alloc)              \
  X(hs_hm_free)               \
  X(hs_hm_put_reserve)        \
  X(hs_hm_get_reserve)        \
  X(hs_hm_steals)             \
  X(hs_hm_steal_exam)         \
  X(hs_tlb_inval_delayed)     \
  X(hs_shootdowns)

namespace hatcheck::inline HATCHECK_BACKEND {

// Plain totals.
struct HatStatTotals {
#define HATCHECK_FIELD(name) uint64_t name = 0;
  HATCHECK_HAT_STATS(HATCHECK_FIELD)
#undef HATCHECK_FIELD
};

class HatStats {
 public:
  struct alignas(64) PerCpu {
#define HATCHECK_FIELD(name) Atomic<uint64_t> name{0};
    HATCHECK_HAT_STATS(HATCHECK_FIELD)
#undef HATCHECK_FIELD
  };

  explicit HatStats(uint32_t ncpus) : cpus_(ncpus) {}

  // The calling CPU's counters. A CPU that the machine does not have counts with the first one.
  PerCpu& mine() {
    const CpuId cpu = this_cpu();
    return cpus_[cpu < cpus_.size() ? cpu : 0];
  }

  HatStatTotals sum() const {
    HatStatTotals total;
    for (const PerCpu& c : cpus_) {
#define HATCHECK_FIELD(name) total.name += c.name.load(std::memory_order_relaxed);
      HATCHECK_HAT_STATS(HATCHECK_FIELD)
#undef HATCHECK_FIELD
    }
    return total;
  }

 private:
  std::vector<PerCpu> cpus_;
};

// HATSTAT_INC(sys, hs_steals) adds one to the calling CPU's counter.
#define HATSTAT_INC(sys, name) ((sys).hatstat.mine().name.fetch_add(1, ::std::memory_order_relaxed))

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HATSTAT_H_
