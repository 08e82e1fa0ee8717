// Creating pages. See vm/page_alloc.h.
#include "absl/strings/str_cat.h"
#include "vm/page_list.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

// What the caller may not go below.
int64_t page_create_floor(Vm& vm, uint32_t flags) {
  if ((flags & PG_PUSHPAGE) != 0 || NOMEMWAIT(vm)) return 0;
  return (flags & PG_WAIT) != 0 ? vm.config.throttlefree : vm.config.pageout_reserve;
}

bool page_create_promise(Vm& vm, int64_t npages, uint32_t flags) {
  const int64_t floor = page_create_floor(vm, flags);
  while (!page_promise(vm, npages, floor)) {
    if ((flags & PG_PANIC) != 0 && (flags & PG_WAIT) == 0) {
      panic(
          absl::StrCat("page_create_va: no memory for ", npages, " pages, freemem ", freemem(vm)));
    }
    if ((flags & PG_WAIT) == 0) return false;
    if (npages + floor > static_cast<int64_t>(vm.npages)) {
      panic(absl::StrCat("page_create_va: ", npages, " pages can never be had: throttlefree ",
                         vm.config.throttlefree, ", memory ", vm.npages));
    }
    page_wait_for_memory(vm, npages + floor);
  }
  return true;
}

void set_noreloc(page_t* pp, uint32_t flags) {
  if ((flags & PG_NORELOC) != 0) pp->p_state.fetch_or(P_NORELOC, std::memory_order_relaxed);
}

// Uses `existing`, which holds the identity we were to give to *spare. It is EXCL, no mutex is
// held.
void page_use_existing(Vm& vm, page_t* existing, page_t** spare) {
  if (PP_ISFREE(existing)) {
    // It leaves the list on the promise that was kept by taking the spare, so the spare goes back
    // first: there are never fewer pages listed than promised (F1). freemem does not change.
    page_list_add(vm, *spare, /*first=*/true);
    page_unlock(vm, *spare);
    *spare = nullptr;
    page_list_sub(vm, existing);
  }
  page_io_lock(vm, existing);
}

// The page for one offset: a new one made of *spare (null afterwards), or the one that exists. EXCL
// and I/O locked. nullptr if the identity is taken and that is a failure.
page_t* page_create_one(Vm& vm, vnode_t* vp, uint64_t off, uint32_t flags, page_t** spare) {
  Mutex& phm = page_hash_mutex(vm, vp, off);
  page_t* existing;
  {
    MutexGuard guard(phm);
    do {
      if (page_hashin(vm, *spare, vp, off, &phm)) {
        page_t* pp = *spare;
        *spare = nullptr;
        set_noreloc(pp, flags);
        pp->p_nrm.fetch_or(P_REF, std::memory_order_relaxed);
        // Cannot block: the page was nobody's.
        page_io_lock(vm, pp);
        return pp;
      }
      if ((flags & PG_EXCL) != 0) return nullptr;
      existing = page_exists(vm, vp, off);  // exact, phm is held
      // On refusal phm was dropped while we slept: the page may be gone.
    } while (!page_lock(vm, existing, SE_EXCL, &phm, P_NO_RECLAIM));
  }
  page_use_existing(vm, existing, spare);
  return existing;
}

// Takes a failed page_create_va back.
void page_create_undo(Vm& vm, page_t* ring) {
  while (ring != nullptr) {
    page_t* pp = ring;
    page_sub(&ring, pp);
    page_io_unlock(vm, pp);
    page_hashout(vm, pp);
    page_free(vm, pp, 1);
  }
}

}  // namespace

page_t* page_create_va(Vm& vm, vnode_t* vp, uint64_t off, size_t bytes, uint32_t flags) {
  HAT_ASSERT((flags & (PG_EXCL | PG_WAIT)) != 0 && bytes > 0 && (off & (vm.pagesize - 1)) == 0);
  const int64_t npages = static_cast<int64_t>((bytes + vm.pagesize - 1) >> vm.pageshift);
  if (!page_create_promise(vm, npages, flags)) return nullptr;

  page_t* ring = nullptr;
  page_t* spare = nullptr;
  for (int64_t done = 0; done < npages; ++done, off += vm.pagesize) {
    if (spare == nullptr) spare = page_get_frame(vm);
    page_t* pp = page_create_one(vm, vp, off, flags, &spare);
    if (pp == nullptr) {
      page_free(vm, spare, 1);
      page_unpromise(vm, npages - done - 1);
      page_create_undo(vm, ring);
      return nullptr;
    }
    page_add(&ring, pp);
  }
  // Not needed: a page that existed took its place.
  if (spare != nullptr) page_free(vm, spare, 1);
  return ring;
}

page_t* page_get_physical(Vm& vm, uintptr_t seed) {
  if (!page_resv(vm, 1, KmFlag::kNoSleep)) return nullptr;
  // The kernel vnode has no other pages; the shift keeps seeds apart and offsets page aligned.
  page_t* pp = page_create_va(vm, &vm.kvp, uint64_t{seed} << vm.pageshift, vm.pagesize,
                              PG_EXCL | PG_NORELOC);
  if (pp == nullptr) {
    page_unresv(vm, 1);
    return nullptr;
  }
  page_t* ring = pp;
  page_sub(&ring, pp);
  page_io_unlock(vm, pp);
  return pp;
}

int page_reclaim(Vm& vm, page_t* pp, Mutex* lock) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  HAT_ASSERT(PAGE_EXCL(pp) && PP_ISFREE(pp));
  if (page_promise(vm, 1, 0)) {
    page_list_sub(vm, pp);
    return 1;
  }
  // Every listed page is promised, this one too. Its owner-to-be must be able to lock it, and we
  // wait with nothing held that it may need.
  page_unlock(vm, pp);
  if (lock != nullptr) lock->exit();
  page_wait_for_memory(vm, 1);
  if (lock != nullptr) lock->enter();
  return 0;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
