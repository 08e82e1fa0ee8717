// Searches, identity and v_pages rings, one thread.
#include "gtest/gtest.h"
#include "vm/vm_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class PageCache : public VmTest {
 protected:
  std::vector<uint64_t> ring_of(vnode_t& vp) {
    std::vector<uint64_t> indices;
    page_t* head = vp.v_pages.load(std::memory_order_relaxed);
    for (page_t* pp = head; pp != nullptr;) {
      indices.push_back(pp->p_offset.load(std::memory_order_relaxed) / vm.pagesize);
      pp = pp->p_vpnext();
      if (pp == head) break;
    }
    return indices;
  }
  void unlock_all(vnode_t& vp) {
    for (uint64_t index : ring_of(vp)) page_unlock(vm, exists(vp, index));
  }
};

using Ring = std::vector<uint64_t>;

TEST_F(PageCache, LookupOfNothingFindsNothing) {
  EXPECT_EQ(lookup(file, 0, SE_SHARED), nullptr);
  EXPECT_EQ(page_lookup_nowait(vm, &file, 0, SE_SHARED), nullptr);
  EXPECT_EQ(page_find(vm, &file, 0), nullptr);
  EXPECT_EQ(exists(file, 0), nullptr);
}

TEST_F(PageCache, LookupLocksAsAsked) {
  page_t* pp = new_page(file, 3);
  page_unlock(vm, pp);
  EXPECT_EQ(lookup(file, 3, SE_SHARED), pp);
  EXPECT_EQ(selock(pp), 1);
  EXPECT_EQ(lookup(file, 3, SE_SHARED), pp);
  EXPECT_EQ(selock(pp), 2);
  page_unlock(vm, pp);
  page_unlock(vm, pp);
  EXPECT_EQ(lookup(file, 3, SE_EXCL), pp);
  EXPECT_EQ(selock(pp), -1);
  EXPECT_EQ(page_find(vm, &file, 3 * vm.pagesize), pp);
  page_unlock(vm, pp);
  EXPECT_EQ(lookup(other, 3, SE_SHARED), nullptr) << "same offset, another vnode";
  EXPECT_EQ(lookup(file, 4, SE_SHARED), nullptr);
}

TEST_F(PageCache, LookupTakesAPageOffTheCacheList) {
  page_t* pp = cached_page(file, 0);
  const int64_t before = freemem(vm);
  EXPECT_EQ(lookup(file, 0, SE_SHARED), pp);
  EXPECT_EQ(selock(pp), 1) << "EXCL for the reclaim, then downgraded";
  EXPECT_FALSE(PP_ISFREE(pp));
  EXPECT_EQ(freemem(vm), before - 1);
  EXPECT_EQ(machine.mem().kind(pp->p_pagenum), FrameKind::kData);
  page_unlock(vm, pp);
  page_free(vm, lookup(file, 0, SE_EXCL), 0);
  EXPECT_EQ(lookup(file, 0, SE_EXCL), pp);
  EXPECT_EQ(selock(pp), -1);
  page_unlock(vm, pp);
}

TEST_F(PageCache, LookupNowaitPassesOverFreeAndBusyPages) {
  page_t* pp = cached_page(file, 0);
  EXPECT_EQ(page_lookup_nowait(vm, &file, 0, SE_SHARED), nullptr);
  EXPECT_EQ(selock(pp), 0);
  EXPECT_EQ(lookup(file, 0, SE_EXCL), pp);
  EXPECT_EQ(page_lookup_nowait(vm, &file, 0, SE_SHARED), nullptr);
  page_downgrade(vm, pp);
  EXPECT_EQ(page_lookup_nowait(vm, &file, 0, SE_EXCL), nullptr);
  EXPECT_EQ(page_lookup_nowait(vm, &file, 0, SE_SHARED), pp);
  page_unlock(vm, pp);
  page_unlock(vm, pp);
}

TEST_F(PageCache, FindAssertsThatThePageIsHeld) {
  page_unlock(vm, new_page(file, 0));
  EXPECT_DEATH(page_find(vm, &file, 0), "PAGE_LOCKED");
}

TEST_F(PageCache, HashoutTakesIdentityAndBitsAway) {
  page_t* pp = new_page(file, 2);
  EXPECT_EQ(pp->p_nrm.load(std::memory_order_relaxed), P_REF);
  page_hashout(vm, pp);
  EXPECT_EQ(exists(file, 2), nullptr);
  EXPECT_EQ(pp->p_vnode.load(std::memory_order_relaxed), nullptr);
  EXPECT_EQ(pp->p_nrm.load(std::memory_order_relaxed), 0);
  EXPECT_FALSE(vn_has_cached_data(&file));
  page_free(vm, pp, 0);
}

TEST_F(PageCache, HashoutOfAnIoLockedPageIsRefused) {
  page_t* pp = new_page(file, 2);
  page_io_lock(vm, pp);
  EXPECT_DEATH(page_hashout(vm, pp), "page_iolocked");
  page_io_unlock(vm, pp);
  page_unlock(vm, pp);
}

