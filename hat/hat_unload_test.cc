#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hat/hat_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr AuditOptions kLocksOutstanding{.expect_no_locks = false};

using Ranges = std::vector<std::pair<uintptr_t, uintptr_t>>;

class HatUnload : public HatTest {
 protected:
  // Unloads pages [first, first + count) and returns what the callback was told, in pages.
  Ranges unload_callback(uint64_t first, uint64_t count, int* calls_in_tables = nullptr) {
    Ranges ranges;
    const auto collect = [&](uintptr_t start, uintptr_t end) {
      ranges.emplace_back(start / pagesize(), end / pagesize());
      if (calls_in_tables != nullptr && mapped(hat_, 0) != 0) ++*calls_in_tables;
    };
    const HatUnloadCallback callback(collect);
    ReaderGuard guard(lock());
    hat_unload_callback(sys(), hat_, page_va(first), count * pagesize(), HAT_UNLOAD, &callback);
    return ranges;
  }
  htable_t* held_table(uintptr_t va) { return htable_lookup(sys(), hat_, va, 0); }
};

TEST_F(HatUnload, AnUnloadedPageFaultsAndItsTableIsGone) {
  page_t* const pp = page_with(1);
  load(page_va(2), pp);
  EXPECT_EQ(read(page_va(2)), 1);
  unload(page_va(2));
  EXPECT_EQ(read(page_va(2)), std::nullopt);
  EXPECT_FALSE(world_.exists(hat_, page_va(2), 0));
  EXPECT_EQ(mapped(hat_, 0), 0);
  EXPECT_FALSE(hat_page_is_mapped(sys(), pp));
}

TEST_F(HatUnload, UnloadingTwiceDoesNothing) {
  page_t* const pp = page_with(1);
  load(page_va(2), pp);
  load(page_va(3), pp);
  unload(page_va(2));
  unload(page_va(2));
  EXPECT_EQ(valid(world_.find(hat_, page_va(2), 0)), 1);
  EXPECT_EQ(hat_page_getshare(sys(), pp), 1u);
}

TEST_F(HatUnload, ReferencedAndModifiedEndUpInThePage) {
  page_t* const untouched = page_with(0);
  page_t* const pp_read = page_with(0);
  page_t* const written = page_with(0);
  for (page_t* pp : {untouched, pp_read, written}) forget_nrm(pp);
  load(page_va(0), untouched);
  load(page_va(1), pp_read);
  load(page_va(2), written);
  read(page_va(1));
  write(page_va(2), 1);
  unload(0, 3);
  EXPECT_EQ(nrm(untouched), 0u);
  EXPECT_EQ(nrm(pp_read), P_REF);
  EXPECT_EQ(nrm(written), uint32_t{P_REF | P_MOD});
}

TEST_F(HatUnload, UnloadNosyncForgetsReferencedAndModified) {
  page_t* const pp = page_with(0);
  forget_nrm(pp);
  load(0, pp);
  write(0, 1);
  unload(0, 1, HAT_UNLOAD_NOSYNC);
  EXPECT_EQ(nrm(pp), 0u);
}

TEST_F(HatUnload, AMappingLoadedNosyncMeansNothingForThePage) {
  page_t* const pp = page_with(0);
  forget_nrm(pp);
  load(0, pp, kReadWrite | HAT_NOSYNC);
  unload(0);
  EXPECT_EQ(nrm(pp), 0u);
}

TEST_F(HatUnload, ALargePageModifiesAllItsConstituents) {
  page_t* const large = world_.new_large_page();
  for (page_t* pp : run_of(large, 4)) forget_nrm(pp);
  load_array(page_va(4), run_of(large, 4));
  write(page_va(5), 1);
  unload(page_va(4), 4);
  for (page_t* pp : run_of(large, 4)) EXPECT_EQ(nrm(pp), uint32_t{P_REF | P_MOD});
  EXPECT_EQ(mapped(hat_, 1), 0);
}

