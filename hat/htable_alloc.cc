#include "hat/htable_alloc.h"

#include "absl/strings/str_cat.h"
#include "hat/htable.h"
#include "hat/htable_steal.h"
#include "hat/kmem.h"
#include "vm/page_alloc.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// ---- Frames.

pfn_t ptable_alloc(System& sys, uintptr_t seed) {
  Vm& vm = sys.vm;
  // Leave the last pages to those who free memory. freemem is a snapshot: a hint.
  if (!NOMEMWAIT(vm) && freemem(vm) <= vm.config.throttlefree + 1) return PFN_INVALID;
  // Pretended shortage, once there is somebody to steal from.
  if (sys.can_steal_post_boot.load(std::memory_order_relaxed) != 0 &&
      chance(sys.force_steal_per_million.load(std::memory_order_relaxed))) {
    return PFN_INVALID;
  }
  page_t* const pp = page_get_physical(vm, seed);
  if (pp == nullptr) return PFN_INVALID;
  const pfn_t pfn = pp->p_pagenum;
  sys.machine.mem().set_kind(pfn, FrameKind::kTable);
  // SHARED for life: nobody else can get it EXCL to rename or free it.
  page_downgrade(vm, pp);
  sys.active_ptables.fetch_add(1, std::memory_order_relaxed);
  HATSTAT_INC(sys, hs_ptable_allocs);
  return pfn;
}

void ptable_free(System& sys, pfn_t pfn) {
  Vm& vm = sys.vm;
  page_t* pp = page_numtopp_nolock(vm, pfn);
  HAT_ASSERT(pp != nullptr && PAGE_SHARED(pp) && !PP_ISFREE(pp),
             absl::StrCat("invariant 21: page table frame ", pfn, " is not held"));
  HATSTAT_INC(sys, hs_ptable_frees);
  sys.active_ptables.fetch_sub(1, std::memory_order_relaxed);
  // Relaxed reads of the identity: our SHARED lock freezes it.
  vnode_t* const vp = pp->p_vnode.load(std::memory_order_relaxed);
  if (page_tryupgrade(vm, pp) == 0) {
    // Another reader has it for a moment. While we wait unlocked, the identity keeps the page ours:
    // find it by name again.
    const uint64_t off = pp->p_offset.load(std::memory_order_relaxed);
    page_unlock(vm, pp);
    page_t* const again = vp == nullptr ? nullptr : page_lookup(vm, vp, off, SE_EXCL);
    if (again != pp) panic(absl::StrCat("ptable_free: page table frame ", pfn, " was taken away"));
  }
  // Frames found at boot have no name.
  if (vp != nullptr) page_hashout(vm, pp);
  page_free(vm, pp, 1);
  page_unresv(vm, 1);
}

// ---- The reserve.

void htable_put_reserve(System& sys, htable_t* ht) {
  HAT_ASSERT(ht->ht_pfn() == PFN_INVALID,
             "invariant 20: a reserve table with a frame: " + htable_describe(ht));
  ht->ht_hat = nullptr;
  HATSTAT_INC(sys, hs_htable_rputs);
  Reserve<htable_t>& reserve = sys.htable_reserve;
  MutexGuard guard(reserve.mutex);
  ht->ht_next = reserve.pool();
  reserve.pool = ht;
  reserve.count.fetch_add(1, std::memory_order_relaxed);
}

htable_t* htable_get_reserve(System& sys) {
  HATSTAT_INC(sys, hs_htable_rgets);
  Reserve<htable_t>& reserve = sys.htable_reserve;
  MutexGuard guard(reserve.mutex);
  htable_t* const ht = reserve.pool();
  if (ht == nullptr) return nullptr;
  reserve.pool = ht->ht_next();
  reserve.count.fetch_sub(1, std::memory_order_relaxed);
  ht->ht_next = nullptr;
  HAT_ASSERT(ht->ht_pfn() == PFN_INVALID && ht->ht_hat() == nullptr,
             "invariant 20: a reserve table in use: " + htable_describe(ht));
  return ht;
}

