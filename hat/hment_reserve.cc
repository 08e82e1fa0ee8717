#include "hat/hment_reserve.h"

#include "absl/strings/str_cat.h"
#include "hat/hat_page.h"
#include "hat/hment.h"
#include "hat/kmem.h"
#include "hat/reserve_ownership.h"
#include "vm/page_cache.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// How often hment_alloc asks everybody before it gives up: a no-sleep failure is no verdict, memory
// comes back while other threads run.
constexpr int kAllocRounds = 32;

// Between two rounds, in ticks: longer and longer, five seconds in all, since the thread that holds
// the last victims may itself be kept from running.
constexpr uint32_t pause_after(int round) { return uint32_t{1} << (round / 3); }

// Unlocked: a count that is off by the few objects in transit changes only where the next object
// goes.
bool below_target(const Reserve<hment_t>& reserve) {
  return reserve.count.load(std::memory_order_relaxed) <
         reserve.amount.load(std::memory_order_relaxed);
}

bool above_target(const Reserve<hment_t>& reserve) {
  return reserve.count.load(std::memory_order_relaxed) >
         reserve.amount.load(std::memory_order_relaxed);
}

// From kmem, filling the reserve on the way; nullptr if kmem has none or may not be asked.
hment_t* hment_alloc_kmem(System& sys, KmFlag flag) {
  // kmem can load translations and so change the answer: ask again each time.
  while (!USE_HAT_RESERVES(sys)) {
    hment_t* hm = kmem_alloc_hment(sys, flag);
    if (hm == nullptr || !below_target(sys.hment_reserve)) return hm;
    hment_put_reserve(sys, hm);
  }
  return nullptr;
}

}  // namespace

hment_t* hment_alloc(System& sys) {
  HATSTAT_INC(sys, hs_hm_alloc);
  // Relaxed: it is raised once, before the first user hat exists.
  const bool can_steal = sys.can_steal_post_boot.load(std::memory_order_relaxed) != 0;
  for (int round = 0; round < kAllocRounds; ++round) {
    hment_t* hm = hment_alloc_kmem(sys, can_steal ? KmFlag::kNoSleep : KmFlag::kSleep);
    if (hm == nullptr && USE_HAT_RESERVES(sys)) hm = hment_get_reserve(sys);
    if (hm == nullptr && can_steal) hm = hment_steal(sys);
    if (hm == nullptr) hm = hment_get_reserve(sys);
    if (hm != nullptr) return hm;
    delay(pause_after(round));
  }
  panic(absl::StrCat("hment_alloc: no hment from kmem, the reserve (count ",
                     sys.hment_reserve.count.load(std::memory_order_relaxed),
                     ") or other pages; t_hatdepth ", sys.me().t_hatdepth()));
}

void hment_free(System& sys, hment_t* hm) {
  HATSTAT_INC(sys, hs_hm_free);
  HAT_ASSERT(hm->hm_next() == nullptr && hm->hm_prev() == nullptr,
             "hment_free: still on a list: " + to_string(hment_key(hm)));
  if (USE_HAT_RESERVES(sys) || below_target(sys.hment_reserve)) {
    hment_put_reserve(sys, hm);
    return;
  }
  kmem_free_hment(sys, hm);
  hment_adjust_reserve(sys);
}

void hment_put_reserve(System& sys, hment_t* hm) {
  HATSTAT_INC(sys, hs_hm_put_reserve);
  // Nobody may follow a stale link or key out of the reserve.
  hm->hm_htable = nullptr;
  hm->hm_entry = 0;
  hm->hm_pfn = PFN_INVALID;
  hm->hm_prev = nullptr;
  Reserve<hment_t>& reserve = sys.hment_reserve;
  MutexGuard guard(reserve.mutex);
  hm->hm_next = reserve.pool();
  reserve.pool = hm;
  reserve.count.fetch_add(1, std::memory_order_relaxed);
}

