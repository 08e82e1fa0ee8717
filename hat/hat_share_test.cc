#include "gtest/gtest.h"
#include "hat/hat_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr AuditOptions kLocksOutstanding{.expect_no_locks = false};

// A table at level 0 spans 4 pages, one at level 1 spans 16.
class HatShare : public HatTest {
 protected:
  HatShare() : source_(world_.new_hat()) {}

  // Maps `count` new pages from `first` in the source; locked: ISM, else DISM.
  std::vector<page_t*> fill_source(uint64_t first, uint64_t count, bool locked) {
    std::vector<page_t*> pages;
    for (uint64_t i = 0; i < count; ++i) {
      page_t* const pp = page_with(100 + first + i);
      page_downgrade(sys().vm, pp);
      load(page_va(first + i), pp, kReadWrite, HAT_LOAD_SHARE | (locked ? HAT_LOAD_LOCK : 0),
           source_);
      pages.push_back(pp);
    }
    return pages;
  }
  // The same with large pages.
  std::vector<page_t*> fill_source_large(uint64_t first, uint64_t count) {
    std::vector<page_t*> leaders;
    for (uint64_t i = 0; i < count; ++i) {
      page_t* const large = world_.new_large_page();
      load_array(page_va(first + 4 * i), run_of(large, 4), HAT_LOAD_SHARE | HAT_LOAD_LOCK, source_);
      leaders.push_back(large);
    }
    return leaders;
  }
  void empty_source(bool locked) {
    ReaderGuard guard(source_->hat_as()->a_lock);
    hat_unload(sys(), source_, 0, page_va(32), locked ? HAT_UNLOAD_UNLOCK : HAT_UNLOAD);
  }
  // The pages are the world's again, EXCL.
  void take_back(const std::vector<page_t*>& pages) {
    for (page_t* pp : pages) ASSERT_EQ(page_tryupgrade(sys().vm, pp), 1);
  }

  void share(uint64_t to, uint64_t from, uint64_t count, hat_t* hat = nullptr) {
    hat = hat != nullptr ? hat : hat_;
    WriterGuard guard(hat->hat_as()->a_lock);
    EXPECT_EQ(hat_share(sys(), hat, page_va(to), source_, page_va(from), page_va(count), 0), 0);
  }
  void unshare(uint64_t to, uint64_t count, hat_t* hat = nullptr) {
    hat = hat != nullptr ? hat : hat_;
    WriterGuard guard(hat->hat_as()->a_lock);
    hat_unshare(sys(), hat, page_va(to), page_va(count), 0);
  }
  bool shares(uint64_t page, level_t level, uint64_t source_page) {
    const htable_t* const ht = world_.find(hat_, page_va(page), level);
    return ht != nullptr && ht->ht_shares() != nullptr &&
           ht->ht_shares() == world_.find(source_, page_va(source_page), level);
  }
  static int64_t ism_pages(const hat_t* hat) {
    return hat->hat_ism_pgcnt.load(std::memory_order_relaxed);
  }

  hat_t* const source_;
};

TEST_F(HatShare, AnAlignedTableIsSharedAndReadByBoth) {
  const auto pages = fill_source(0, 4, true);
  share(8, 0, 4);
  EXPECT_TRUE(shares(8, 0, 0));
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(read(page_va(8 + i)), 100 + i);
  EXPECT_TRUE(write(page_va(9), 7, hat_, 1));
  EXPECT_EQ(read(page_va(1), source_), 7);
  EXPECT_EQ(ism_pages(hat_), 4);
  EXPECT_EQ(hat_get_mapped_size(sys(), hat_), page_va(4));
  EXPECT_EQ(mapped(hat_, 0), 0);
  EXPECT_EQ(hat_page_getshare(sys(), pages[0]), 1u) << "the source's record serves all";
  expect_sound(kLocksOutstanding);
  unshare(8, 4);
  EXPECT_FALSE(world_.exists(hat_, page_va(8), 0));
  EXPECT_EQ(ism_pages(hat_), 0);
  EXPECT_EQ(read(page_va(8)), std::nullopt);
  EXPECT_EQ(read(page_va(9), hat_, 1), std::nullopt);
  EXPECT_EQ(busy(world_.find(source_, 0, 0)), 0);
  empty_source(true);
  take_back(pages);
}

