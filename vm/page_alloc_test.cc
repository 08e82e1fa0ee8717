// Creating and freeing pages, memory accounting, large pages; one thread.
#include "gtest/gtest.h"
#include "vm/vm_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class PageAlloc : public VmTest {};

TEST_F(PageAlloc, EverythingIsFreeAtFirst) {
  EXPECT_EQ(freemem(vm), 32);
  EXPECT_EQ(availrmem(vm), 32);
  EXPECT_TRUE(PP_ISFREE(page_first(vm)));
}

TEST_F(PageAlloc, ReservedFramesAreNobodysAndNotFree) {
  VmConfig config = no_thresholds();
  config.reserved_frames = 3;
  Machine another(small_machine(8));
  Vm reserved(config, another);
  EXPECT_EQ(freemem(reserved), 5);
  EXPECT_FALSE(PP_ISFREE(page_numtopp_nolock(reserved, 2)));
  EXPECT_TRUE(PP_ISFREE(page_numtopp_nolock(reserved, 3)));
  EXPECT_EQ(another.mem().kind(2), FrameKind::kData);
  EXPECT_EQ(vm_audit(reserved), absl::OkStatus());
}

TEST_F(PageAlloc, CreatedPagesComeAsARingLockedBothWays) {
  page_t* ring = page_create_va(vm, &file, 2 * vm.pagesize, 3 * vm.pagesize - 1, PG_EXCL);
  for (uint64_t i = 2; i < 5; ++i) {
    ASSERT_NE(ring, nullptr);
    page_t* pp = ring;
    page_sub(&ring, pp);
    EXPECT_EQ(exists(file, i), pp) << "in the order of their offsets";
    EXPECT_TRUE(PAGE_EXCL(pp));
    EXPECT_TRUE(page_iolocked(pp));
    EXPECT_EQ(pp->p_nrm.load(std::memory_order_relaxed), P_REF);
    EXPECT_EQ(machine.mem().kind(pp->p_pagenum), FrameKind::kData);
    page_io_unlock(vm, pp);
    page_unlock(vm, pp);
  }
  EXPECT_EQ(ring, nullptr);
  EXPECT_EQ(freemem(vm), 29);
}

TEST_F(PageAlloc, WithExclATakenIdentityUndoesTheWholeCall) {
  page_t* taken = new_page(file, 2);
  EXPECT_EQ(page_create_va(vm, &file, 0, 4 * vm.pagesize, PG_EXCL | PG_WAIT), nullptr);
  EXPECT_EQ(exists(file, 0), nullptr);
  EXPECT_EQ(exists(file, 1), nullptr);
  EXPECT_EQ(freemem(vm), 31);
  page_unlock(vm, taken);
}

TEST_F(PageAlloc, WithWaitAnExistingPageIsReturnedAsItIs) {
  page_t* old = new_page(file, 1);
  machine.mem().write_bytes(old->p_pagenum, 0, {0xab});
  page_unlock(vm, old);
  page_t* ring = page_create_va(vm, &file, 0, 2 * vm.pagesize, PG_WAIT);
  EXPECT_EQ(freemem(vm), 30) << "one new page, nothing lost";
  EXPECT_EQ(ring->p_next(), old);
  EXPECT_TRUE(PAGE_EXCL(old));
  EXPECT_TRUE(page_iolocked(old));
  uint8_t byte = 0;
  machine.mem().read_bytes(old->p_pagenum, 0, absl::MakeSpan(&byte, 1));
  EXPECT_EQ(byte, 0xab);
  while (ring != nullptr) {
    page_t* pp = ring;
    page_sub(&ring, pp);
    page_io_unlock(vm, pp);
    page_unlock(vm, pp);
  }
}

TEST_F(PageAlloc, WithWaitAnExistingCachedPageLeavesTheCacheList) {
  page_t* old = cached_page(file, 1);
  EXPECT_EQ(freemem(vm), 32);
  EXPECT_EQ(new_page(file, 1, PG_WAIT), old);
  EXPECT_FALSE(PP_ISFREE(old));
  EXPECT_EQ(freemem(vm), 31);
  page_unlock(vm, old);
}

