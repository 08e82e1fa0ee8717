#include "gtest/gtest.h"
#include "hat/hat_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr AuditOptions kLocksOutstanding{.expect_no_locks = false};

class HatLoad : public HatTest {};

TEST_F(HatLoad, DataIsReadAndWrittenThroughAMapping) {
  page_t* const pp = page_with(17);
  EXPECT_EQ(read(page_va(3)), std::nullopt);
  load(page_va(3), pp);
  EXPECT_EQ(read(page_va(3)), 17);
  EXPECT_TRUE(write(page_va(3), 18));
  EXPECT_EQ(value_in(pp), 18);
}

TEST_F(HatLoad, EveryMappingOfAPageShowsTheSameData) {
  page_t* const pp = page_with(1);
  hat_t* const other = world_.new_hat();
  load(page_va(0), pp);
  load(page_va(9), pp);
  load(page_va(4), pp, kReadOnly, HAT_LOAD, other);
  EXPECT_TRUE(write(page_va(9), 2));
  EXPECT_EQ(read(page_va(0)), 2);
  EXPECT_EQ(read(page_va(4), other, 1), 2);
  EXPECT_EQ(hat_page_getshare(sys(), pp), 3u);
}

TEST_F(HatLoad, AReadOnlyMappingFaultsOnWrites) {
  page_t* const pp = page_with(5);
  load(page_va(0), pp, kReadOnly);
  EXPECT_FALSE(write(page_va(0), 6));
  EXPECT_EQ(read(page_va(0)), 5);
}

TEST_F(HatLoad, ARefaultCountsNothingTwice) {
  page_t* const pp = page_with(0);
  load(page_va(0), pp);
  load(page_va(0), pp);
  EXPECT_EQ(valid(world_.find(hat_, 0, 0)), 1);
  EXPECT_EQ(mapped(hat_, 0), 1);
  EXPECT_EQ(hat_page_getshare(sys(), pp), 1u);
}

TEST_F(HatLoad, ARefaultOfAListedMappingFreesItsSpareRecord) {
  page_t* const pp = page_with(0);
  load(page_va(0), pp);
  load(page_va(1), pp);
  load(page_va(1), pp);
  EXPECT_EQ(hat_page_getshare(sys(), pp), 2u);  // and the audit counts hments
}

TEST_F(HatLoad, ALockIsCountedPerLoadAlsoOnARefault) {
  page_t* const pp = page_with(0);
  load(page_va(0), pp, kReadWrite, HAT_LOAD_LOCK);
  load(page_va(0), pp, kReadWrite, HAT_LOAD_LOCK);
  EXPECT_EQ(locks(world_.find(hat_, 0, 0)), 2);
  expect_sound(kLocksOutstanding);
  ReaderGuard guard(lock());
  hat_unlock(sys(), hat_, 0, pagesize());
  hat_unlock(sys(), hat_, 0, pagesize());
}

TEST_F(HatLoad, LessPermissionOnAReloadReachesTheTlb) {
  page_t* const pp = page_with(0);
  load(page_va(0), pp);
  EXPECT_TRUE(write(page_va(0), 1, hat_, 2));
  load(page_va(0), pp, kReadOnly);
  EXPECT_FALSE(write(page_va(0), 2, hat_, 2));
  EXPECT_NE(pte_at(0) & PT_MOD, 0u) << "the bit of the first write is kept";
}

TEST_F(HatLoad, AnOffListMappingHasNoRecordAndCollectsNothing) {
  page_t* const pp = page_with(3);
  forget_nrm(pp);
  load(page_va(0), pp, kReadWrite, HAT_LOAD_NOCONSIST);
  EXPECT_EQ(read(page_va(0)), 3);
  EXPECT_TRUE(write(page_va(0), 4));
  EXPECT_EQ(hat_page_getshare(sys(), pp), 0u);
  EXPECT_EQ(mapped(hat_, 0), 1);
  load(page_va(0), pp, kReadWrite, HAT_LOAD_NOCONSIST);
  EXPECT_EQ(valid(world_.find(hat_, 0, 0)), 1) << "a refault";
  unload(page_va(0));
  EXPECT_EQ(nrm(pp), 0u);
}