hment_t* hment_get_reserve(System& sys) {
  HATSTAT_INC(sys, hs_hm_get_reserve);
  Reserve<hment_t>& reserve = sys.hment_reserve;
  MutexGuard guard(reserve.mutex);
  hment_t* hm = reserve.pool();
  if (hm == nullptr) {
    HAT_ASSERT(reserve.count.load(std::memory_order_relaxed) == 0,
               "hment reserve: empty list, count not 0");
    return nullptr;
  }
  reserve.pool = hm->hm_next();
  reserve.count.fetch_sub(1, std::memory_order_relaxed);
  hm->hm_next = nullptr;
  return hm;
}

void hment_reserve_fill(System& sys, uint32_t count) {
  Reserve<hment_t>& reserve = sys.hment_reserve;
  const uint32_t wanted = count + reserve.amount.load(std::memory_order_relaxed);
  while (reserve.count.load(std::memory_order_relaxed) < wanted) {
    hment_put_reserve(sys, kmem_alloc_hment(sys, KmFlag::kSleep));
  }
}

void hment_adjust_reserve(System& sys) {
  while (!USE_HAT_RESERVES(sys) && above_target(sys.hment_reserve)) {
    hment_t* hm = hment_get_reserve(sys);
    if (hm == nullptr) return;  // another thread trims too
    kmem_free_hment(sys, hm);
  }
}

namespace {

// May the mapping in ht be taken away behind its owner's back? The mlist of a page mapped there is
// held, so table and hat are alive; the counts and flags are read unlocked and may change at once.
// That is harmless: holds and locks are only signs that the mapping is wanted (hati_page_unmap is
// right for any), and a hat that begins to exit now waits for us in hat_free_end.
bool may_steal_from(const System& sys, const htable_t* ht) {
  const hat_t* hat = ht->ht_hat();
  if (hat == sys.kas_hat()) return false;
  // Shared tables serve other address spaces too; an exiting one is about to free the hment anyway.
  const uint32_t flags = hat->hat_flags.load(std::memory_order_relaxed);
  if ((flags & (HAT_SHARED | HAT_FREEING)) != 0) return false;
  return ht->ht_busy.load(std::memory_order_relaxed) == 0 &&
         ht->ht_lock_cnt.load(std::memory_order_relaxed) == 0;
}

// The unlocked peek of hment_steal: has the page a list? Looked at again under the mlist.
bool looks_listed(const page_t* pp) {
  return pp->p_mapping.load(std::memory_order_relaxed) != nullptr &&
         pp->p_embed.load(std::memory_order_relaxed) == 0;
}

// Takes a mapping off pp's list; nullptr if none can be had. No mlist held before or after.
hment_t* hment_steal_from(System& sys, page_t* pp) {
  x86_hm_enter(sys, pp);
  htable_t* ht = nullptr;
  uint32_t entry = 0;
  for (hment_t* hm = hment_walk(sys, pp, &ht, &entry, nullptr);
       hm != nullptr && hm != HMENT_EMBEDDED; hm = hment_walk(sys, pp, &ht, &entry, hm)) {
    if (may_steal_from(sys, ht)) return hati_page_unmap(sys, pp, ht, entry);
  }
  x86_hm_exit(sys, pp);
  return nullptr;
}

}  // namespace

hment_t* hment_steal(System& sys) {
  // Where the last round ended: only a hint, so nothing orders it.
  page_t* start = sys.hment_steal_last.load(std::memory_order_relaxed);
  if (start == nullptr) start = page_first(sys.vm);

  page_t* pp = start;
  do {
    pp = page_next(sys.vm, pp);
    if (!looks_listed(pp)) continue;
    HATSTAT_INC(sys, hs_hm_steal_exam);
    hment_t* hm = hment_steal_from(sys, pp);
    if (hm != nullptr) {
      HATSTAT_INC(sys, hs_hm_steals);
      sys.hment_steal_last.store(pp, std::memory_order_relaxed);
      return hm;
    }
  } while (pp != start);
  return nullptr;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
