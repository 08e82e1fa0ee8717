// Life cycle of user hats.
//
//   hat_alloc -> on the list of hats, loads and switches allowed, may be HAT_VICTIM of a stealer
//   hat_free_start -> HAT_FREEING: no CPU runs it, no stealer looks at it; mappings are being
//   removed hat_free_end -> off the list; nobody touches its tables; tables and hat are freed
#include "hat/hat.h"
#include "hat/hat_boot.h"
#include "hat/htable.h"
#include "hat/htable_alloc.h"
#include "hat/htable_walk.h"
#include "hat/kmem.h"
#include "hat/pte_ops.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

bool has_flag(const hat_t* hat, uint32_t flag) {
  return (hat->hat_flags.load(std::memory_order_relaxed) & flag) != 0;
}

// At the head. hat_list_lock held. The kernel's hat holds both ends of the list.
void list_insert(System& sys, hat_t* hat) {
  hat_t* const kas = sys.kas_hat();
  hat_t* const head = kas->hat_next();
  hat->hat_prev = nullptr;
  hat->hat_next = head;
  if (head != nullptr) {
    head->hat_prev = hat;
  } else {
    kas->hat_prev = hat;
  }
  kas->hat_next = hat;
}

// hat_list_lock held.
void list_remove(System& sys, hat_t* hat) {
  hat_t* const kas = sys.kas_hat();
  hat_t* const next = hat->hat_next();
  hat_t* const prev = hat->hat_prev();
  HAT_ASSERT(prev != nullptr ? prev->hat_next() == hat : kas->hat_next() == hat,
             "invariant 26: hat_next of the hat before, or of the kernel's, is another hat");
  HAT_ASSERT(next != nullptr ? next->hat_prev() == hat : kas->hat_prev() == hat,
             "invariant 26: hat_prev of the hat behind, or of the kernel's, is another hat");
  if (prev != nullptr) {
    prev->hat_next = next;
  } else {
    kas->hat_next = next;
  }
  if (next != nullptr) {
    next->hat_prev = prev;
  } else {
    kas->hat_prev = prev;
  }
  hat->hat_next = nullptr;
  hat->hat_prev = nullptr;
}

