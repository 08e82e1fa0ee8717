// Large pages: groups of consecutive base pages with one size code. See vm/page_alloc.h.
#include "vm/page_list.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

// A free group, all pages EXCL. From the top of memory downwards: small pages are taken from the
// bottom of each list's range, so the two kinds meet late.
page_t* page_find_group(Vm& vm, uint64_t count) {
  for (uint64_t group = vm.npages / count; group-- > 0;) {
    page_t* root = &vm.pages[group * count];
    if (page_get_group(vm, root, count)) return root;
  }
  return nullptr;
}

// Every change of a size code goes through here. All constituents EXCL.
void page_set_szc(Vm& vm, page_t* root, uint64_t count, int szc) {
  MutexGuard guard(page_szc_lock(vm, root));
  for (uint64_t i = 0; i < count; ++i) {
    HAT_ASSERT(PAGE_EXCL(root + i));
    root[i].p_szc.store(static_cast<uint8_t>(szc), std::memory_order_relaxed);
  }
}

// The leader's size code; checks that pp is a leader.
uint64_t page_group_size(Vm& vm, page_t* pp) {
  const int szc = pp->p_szc.load(std::memory_order_relaxed);
  HAT_ASSERT(PP_GROUPLEADER(vm, pp, szc) == pp);
  return page_get_pagecnt(vm, szc);
}

}  // namespace

page_t* page_alloc_large(Vm& vm, vnode_t* vp, uint64_t off, int szc) {
  HAT_ASSERT(szc > 0 && szc <= vm.max_szc);
  const uint64_t count = page_get_pagecnt(vm, szc);
  HAT_ASSERT(vp == nullptr || off % (count << vm.pageshift) == 0);
  const int64_t floor = NOMEMWAIT(vm) ? 0 : vm.config.pageout_reserve;
  if (!page_promise(vm, static_cast<int64_t>(count), floor)) return nullptr;
  page_t* root = page_find_group(vm, count);
  if (root == nullptr) {
    page_unpromise(vm, static_cast<int64_t>(count));
    return nullptr;
  }
  for (uint64_t i = 0; i < count && vp != nullptr; ++i) {
    if (page_hashin(vm, root + i, vp, off + (i << vm.pageshift))) continue;
    // Taken by a base page. Those hashed so far were visible, but EXCL: nobody has used them.
    for (uint64_t j = 0; j < count; ++j) {
      if (j < i) page_hashout(vm, root + j);
      page_free(vm, root + j, 1);
    }
    return nullptr;
  }
  page_set_szc(vm, root, count, szc);
  for (uint64_t i = 0; i < count; ++i) root[i].p_nrm.fetch_or(P_REF, std::memory_order_relaxed);
  return root;
}

void page_free_pages(Vm& vm, page_t* pp) {
  const uint64_t count = page_group_size(vm, pp);
  page_set_szc(vm, pp, count, 0);
  for (uint64_t i = 0; i < count; ++i) page_free(vm, pp + i, 1);
}

void page_destroy_pages(Vm& vm, page_t* pp) {
  const uint64_t count = page_group_size(vm, pp);
  // While the size code still tells the HAT to look for large mappings.
  for (uint64_t i = 0; i < count; ++i) vm.mapping_ops().hat_pageunload(pp + i);
  page_set_szc(vm, pp, count, 0);
  for (uint64_t i = 0; i < count; ++i) page_destroy(vm, pp + i, 0);
}

int page_try_demote_pages(Vm& vm, page_t* pp) {
  HAT_ASSERT(PAGE_EXCL(pp) && !PP_ISFREE(pp));
  page_t* root = PP_PAGEROOT(vm, pp);
  const uint64_t count = page_get_pagecnt(vm, pp->p_szc.load(std::memory_order_relaxed));
  uint64_t locked = 0;
  while (locked < count && (root + locked == pp || page_trylock(vm, root + locked, SE_EXCL))) {
    ++locked;
  }
  if (locked == count && count > 1) {
    for (uint64_t i = 0; i < count; ++i) vm.mapping_ops().hat_pageunload(root + i);
    page_set_szc(vm, root, count, 0);
  }
  for (uint64_t i = 0; i < locked; ++i) {
    if (root + i != pp) page_unlock(vm, root + i);
  }
  return locked == count ? 1 : 0;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
