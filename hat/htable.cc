#include "hat/htable.h"

#include <algorithm>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "hat/htable_alloc.h"
#include "hat/htable_link.h"

namespace hatcheck::inline HATCHECK_BACKEND {

std::string htable_describe(const htable_t* ht) {
  return absl::StrCat("htable hat=", absl::Hex(reinterpret_cast<uintptr_t>(ht->ht_hat())), " va=0x",
                      absl::Hex(ht->ht_vaddr()), " level=", ht->ht_level(),
                      " flags=", ht->ht_flags(), " pfn=", ht->ht_pfn(), ": ht_busy ",
                      ht->ht_busy.load(std::memory_order_relaxed), ", ht_valid_cnt ",
                      ht->ht_valid_cnt.load(std::memory_order_relaxed), ", ht_lock_cnt ",
                      ht->ht_lock_cnt.load(std::memory_order_relaxed));
}

// ---- Addresses.

uintptr_t htable_last_page(System& sys, const htable_t* ht) {
  const MmuGeometry& mmu = sys.mmu();
  const level_t level = ht->ht_level();
  if (level == mmu.max_level()) return 0;
  const uintptr_t end = ht->ht_vaddr() + mmu.level_size(level + 1);
  return mmu.in_va_hole(end) ? mmu.hole_end() : end;
}

std::string htable_does_not_cover(const htable_t* ht, uintptr_t va) {
  return absl::StrCat(htable_describe(ht), " does not cover 0x", absl::Hex(va));
}

uintptr_t htable_e2va(System& sys, const htable_t* ht, uint32_t entry) {
  const MmuGeometry& mmu = sys.mmu();
  const level_t level = ht->ht_level();
  HAT_ASSERT(entry < mmu.ptes_per_table(),
             absl::StrCat(htable_describe(ht), " has no entry ", entry));
  // The upper half of the top table translates addresses beyond the hole.
  if (level == mmu.max_level()) return mmu.top_entry_va(entry);
  return ht->ht_vaddr() + (uintptr_t{entry} << mmu.level_shift(level));
}

uintptr_t NEXT_ENTRY_VA(System& sys, uintptr_t va, level_t level) {
  const MmuGeometry& mmu = sys.mmu();
  // Wraps to 0 after the last entry of the space.
  const uintptr_t next = (va & mmu.level_mask(level)) + mmu.level_size(level);
  return mmu.in_va_hole(next) ? mmu.hole_end() : next;
}

// ---- The hash.

uint32_t htable_hash(System& sys, const hat_t* hat, uintptr_t va, level_t level) {
  const MmuGeometry& mmu = sys.mmu();
  // amd64: bits from 21 on, folded with those from 28 on.
  const int shift = mmu.level_shift(1);
  const int fold = shift + std::max(1, mmu.bits_per_level - 2);
  const uint64_t sum = (va >> shift) + (va >> fold) + static_cast<uint64_t>(level) +
                       (reinterpret_cast<uintptr_t>(hat) >> 4);
  return static_cast<uint32_t>(sum & (hat->hat_num_hash() - 1));
}

Mutex& htable_mutex_of(System& sys, uint32_t bucket) { return sys.htable_mutex[bucket]; }

void HTABLE_ENTER(System& sys, uint32_t bucket, Where where) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  htable_mutex_of(sys, bucket).enter(where);
}

void HTABLE_EXIT(System& sys, uint32_t bucket, Where where) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  htable_mutex_of(sys, bucket).exit(where);
}

htable_t* htable_search(System& sys, hat_t* hat, uint32_t bucket, uintptr_t base, level_t level) {
  HAT_ASSERT(htable_mutex_of(sys, bucket).held());
  htable_t* ht = hat->hat_ht_hash[bucket]();
  while (ht != nullptr && (ht->ht_vaddr() != base || ht->ht_level() != level)) ht = ht->ht_next();
  return ht;
}

void htable_hash_insert(System& sys, uint32_t bucket, htable_t* ht) {
  HAT_ASSERT(htable_mutex_of(sys, bucket).held());
  Guarded<htable_t*>& chain = ht->ht_hat()->hat_ht_hash[bucket];
  htable_t* const first = chain();
  ht->ht_prev = nullptr;
  ht->ht_next = first;
  if (first != nullptr) first->ht_prev = ht;
  chain = ht;
}