TEST_F(PageAlloc, ACachedPageLosesItsIdentityOnlyWhenTheFreeListsAreEmpty) {
  page_t* old = cached_page(file, 0);
  page_t* ring = page_create_va(vm, &other, 0, 31 * vm.pagesize, PG_EXCL);
  ASSERT_NE(ring, nullptr);
  EXPECT_EQ(exists(file, 0), old);
  page_t* last = page_create_va(vm, &other, 31 * vm.pagesize, vm.pagesize, PG_EXCL);
  EXPECT_EQ(last, old);
  EXPECT_EQ(exists(file, 0), nullptr);
  EXPECT_EQ(page_create_va(vm, &file, 0, vm.pagesize, PG_EXCL), nullptr) << "memory is gone";
}

TEST_F(PageAlloc, FreeingPutsAPageWhereItsIdentityBelongs) {
  page_t* pp = new_page(file, 0);
  pp->p_nrm.fetch_or(P_MOD, std::memory_order_relaxed);
  page_free(vm, pp, 0);
  EXPECT_TRUE(PP_ISFREE(pp));
  EXPECT_EQ(selock(pp), 0);
  EXPECT_EQ(pp->p_nrm.load(std::memory_order_relaxed), 0);
  EXPECT_EQ(machine.mem().kind(pp->p_pagenum), FrameKind::kFree);
  EXPECT_EQ(exists(file, 0), pp);
  EXPECT_EQ(freemem(vm), 32);
  page_destroy(vm, lookup(file, 0, SE_EXCL), 0);
  EXPECT_EQ(exists(file, 0), nullptr);
  EXPECT_TRUE(PP_ISFREE(pp));
}

TEST_F(PageAlloc, WhatIsNotNeededIsReusedFirst) {
  VmConfig config = no_thresholds();
  config.free_lists = 1;
  Machine another(small_machine(4));
  Vm small(config, another);
  page_t* ring = page_create_va(small, &file, 0, 4 * small.pagesize, PG_EXCL);
  page_t* pages[4];
  for (page_t*& pp : pages) {
    pp = ring;
    page_sub(&ring, pp);
    page_io_unlock(small, pp);
  }
  page_free(small, pages[0], 0);
  page_free(small, pages[1], 0);
  page_free(small, pages[2], 1);
  EXPECT_EQ(page_create_va(small, &other, 0, small.pagesize, PG_EXCL), pages[2]);
  EXPECT_EQ(page_create_va(small, &other, 32, small.pagesize, PG_EXCL), pages[0]);
}

TEST_F(PageAlloc, ReleasingAPageWithAKpmUserOnlyUnlocksIt) {
  page_t* pp = new_page(file, 0);
  pp->p_kpmref = 1;
  EXPECT_EQ(page_release(vm, pp, 0), PGREL_NOTREL);
  EXPECT_EQ(selock(pp), 0);
  EXPECT_FALSE(PP_ISFREE(pp));
  pp->p_kpmref = 0;
}

TEST_F(PageAlloc, FreeingAMappedPagePanics) {
  vm.set_mapping_ops(&mappings);
  page_t* pp = new_page(file, 0);
  mappings.mapped[pp] = 2;
  EXPECT_DEATH(page_free(vm, pp, 0), "invariant 40: page [0-9]+ is freed with 2 mappings");
  mappings.mapped[pp] = 0;
  pp->p_kpmref = 1;
  EXPECT_DEATH(page_free(vm, pp, 0), "invariant 40: .* 1 kpm users");
  pp->p_kpmref = 0;
  pp->p_lckcnt = 1;
  EXPECT_DEATH(page_free(vm, pp, 0), "memory_locked");
  pp->p_lckcnt = 0;
  page_unlock(vm, pp);
  vm.set_mapping_ops(nullptr);
}