TEST_F(HatShare, ManyAddressSpacesShareOneTable) {
  const auto pages = fill_source(0, 4, true);
  hat_t* const other = world_.new_hat();
  share(8, 0, 4);
  share(16, 0, 4, other);
  EXPECT_EQ(busy(world_.find(source_, 0, 0)), 2);
  EXPECT_EQ(read(page_va(18), other), 102);
  unshare(16, 4, other);
  EXPECT_EQ(read(page_va(10)), 102);
  unshare(8, 4);
  empty_source(true);
  take_back(pages);
}

TEST_F(HatShare, TheEndsOfARangeAreCopiedAndLocked) {
  const auto pages = fill_source(0, 12, true);
  share(10, 2, 8);  // copies 2 and 3, shares 4 to 7, copies 8 and 9
  EXPECT_TRUE(shares(12, 0, 4));
  EXPECT_EQ(mapped(hat_, 0), 4);
  EXPECT_EQ(locks(world_.find(hat_, page_va(10), 0)), 2);
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(read(page_va(10 + i)), 102 + i);
  EXPECT_EQ(read(page_va(9)), std::nullopt);
  EXPECT_EQ(read(page_va(18)), std::nullopt);
  EXPECT_NE(pte_at(page_va(10)) & PT_NOCONSIST, 0u);
  expect_sound(kLocksOutstanding);
  unshare(10, 8);
  EXPECT_EQ(mapped(hat_, 0), 0);
  empty_source(true);
  take_back(pages);
}

TEST_F(HatShare, ARangeThatIsNotAlignedAlikeIsCopied) {
  const auto pages = fill_source(0, 4, true);
  share(9, 0, 4);
  EXPECT_EQ(ism_pages(hat_), 0);
  EXPECT_EQ(mapped(hat_, 0), 4);
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(read(page_va(9 + i)), 100 + i);
  unshare(9, 4);
  empty_source(true);
  take_back(pages);
}

TEST_F(HatShare, CopiesKeepTheSourcesPermissions) {
  page_t* const pp = page_with(1);
  load(page_va(1), pp, kReadOnly, HAT_LOAD_SHARE | HAT_LOAD_LOCK, source_);
  share(9, 1, 1);
  EXPECT_FALSE(write(page_va(9), 2));
  EXPECT_EQ(read(page_va(9)), 1);
  unshare(9, 1);
  empty_source(true);
}

TEST_F(HatShare, SharingTwiceLocksAndCountsOnce) {
  const auto pages = fill_source(0, 6, true);
  share(8, 0, 6);
  share(8, 0, 6);
  EXPECT_EQ(ism_pages(hat_), 4);
  EXPECT_EQ(locks(world_.find(hat_, page_va(12), 0)), 2);
  EXPECT_EQ(busy(world_.find(source_, 0, 0)), 1);
  expect_sound(kLocksOutstanding);
  unshare(8, 6);
  empty_source(true);
  take_back(pages);
}

TEST_F(HatShare, WhereTheSharerHasATableOfItsOwnPagesAreCopied) {
  const auto pages = fill_source(0, 4, true);
  page_t* const own = page_with(1);
  load(page_va(11), own);
  share(8, 0, 3);
  EXPECT_EQ(ism_pages(hat_), 0);
  EXPECT_EQ(mapped(hat_, 0), 4);
  EXPECT_EQ(read(page_va(10)), 102);
  EXPECT_EQ(read(page_va(11)), 1);
  unshare(8, 3);
  EXPECT_EQ(read(page_va(11)), 1);
  empty_source(true);
  take_back(pages);
}

