// Free and cache lists, and promises out of freemem. See vm/page_list.h and vm/page_alloc.h.
#include "vm/page_list.h"

#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

// Which of the pair a page belongs on.
bool has_identity(const page_t* pp) {
  return pp->p_vnode.load(std::memory_order_relaxed) != nullptr;
}

// head is written under page_freelock only, so relaxed suffices for whoever holds it.
page_t* head_of(const Atomic<page_t*>& head) { return head.load(std::memory_order_relaxed); }

// Takes pp off the list of the pair that it is on. page_freelock held.
void list_unlink(page_list_t& list, page_t* pp) {
  const bool cached = has_identity(pp);
  Atomic<page_t*>& head = cached ? list.cache_head : list.free_head;
  Guarded<int64_t>& count = cached ? list.cache_count : list.free_count;
  page_t* ring = head_of(head);
  page_sub(&ring, pp);
  head.store(ring, std::memory_order_relaxed);
  count = count() - 1;
}

// The first page of the list that can be locked EXCL, taken off the list; nullptr if there is none.
// A page somebody else has locked for a moment (a lookup that will find it changed) is passed over.
page_t* take_first(Vm& vm, page_list_t& list, const Atomic<page_t*>& head) {
  // A peek, so that an empty list costs no mutex. Missing a page added this moment means another
  // round for the caller, who has been promised one.
  if (head_of(head) == nullptr) return nullptr;
  MutexGuard guard(list.page_freelock);
  page_t* pp = head_of(head);
  if (pp == nullptr) return nullptr;
  while (!page_trylock(vm, pp, SE_EXCL)) {
    pp = pp->p_next();
    if (pp == head_of(head)) return nullptr;
  }
  list_unlink(list, pp);
  return pp;
}

// Off the lists: in use, and the machine knows it.
void now_in_use(Vm& vm, page_t* pp) {
  pp->p_state.fetch_and(static_cast<uint8_t>(~P_FREE), std::memory_order_relaxed);
  vm.machine.mem().set_kind(pp->p_pagenum, FrameKind::kData);
}

page_t* page_get_freelist(Vm& vm) {
  const size_t n = vm.lists.size();
  // Each CPU begins elsewhere, so that they do not meet on one mutex.
  for (size_t i = 0, at = this_cpu() % n; i < n; ++i, at = at + 1 < n ? at + 1 : 0) {
    page_list_t& list = vm.lists[at];
    if (page_t* pp = take_first(vm, list, list.free_head)) return pp;
  }
  return nullptr;
}

page_t* page_get_cachelist(Vm& vm) {
  const size_t n = vm.lists.size();
  for (size_t i = 0, at = this_cpu() % n; i < n; ++i, at = at + 1 < n ? at + 1 : 0) {
    page_list_t& list = vm.lists[at];
    if (page_t* pp = take_first(vm, list, list.cache_head)) return pp;
  }
  return nullptr;
}

}  // namespace

void page_add(page_t** ring, page_t* pp) {
  page_t* head = *ring;
  if (head == nullptr) {
    pp->p_next = pp;
    pp->p_prev = pp;
    *ring = pp;
    return;
  }
  page_t* tail = head->p_prev();
  pp->p_next = head;
  pp->p_prev = tail;
  tail->p_next = pp;
  head->p_prev = pp;
}

void page_sub(page_t** ring, page_t* pp) {
  page_t* next = pp->p_next();
  page_t* prev = pp->p_prev();
  HAT_ASSERT(*ring != nullptr && next != nullptr && prev != nullptr, "page_sub: not on a ring");
  if (next == pp) {
    *ring = nullptr;
  } else {
    prev->p_next = next;
    next->p_prev = prev;
    if (*ring == pp) *ring = next;
  }
  pp->p_next = nullptr;
  pp->p_prev = nullptr;
}