TEST_F(PageAlloc, DestroyingUnloadsFirst) {
  vm.set_mapping_ops(&mappings);
  page_t* pp = new_page(file, 0);
  mappings.mapped[pp] = 2;
  page_destroy(vm, pp, /*dontfree=*/1);
  EXPECT_EQ(mappings.mapped[pp], 0u);
  EXPECT_TRUE(PAGE_EXCL(pp));
  EXPECT_FALSE(PP_ISFREE(pp));
  page_destroy(vm, pp, 0);
  EXPECT_TRUE(PP_ISFREE(pp));
  vm.set_mapping_ops(nullptr);
}

TEST_F(PageAlloc, ReleaseFreesAnUnusedPageAndConsumesTheLock) {
  page_t* pp = new_page(file, 0);
  page_downgrade(vm, pp);
  EXPECT_EQ(page_release(vm, pp, 1), PGREL_CLEAN);
  EXPECT_TRUE(PP_ISFREE(pp));
  EXPECT_EQ(exists(file, 0), pp) << "on the cache list";
}

TEST_F(PageAlloc, ReleaseKeepsWhatOthersNeed) {
  vm.set_mapping_ops(&mappings);
  page_t* pp = new_page(file, 0);
  mappings.mapped[pp] = 1;
  EXPECT_EQ(page_release(vm, pp, 1), PGREL_NOTREL) << "mapped";
  EXPECT_EQ(selock(pp), 0);
  mappings.mapped[pp] = 0;
  page_trylock(vm, pp, SE_SHARED);
  page_trylock(vm, pp, SE_SHARED);
  EXPECT_EQ(page_release(vm, pp, 1), PGREL_NOTREL) << "held by another";
  EXPECT_EQ(selock(pp), 1);
  pp->p_cowcnt = 1;
  EXPECT_EQ(page_release(vm, pp, 1), PGREL_NOTREL) << "memory locked";
  EXPECT_EQ(selock(pp), 0) << "also after the upgrade";
  pp->p_cowcnt = 0;
  page_trylock(vm, pp, SE_EXCL);
  pp->p_nrm.fetch_or(P_MOD, std::memory_order_relaxed);
  EXPECT_EQ(page_release(vm, pp, 1), PGREL_MOD);
  EXPECT_EQ(selock(pp), 0);
  EXPECT_FALSE(PP_ISFREE(pp));
  page_trylock(vm, pp, SE_EXCL);
  EXPECT_EQ(page_release(vm, pp, 0), PGREL_CLEAN) << "modified, but nobody asked";
  vm.set_mapping_ops(nullptr);
}

TEST_F(PageAlloc, DisposeDestroysOrFrees) {
  page_t* pp = new_page(file, 0);
  VN_DISPOSE(vm, pp, B_FREE);
  EXPECT_EQ(exists(file, 0), pp);
  VN_DISPOSE(vm, lookup(file, 0, SE_EXCL), B_INVAL);
  EXPECT_EQ(exists(file, 0), nullptr);
}

TEST_F(PageAlloc, ReservationsAreRefusedBelowTheMinimum) {
  EXPECT_TRUE(page_resv(vm, 30, KmFlag::kNoSleep));
  EXPECT_EQ(availrmem(vm), 2);
  EXPECT_FALSE(page_resv(vm, 3, KmFlag::kNoSleep));
  EXPECT_EQ(availrmem(vm), 2);
  EXPECT_TRUE(page_resv(vm, 2, KmFlag::kSleep));
  page_unresv(vm, 32);
  EXPECT_EQ(availrmem(vm), 32);
}

TEST_F(PageAlloc, APhysicalPageKeepsItsIdentity) {
  page_t* pp = page_get_physical(vm, 77);
  ASSERT_NE(pp, nullptr);
  EXPECT_TRUE(PAGE_EXCL(pp));
  EXPECT_FALSE(page_iolocked(pp));
  EXPECT_EQ(pp->p_next(), nullptr);
  EXPECT_EQ(pp->p_state.load(std::memory_order_relaxed), P_NORELOC);
  EXPECT_EQ(availrmem(vm), 31);
  const uint64_t off = pp->p_offset.load(std::memory_order_relaxed);
  page_unlock(vm, pp);
  EXPECT_EQ(page_lookup(vm, &vm.kvp, off, SE_EXCL), pp);
  page_destroy(vm, pp, 0);
  page_unresv(vm, 1);
  EXPECT_EQ(page_lookup(vm, &vm.kvp, off, SE_EXCL), nullptr);
}