void htable_hash_remove(System& sys, uint32_t bucket, htable_t* ht) {
  HAT_ASSERT(htable_mutex_of(sys, bucket).held());
  htable_t* const next = ht->ht_next();
  htable_t* const prev = ht->ht_prev();
  if (next != nullptr) next->ht_prev = prev;
  if (prev != nullptr) {
    prev->ht_next = next;
  } else {
    Guarded<htable_t*>& chain = ht->ht_hat()->hat_ht_hash[bucket];
    HAT_ASSERT(chain() == ht, "invariant 18: not hashed: " + htable_describe(ht));
    chain = next;
  }
  ht->ht_next = nullptr;
  ht->ht_prev = nullptr;
}

// ---- Counts.
//
// All relaxed. A count is believed only under the bucket mutex by a thread that finds no hold but
// its own; whoever changed the count had a hold, and gave it up under that mutex after the change.

void HTABLE_INC(htable_t* ht) { ht->ht_valid_cnt.fetch_add(1, std::memory_order_relaxed); }

void HTABLE_DEC(System&, htable_t* ht) {
  const int32_t before = ht->ht_valid_cnt.fetch_sub(1, std::memory_order_relaxed);
  HAT_ASSERT(before > 0, "invariant 11: counted below zero: " + htable_describe(ht));
}

void HTABLE_LOCK_INC(System& sys, htable_t* ht) {
  if (ht->ht_hat() == sys.kas_hat()) return;
  ht->ht_lock_cnt.fetch_add(1, std::memory_order_relaxed);
}

void HTABLE_LOCK_DEC(System& sys, htable_t* ht) {
  if (ht->ht_hat() == sys.kas_hat()) return;
  const int32_t before = ht->ht_lock_cnt.fetch_sub(1, std::memory_order_relaxed);
  HAT_ASSERT(before > 0, "invariant 22: unlocked too often: " + htable_describe(ht));
}

// ---- Holds.

htable_t* htable_lookup(System& sys, hat_t* hat, uintptr_t va, level_t level) {
  HAT_ASSERT(level >= 0 && level < sys.mmu().num_level);
  const uintptr_t base = htable_base(sys, va, level);
  const uint32_t bucket = htable_hash(sys, hat, base, level);
  MutexGuard guard(htable_mutex_of(sys, bucket));
  htable_t* const ht = htable_search(sys, hat, bucket, base, level);
  if (ht != nullptr) htable_busy_add(ht, 1);
  return ht;
}

void htable_acquire(System& sys, htable_t* ht) {
  hat_t* const hat = ht->ht_hat();
  const uintptr_t base = ht->ht_vaddr();
  const level_t level = ht->ht_level();
  const uint32_t bucket = htable_hash(sys, hat, base, level);
  MutexGuard guard(htable_mutex_of(sys, bucket));
  HAT_ASSERT(htable_search(sys, hat, bucket, base, level) == ht,
             "invariant 10: a table in use is not hashed: " + htable_describe(ht));
  htable_busy_add(ht, 1);
}

namespace {

// Whether ht, empty and held by the caller alone, stays hashed all the same.
bool stays_when_empty(System& sys, const htable_t* ht) {
  // Nothing of a shared table is the sharer's, and its sharee waits for the hold.
  if ((ht->ht_flags() & HTABLE_SHARED_PFN) != 0) return false;
  const hat_t* const hat = ht->ht_hat();
  // hat_free_end frees what is left. Relaxed: a thread that misses the flag frees the table the
  // usual way, which is as good, since the exit waits for it.
  if ((hat->hat_flags.load(std::memory_order_relaxed) & HAT_FREEING) != 0) return true;
  if (ht->ht_level() < sys.mmu().max_page_level) return false;
  return hat != sys.kas_hat() || ht->ht_vaddr() >= sys.kernelbase;
}

// Drops one hold. If that was the end of ht, frees it and returns its parent, on which the caller
// now has the hold that ht had, and sets *sharee likewise. nullptr otherwise.
htable_t* drop_hold(System& sys, htable_t* ht, htable_t** sharee) {
  const uint32_t bucket = htable_hash(sys, ht->ht_hat(), ht->ht_vaddr(), ht->ht_level());
  HTABLE_ENTER(sys, bucket);
  const int32_t busy = ht->ht_busy.load(std::memory_order_relaxed);
  HAT_ASSERT(busy > 0, "invariant 13: released once too often: " + htable_describe(ht));
  if (busy > 1 || ht->ht_valid_cnt.load(std::memory_order_relaxed) > 0) {
    htable_busy_add(ht, -1);
    HTABLE_EXIT(sys, bucket);
    return nullptr;
  }
  // Not to be asked before: a loader raises ht_lock_cnt ahead of its first PTE.
  HAT_ASSERT(ht->ht_lock_cnt.load(std::memory_order_relaxed) == 0,
             "invariant 22: locks in an empty table: " + htable_describe(ht));
  if (stays_when_empty(sys, ht)) {
    htable_busy_add(ht, -1);
    HTABLE_EXIT(sys, bucket);
    return nullptr;
  }
  // Nobody can find it any more once it is unlinked and unhashed in this one critical section;
  // nobody else has a pointer to it, since the only hold is ours.
  htable_t* const parent = ht->ht_parent();
  if ((ht->ht_flags() & HTABLE_SHARED_PFN) != 0) {
    HAT_ASSERT(*sharee == nullptr,
               "invariant 62: shared below a shared table: " + htable_describe(ht));
    *sharee = ht->ht_shares();
    HATSTAT_INC(sys, hs_htable_unshared);
  }
  if (parent != nullptr) unlink_ptp(sys, parent, ht, ht->ht_vaddr());
  htable_hash_remove(sys, bucket, ht);
  HTABLE_EXIT(sys, bucket);
  htable_free(sys, ht);
  return parent;
}

}  // namespace