namespace {

// Unlocked counts: being one off only makes the reserve one too large or small.
bool reserve_is_short(const System& sys) {
  const Reserve<htable_t>& reserve = sys.htable_reserve;
  return reserve.count.load(std::memory_order_relaxed) <
         reserve.amount.load(std::memory_order_relaxed);
}

bool reserve_has_surplus(const System& sys) {
  const Reserve<htable_t>& reserve = sys.htable_reserve;
  return reserve.count.load(std::memory_order_relaxed) >
         reserve.amount.load(std::memory_order_relaxed);
}

// Disposes of an htable without a frame.
void put_bare(System& sys, htable_t* ht) {
  if (USE_HAT_RESERVES(sys) || reserve_is_short(sys)) {
    htable_put_reserve(sys, ht);
  } else {
    ht->ht_hat = nullptr;
    kmem_free_htable(sys, ht);
  }
}

}  // namespace

void htable_initial_reserve(System& sys, uint32_t count) {
  count += sys.htable_reserve.amount.load(std::memory_order_relaxed);
  for (; count > 0; --count) htable_put_reserve(sys, kmem_alloc_htable(sys, KmFlag::kSleep));
}

void htable_adjust_reserve(System& sys) {
  // Both conditions again each time: freeing may change either.
  while (!USE_HAT_RESERVES(sys) && reserve_has_surplus(sys)) {
    htable_t* const ht = htable_get_reserve(sys);
    if (ht == nullptr) return;
    kmem_free_htable(sys, ht);
  }
}

// ---- Allocation.

htable_t* htable_uncache(hat_t* hat) {
  // Most hats have nothing cached: look before locking. Relaxed, since it is read again below.
  if (hat->hat_ht_cached.load(std::memory_order_relaxed) == nullptr) return nullptr;
  MutexGuard guard(hat->hat_mutex);
  htable_t* const ht = hat->hat_ht_cached.load(std::memory_order_relaxed);
  if (ht == nullptr) return nullptr;
  HAT_ASSERT(ht->ht_pfn() != PFN_INVALID,
             "invariant 19: a cached table without frame: " + htable_describe(ht));
  hat->hat_ht_cached.store(ht->ht_next(), std::memory_order_relaxed);
  ht->ht_next = nullptr;
  return ht;
}

void htable_init(System& sys, htable_t* ht, hat_t* hat, uintptr_t va, level_t level,
                 htable_t* shared) {
  ht->ht_next = nullptr;
  ht->ht_prev = nullptr;
  ht->ht_hat = hat;
  ht->ht_vaddr = htable_base(sys, va, level);
  ht->ht_level = level;
  ht->ht_flags = shared != nullptr ? HTABLE_SHARED_PFN : 0;
  ht->ht_parent = nullptr;
  ht->ht_shares = shared;
  // Relaxed: the table is private, and the bucket mutex will publish it.
  ht->ht_busy.store(1, std::memory_order_relaxed);
  ht->ht_valid_cnt.store(0, std::memory_order_relaxed);
  ht->ht_lock_cnt.store(0, std::memory_order_relaxed);
}

namespace {

// An htable from the reserve or from kmem; nullptr if there is none.
htable_t* take_bare(System& sys) {
  // Before the first user hat there is nobody to steal from, and sleeping is all one can do. The
  // flag goes up once, so a stale read costs a sleep.
  const KmFlag flag = sys.can_steal_post_boot.load(std::memory_order_relaxed) != 0
                          ? KmFlag::kNoSleep
                          : KmFlag::kSleep;
  // kmem may have to load translations, and so change the reserve: ask again each time.
  while (!USE_HAT_RESERVES(sys)) {
    htable_t* const ht = kmem_alloc_htable(sys, flag);
    if (ht == nullptr || !reserve_is_short(sys)) return ht;
    htable_put_reserve(sys, ht);
  }
  return htable_get_reserve(sys);
}

// The same with a zeroed frame if asked.
htable_t* take_fresh(System& sys, bool with_frame) {
  htable_t* const ht = take_bare(sys);
  if (ht == nullptr || !with_frame) return ht;
  const pfn_t pfn = ptable_alloc(sys, reinterpret_cast<uintptr_t>(ht));
  if (pfn == PFN_INVALID) {
    put_bare(sys, ht);
    return nullptr;
  }
  ht->ht_pfn = pfn;
  sys.machine.mem().zero(pfn);
  return ht;
}

// Takes a table away from another address space, for as long as it takes.
htable_t* take_stolen(System& sys, bool with_frame) {
  for (;;) {
    HATSTAT_INC(sys, hs_steals);
    kmem_reap(sys);
    htable_t* ht = htable_steal(sys, 1);
    if (ht == nullptr) {
      // Every table is in use. Memory may have been freed meanwhile; or else others have to run
      // before there is something to take.
      ht = take_fresh(sys, with_frame);
      if (ht != nullptr) return ht;
      yield();
      continue;
    }
    if (with_frame) {
      sys.machine.mem().zero(ht->ht_pfn());
    } else {
      ptable_free(sys, ht->ht_pfn());
      ht->ht_pfn = PFN_INVALID;
    }
    return ht;
  }
}

}  // namespace

