// Event counters of segmap, one set per CPU, and their sums (the kernel's segmapcnt).
//
// A CPU adds to its own set without a lock; a sum is a snapshot only at rest. get_unused and
// get_nomtx are kept for the sake of their readers: nothing counts them.
#ifndef HATCHECK_SEGMAP_SEGMAP_STAT_H_
#define HATCHECK_SEGMAP_SEGMAP_STAT_H_

#include <cstdint>
#include <deque>

#include "platform/platform.h"

// X-macro: one line per counter, so that names, sums and printing cannot drift apart.
#define HATCHECK_SEGMAP_STATS(X)                                           \
  X(fault)       /* segmap_fault, all types */                             \
  X(faulta)      /* segmap_faulta */                                       \
  X(getmap)      /* segmap_getmapflt */                                    \
  X(get_use)     /* found in use */                                        \
  X(get_reclaim) /* found free, with its identity */                       \
  X(get_reuse)   /* a slot with another identity was recycled */           \
  X(get_unused)  /* never counted */                                       \
  X(get_nofree)  /* no slot on any list of the colour: waited */           \
  X(rel_async)   /* releases by flag */                                    \
  X(rel_write)                                                             \
  X(rel_free)                                                              \
  X(rel_abort) /* SM_INVAL */                                              \
  X(rel_dontneed)                                                          \
  X(release)      /* releases without flags */                             \
  X(pagecreate)   /* segmap_pagecreate */                                  \
  X(free_notfree) /* pages of a recycled slot: in use by others */         \
  X(free_dirty)   /* ... modified, left to pageout */                      \
  X(free)         /* ... freed */                                          \
  X(stolen)       /* found with refcnt 0 and on no queue; cannot happen */ \
  X(get_nomtx)    /* never counted */

namespace hatcheck::inline HATCHECK_BACKEND {

struct SegmapStatTotals {
#define HATCHECK_FIELD(name) uint64_t name = 0;
  HATCHECK_SEGMAP_STATS(HATCHECK_FIELD)
#undef HATCHECK_FIELD
};

class SegmapStats {
 public:
  struct alignas(64) PerCpu {
#define HATCHECK_FIELD(name) Atomic<uint64_t> name{0};
    HATCHECK_SEGMAP_STATS(HATCHECK_FIELD)
#undef HATCHECK_FIELD
  };

  SegmapStats(uint32_t ncpus, bool on) : on_(on) {
    for (uint32_t c = 0; c < ncpus; ++c) cpus_.emplace_back();
  }

  // Adds one to a counter of the calling CPU. A load and a store: nobody else writes it. Relaxed:
  // it orders nothing.
  void count(Atomic<uint64_t> PerCpu::*counter) {
    if (!on_) return;
    Atomic<uint64_t>& value = mine().*counter;
    value.store(value.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  // The calling CPU's set.
  PerCpu& mine() { return cpus_[this_cpu()]; }

  SegmapStatTotals sum() const {
    SegmapStatTotals total;
    for (const PerCpu& c : cpus_) {
#define HATCHECK_FIELD(name) total.name += c.name.load(std::memory_order_relaxed);
      HATCHECK_SEGMAP_STATS(HATCHECK_FIELD)
#undef HATCHECK_FIELD
    }
    return total;
  }

 private:
  const bool on_;
  std::deque<PerCpu> cpus_;
};

// SMSTAT_INC(seg, get_use) adds one to the calling CPU's counter.
#define SMSTAT_INC(seg, name) ((seg).stats.count(&::hatcheck::SegmapStats::PerCpu::name))

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_SEGMAP_STAT_H_