void htable_release(System& sys, htable_t* ht) {
  htable_t* chain = ht;
  while (chain != nullptr) {
    ht = chain;
    chain = nullptr;
    // Between child and parent no mutex is held: the hold taken over from the child keeps the
    // parent. A sharee is in another hat and has a chain of its own.
    while (ht != nullptr) ht = drop_hold(sys, ht, &chain);
  }
}

// ---- Creation.

namespace {

// The table of hat at (va, level), found or made, with a hold. Takes over the caller's hold on
// higher, the table above it (nullptr at the top).
htable_t* find_or_make(System& sys, hat_t* hat, uintptr_t va, level_t level, htable_t* higher,
                       htable_t* shared) {
  const uintptr_t base = htable_base(sys, va, level);
  const uint32_t bucket = htable_hash(sys, hat, base, level);
  htable_t* fresh = nullptr;
  HTABLE_ENTER(sys, bucket);
  htable_t* ht = htable_search(sys, hat, bucket, base, level);
  if (ht == nullptr) {
    // Allocation may sleep, load translations and steal tables: never under the mutex. Another
    // thread may create the table meanwhile, so search again.
    HTABLE_EXIT(sys, bucket);
    fresh = htable_alloc(sys, hat, base, level, shared);
    HTABLE_ENTER(sys, bucket);
    ht = htable_search(sys, hat, bucket, base, level);
  }
  if (ht == nullptr) {
    // The caller's hold on higher becomes fresh's. Only a new hat has no top table yet.
    if (higher != nullptr) link_ptp(sys, higher, fresh, base);
    fresh->ht_parent = higher;
    htable_hash_insert(sys, bucket, fresh);
    HTABLE_EXIT(sys, bucket);
    if (shared != nullptr) {
      // Only now: no two htable mutexes together. The caller's hold keeps the sharee till here.
      htable_acquire(sys, shared);
      HATSTAT_INC(sys, hs_htable_shared);
    }
    return fresh;
  }
  htable_busy_add(ht, 1);
  HTABLE_EXIT(sys, bucket);
  if (fresh != nullptr) htable_free(sys, fresh);
  if (higher != nullptr) htable_release(sys, higher);
  if (shared != nullptr && ht->ht_shares() != shared) {
    panic("htable_create: another table is where " + htable_describe(shared) +
          " was to be shared: " + htable_describe(ht));
  }
  return ht;
}

}  // namespace

htable_t* htable_create(System& sys, hat_t* hat, uintptr_t va, level_t level, htable_t* shared) {
  const level_t top = sys.mmu().max_level();
  HAT_ASSERT(level >= 0 && level <= top);
  HAT_ASSERT(!sys.mmu().in_va_hole(va) && (hat == sys.kas_hat() || va < sys.kernelbase),
             absl::StrCat("htable_create: 0x", absl::Hex(va), " is not the hat's"));
  htable_t* ht = nullptr;
  for (level_t l = top; l >= level; --l) {
    ht = find_or_make(sys, hat, va, l, ht, l == level ? shared : nullptr);
  }
  return ht;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