// Threads outside the address space (pageout, a stealer of mapping records) may have taken away its
// last mapping and be about to drop their hold on the table. All of them raised hat_unmappers
// before they cleared the PTE, so there are no new ones once every PTE is gone.
void wait_for_unmappers(System& sys, hat_t* hat) {
  MutexGuard guard(sys.hat_list_lock);
  // seq_cst, both: an unmapper lowers the one and then looks at the other. Either we see it
  // lowered, or it sees us waiting and takes the lock to wake us.
  sys.hat_free_waiters.fetch_add(1, std::memory_order_seq_cst);
  while (hat->hat_unmappers.load(std::memory_order_seq_cst) != 0) {
    sys.hat_list_cv.wait(sys.hat_list_lock);
  }
  // Relaxed: an unmapper that misses this takes the lock for nothing.
  sys.hat_free_waiters.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace

uint32_t hat_hash_size(const System& sys) {
  if (sys.config.hat_num_hash != 0) return sys.config.hat_num_hash;
  // One bucket for about two megabytes of memory (in amd64's units), within limits.
  const uint64_t spans = sys.config.machine.nframes / 512;
  uint32_t buckets = 512;
  while (buckets > 16 && buckets >= spans) buckets /= 2;
  while (4 * uint64_t{buckets} < spans) buckets *= 2;
  return buckets;
}

void hat_init_empty(System& sys, hat_t* hat, as_t* as) {
  hat->hat_as = as;
  hat->hat_num_hash = hat_hash_size(sys);
  hat->hat_ht_hash = std::make_unique<Guarded<htable_t*>[]>(hat->hat_num_hash());
}

hat_t* hat_alloc(System& sys, as_t* as) {
  HAT_ASSERT(AS_WRITE_HELD(as), "hat_alloc: a_lock not held as writer");
  // From now on there is somebody to steal from. Relaxed: who misses it sleeps for memory instead.
  sys.can_steal_post_boot.store(1, std::memory_order_relaxed);

  hat_t* const hat = kmem_alloc_hat(sys);
  hat_init_empty(sys, hat, as);

  // The hold that htable_create returns is the hat's own, until the end.
  const MmuGeometry& mmu = sys.mmu();
  htable_t* const top = htable_create(sys, hat, 0, mmu.max_level(), nullptr);
  const uint32_t first = mmu.index(sys.kernelbase, mmu.max_level());
  x86pte_copy(sys, sys.kas_hat()->hat_htable(), top, first, mmu.ptes_per_table() - first);
  hat->hat_htable = top;

  MutexGuard guard(sys.hat_list_lock);
  list_insert(sys, hat);
  return hat;
}

void hat_free_start(System& sys, hat_t* hat) {
  HAT_ASSERT(AS_WRITE_HELD(hat->hat_as()), "hat_free_start: a_lock not held as writer");
  HAT_ASSERT(hat != sys.kas_hat());
  MutexGuard guard(sys.hat_list_lock);
  while (has_flag(hat, HAT_VICTIM)) sys.hat_list_cv.wait(sys.hat_list_lock);
  // Atomic for the sake of HAT_SHARED only, which is set without this lock. Relaxed: stealers look
  // under the lock, and to all others both answers are right.
  const uint32_t before = hat->hat_flags.fetch_or(HAT_FREEING, std::memory_order_relaxed);
  HAT_ASSERT((before & (HAT_FREEING | HAT_VICTIM)) == 0,
             "invariant 24: hat_free_start: hat_flags " + std::to_string(before));
}

void hat_free_end(System& sys, hat_t* hat) {
  HAT_ASSERT(has_flag(hat, HAT_FREEING), "invariant 25: hat_free_end without hat_free_start");
  HAT_ASSERT(sys.me().cpu_current_hat.load(std::memory_order_relaxed) != hat,
             "invariant 27: cpu " + std::to_string(this_cpu()) + " frees the hat it runs");
  HAT_ASSERT(hat->hat_cpus.snapshot().empty(),
             "invariant 27: freed hat still runs on cpu " +
                 std::to_string(*hat->hat_cpus.snapshot().begin()));
  {
    MutexGuard guard(sys.hat_list_lock);
    HAT_ASSERT(!has_flag(hat, HAT_VICTIM), "invariant 25: HAT_VICTIM set on an exiting hat");
    list_remove(sys, hat);
  }
  wait_for_unmappers(sys, hat);
  htable_purge_hat(sys, hat);
  hat->hat_ht_hash.reset();
  kmem_free_hat(sys, hat);
}

void hat_enter(hat_t* hat, Where where) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  hat->hat_mutex.enter(where);
}

void hat_exit(hat_t* hat, Where where) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  hat->hat_mutex.exit(where);
}

void hat_swapin(System& /*sys*/, hat_t* /*hat*/) {}

void hat_swapout(System& sys, hat_t* hat) {
  HAT_ASSERT(AS_LOCK_HELD(hat->hat_as()), "hat_swapout: a_lock not held");
  const MmuGeometry& mmu = sys.mmu();
  uintptr_t va = 0;
  htable_t* ht = nullptr;
  while (va < sys.userlimit) {
    if (htable_walk(sys, hat, &ht, &va, sys.userlimit) == 0) break;
    const level_t level = ht->ht_level();
    const bool shared = (ht->ht_flags() & HTABLE_SHARED_PFN) != 0;
    // Relaxed: a lock that comes meanwhile is for a mapping made by a holder of a_lock, like us.
    if (!shared && ht->ht_lock_cnt.load(std::memory_order_relaxed) == 0) {
      hat_unload(sys, hat, va, mmu.level_size(level), HAT_UNLOAD);
      va += mmu.level_size(level);
      continue;
    }
    // Nothing in a shared or a small-page table can go; beside a locked large page there may be
    // unlocked tables.
    htable_release(sys, ht);
    ht = nullptr;
    va = NEXT_ENTRY_VA(sys, va, shared || level == 0 ? level + 1 : level);
    if (va == 0) break;
  }
  if (ht != nullptr) htable_release(sys, ht);
  // Not exiting: this gives back the empty tables only.
  htable_purge_hat(sys, hat);
}

int hat_dup(System& /*sys*/, hat_t* /*parent*/, hat_t* /*child*/, uintptr_t /*addr*/,
            uint64_t /*len*/, uint32_t /*flag*/) {
  return 0;
}

void hat_map(System& /*sys*/, hat_t* /*hat*/, uintptr_t /*addr*/, uint64_t /*len*/,
             uint32_t /*flags*/) {}

}  // namespace hatcheck::inline HATCHECK_BACKEND