TEST_F(HatLoad, RemapGivesAnOffListMappingAnotherFrame) {
  page_t* const before = page_with(1);
  page_t* const after = page_with(2);
  load(page_va(0), before, kReadWrite, HAT_LOAD_NOCONSIST);
  EXPECT_EQ(read(page_va(0), hat_, 3), 1);
  load(page_va(0), after, kReadWrite, HAT_LOAD_NOCONSIST | HAT_LOAD_REMAP);
  EXPECT_EQ(read(page_va(0), hat_, 3), 2);
  EXPECT_EQ(valid(world_.find(hat_, 0, 0)), 1);
}

TEST_F(HatLoad, ReplacingTheFrameOfAListedMappingPanics) {
  page_t* const before = page_with(1);
  page_t* const after = page_with(2);
  load(page_va(0), before);
  EXPECT_DEATH(load(page_va(0), after, kReadWrite, HAT_LOAD_REMAP), "invariant 33");
  load(page_va(1), before, kReadWrite, HAT_LOAD_NOCONSIST);
  EXPECT_DEATH(load(page_va(1), after, kReadWrite, HAT_LOAD_NOCONSIST), "invariant 33");
}

TEST_F(HatLoad, ReplacingAttributesThatMustNotChangePanics) {
  page_t* const pp = page_with(1);
  load(page_va(0), pp);
  EXPECT_DEATH(load(page_va(0), pp, kReadWrite | HAT_NOSYNC), "hati_pte_map.*new pte");
}

TEST_F(HatLoad, UnlockedPagesAndAddressSpacesAreRefused) {
  page_t* const pp = page_with(1);
  EXPECT_DEATH(hat_memload(sys(), hat_, 0, pp, kReadWrite, HAT_LOAD), "a_lock");
  page_unlock(sys().vm, pp);
  EXPECT_DEATH(load(0, pp), "p_selock 0");
  ASSERT_EQ(page_trylock(sys().vm, pp, SE_EXCL), 1);
  EXPECT_DEATH(load(sys().userlimit, pp), "user load");
}

TEST_F(HatLoad, KernelMappingsAreGlobalAndNotForUsers) {
  page_t* const pp = page_with(8);
  const uintptr_t va = sys().heap_eaddr;  // in none of the windows
  hat_memload(sys(), sys().kas_hat(), va, pp, kReadWrite, HAT_LOAD_LOCK);
  EXPECT_EQ(pte_at(va, sys().kas_hat()) & (PT_GLOBAL | PT_USER), PT_GLOBAL);
  EXPECT_EQ(locks(world_.find(sys().kas_hat(), va, 0)), 0) << "kernel locks are not counted";
  EXPECT_EQ(read(va), std::nullopt);
  EXPECT_EQ(sys().machine.access(0, va, AccessKind::kRead, Privilege::kKernel).value, 8u);
  hat_unload(sys(), sys().kas_hat(), va, pagesize(), HAT_UNLOAD_UNLOCK);
}

TEST_F(HatLoad, PteBitsFollowAttributes) {
  const auto bits = [](uint32_t attr, level_t level, uint32_t flags) {
    return hati_mkpte(0, attr, level, flags);
  };
  constexpr uint32_t kExec = PROT_EXEC_ATTR | HAT_STORECACHING_OK;
  EXPECT_EQ(bits(kExec, 0, 0), PT_VALID);
  EXPECT_EQ(bits(HAT_STORECACHING_OK, 0, 0), PT_VALID | PT_NX);
  EXPECT_EQ(bits(kExec | PROT_WRITE_ATTR, 1, 0), PT_VALID | PT_PAGESIZE | PT_WRITABLE);
  EXPECT_EQ(bits(kExec | PROT_USER_ATTR, 0, 0), PT_VALID | PT_USER);
  EXPECT_EQ(bits(kExec | HAT_NOSYNC, 0, 0), PT_VALID | PT_NOSYNC | PT_REF | PT_MOD);
  EXPECT_EQ(bits(kExec | HAT_NOSYNC, 0, HAT_LOAD_NOCONSIST),
            PT_VALID | PT_NOCONSIST | PT_REF | PT_MOD);
  EXPECT_EQ(bits(PROT_EXEC_ATTR | HAT_STRICTORDER, 0, 0), PT_VALID | PT_NOCACHE);
  EXPECT_EQ(bits(PROT_EXEC_ATTR | HAT_UNORDERED_OK, 0, 0), PT_VALID);
  EXPECT_EQ(bits(PROT_EXEC_ATTR | HAT_MERGING_OK, 0, 0), PT_VALID | PT_NOCACHE | PT_PAT_4K);
  EXPECT_EQ(bits(PROT_EXEC_ATTR | HAT_LOADCACHING_OK, 1, 0),
            PT_VALID | PT_PAGESIZE | PT_NOCACHE | PT_PAT_LARGE);
}

