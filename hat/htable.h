// Page table objects: lookup, holds, creation, release.
//
// Htables of a hat are in its hash by (vaddr, level); a chain is protected by one of 128 mutexes
// shared by all hats (class htable, place 12). ht_busy counts holds: one per thread's pointer, per
// child table, per sharer. A table goes when the last hold is dropped while it has no valid entry;
// dropping it drops the hold it owned on its parent, and so on upwards.
//
//   13/14  ht_busy == linked children + sharers + permanent holds (+ threads' holds)
//   15     no hashed table has busy 0 and valid 0, except tables kept on purpose
//   16     the parent's pointer entry names the child's frame; one child per pointer entry
//   17     (hat, vaddr, level) is unique
#ifndef HATCHECK_HAT_HTABLE_H_
#define HATCHECK_HAT_HTABLE_H_

#include <cstdint>
#include <string>

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Bucket of (hat, va, level): (va>>21)+(va>>28)+level+(hat>>4), masked (shifts follow the
// geometry).
uint32_t htable_hash(System& sys, const hat_t* hat, uintptr_t va, level_t level);
// The mutex of a bucket number of any hat.
Mutex& htable_mutex_of(System& sys, uint32_t bucket);
// Enter and leave that mutex.
void HTABLE_ENTER(System& sys, uint32_t bucket, Where where = Where::here());
void HTABLE_EXIT(System& sys, uint32_t bucket, Where where = Where::here());

// First address of the table of `level` that covers va; 0 for the top level.
inline uintptr_t htable_base(System& sys, uintptr_t va, level_t level) {
  const MmuGeometry& mmu = sys.mmu();
  return level == mmu.max_level() ? 0 : va & mmu.level_mask(level + 1);
}
// One past the last address that ht maps, made canonical; 0 if that is the end of the space.
uintptr_t htable_last_page(System& sys, const htable_t* ht);
std::string htable_does_not_cover(const htable_t* ht, uintptr_t va);
// The entry of ht that translates va, an address that it covers.
inline uint32_t htable_va2entry(System& sys, uintptr_t va, const htable_t* ht) {
  const level_t level = ht->ht_level();
  HAT_ASSERT(htable_base(sys, va, level) == ht->ht_vaddr(), htable_does_not_cover(ht, va));
  return sys.mmu().index(va, level);
}
uintptr_t htable_e2va(System& sys, const htable_t* ht, uint32_t entry);
// First address of the next entry of this level, jumping over the hole; 0 at the end of the space.
uintptr_t NEXT_ENTRY_VA(System& sys, uintptr_t va, level_t level);

// The table with a hold on it, or nullptr. No htable mutex held.
htable_t* htable_lookup(System& sys, hat_t* hat, uintptr_t va, level_t level);

// Adds a hold. Legal only when the table cannot go away meanwhile: the caller has a hold, or the
// mlist of a page mapped by it.
void htable_acquire(System& sys, htable_t* ht);

// Drops a hold; frees the table, then its parents, as far as they have become empty and unheld. No
// HAT mutex held, no mlist in particular.
void htable_release(System& sys, htable_t* ht);

// The table at `level` covering va, created with all its parents if missing; returns with a hold.
// If shared is given, the new table reuses its frame (and takes a hold on it). Loses gracefully
// against concurrent creators. No HAT mutex held; holds may be.
htable_t* htable_create(System& sys, hat_t* hat, uintptr_t va, level_t level, htable_t* shared);

// Boot: wraps an existing hardware table found in a frame, and everything below it, in htables from
// the reserve; table frames are claimed SHARED. Each table counts its valid entries, owns a hold on
// its parent and has one hold of its own, for ever; only tables that end below kernelbase give
// theirs up at once, so that they go when their last mapping does. Returns nullptr if such a table
// was empty.
htable_t* htable_attach(System& sys, hat_t* hat, uintptr_t va, level_t level, htable_t* above,
                        pfn_t frame);

// Valid-entry and lock counts.
void HTABLE_INC(htable_t* ht);
void HTABLE_DEC(System& sys, htable_t* ht);
void HTABLE_LOCK_INC(System& sys, htable_t* ht);
void HTABLE_LOCK_DEC(System& sys, htable_t* ht);

// Internal to htable_*.cc: chain operations, the bucket's mutex held.

// ht_busy plus n. A load and a store, not a read-modify-write: the mutex keeps other writers out.
// Relaxed: who decides by ht_busy holds the mutex, and who looks without takes a hint.
inline void htable_busy_add(htable_t* ht, int32_t n) {
  ht->ht_busy.store(ht->ht_busy.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}
htable_t* htable_search(System& sys, hat_t* hat, uint32_t bucket, uintptr_t base, level_t level);
void htable_hash_insert(System& sys, uint32_t bucket, htable_t* ht);
void htable_hash_remove(System& sys, uint32_t bucket, htable_t* ht);

// "htable hat=... va=0x200000 level=0: ht_busy 1, ..." for failure messages.
std::string htable_describe(const htable_t* ht);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HTABLE_H_