TEST_F(HatShare, AHatThatWasNotLoadedForSharingIsNotShared) {
  load(0, page_with(1), kReadWrite, HAT_LOAD, source_);
  share(8, 0, 4);
  EXPECT_FALSE(hat_probe(sys(), hat_, page_va(8)));
}

// --- larger pages and tables

TEST_F(HatShare, AFullTableOfLargePagesIsShared) {
  fill_source_large(0, 4);
  share(16, 0, 16);
  EXPECT_TRUE(shares(16, 1, 0));
  EXPECT_FALSE(world_.exists(hat_, page_va(16), 0));
  EXPECT_EQ(ism_pages(hat_), 16);
  EXPECT_TRUE(write(page_va(29), 5));
  EXPECT_EQ(read(page_va(13), source_), 5);
  expect_sound(kLocksOutstanding);
  unshare(16, 16);
  EXPECT_EQ(read(page_va(29)), std::nullopt);
  EXPECT_EQ(ism_pages(hat_), 0);
  empty_source(true);
}

TEST_F(HatShare, ATableOfLargePagesWithAGapIsCopiedAsLargePages) {
  fill_source_large(0, 3);
  share(16, 0, 16);
  EXPECT_EQ(ism_pages(hat_), 0);
  EXPECT_EQ(mapped(hat_, 1), 3);
  expect_sound(kLocksOutstanding);
  unshare(16, 16);
  EXPECT_EQ(mapped(hat_, 1), 0);
  empty_source(true);
}

TEST_F(HatShare, PartOfALargePageIsCopiedAsSmallPages) {
  page_t* const large = fill_source_large(4, 1)[0];
  share(17, 5, 2);
  EXPECT_EQ(mapped(hat_, 0), 2);
  EXPECT_EQ(hat_getpfnum(sys(), hat_, page_va(17)), large->p_pagenum + 1);
  EXPECT_EQ(hat_getpfnum(sys(), hat_, page_va(18)), large->p_pagenum + 2);
  unshare(17, 2);
  empty_source(true);
}

TEST_F(HatShare, ALargePageStepsDownWhereTheSharerHasATable) {
  fill_source_large(0, 1);
  page_t* const own = page_with(1);
  load(page_va(19), own);
  share(16, 0, 3);
  EXPECT_EQ(mapped(hat_, 1), 0);
  EXPECT_EQ(mapped(hat_, 0), 4);
  unshare(16, 3);
  empty_source(true);
}

// --- DISM: the source's pages are not locked

TEST_F(HatShare, AnUnlockedTableAtLevelZeroIsShared) {
  const auto pages = fill_source(0, 4, false);
  share(8, 0, 4);
  EXPECT_TRUE(shares(8, 0, 0));
  expect_sound();
  unshare(8, 4);
  empty_source(false);
  take_back(pages);
}

TEST_F(HatShare, CopiesOfUnlockedPagesAreOnTheirLists) {
  const auto pages = fill_source(0, 2, false);
  share(9, 0, 2);
  EXPECT_EQ(ism_pages(hat_), 0);
  EXPECT_EQ(hat_page_getshare(sys(), pages[1]), 2u);
  EXPECT_EQ(read(page_va(10)), 101);
  expect_sound();
  take_back(pages);
  hat_pageunload(sys(), pages[1]);
  EXPECT_EQ(read(page_va(10)), std::nullopt);
  EXPECT_EQ(read(page_va(1), source_), std::nullopt);
  unshare(9, 2);
}

TEST_F(HatShare, AnUnlockedPageThatIsBusyIsLeftToFault) {
  const auto pages = fill_source(0, 2, false);
  take_back({pages[0]});
  share(9, 0, 2);
  EXPECT_EQ(read(page_va(9)), std::nullopt);
  EXPECT_EQ(read(page_va(10)), 101);
  take_back({pages[1]});
}

