// The locks of a page: p_selock, the I/O lock, the size-code mutex. See vm/page.h.
//
// Loads and stores of p_selock and p_iolock_state are relaxed: the pse or pio mutex orders them,
// and what a page lock protects is ordered by the mutex of the release and of the next grant.
#include <string>

#include "absl/strings/str_cat.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

int32_t selock(const page_t* pp) { return pp->p_selock.load(std::memory_order_relaxed); }

void set_selock(page_t* pp, int32_t value) { pp->p_selock.store(value, std::memory_order_relaxed); }

// Grants the page if the table in page.h says so. pse held.
bool page_grant(page_t* pp, se_t se, int es_flags) {
  const int32_t state = selock(pp);
  if (se == SE_EXCL) {
    const bool may_skip_queue = (es_flags & SE_EXCL_WANTED) != 0 && state == SE_EWANTED;
    if (state != 0 && !may_skip_queue) return false;
    set_selock(pp, SE_WRITER);
    return true;
  }
  if (state < 0 || (state & SE_EWANTED) != 0) return false;
  set_selock(pp, state + 1);
  return true;
}

// Refused: asks for priority if the caller starves, sleeps once. pse and `lock` held on entry; on
// exit pse is not, `lock` is.
void page_lock_sleep(page_t* pp, Mutex& pse, Mutex* lock,
                     bool want_priority) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const int32_t state = selock(pp);
  if (want_priority && state > 0) set_selock(pp, state | SE_EWANTED);
  // pse is still held, so whoever unlocks the page from here on finds us asleep.
  if (lock != nullptr) lock->exit();
  pp->p_cv.wait(pse);
  // Not before pse is released: pse is inner to whatever `lock` is.
  pse.exit();
  if (lock != nullptr) lock->enter();
}

}  // namespace

Mutex& page_se_mutex(Vm& vm, const page_t* pp) { return vm.pse_mutex[pp->p_pagenum]; }

int page_lock(Vm& vm, page_t* pp, se_t se, Mutex* lock, reclaim_t reclaim,
              int es_flags) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  HAT_ASSERT(lock == nullptr || lock->held());
  Mutex& pse = page_se_mutex(vm, pp);
  pse.enter();
  if (selock(pp) == SE_DELETED) {
    pse.exit();
    return 0;
  }
  // P_FREE is stable here if the request can be granted: only an EXCL owner changes it.
  const bool by_way_of_excl = se == SE_SHARED && reclaim == P_RECLAIM && PP_ISFREE(pp);
  if (!page_grant(pp, by_way_of_excl ? SE_EXCL : se, es_flags)) {
    page_lock_sleep(pp, pse, lock, (es_flags & SE_EXCL_WANTED) != 0);
    return 0;
  }
  pse.exit();
  if (reclaim == P_RECLAIM && PP_ISFREE(pp) && !page_reclaim(vm, pp, lock)) return 0;
  if (by_way_of_excl) page_downgrade(vm, pp);
  return 1;
}

int page_trylock(Vm& vm, page_t* pp, se_t se) {
  MutexGuard guard(page_se_mutex(vm, pp));
  return page_grant(pp, se, 0) ? 1 : 0;
}

int page_try_reclaim_lock(Vm& vm, page_t* pp, se_t se) {
  MutexGuard guard(page_se_mutex(vm, pp));
  return page_grant(pp, PP_ISFREE(pp) ? SE_EXCL : se, 0) ? 1 : 0;
}

int page_tryupgrade(Vm& vm, page_t* pp) {
  MutexGuard guard(page_se_mutex(vm, pp));
  // A reader count with EWANTED on top is not 1 either.
  if (selock(pp) != 1) return 0;
  set_selock(pp, SE_WRITER);
  return 1;
}

void page_downgrade(Vm& vm, page_t* pp) {
  MutexGuard guard(page_se_mutex(vm, pp));
  if (selock(pp) != SE_WRITER) {
    panic(absl::StrCat("page_downgrade: page ", pp->p_pagenum, " is not locked EXCL: p_selock ",
                       selock(pp)));
  }
  set_selock(pp, 1);
  pp->p_cv.broadcast();
}

void page_unlock(Vm& vm, page_t* pp) {
  MutexGuard guard(page_se_mutex(vm, pp));
  const int32_t state = selock(pp);
  if (state == SE_WRITER) {
    set_selock(pp, 0);
    pp->p_cv.broadcast();
    return;
  }
  if (state < 0 || (state & ~SE_EWANTED) == 0) {
    panic(absl::StrCat("page_unlock: page ", pp->p_pagenum, " is not locked: p_selock ", state));
  }
  set_selock(pp, state - 1);
  if (((state - 1) & ~SE_EWANTED) == 0) pp->p_cv.broadcast();
}

void page_lock_delete(Vm& vm, page_t* pp) {
  HAT_ASSERT(PAGE_EXCL(pp) && !PP_ISFREE(pp));
  HAT_ASSERT(pp->p_vnode.load(std::memory_order_relaxed) == nullptr);
  MutexGuard guard(page_se_mutex(vm, pp));
  set_selock(pp, SE_DELETED);
  pp->p_cv.broadcast();
}

Mutex& page_io_mutex(Vm& vm, const page_t* pp) { return vm.pio_mutex[pp->p_pagenum]; }

void page_io_lock(Vm& vm, page_t* pp) {
  HAT_ASSERT(PAGE_LOCKED(pp));
  Mutex& pio = page_io_mutex(vm, pp);
  MutexGuard guard(pio);
  while (page_iolocked(pp)) pp->p_io_cv.wait(pio);
  pp->p_iolock_state.store(PAGE_IO_INUSE, std::memory_order_relaxed);
}

int page_io_trylock(Vm& vm, page_t* pp) {
  if (page_iolocked(pp)) return 0;  // a peek that saves the mutex; being late is no harm
  MutexGuard guard(page_io_mutex(vm, pp));
  if (page_iolocked(pp)) return 0;
  pp->p_iolock_state.store(PAGE_IO_INUSE, std::memory_order_relaxed);
  return 1;
}

void page_io_unlock(Vm& vm, page_t* pp) {
  MutexGuard guard(page_io_mutex(vm, pp));
  if (!page_iolocked(pp)) {
    panic(absl::StrCat("page_io_unlock: page ", pp->p_pagenum, " is not I/O locked"));
  }
  pp->p_iolock_state.store(0, std::memory_order_relaxed);
  pp->p_io_cv.broadcast();
}

void page_io_wait(Vm& vm, page_t* pp) {
  Mutex& pio = page_io_mutex(vm, pp);
  MutexGuard guard(pio);
  while (page_iolocked(pp)) pp->p_io_cv.wait(pio);
}

uint64_t page_get_pagecnt(const Vm& vm, int szc) {
  HAT_ASSERT(szc >= 0 && szc <= vm.max_szc);
  return vm.machine.mmu().level_frames(szc);
}

page_t* PP_GROUPLEADER(Vm& vm, page_t* pp, int szc) {
  return &vm.pages[pp->p_pagenum & ~(page_get_pagecnt(vm, szc) - 1)];
}

page_t* PP_PAGEROOT(Vm& vm, page_t* pp) {
  // Relaxed: stable for a holder of the page; others know that they only get a hint.
  return PP_GROUPLEADER(vm, pp, pp->p_szc.load(std::memory_order_relaxed));
}

Mutex& page_szc_lock(Vm& vm, const page_t* pp) {
  return vm.page_szc_mutex[pp->p_pagenum / page_get_pagecnt(vm, vm.max_szc)];
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