void page_list_add(Vm& vm, page_t* pp, bool first) {
  page_list_t& list = page_list_of(vm, pp);
  const bool cached = has_identity(pp);
  // Before the page can be found on a list, and before freemem says so: whoever takes it then finds
  // a frame that is free.
  vm.machine.mem().set_kind(pp->p_pagenum, FrameKind::kFree);
  // P_SWAP and the like describe the use that ends here.
  pp->p_state.store(P_FREE, std::memory_order_relaxed);
  MutexGuard guard(list.page_freelock);
  Atomic<page_t*>& head = cached ? list.cache_head : list.free_head;
  Guarded<int64_t>& count = cached ? list.cache_count : list.free_count;
  page_t* ring = head_of(head);
  page_add(&ring, pp);
  head.store(first ? pp : ring, std::memory_order_relaxed);
  count = count() + 1;
}

void page_list_sub(Vm& vm, page_t* pp) {
  HAT_ASSERT(PAGE_EXCL(pp) && PP_ISFREE(pp));
  page_list_t& list = page_list_of(vm, pp);
  {
    MutexGuard guard(list.page_freelock);
    list_unlink(list, pp);
  }
  now_in_use(vm, pp);
}

page_t* page_get_frame(Vm& vm) {
  for (;;) {
    if (page_t* pp = page_get_freelist(vm)) {
      now_in_use(vm, pp);
      return pp;
    }
    if (page_t* pp = page_get_cachelist(vm)) {
      now_in_use(vm, pp);
      page_hashout(vm, pp);
      return pp;
    }
    // Promised, so it is there (F1): locked for a moment by a thread that will find that it does
    // not want it, or put on a list we had looked at already.
    yield();
  }
}

bool page_get_group(Vm& vm, page_t* root, uint64_t count) {
  // A peek that most groups fail.
  for (uint64_t i = 0; i < count; ++i) {
    if (!PP_ISFREE(root + i)) return false;
  }
  page_list_t& list = page_list_of(vm, root);
  {
    MutexGuard guard(list.page_freelock);
    for (uint64_t i = 0; i < count; ++i) {
      page_t* pp = root + i;
      const bool locked = page_trylock(vm, pp, SE_EXCL);
      if (locked && PP_ISFREE(pp)) continue;
      for (uint64_t j = 0; j < i + (locked ? 1 : 0); ++j) page_unlock(vm, root + j);
      return false;
    }
    for (uint64_t i = 0; i < count; ++i) list_unlink(list, root + i);
  }
  for (uint64_t i = 0; i < count; ++i) {
    now_in_use(vm, root + i);
    if (has_identity(root + i)) page_hashout(vm, root + i);
  }
  return true;
}

bool page_promise(Vm& vm, int64_t npages, int64_t floor) {
  int64_t count = vm.freemem_count.load(std::memory_order_relaxed);
  do {
    if (count - npages < floor) return false;
    // Acquire pairs with page_unpromise's release: the pages counted are on the lists.
  } while (!vm.freemem_count.compare_exchange_strong(
      count, count - npages, std::memory_order_acquire, std::memory_order_relaxed));
  return true;
}

// Sleeper and giver each write one word and then read the other's: the sleeper announces itself and
// looks at freemem, the giver raises freemem and looks for sleepers. All four accesses are seq_cst,
// so at least one of the two sees the other and no wake-up is lost.
void page_unpromise(Vm& vm, int64_t npages) {
  vm.freemem_count.fetch_add(npages, std::memory_order_seq_cst);
  if (vm.freemem_waiters.load(std::memory_order_seq_cst) == 0) return;
  // With the mutex, so that a sleeper between its look and its wait is not missed.
  MutexGuard guard(vm.new_freemem_lock);
  vm.freemem_cv.broadcast();
}

void page_wait_for_memory(Vm& vm, int64_t level) {
  MutexGuard guard(vm.new_freemem_lock);
  vm.freemem_waiters.fetch_add(1, std::memory_order_seq_cst);
  while (vm.freemem_count.load(std::memory_order_seq_cst) < level) {
    vm.freemem_cv.wait(vm.new_freemem_lock);
  }
  vm.freemem_waiters.fetch_sub(1, std::memory_order_relaxed);
}

int64_t freemem(const Vm& vm) { return vm.freemem_count.load(std::memory_order_relaxed); }

}  // namespace hatcheck::inline HATCHECK_BACKEND