TEST_F(PageAlloc, AFailedPhysicalPageLeavesNoReservation) {
  page_t* pp = page_get_physical(vm, 77);
  EXPECT_EQ(page_get_physical(vm, 77), nullptr) << "the seed is in use";
  EXPECT_EQ(availrmem(vm), 31);
  EXPECT_EQ(freemem(vm), 31);
  page_t* ring = page_create_va(vm, &file, 0, 31 * vm.pagesize, PG_EXCL);
  ASSERT_NE(ring, nullptr);
  EXPECT_EQ(page_get_physical(vm, 78), nullptr) << "no memory";
  EXPECT_EQ(availrmem(vm), 31);
  page_unlock(vm, pp);
}

class PageThrottle : public VmTest {
 protected:
  PageThrottle() : VmTest(small_machine(32), thresholds()) {}
  static VmConfig thresholds() {
    VmConfig config;
    config.throttlefree = 8;
    config.pageout_reserve = 4;
    config.t_minarmem = 2;
    return config;
  }
};

TEST_F(PageThrottle, WhoMayNotWaitFailsBelowPageoutReserve) {
  EXPECT_NE(page_create_va(vm, &file, 0, 28 * vm.pagesize, PG_EXCL), nullptr);
  EXPECT_EQ(freemem(vm), 4);
  EXPECT_EQ(new_page(other, 0), nullptr);
  EXPECT_EQ(page_get_physical(vm, 1), nullptr);
  EXPECT_EQ(availrmem(vm), 32);
  EXPECT_DEATH(new_page(other, 0, PG_EXCL | PG_PANIC), "no memory for 1 pages, freemem 4");
}

TEST_F(PageThrottle, WhoFreesMemoryMayUseTheLastPage) {
  EXPECT_NE(page_create_va(vm, &file, 0, 28 * vm.pagesize, PG_EXCL), nullptr);
  EXPECT_FALSE(NOMEMWAIT(vm));
  {
    NoMemWait exempt(vm);
    EXPECT_TRUE(NOMEMWAIT(vm));
    for (uint64_t i = 0; i < 3; ++i) EXPECT_NE(new_page(other, i, PG_WAIT), nullptr);
  }
  EXPECT_FALSE(NOMEMWAIT(vm));
  EXPECT_NE(new_page(other, 3, PG_EXCL | PG_PUSHPAGE), nullptr);
  EXPECT_EQ(freemem(vm), 0);
}

TEST_F(PageThrottle, ARequestThatCanNeverBeMetPanics) {
  EXPECT_DEATH(page_create_va(vm, &file, 0, 25 * vm.pagesize, PG_WAIT), "can never be had");
}

TEST_F(PageThrottle, DefaultsFollowTheMemorySize) {
  Machine another(amd64_machine(1024));
  Vm defaults(VmConfig{}, another);
  EXPECT_EQ(defaults.config.throttlefree, 4);
  EXPECT_EQ(defaults.config.pageout_reserve, 2);
  EXPECT_EQ(defaults.config.t_minarmem, 16);
  EXPECT_EQ(defaults.config.page_hash_size, 256u);
}

class PageGroup : public VmTest {};

TEST_F(PageGroup, ALargePageIsAlignedLockedAndHashed) {
  page_t* root = page_alloc_large(vm, &file, 4 * vm.pagesize, 1);
  ASSERT_NE(root, nullptr);
  EXPECT_EQ(root->p_pagenum % 4, 0u);
  EXPECT_EQ(freemem(vm), 28);
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(exists(file, 4 + i), root + i);
    EXPECT_TRUE(PAGE_EXCL(root + i));
    EXPECT_EQ(root[i].p_szc.load(std::memory_order_relaxed), 1);
    EXPECT_EQ(PP_PAGEROOT(vm, root + i), root);
    EXPECT_EQ(machine.mem().kind(root->p_pagenum + i), FrameKind::kData);
  }
  page_free_pages(vm, root);
  EXPECT_EQ(freemem(vm), 32);
  EXPECT_EQ(exists(file, 4), root) << "on the cache list, as base pages";
}