// --- arrays and large pages

TEST_F(HatLoad, AnArrayUsesALargePageWhereItFits) {
  page_t* const large = world_.new_large_page();
  sys().machine.mem().word(large->p_pagenum + 2, 0).store(9, std::memory_order_relaxed);
  load_array(page_va(4), run_of(large, 4));
  EXPECT_EQ(mapped(hat_, 1), 1);
  EXPECT_EQ(mapped(hat_, 0), 0);
  EXPECT_EQ(read(page_va(6)), 9);
}

TEST_F(HatLoad, AnArrayUsesSmallPagesWhereALargeOneDoesNotFit) {
  page_t* const large = world_.new_large_page();
  std::vector<page_t*> pages = run_of(large, 4);
  load_array(page_va(5), pages);  // not aligned
  EXPECT_EQ(mapped(hat_, 1), 0);
  pages.pop_back();
  load_array(page_va(12), pages);  // too short
  std::swap(pages[1], pages[2]);
  pages.push_back(page_with(0));
  load_array(page_va(16), pages);  // not consecutive
  std::vector<page_t*> small;
  for (int i = 0; i < 4; ++i) small.push_back(page_with(0));
  load_array(page_va(20), small);  // p_szc 0
  EXPECT_EQ(mapped(hat_, 1), 0);
  EXPECT_EQ(mapped(hat_, 0), 15);
}

TEST_F(HatLoad, ALargePageStepsDownWhereATableIsInTheWayAndLeavesNoLockAbove) {
  page_t* const large = world_.new_large_page();
  page_t* const small = world_.new_page();
  load(page_va(7), small);
  unload(page_va(7));
  load(page_va(6), run_of(large, 3)[2], kReadWrite, HAT_LOAD_LOCK);  // the table at level 0
  load_array(page_va(4), run_of(large, 4), HAT_LOAD_LOCK);
  EXPECT_EQ(mapped(hat_, 1), 0);
  EXPECT_EQ(mapped(hat_, 0), 4);
  EXPECT_EQ(locks(world_.find(hat_, page_va(4), 1)), 0);
  EXPECT_EQ(locks(world_.find(hat_, page_va(4), 0)), 5);
  expect_sound(kLocksOutstanding);
  ReaderGuard guard(lock());
  hat_unlock(sys(), hat_, page_va(6), pagesize());
  hat_unload(sys(), hat_, page_va(4), 4 * pagesize(), HAT_UNLOAD_UNLOCK);
}

TEST_F(HatLoad, DeviceFramesAreOffListAndLargeWhereAligned) {
  const pfn_t beyond = sys().vm.npages + 4;
  WriterGuard guard(lock());
  hat_devload(sys(), hat_, page_va(4), 5 * pagesize(), beyond, kReadWrite, HAT_LOAD);
  EXPECT_EQ(mapped(hat_, 1), 1);
  EXPECT_EQ(mapped(hat_, 0), 1);
  EXPECT_NE(pte_at(page_va(4)) & PT_NOCONSIST, 0u);
  EXPECT_NE(pte_at(page_va(4)) & PT_NOCACHE, 0u) << "strict order, as asked";
  EXPECT_EQ(hat_getpfnum(sys(), hat_, page_va(7)), beyond + 3);
}

TEST_F(HatLoad, MemoryLoadedAsADeviceIsOnListUnlessToldOtherwise) {
  page_t* const pp = page_with(4);
  {
    WriterGuard guard(lock());
    hat_devload(sys(), hat_, page_va(0), pagesize(), pp->p_pagenum, kReadWrite, HAT_LOAD);
    hat_devload(sys(), hat_, page_va(1), pagesize(), pp->p_pagenum, kReadWrite | HAT_PLAT_NOCACHE,
                HAT_LOAD_NOCONSIST);
  }
  EXPECT_EQ(hat_page_getshare(sys(), pp), 1u);
  EXPECT_EQ(pte_at(page_va(0)) & PT_NOCACHE, 0u);
  EXPECT_NE(pte_at(page_va(1)) & PT_NOCACHE, 0u);
  EXPECT_EQ(read(page_va(1)), 4);
}