htable_t* htable_alloc(System& sys, hat_t* hat, uintptr_t va, level_t level, htable_t* shared) {
  const bool with_frame = shared == nullptr;
  // A cached table comes with a frame, and with one that is zero.
  htable_t* ht = with_frame ? htable_uncache(hat) : nullptr;
  if (ht == nullptr) ht = take_fresh(sys, with_frame);
  if (ht == nullptr && sys.can_steal_post_boot.load(std::memory_order_relaxed) != 0) {
    ht = take_stolen(sys, with_frame);
  }
  if (ht == nullptr) {
    panic(absl::StrCat("htable_alloc: no table for va 0x", absl::Hex(va), " level ", level,
                       ", reserve ", sys.htable_reserve.count.load(std::memory_order_relaxed),
                       ", freemem ", freemem(sys.vm)));
  }
  htable_init(sys, ht, hat, va, level, shared);
  if (shared != nullptr) ht->ht_pfn = shared->ht_pfn();
  return ht;
}

// ---- Disposal.

namespace {

// Whether an unreachable table goes to its hat's cache. All reads relaxed: they only choose
// between two right ways. A table cached too late, by a thread that saw old values, is found by
// the next purge; that of an exit comes after all such threads have left the hat.
bool may_cache(const System& sys, const htable_t* ht) {
  const hat_t* const hat = ht->ht_hat();
  if (hat == nullptr || (ht->ht_flags() & HTABLE_SHARED_PFN) != 0) return false;
  if (sys.use_boot_reserve.load(std::memory_order_relaxed) != 0) return true;
  return (hat->hat_flags.load(std::memory_order_relaxed) & HAT_FREEING) == 0 &&
         sys.htable_dont_cache.load(std::memory_order_relaxed) == 0;
}

}  // namespace

void htable_free(System& sys, htable_t* ht) {
  ht->ht_prev = nullptr;
  ht->ht_parent = nullptr;
  ht->ht_shares = nullptr;
  if (may_cache(sys, ht)) {
    HAT_ASSERT(ht->ht_valid_cnt.load(std::memory_order_relaxed) == 0,
               "invariant 19: not empty: " + htable_describe(ht));
    ht->ht_busy.store(0, std::memory_order_relaxed);
    hat_t* const hat = ht->ht_hat();
    MutexGuard guard(hat->hat_mutex);
    ht->ht_next = hat->hat_ht_cached.load(std::memory_order_relaxed);
    hat->hat_ht_cached.store(ht, std::memory_order_relaxed);
    return;
  }
  // The frame of a shared table is the sharee's.
  if ((ht->ht_flags() & HTABLE_SHARED_PFN) == 0) ptable_free(sys, ht->ht_pfn());
  ht->ht_pfn = PFN_INVALID;
  put_bare(sys, ht);
}

namespace {

// Frees every hashed table of an exiting hat. No locks, no unlinking, no flush: nobody runs on the
// hat and nobody else can reach it (hat_free_end has waited for the last outsiders).
void free_hashed_tables(System& sys, hat_t* hat) {
  for (uint32_t bucket = 0; bucket < hat->hat_num_hash(); ++bucket) {
    htable_t* ht = hat->hat_ht_hash[bucket]();
    hat->hat_ht_hash[bucket] = nullptr;
    while (ht != nullptr) {
      htable_t* const next = ht->ht_next();
      // hat_unshare has released it, and with it the hold on its sharee, even in an exiting hat.
      HAT_ASSERT((ht->ht_flags() & HTABLE_SHARED_PFN) == 0,
                 "invariant 62: not unshared before exit: " + htable_describe(ht));
      htable_free(sys, ht);
      ht = next;
    }
  }
}

}  // namespace

void htable_purge_hat(System& sys, hat_t* hat) {
  // Nothing may go back to the cache while it is emptied. Relaxed counter: see may_cache.
  sys.htable_dont_cache.fetch_add(1, std::memory_order_relaxed);
  while (htable_t* const ht = htable_uncache(hat)) htable_free(sys, ht);
  if ((hat->hat_flags.load(std::memory_order_relaxed) & HAT_FREEING) != 0) {
    free_hashed_tables(sys, hat);
  }
  sys.htable_dont_cache.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
