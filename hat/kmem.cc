#include "hat/kmem.h"

#include "absl/strings/str_cat.h"
#include "hat/hat.h"
#include "hat/hment_reserve.h"
#include "hat/htable_alloc.h"
#include "vm/page_alloc.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// What a CPU takes on top of what it needs, and gives back when it has more than twice as much.
constexpr int64_t kCreditBytes = 1024;

// A locked kernel page in the heap window that nobody else has, EXCL; nullptr if memory is short or
// the window is full. Sets *va to where it belongs.
page_t* kmem_page(System& sys, KmFlag flag, uintptr_t* va) {
  const uint64_t pagesize = sys.vm.pagesize;
  const uint64_t window = sys.heap_eaddr - sys.heap_addr;
  const uint32_t flags = PG_EXCL | PG_NORELOC | (flag == KmFlag::kSleep ? PG_WAIT : 0);
  // Pages of the window are hashed on the kernel's vnode by their address, so PG_EXCL tells what is
  // taken. The counter only says where to look first, and goes round.
  for (uint64_t tried = 0; tried < window; tried += pagesize) {
    const uint64_t next = sys.kmem_next_offset.fetch_add(pagesize, std::memory_order_relaxed);
    *va = sys.heap_addr + next % window;
    if (page_exists(sys.vm, &sys.vm.kvp, *va) != nullptr) continue;
    page_t* pp = page_create_va(sys.vm, &sys.vm.kvp, *va, pagesize, flags);
    if (pp != nullptr) return pp;
    // Another thread was faster, or memory is short.
    if (page_exists(sys.vm, &sys.vm.kvp, *va) == nullptr) return nullptr;
  }
  return nullptr;
}

// Backs kSlabBytes more. May load a translation, and to do that come here again, one t_hatdepth
// deeper; a depth further down the reserves are used and kmem is not asked.
bool kmem_grow(System& sys, KmFlag flag) {
  if (page_resv(sys.vm, 1, flag) == 0) return false;
  uintptr_t va = 0;
  page_t* pp = kmem_page(sys, flag, &va);
  if (pp == nullptr) {
    page_unresv(sys.vm, 1);
    return false;
  }
  page_t* ring = pp;
  page_sub(&ring, pp);
  page_io_unlock(sys.vm, pp);
  hat_memload(sys, sys.kas_hat(), va, pp, PROT_READ_ATTR | PROT_WRITE_ATTR | HAT_NOSYNC,
              HAT_LOAD_LOCK);
  // Stays SHARED for ever: the heap is in use.
  page_downgrade(sys.vm, pp);
  sys.kmem_backed.fetch_add(kSlabBytes, std::memory_order_relaxed);
  return true;
}

// Takes bytes that are backed and that nobody uses; false if there are too few. The counters are
// independent, but backed only grows.
bool kmem_claim(System& sys, int64_t bytes) {
  int64_t used = sys.kmem_in_use.load(std::memory_order_relaxed);
  do {
    if (used + bytes > sys.kmem_backed.load(std::memory_order_relaxed)) return false;
  } while (!sys.kmem_in_use.compare_exchange_strong(used, used + bytes, std::memory_order_relaxed,
                                                    std::memory_order_relaxed));
  return true;
}

// Sees that memory stands behind an object of that size. Most come and go on the CPU's credit, so
// that CPUs do not meet at the common counter.
bool kmem_take(System& sys, int64_t size, KmFlag flag) {
  Guarded<int64_t>& credit = sys.me().kmem_credit;
  for (;;) {
    if (credit() >= size) {
      credit = credit() - size;
      return true;
    }
    // Boot memory comes with its mapping, and without a heap window all memory does.
    if (sys.use_boot_reserve.load(std::memory_order_relaxed) != 0 ||
        sys.heap_addr == sys.heap_eaddr) {
      sys.kmem_backed.fetch_add(size, std::memory_order_relaxed);
      sys.kmem_in_use.fetch_add(size, std::memory_order_relaxed);
      return true;
    }
    if (kmem_claim(sys, size + kCreditBytes)) {
      credit = credit() + kCreditBytes;
      return true;
    }
    if (kmem_claim(sys, size - credit())) {
      credit = 0;
      return true;
    }
    // May come here again for this CPU, and may find that others have used up what it backs.
    if (!kmem_grow(sys, flag)) return false;
  }
}

void kmem_give(System& sys, int64_t size) {
  Guarded<int64_t>& credit = sys.me().kmem_credit;
  credit = credit() + size;
  if (credit() <= 2 * kCreditBytes) return;
  credit = credit() - kCreditBytes;
  sys.kmem_in_use.fetch_sub(kCreditBytes, std::memory_order_relaxed);
}

template <class T>
T* kmem_alloc(System& sys, ObjectCache<T>& cache, KmFlag flag, Where where) {
  constexpr int64_t size = sizeof(T);
  if (!kmem_take(sys, size, flag)) {
    if (flag == KmFlag::kNoSleep) return nullptr;
    panic(absl::StrCat("kmem_alloc: the kernel heap window is full, ",
                       sys.kmem_in_use.load(std::memory_order_relaxed), " bytes in use"));
  }
  T* object = cache.alloc(flag, where);
  if (object == nullptr) kmem_give(sys, size);
  return object;
}

template <class T>
void kmem_free(System& sys, ObjectCache<T>& cache, T* object, Where where) {
  cache.free(object, where);
  kmem_give(sys, sizeof(T));  // what backs it stays, for the next object
}

}  // namespace

htable_t* kmem_alloc_htable(System& sys, KmFlag flag, Where where) {
  return kmem_alloc(sys, sys.htable_cache, flag, where);
}

hment_t* kmem_alloc_hment(System& sys, KmFlag flag, Where where) {
  return kmem_alloc(sys, sys.hment_cache, flag, where);
}

hat_t* kmem_alloc_hat(System& sys, Where where) {
  return kmem_alloc(sys, sys.hat_cache, KmFlag::kSleep, where);
}

void kmem_free_htable(System& sys, htable_t* ht, Where where) {
  kmem_free(sys, sys.htable_cache, ht, where);
}

void kmem_free_hment(System& sys, hment_t* hm, Where where) {
  kmem_free(sys, sys.hment_cache, hm, where);
}

void kmem_free_hat(System& sys, hat_t* hat, Where where) {
  kmem_free(sys, sys.hat_cache, hat, where);
}

void kmem_reap(System& sys) {
  // What the caches hold is of use only to themselves, and counts as surplus here. The reserves can
  // be brought back to their size: that much less growth, hence so many pages more for tables.
  hment_adjust_reserve(sys);
  htable_adjust_reserve(sys);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