TEST_F(PageGroup, CachedPagesMakeWayForALargePage) {
  for (uint64_t i = 0; i < 32; ++i) new_page(file, i);
  for (uint64_t i = 0; i < 32; ++i) page_free(vm, exists(file, i), 0);
  page_t* root = page_alloc_large(vm, nullptr, 0, 1);
  ASSERT_NE(root, nullptr);
  EXPECT_EQ(root->p_vnode.load(std::memory_order_relaxed), nullptr);
  page_destroy_pages(vm, root);
}

TEST_F(PageGroup, OneBusyPageInEveryGroupMeansNoLargePage) {
  for (uint64_t i = 0; i < 32; ++i) new_page(file, i);
  for (uint64_t i = 0; i < 32; ++i) {
    page_t* pp = exists(file, i);
    if (pp->p_pagenum % 4 == 3) {
      page_unlock(vm, pp);
    } else {
      page_free(vm, pp, 0);
    }
  }
  EXPECT_EQ(page_alloc_large(vm, nullptr, 0, 1), nullptr);
  EXPECT_EQ(freemem(vm), 24);
}

TEST_F(PageGroup, ALockedFreePageIsLeftAlone) {
  for (pfn_t pfn = 3; pfn < 32; pfn += 4) page_trylock(vm, &vm.pages[pfn], SE_SHARED);
  EXPECT_EQ(page_alloc_large(vm, nullptr, 0, 1), nullptr);
  EXPECT_EQ(freemem(vm), 32);
  for (pfn_t pfn = 3; pfn < 32; pfn += 4) page_unlock(vm, &vm.pages[pfn]);
}

TEST_F(PageGroup, ATakenIdentityUndoesTheGroup) {
  page_t* taken = new_page(file, 2);
  EXPECT_EQ(page_alloc_large(vm, &file, 0, 1), nullptr);
  EXPECT_EQ(exists(file, 0), nullptr);
  EXPECT_EQ(exists(file, 2), taken);
  EXPECT_EQ(freemem(vm), 31);
  page_unlock(vm, taken);
}

TEST_F(PageGroup, DemotionNeedsTheWholeGroup) {
  vm.set_mapping_ops(&mappings);
  page_t* root = page_alloc_large(vm, &file, 0, 1);
  for (uint64_t i = 0; i < 4; ++i) page_unlock(vm, root + i);
  page_trylock(vm, root + 1, SE_EXCL);
  page_trylock(vm, root + 3, SE_SHARED);
  EXPECT_FALSE(page_try_demote_pages(vm, root + 1));
  EXPECT_EQ(selock(root), 0) << "not left locked";
  EXPECT_EQ(root->p_szc.load(std::memory_order_relaxed), 1);
  page_unlock(vm, root + 3);
  mappings.mapped[root] = 1;
  EXPECT_TRUE(page_try_demote_pages(vm, root + 1));
  EXPECT_EQ(mappings.mapped[root], 0u);
  EXPECT_EQ(root->p_szc.load(std::memory_order_relaxed), 0);
  EXPECT_TRUE(PAGE_EXCL(root + 1));
  EXPECT_EQ(selock(root + 3), 0);
  EXPECT_TRUE(page_try_demote_pages(vm, root + 1)) << "a base page is fine as it is";
  page_unlock(vm, root + 1);
  vm.set_mapping_ops(nullptr);
}

TEST_F(PageGroup, ABasePageOfALargePageIsNotReleased) {
  page_t* root = page_alloc_large(vm, &file, 0, 1);
  EXPECT_EQ(page_release(vm, root + 1, 0), PGREL_NOTREL);
  for (uint64_t i : {0, 2, 3}) page_unlock(vm, root + i);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
