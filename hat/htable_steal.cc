#include "hat/htable_steal.h"

#include <algorithm>

#include "hat/hat_page.h"
#include "hat/hment_reserve.h"
#include "hat/htable.h"
#include "hat/htable_alloc.h"
#include "hat/htable_link.h"
#include "hat/pte_ops.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

// Stolen tables: a private list through ht_next.
struct Loot {
  explicit Loot(uint32_t count) : wanted(count) {}
  bool enough() const { return wanted == 0; }
  void add(htable_t* ht) {
    // The table forgets its hat while the hat is still marked: as soon as it is not, it may go.
    ht->ht_hat = nullptr;
    ht->ht_next = list;
    list = ht;
    --wanted;
  }

  htable_t* list = nullptr;
  uint32_t wanted;
};

// Makes hat the last of the list, so that the next thief begins with another one. hat_list_lock
// held.
void move_to_tail(System& sys, hat_t* hat) {
  hat_t* const kas = sys.kas_hat();
  hat_t* const next = hat->hat_next();
  hat_t* const prev = hat->hat_prev();
  if (next == nullptr) return;
  next->hat_prev = prev;
  if (prev != nullptr) {
    prev->hat_next = next;
  } else {
    kas->hat_next = next;
  }
  hat_t* const last = kas->hat_prev();
  last->hat_next = hat;
  hat->hat_prev = last;
  hat->hat_next = nullptr;
  kas->hat_prev = hat;
}

// Unmarks the last victim (nullptr: none yet) and marks the next hat on the list that may be
// robbed. nullptr at the end of the list, or if that victim gave enough.
//
// While a hat is marked it stays on the list, so its hat_next is good when the lock is held again,
// and not before. Flag changes are relaxed: the lock orders them; they are read-modify-writes
// because HAT_SHARED is set without it.
hat_t* next_victim(System& sys, hat_t* last, bool enough) {
  MutexGuard guard(sys.hat_list_lock);
  hat_t* hat = last == nullptr ? sys.kas_hat()->hat_next() : last->hat_next();
  if (last != nullptr) {
    last->hat_flags.fetch_and(~HAT_VICTIM, std::memory_order_relaxed);
    sys.hat_list_cv.broadcast();
    if (enough) {
      move_to_tail(sys, last);
      return nullptr;
    }
  }
  for (; hat != nullptr; hat = hat->hat_next()) {
    const uint32_t flags = hat->hat_flags.load(std::memory_order_relaxed);
    if ((flags & (HAT_VICTIM | HAT_SHARED | HAT_FREEING)) != 0) continue;
    hat->hat_flags.fetch_or(HAT_VICTIM, std::memory_order_relaxed);
    return hat;
  }
  return nullptr;
}

// Whether a hashed table can be emptied: nobody uses it and it is cheap to refill. Its bucket mutex
// is held.
bool worth_stealing(const htable_t* ht, uint32_t most_valid) {
  return ht->ht_busy.load(std::memory_order_relaxed) == 0 &&
         (ht->ht_flags() & HTABLE_SHARED_PFN) == 0 && ht->ht_level() == 0 &&
         ht->ht_valid_cnt.load(std::memory_order_relaxed) <= static_cast<int32_t>(most_valid) &&
         ht->ht_lock_cnt.load(std::memory_order_relaxed) == 0;
}

// Unmaps what ht (held) maps, unless somebody starts to use it. Relaxed looks: the counts are
// checked again under the mutex, and the locks under the mlist of each page as well, since what is
// locked must not be unmapped even if the table stays.
void unmap_table(System& sys, htable_t* ht) {
  for (uint32_t entry = 0; entry < sys.mmu().ptes_per_table(); ++entry) {
    if (ht->ht_busy.load(std::memory_order_relaxed) != 1 ||
        ht->ht_lock_cnt.load(std::memory_order_relaxed) != 0) {
      return;
    }
    const x86pte_t pte = x86pte_get(sys, ht, entry);
    if (PTE_ISVALID(pte)) hat_pte_unmap(sys, ht, entry, HAT_UNLOAD_UNLESS_LOCKED, pte);
  }
}