TEST_F(HatLoad, SmallPagesLoadedAsADeviceAreNeverMappedLarge) {
  const pfn_t aligned = world_.new_large_page()->p_pagenum;
  for (page_t* pp : run_of(page_numtopp_nolock(sys().vm, aligned), 4)) {
    pp->p_szc.store(0, std::memory_order_relaxed);  // as after a demotion
  }
  {
    WriterGuard guard(lock());
    hat_devload(sys(), hat_, 0, 4 * pagesize(), aligned, kReadWrite, HAT_LOAD);
  }
  EXPECT_EQ(mapped(hat_, 1), 0);
  EXPECT_EQ(mapped(hat_, 0), 4);
  for (page_t* pp : run_of(page_numtopp_nolock(sys().vm, aligned), 4)) {
    hat_pageunload(sys(), pp);
    pp->p_szc.store(1, std::memory_order_relaxed);
  }
  EXPECT_EQ(mapped(hat_, 0), 0);
}

// --- windows, flags, nesting

TEST_F(HatLoad, TheSegkmapWindowNeedsNoHold) {
  page_t* const pp = page_with(6);
  const uintptr_t va = sys().kmap_addr + pagesize();
  htable_t* const table = hat_kmap_table(sys(), va);
  const int32_t holds = busy(table);
  hat_memload(sys(), sys().kas_hat(), va, pp, kReadWrite, HAT_LOAD_LOCK);
  EXPECT_EQ(busy(table), holds);
  EXPECT_EQ(valid(table), 1);
  EXPECT_EQ(sys().machine.access(0, va, AccessKind::kRead, Privilege::kKernel).value, 6u);
  EXPECT_EQ(hat_page_getshare(sys(), pp), 1u);
  expect_sound();
  hat_unload(sys(), sys().kas_hat(), va, pagesize(), HAT_UNLOAD);
  EXPECT_FALSE(sys().machine.access(0, va, AccessKind::kRead, Privilege::kKernel).ok);
  EXPECT_EQ(valid(table), 0);
}

TEST_F(HatLoad, LoadingWithShareMarksTheHat) {
  page_t* const pp = page_with(0);
  load(0, pp, kReadWrite, HAT_LOAD_SHARE);
  EXPECT_EQ(flags(hat_), HAT_SHARED);
}

TEST_F(HatLoad, AHandMadeKernelEntryKeepsItsTable) {
  const uintptr_t va = sys().heap_eaddr;  // in none of the windows
  ASSERT_FALSE(world_.exists(sys().kas_hat(), va, 0));
  const MemPte mempte = hat_mempte_setup(sys(), va);
  EXPECT_EQ(valid(mempte.ht), 1);
  EXPECT_EQ(busy(mempte.ht), 0);
  hat_mempte_release(sys(), va, mempte);
  EXPECT_FALSE(world_.exists(sys().kas_hat(), va, 0));
  EXPECT_EQ(sys().me().t_hatdepth(), 0);
}

class HatLoadNested : public HatTest {
 protected:
  static SystemConfig with(ReserveDesign design) {
    SystemConfig config = toy_config();
    config.reserves = design;
    return config;
  }
  explicit HatLoadNested(ReserveDesign design) : HatTest(with(design)) {}

  // Loads as from inside another load.
  x86pte_t nested_load() {
    page_t* const pp = page_with(0);
    sys().reserve_ownership->enter(sys(), HAT_LOAD);
    load(0, pp);
    const x86pte_t pte = pte_at(0);
    sys().reserve_ownership->exit(sys(), HAT_LOAD);
    return pte;
  }
};

class HatLoadNestedByThread : public HatLoadNested {
 protected:
  HatLoadNestedByThread() : HatLoadNested(ReserveDesign::kThread) {}
};
class HatLoadNestedByDepth : public HatLoadNested {
 protected:
  HatLoadNestedByDepth() : HatLoadNested(ReserveDesign::kDepth) {}
};

TEST_F(HatLoadNestedByThread, MappingsAreOffList) { EXPECT_NE(nested_load() & PT_NOCONSIST, 0u); }

TEST_F(HatLoadNestedByDepth, MappingsAreOnList) { EXPECT_EQ(nested_load() & PT_NOCONSIST, 0u); }

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
