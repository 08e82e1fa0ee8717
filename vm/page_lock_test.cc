// The locks of a page: p_selock, I/O lock, size-code mutex.
#include "gtest/gtest.h"
#include "vm/vm_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class PageLock : public VmTest {
 protected:
  page_t* page = new_page_unlocked();

  page_t* new_page_unlocked() {
    page_t* pp = new_page(file, 0);
    page_unlock(vm, pp);
    return pp;
  }
};

TEST_F(PageLock, ReadersShareAndKeepWritersOut) {
  EXPECT_FALSE(PAGE_LOCKED(page));
  EXPECT_TRUE(page_trylock(vm, page, SE_SHARED));
  EXPECT_TRUE(page_trylock(vm, page, SE_SHARED));
  EXPECT_EQ(selock(page), 2);
  EXPECT_TRUE(PAGE_LOCKED(page));
  EXPECT_TRUE(PAGE_SHARED(page));
  EXPECT_FALSE(PAGE_EXCL(page));
  EXPECT_FALSE(page_trylock(vm, page, SE_EXCL));
  page_unlock(vm, page);
  page_unlock(vm, page);
  EXPECT_EQ(selock(page), 0);
}

TEST_F(PageLock, AWriterIsAlone) {
  EXPECT_TRUE(page_trylock(vm, page, SE_EXCL));
  EXPECT_EQ(selock(page), -1);
  EXPECT_TRUE(PAGE_EXCL(page));
  EXPECT_FALSE(PAGE_SHARED(page));
  EXPECT_FALSE(page_trylock(vm, page, SE_SHARED));
  EXPECT_FALSE(page_trylock(vm, page, SE_EXCL));
  page_unlock(vm, page);
}

TEST_F(PageLock, OnlyTheOnlyReaderIsUpgraded) {
  page_trylock(vm, page, SE_SHARED);
  page_trylock(vm, page, SE_SHARED);
  EXPECT_FALSE(page_tryupgrade(vm, page));
  EXPECT_EQ(selock(page), 2);
  page_unlock(vm, page);
  EXPECT_TRUE(page_tryupgrade(vm, page));
  EXPECT_EQ(selock(page), -1);
  page_downgrade(vm, page);
  EXPECT_EQ(selock(page), 1);
  page_unlock(vm, page);
}

TEST_F(PageLock, NobodyIsUpgradedWhileAWriterStarves) {
  page_trylock(vm, page, SE_SHARED);
  page->p_selock.fetch_or(SE_EWANTED, std::memory_order_relaxed);
  EXPECT_FALSE(page_tryupgrade(vm, page));
  page_unlock(vm, page);
  page_lock(vm, page, SE_EXCL, nullptr, P_NO_RECLAIM, SE_EXCL_WANTED);
  page_unlock(vm, page);
}

TEST_F(PageLock, WhileAWriterStarvesOnlyOneWhoStarvesGetsThePage) {
  page->p_selock.store(SE_EWANTED, std::memory_order_relaxed);
  EXPECT_FALSE(PAGE_LOCKED(page));
  EXPECT_FALSE(page_trylock(vm, page, SE_SHARED));
  EXPECT_FALSE(page_trylock(vm, page, SE_EXCL));
  EXPECT_FALSE(page_try_reclaim_lock(vm, page, SE_SHARED));
  EXPECT_TRUE(page_lock(vm, page, SE_EXCL, nullptr, P_NO_RECLAIM, SE_EXCL_WANTED));
  EXPECT_EQ(selock(page), -1) << "the grant clears SE_EWANTED";
  page_unlock(vm, page);
  EXPECT_EQ(selock(page), 0);
}

TEST_F(PageLock, ReadersThatLeaveKeepTheStarvingWritersMark) {
  page_trylock(vm, page, SE_SHARED);
  page_trylock(vm, page, SE_SHARED);
  page->p_selock.fetch_or(SE_EWANTED, std::memory_order_relaxed);
  EXPECT_TRUE(PAGE_SHARED(page));
  page_unlock(vm, page);
  EXPECT_EQ(selock(page), SE_EWANTED | 1);
  page_unlock(vm, page);
  EXPECT_EQ(selock(page), SE_EWANTED);
  page->p_selock.store(0, std::memory_order_relaxed);
}