// Empties and unlinks one table of the bucket; nullptr if none can be had.
htable_t* steal_from_bucket(System& sys, hat_t* hat, uint32_t bucket, uint32_t most_valid) {
  HTABLE_ENTER(sys, bucket);
  htable_t* ht = hat->hat_ht_hash[bucket]();
  while (ht != nullptr) {
    if (worth_stealing(ht, most_valid)) {
      // mlist comes before htable, so unmapping needs the mutex dropped. Our hold keeps the table
      // and its place in the chain.
      htable_busy_add(ht, 1);
      HTABLE_EXIT(sys, bucket);
      unmap_table(sys, ht);
      HTABLE_ENTER(sys, bucket);
      if (ht->ht_busy.load(std::memory_order_relaxed) == 1 &&
          ht->ht_valid_cnt.load(std::memory_order_relaxed) == 0 &&
          ht->ht_lock_cnt.load(std::memory_order_relaxed) == 0) {
        break;
      }
      // Somebody found it meanwhile. If it is empty, that thread frees it with its own hold.
      htable_busy_add(ht, -1);
    }
    ht = ht->ht_next();
  }
  if (ht == nullptr) {
    HTABLE_EXIT(sys, bucket);
    return nullptr;
  }
  htable_t* const parent = ht->ht_parent();
  unlink_ptp(sys, parent, ht, ht->ht_vaddr());
  htable_hash_remove(sys, bucket, ht);
  ht->ht_parent = nullptr;
  HTABLE_EXIT(sys, bucket);
  htable_release(sys, parent);
  return ht;
}

void steal_cached(hat_t* hat, Loot& loot) {
  while (!loot.enough()) {
    htable_t* const ht = htable_uncache(hat);
    if (ht == nullptr) return;
    loot.add(ht);
  }
}

void steal_active(System& sys, hat_t* hat, uint32_t most_valid, Loot& loot) {
  // Begin somewhere else each time, so that not always the same tables are hit.
  const uint32_t start = sys.htable_steal_start.fetch_add(1, std::memory_order_relaxed);
  const uint32_t num_hash = hat->hat_num_hash();
  for (uint32_t i = 0; i < num_hash; ++i) {
    while (!loot.enough()) {
      htable_t* const ht = steal_from_bucket(sys, hat, (start + i) & (num_hash - 1), most_valid);
      if (ht == nullptr) break;
      loot.add(ht);
    }
  }
}

}  // namespace

htable_t* htable_steal(System& sys, uint32_t cnt, bool active) {
  Loot loot(cnt);
  // What is freed in the course of this is not to be cached where we have already been. A counter:
  // who misses it leaves a table for the next thief.
  sys.htable_dont_cache.fetch_add(1, std::memory_order_relaxed);
  const uint32_t passes = std::clamp(sys.config.htable_steal_passes, 1u, 512u);
  const uint32_t last_pass = active ? passes : 0;
  for (uint32_t pass = 0; pass <= last_pass && !loot.enough(); ++pass) {
    const uint32_t most_valid = pass * sys.mmu().ptes_per_table() / passes;
    hat_t* hat = nullptr;
    while ((hat = next_victim(sys, hat, loot.enough())) != nullptr) {
      steal_cached(hat, loot);
      if (pass > 0) steal_active(sys, hat, most_valid, loot);
    }
  }
  sys.htable_dont_cache.fetch_sub(1, std::memory_order_relaxed);
  return loot.list;
}

void htable_reap(System& sys) {
  HATSTAT_INC(sys, hs_reap_attempts);
  // Raised once, before the first user hat is on the list: who misses it finds no victim anyway.
  if (sys.can_steal_post_boot.load(std::memory_order_relaxed) == 0) return;
  const int64_t twentieth = static_cast<int64_t>(sys.vm.npages / 20);
  const int64_t tables = sys.active_ptables.load(std::memory_order_relaxed);
  const int64_t count = std::max<int64_t>(std::min(twentieth, tables), 10);
  // Cached tables only: emptying tables in use would make processes steal from one another.
  htable_t* ht = htable_steal(sys, static_cast<uint32_t>(count), /*active=*/false);
  while (ht != nullptr) {
    htable_t* const next = ht->ht_next();
    HATSTAT_INC(sys, hs_reaped);
    htable_free(sys, ht);
    ht = next;
  }
  htable_adjust_reserve(sys);
  hment_adjust_reserve(sys);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