// What a slow unload finds: it saw the large page, then somebody else unloaded that and loaded a
// small one.
TEST_F(HatUnload, AnUnloadThatComesTooLateLeavesThePageTableThatIsThereNow) {
  load_array(page_va(4), run_of(world_.new_large_page(), 4));
  const x86pte_t seen = pte_at(page_va(4));
  htable_t* const upper = htable_lookup(sys(), hat_, page_va(4), 1);
  unload(page_va(4), 4);
  load(page_va(5), page_with(7));
  {
    ReaderGuard guard(lock());
    hat_pte_unmap(sys(), upper, htable_va2entry(sys(), page_va(4), upper), HAT_UNLOAD, seen);
  }
  htable_release(sys(), upper);
  EXPECT_EQ(read(page_va(5)), 7);
  EXPECT_EQ(mapped(hat_, 0), 1);
  EXPECT_EQ(mapped(hat_, 1), 0);
}

TEST_F(HatUnload, NoCpuUsesTheOldTranslation) {
  page_t* const pp = page_with(1);
  load(0, pp);
  for (CpuId cpu = 0; cpu < 4; ++cpu) EXPECT_EQ(read(0, hat_, cpu), 1);
  unload(0);
  for (CpuId cpu = 0; cpu < 4; ++cpu) EXPECT_EQ(read(0, hat_, cpu), std::nullopt);
}

// --- the callback

TEST_F(HatUnload, TheCallbackGetsContiguousRanges) {
  for (const uint64_t page : {1, 2, 3, 4, 9}) load(page_va(page), page_with(0));
  EXPECT_EQ(unload_callback(0, 32), (Ranges{{1, 5}, {9, 10}}));
}

TEST_F(HatUnload, TheCallbackIsNotCalledForNothing) { EXPECT_EQ(unload_callback(0, 32), Ranges{}); }

TEST_F(HatUnload, TheCallbackIsToldWhereLargePagesEnd) {
  page_t* const large = world_.new_large_page();
  page_t* const second = world_.new_large_page();
  load_array(page_va(4), run_of(large, 4));
  load_array(page_va(8), run_of(second, 4));
  load(page_va(12), page_with(0));
  EXPECT_EQ(unload_callback(0, 32), (Ranges{{4, 12}, {12, 13}}));
}

TEST_F(HatUnload, MoreThanEightRangesAreToldInPortions) {
  Ranges expected;
  for (uint64_t page = 0; page < 20; page += 2) {
    load(page_va(page), page_with(0));
    expected.emplace_back(page, page + 1);
  }
  int early = 0;
  EXPECT_EQ(unload_callback(0, 32, &early), expected);
  EXPECT_EQ(early, 8) << "the first eight while the last page was still mapped";
}

TEST_F(HatUnload, TheCallbackIsCalledForASinglePage) {
  load(page_va(3), page_with(0));
  EXPECT_EQ(unload_callback(3, 1), (Ranges{{3, 4}}));
}

TEST_F(HatUnload, ARangeThatBeginsInsideALargePagePanics) {
  load_array(page_va(4), run_of(world_.new_large_page(), 4));
  EXPECT_DEATH(unload(page_va(5), 2), "inside the page at 0x80");
  unload(page_va(5), 1);  // the fast path looks for small pages only
  EXPECT_EQ(mapped(hat_, 1), 1);
}

// --- locks

TEST_F(HatUnload, UnlockDropsOneLockPerMapping) {
  for (uint64_t page = 0; page < 3; ++page) {
    load(page_va(page), page_with(0), kReadWrite, HAT_LOAD_LOCK);
  }
  ReaderGuard guard(lock());
  hat_unlock(sys(), hat_, page_va(1), 2 * pagesize());
  EXPECT_EQ(locks(world_.find(hat_, 0, 0)), 1);
  expect_sound(kLocksOutstanding);
  hat_unload(sys(), hat_, 0, pagesize(), HAT_UNLOAD_UNLOCK);
  EXPECT_EQ(locks(world_.find(hat_, 0, 0)), 0);
}