TEST_F(HatShare, UnlockedLargePagesAreCopiedAsSmallOnes) {
  page_t* const large = world_.new_large_page();
  load_array(0, run_of(large, 4), HAT_LOAD_SHARE, source_);
  for (page_t* pp : run_of(large, 4)) page_downgrade(sys().vm, pp);
  share(16, 0, 4);
  EXPECT_EQ(mapped(hat_, 0), 4);
  EXPECT_EQ(mapped(hat_, 1), 0);
  take_back(run_of(large, 4));
  expect_sound();
}

TEST_F(HatShare, AFullButUnlockedTableOfLargePagesIsCopied) {
  std::vector<page_t*> pages;
  for (uint64_t i = 0; i < 4; ++i) {
    const std::vector<page_t*> group = run_of(world_.new_large_page(), 4);
    load_array(page_va(4 * i), group, HAT_LOAD_SHARE, source_);
    pages.insert(pages.end(), group.begin(), group.end());
  }
  for (page_t* pp : pages) page_downgrade(sys().vm, pp);
  share(16, 0, 16);
  EXPECT_EQ(ism_pages(hat_), 0);
  EXPECT_EQ(mapped(hat_, 0), 16);
  take_back(pages);
}

TEST_F(HatShare, WhereTheSharerHasALargePageNothingIsShared) {
  const auto pages = fill_source(0, 4, true);
  page_t* const large = world_.new_large_page();
  load_array(page_va(8), run_of(large, 4));
  share(8, 0, 4);
  EXPECT_EQ(ism_pages(hat_), 0);
  EXPECT_EQ(mapped(hat_, 1), 1);
  EXPECT_EQ(hat_getpfnum(sys(), hat_, page_va(9)), large->p_pagenum + 1);
  empty_source(true);
  take_back(pages);
}

// --- flushing

TEST_F(HatShare, UnloadingThroughTheSourceReachesSharersOnAllCpus) {
  const auto pages = fill_source(0, 4, false);
  share(8, 0, 4);
  EXPECT_EQ(read(page_va(9), hat_, 1), 101);
  EXPECT_EQ(read(page_va(9), hat_, 2), 101);
  unload(page_va(1), 1, HAT_UNLOAD, source_);
  EXPECT_EQ(read(page_va(9), hat_, 1), std::nullopt);
  expect_sound();
  unshare(8, 4);
  empty_source(false);
  take_back(pages);
}

TEST_F(HatShare, UnsharingReachesAllCpusOfTheSharer) {
  const auto pages = fill_source(0, 8, true);
  share(8, 0, 8);
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(read(page_va(8 + i), hat_, 3), 100 + i);
  unshare(8, 8);
  EXPECT_EQ(hat_->hat_cpus.snapshot().count(), 1u) << "cpu 3 still runs the sharer";
  expect_sound(kLocksOutstanding);
  empty_source(true);
  take_back(pages);
}

TEST_F(HatShare, AnExitingSharerUnsharesToo) {
  const auto pages = fill_source(0, 6, true);
  as_t as;
  WriterGuard guard(as.a_lock);
  hat_t* const exiting = hat_alloc(sys(), &as);
  hat_share(sys(), exiting, page_va(8), source_, 0, page_va(6), 0);
  hat_free_start(sys(), exiting);
  hat_unshare(sys(), exiting, page_va(8), page_va(6), 0);
  EXPECT_EQ(ism_pages(exiting), 0);
  expect_sound(kLocksOutstanding);
  hat_free_end(sys(), exiting);
  EXPECT_EQ(busy(world_.find(source_, 0, 0)), 0);
  empty_source(true);
  take_back(pages);
}

TEST_F(HatShare, ASourceWhoseTableIsEmptyByThenLeavesNothing) {
  const auto pages = fill_source(0, 4, false);
  share(8, 0, 4);
  empty_source(false);
  EXPECT_TRUE(world_.exists(source_, 0, 0)) << "the sharer's hold keeps it";
  share(8, 0, 4);
  unshare(8, 4);
  EXPECT_FALSE(world_.exists(source_, 0, 0));
  take_back(pages);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