TEST_F(PageLock, ARetiredPageIsRefusedAtOnce) {
  page_trylock(vm, page, SE_EXCL);
  page_destroy(vm, page, /*dontfree=*/1);
  page_lock_delete(vm, page);
  EXPECT_EQ(selock(page), SE_DELETED);
  EXPECT_FALSE(page_lock(vm, page, SE_SHARED, nullptr, P_NO_RECLAIM));
  EXPECT_FALSE(page_lock(vm, page, SE_EXCL, nullptr, P_RECLAIM, SE_EXCL_WANTED));
  EXPECT_FALSE(page_trylock(vm, page, SE_SHARED));
}

TEST_F(PageLock, ASharedRequestReclaimsAFreePageByWayOfExcl) {
  page_t* cached = cached_page(file, 1);
  const int64_t before = freemem(vm);
  EXPECT_TRUE(page_lock(vm, cached, SE_SHARED, nullptr, P_RECLAIM));
  EXPECT_EQ(selock(cached), 1);
  EXPECT_FALSE(PP_ISFREE(cached));
  EXPECT_EQ(freemem(vm), before - 1);
  page_unlock(vm, cached);
}

TEST_F(PageLock, WithoutReclaimAFreePageStaysFree) {
  page_t* cached = cached_page(file, 1);
  EXPECT_TRUE(page_lock(vm, cached, SE_SHARED, nullptr, P_NO_RECLAIM));
  EXPECT_TRUE(PP_ISFREE(cached));
  page_unlock(vm, cached);
  EXPECT_TRUE(page_try_reclaim_lock(vm, cached, SE_SHARED));
  EXPECT_TRUE(PAGE_EXCL(cached)) << "ready for page_reclaim";
  page_unlock(vm, cached);
}

TEST_F(PageLock, UnlockingAnUnlockedPagePanics) {
  EXPECT_DEATH(page_unlock(vm, page), "page_unlock: page [0-9]+ is not locked: p_selock 0");
}

TEST_F(PageLock, DowngradingAReaderPanics) {
  page_trylock(vm, page, SE_SHARED);
  EXPECT_DEATH(page_downgrade(vm, page), "not locked EXCL");
  page_unlock(vm, page);
}

TEST_F(PageLock, TheIoLockIsBinary) {
  page_trylock(vm, page, SE_EXCL);
  page_io_lock(vm, page);
  EXPECT_TRUE(page_iolocked(page));
  EXPECT_FALSE(page_io_trylock(vm, page));
  page_io_unlock(vm, page);
  EXPECT_TRUE(page_io_trylock(vm, page));
  page_io_unlock(vm, page);
  page_io_wait(vm, page);
  EXPECT_DEATH(page_io_unlock(vm, page), "not I/O locked");
  page_unlock(vm, page);
}

TEST_F(PageLock, GroupArithmeticFollowsFrameNumbers) {
  EXPECT_EQ(page_get_pagecnt(vm, 0), 1u);
  EXPECT_EQ(page_get_pagecnt(vm, 1), 4u);
  page_t* ten = page_numtopp_nolock(vm, 10);
  EXPECT_EQ(PP_GROUPLEADER(vm, ten, 0), ten);
  EXPECT_EQ(PP_GROUPLEADER(vm, ten, 1)->p_pagenum, 8u);
  EXPECT_EQ(PP_PAGEROOT(vm, ten), ten) << "p_szc is 0";
}

TEST_F(PageLock, AllPagesOfAGroupShareTheSizeCodeMutex) {
  Mutex& mutex = page_szc_lock(vm, &vm.pages[8]);
  EXPECT_EQ(&mutex, &page_szc_lock(vm, &vm.pages[11]));
  EXPECT_NE(&mutex, &page_szc_lock(vm, &vm.pages[12]));
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