TEST_F(HatUnload, UnlockingWhatIsNotLockedPanics) {
  load(0, page_with(0));
  ReaderGuard guard(lock());
  EXPECT_DEATH(hat_unlock(sys(), hat_, 0, pagesize()), "invariant 22");
  EXPECT_DEATH(hat_unload(sys(), hat_, 0, pagesize(), HAT_UNLOAD_UNLOCK), "invariant 22");
}

TEST_F(HatUnload, KernelMappingsHaveNoLocksToDrop) {
  hat_unlock(sys(), sys().kas_hat(), sys().kmap_addr, pagesize());
}

// --- what happens between the look at an entry and the unmap

TEST_F(HatUnload, AnEntryThatIsGoneByThenIsLeftAlone) {
  page_t* const pp = page_with(0);
  load(0, pp);
  load(page_va(1), pp);
  const x86pte_t seen = pte_at(0);
  htable_t* const ht = held_table(0);
  unload(0);
  hat_pte_unmap(sys(), ht, 0, HAT_UNLOAD, seen);
  EXPECT_EQ(valid(ht), 1);
  htable_release(sys(), ht);
}

TEST_F(HatUnload, AnEntryThatMapsAnotherPageByThenIsUnmappedFromThat) {
  page_t* const before = page_with(0);
  page_t* const after = page_with(0);
  load(0, before);
  const x86pte_t seen = pte_at(0);
  htable_t* const ht = held_table(0);
  unload(0);
  load(0, after);
  hat_pte_unmap(sys(), ht, 0, HAT_UNLOAD, seen);
  EXPECT_FALSE(hat_page_is_mapped(sys(), after));
  EXPECT_EQ(valid(ht), 0);
  htable_release(sys(), ht);
}

TEST_F(HatUnload, AnOffListEntryThatIsOnListByThenLosesItsRecord) {
  page_t* const pp = page_with(0);
  load(0, pp, kReadWrite, HAT_LOAD_NOCONSIST);
  const x86pte_t seen = pte_at(0);
  htable_t* const ht = held_table(0);
  unload(0);
  load(0, pp);
  hat_pte_unmap(sys(), ht, 0, HAT_UNLOAD, seen);
  EXPECT_FALSE(hat_page_is_mapped(sys(), pp));
  EXPECT_EQ(valid(ht), 0);
  htable_release(sys(), ht);
}

TEST_F(HatUnload, AnOnListEntryThatIsOffListByThenHasNoRecordToLose) {
  page_t* const pp = page_with(0);
  load(0, pp);
  const x86pte_t seen = pte_at(0);
  htable_t* const ht = held_table(0);
  unload(0);
  load(0, pp, kReadWrite, HAT_LOAD_NOCONSIST);
  hat_pte_unmap(sys(), ht, 0, HAT_UNLOAD, seen);
  EXPECT_EQ(valid(ht), 0);
  htable_release(sys(), ht);
}

// --- exit

TEST_F(HatUnload, InAnExitingHatEntriesAreClearedToo) {
  page_t* const pp = page_with(0);
  as_t as;
  load(0, pp);
  WriterGuard guard(as.a_lock);
  hat_t* const exiting = hat_alloc(sys(), &as);
  hat_memload(sys(), exiting, 0, pp, kReadWrite, HAT_LOAD);
  hat_free_start(sys(), exiting);
  hat_unload(sys(), exiting, 0, pagesize(), HAT_UNLOAD);
  EXPECT_FALSE(hat_probe(sys(), exiting, 0));
  hat_unload(sys(), exiting, 0, 4 * pagesize(), HAT_UNLOAD);
  expect_sound();
  hat_free_end(sys(), exiting);
  EXPECT_EQ(hat_page_getshare(sys(), pp), 1u);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