TEST_F(PageCache, AnIdentityIsGivenOnce) {
  page_t* first = new_page(file, 2);
  page_t* second = new_page(other, 2);
  page_hashout(vm, second);
  EXPECT_EQ(page_hashin(vm, second, &file, 2 * vm.pagesize), 0);
  EXPECT_EQ(exists(file, 2), first);
  EXPECT_EQ(page_hashin(vm, second, &other, 7 * vm.pagesize), 1);
  EXPECT_EQ(exists(other, 7), second);
  Mutex& held = page_hash_mutex(vm, &other, 7 * vm.pagesize);
  held.enter();
  page_hashout(vm, second, &held);
  EXPECT_EQ(page_hashin(vm, second, &other, 7 * vm.pagesize, &held), 1);
  EXPECT_TRUE(held.held());
  held.exit();
  page_unlock(vm, first);
  page_unlock(vm, second);
}

TEST_F(PageCache, RenameMovesThePageAndDestroysTheOneInItsPlace) {
  page_t* old = new_page(file, 1);
  page_t* pp = new_page(file, 0);
  pp->p_nrm.fetch_or(P_MOD, std::memory_order_relaxed);
  page_unlock(vm, old);
  page_rename(vm, pp, &file, vm.pagesize);
  EXPECT_EQ(exists(file, 0), nullptr);
  EXPECT_EQ(exists(file, 1), pp);
  EXPECT_TRUE(PP_ISMOD(pp));
  EXPECT_TRUE(PP_ISFREE(old));
  page_unlock(vm, pp);
}

TEST_F(PageCache, NewPagesGoToTheHeadOfTheRing) {
  for (uint64_t i = 0; i < 3; ++i) new_page(file, i);
  EXPECT_EQ(ring_of(file), (Ring{2, 1, 0}));
  page_hashout(vm, exists(file, 2));
  EXPECT_EQ(ring_of(file), (Ring{1, 0}));
  EXPECT_TRUE(vn_has_cached_data(&file));
  unlock_all(file);
  for (page_t* pp = page_first(vm);;) {  // the one without identity
    if (PAGE_EXCL(pp)) page_free(vm, pp, 0);
    pp = page_next(vm, pp);
    if (pp == page_first(vm)) break;
  }
}

TEST_F(PageCache, AModifiedPageOfASortedVnodeGoesToTheTail) {
  for (uint64_t i = 0; i < 3; ++i) new_page(sorted, i);
  vm.mapping_ops().hat_page_setattr(exists(sorted, 2), P_MOD);  // was the head
  EXPECT_EQ(ring_of(sorted), (Ring{1, 0, 2}));
  vm.mapping_ops().hat_page_setattr(exists(sorted, 0), P_MOD);
  EXPECT_EQ(ring_of(sorted), (Ring{1, 2, 0}));
  vm.mapping_ops().hat_page_setattr(exists(sorted, 2), P_MOD);  // modified already
  EXPECT_EQ(ring_of(sorted), (Ring{1, 2, 0}));
  page_t* modified = exists(sorted, 2);
  page_rename(vm, modified, &sorted, 5 * vm.pagesize);
  EXPECT_EQ(ring_of(sorted), (Ring{1, 0, 5})) << "hashed in as a modified page";
  unlock_all(sorted);
}

TEST_F(PageCache, ASinglePageCanBeMovedToTheTail) {
  page_t* pp = new_page(sorted, 0);
  vm.mapping_ops().hat_page_setattr(pp, P_MOD);
  EXPECT_EQ(ring_of(sorted), (Ring{0}));
  page_unlock(vm, pp);
}

TEST_F(PageCache, PagesAreFoundByFrameAndInOrder) {
  EXPECT_EQ(page_numtopp_nolock(vm, 5)->p_pagenum, 5u);
  EXPECT_EQ(page_numtopp_nolock(vm, vm.npages), nullptr);
  EXPECT_EQ(page_numtopp_nolock(vm, PFN_INVALID), nullptr);
  page_t* pp = page_first(vm);
  for (pfn_t i = 0; i < vm.npages; ++i, pp = page_next(vm, pp)) EXPECT_EQ(pp->p_pagenum, i);
  EXPECT_EQ(pp, page_first(vm)) << "wraps round";
}

TEST_F(PageCache, OneChainAndOneMutexAreEnough) {
  Machine tiny_machine(small_machine(8));
  Vm tiny(VmConfig::tiny(), tiny_machine);
  page_t* ring = page_create_va(tiny, &file, 0, 8 * tiny.pagesize, PG_EXCL);
  ASSERT_NE(ring, nullptr);
  EXPECT_EQ(freemem(tiny), 0);
  for (uint64_t i = 0; i < 8; ++i) EXPECT_NE(page_exists(tiny, &file, i * tiny.pagesize), nullptr);
  while (ring != nullptr) {
    page_t* pp = ring;
    page_sub(&ring, pp);
    page_io_unlock(tiny, pp);
    page_destroy(tiny, pp, 0);
  }
  EXPECT_EQ(vm_audit(tiny), absl::OkStatus());
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
