// What the HAT does for a page: unload, demote, sync, reference and modified bits.
#include "hat/hat_page.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hat/hat_for_test.h"
#include "hat/hment_reserve.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using ::testing::Each;
using ::testing::Eq;

constexpr uint32_t kRefMod = P_REF | P_MOD;

class HatPageTest : public HatTest {
 protected:
  explicit HatPageTest(const SystemConfig& config = toy_config()) : HatTest(config) {
    other_ = world_.new_hat();
  }

  x86pte_t hardware_bits(uintptr_t va, hat_t* hat = nullptr) {
    return pte_at(va, hat) & (PT_REF | PT_MOD);
  }
  uintptr_t large_va() { return sys().mmu().level_size(1); }
  std::vector<page_t*> group_of(page_t* leader) {
    return run_of(leader, page_get_pagecnt(sys().vm, 1));
  }
  void load_large(page_t* leader, hat_t* hat) {
    load_array(large_va(), group_of(leader), HAT_LOAD, hat);
  }
  std::vector<int> size_codes(page_t* leader) {
    std::vector<int> codes;
    for (page_t* pp : group_of(leader)) codes.push_back(pp->p_szc.load(std::memory_order_relaxed));
    return codes;
  }
  std::vector<uint32_t> bits_of(const std::vector<page_t*>& pages) {
    std::vector<uint32_t> bits;
    for (page_t* pp : pages) bits.push_back(nrm(pp));
    return bits;
  }

  hat_t* other_;
};

// ---- hat_pageunload.

TEST_F(HatPageTest, PageunloadRemovesTheMappingsOfAllHats) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  load(page_va(5), pp);
  load(page_va(0), pp, kReadWrite, HAT_LOAD, other_);
  hat_memload(sys(), sys().kas_hat(), sys().kmap_addr, pp, PROT_READ_ATTR, HAT_LOAD);
  ASSERT_EQ(hat_page_getshare(sys(), pp), 4u);
  EXPECT_EQ(hat_pageunload(sys(), pp), 0);
  EXPECT_FALSE(hat_page_is_mapped(sys(), pp));
  EXPECT_EQ(pte_at(page_va(0)), 0u);
  EXPECT_EQ(pte_at(page_va(5)), 0u);
  EXPECT_EQ(pte_at(page_va(0), other_), 0u);
  EXPECT_EQ(pte_at(sys().kmap_addr, sys().kas_hat()), 0u);
  EXPECT_EQ(mapped(hat_, 0) + mapped(other_, 0), 0);
}

TEST_F(HatPageTest, PageunloadOfAnEmbeddedMappingFreesNoHment) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  const uint64_t before = sys().hatstat.sum().hs_hm_free;
  hat_pageunload(sys(), pp);
  EXPECT_FALSE(hat_page_is_mapped(sys(), pp));
  EXPECT_EQ(sys().hatstat.sum().hs_hm_free, before);
}

TEST_F(HatPageTest, PageunloadLeavesOtherPagesMapped) {
  page_t* pp = page_with(7);
  page_t* stays = page_with(8);
  load(page_va(0), pp);
  load(page_va(1), stays);
  hat_pageunload(sys(), pp);
  EXPECT_EQ(read(page_va(1)), 8u);
}

TEST_F(HatPageTest, AfterPageunloadNoCpuUsesTheTranslation) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  load(page_va(0), pp, kReadWrite, HAT_LOAD, other_);
  ASSERT_EQ(read(page_va(0), hat_, /*cpu=*/1), 7u);
  ASSERT_EQ(read(page_va(0), other_, /*cpu=*/2), 7u);
  hat_pageunload(sys(), pp);
  for (CpuId cpu : {1, 2}) {
    EXPECT_FALSE(sys().machine.access(cpu, page_va(0), AccessKind::kRead, Privilege::kUser).ok);
  }
}

TEST_F(HatPageTest, PageunloadKeepsTheBitsThatTheHardwareSet) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  forget_nrm(pp);
  ASSERT_TRUE(write(page_va(0), 9));
  hat_pageunload(sys(), pp);
  EXPECT_EQ(nrm(pp), kRefMod);
}

TEST_F(HatPageTest, PageunloadTakesNoBitsFromMappingsThatAreNotSynced) {
  page_t* pp = page_with(7);
  load(page_va(0), pp, kReadWrite | HAT_NOSYNC);
  forget_nrm(pp);
  hat_pageunload(sys(), pp);
  EXPECT_EQ(nrm(pp), 0u);
}

TEST_F(HatPageTest, PageunloadFreesTablesThatBecomeEmpty) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  ASSERT_TRUE(world_.exists(hat_, 0, 0));
  hat_pageunload(sys(), pp);
  EXPECT_FALSE(world_.exists(hat_, 0, 0));
  EXPECT_EQ(hat_->hat_unmappers.load(std::memory_order_relaxed), 0u);
}

TEST_F(HatPageTest, PageunloadOfAConstituentRemovesTheLargeMapping) {
  page_t* leader = world_.new_large_page();
  page_t* third = group_of(leader)[2];
  load_large(leader, hat_);
  load(page_va(0), third, kReadWrite, HAT_LOAD, other_);
  ASSERT_EQ(hat_page_getshare(sys(), third), 2u);
  hat_pageunload(sys(), third);
  EXPECT_EQ(hat_page_getshare(sys(), third), 0u);
  EXPECT_EQ(mapped(hat_, 1), 0);
  EXPECT_EQ(pte_at(large_va()), 0u);
}

TEST_F(HatPageTest, PageunloadOfAConstituentLeavesTheLeadersSmallMappings) {
  page_t* leader = world_.new_large_page();
  load(page_va(0), leader);
  load_large(leader, other_);
  hat_pageunload(sys(), group_of(leader)[2]);
  EXPECT_EQ(mapped(other_, 1), 0);
  EXPECT_EQ(hat_page_getshare(sys(), leader), 1u);
}

using HatPageDeathTest = HatPageTest;

TEST_F(HatPageDeathTest, PageunloadOfAPageThatIsNotExclusiveFails) {
  page_t* pp = page_with(7);
  page_downgrade(sys().vm, pp);
  EXPECT_DEATH(hat_pageunload(sys(), pp), "not EXCL");
  ASSERT_TRUE(page_tryupgrade(sys().vm, pp));
}

TEST_F(HatPageDeathTest, ARecordWithoutItsEntryViolatesInvariant7) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  Atomic<x86pte_t>& pte = x86pte_access(sys(), world_.find(hat_, 0, 0), 0);
  const x86pte_t before = pte.exchange(0, std::memory_order_relaxed);
  EXPECT_DEATH(hat_pageunload(sys(), pp), "invariant 7: .*entry=0 .* recorded, PTE is 0");
  pte.store(before, std::memory_order_relaxed);
}

// ---- hat_page_demote.

TEST_F(HatPageTest, DemotionLowersAllSizeCodesAndRemovesLargeMappings) {
  page_t* leader = world_.new_large_page();
  load_large(leader, hat_);
  load(page_va(1), group_of(leader)[1], kReadWrite, HAT_LOAD, other_);
  hat_page_demote(sys(), group_of(leader)[3]);
  EXPECT_THAT(size_codes(leader), Each(Eq(0)));
  EXPECT_EQ(mapped(hat_, 1), 0);
  EXPECT_TRUE(hat_page_is_mapped(sys(), group_of(leader)[1]));
  const std::vector<page_t*> rest = group_of(leader);
  std::for_each(rest.begin() + 1, rest.end(), [&](page_t* pp) { page_destroy(sys().vm, pp, 0); });
}

TEST_F(HatPageTest, DemotionOfASmallPageDoesNothing) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  hat_page_demote(sys(), pp);
  EXPECT_TRUE(hat_page_is_mapped(sys(), pp));
}

// ---- hat_pagesync.

TEST_F(HatPageTest, SyncCollectsTheBitsOfAllMappingsAndLeavesThem) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  load(page_va(0), pp, kReadWrite, HAT_LOAD, other_);
  forget_nrm(pp);
  ASSERT_EQ(read(page_va(0), hat_), 7u);
  ASSERT_TRUE(write(page_va(0), 9, other_));
  EXPECT_EQ(hat_pagesync(sys(), pp, HAT_SYNC_DONTZERO), kRefMod);
  EXPECT_EQ(hardware_bits(page_va(0), hat_), PT_REF);
  EXPECT_EQ(hardware_bits(page_va(0), other_), PT_REF | PT_MOD);
}

TEST_F(HatPageTest, ZeroingSyncMovesTheBitsToThePage) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  load(page_va(0), pp, kReadWrite, HAT_LOAD, other_);
  forget_nrm(pp);
  ASSERT_EQ(read(page_va(0), hat_), 7u);
  ASSERT_TRUE(write(page_va(0), 9, other_));
  EXPECT_EQ(hat_pagesync(sys(), pp, HAT_SYNC_ZERORM), kRefMod);
  EXPECT_EQ(nrm(pp), kRefMod);
  EXPECT_EQ(hardware_bits(page_va(0), hat_), 0u);
  EXPECT_EQ(hardware_bits(page_va(0), other_), 0u);
}

TEST_F(HatPageTest, AWriteAfterAZeroingSyncIsSeenByTheNextOne) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  ASSERT_TRUE(write(page_va(0), 9));
  hat_pagesync(sys(), pp, HAT_SYNC_ZERORM);
  forget_nrm(pp);
  ASSERT_TRUE(write(page_va(0), 10));
  EXPECT_EQ(hat_pagesync(sys(), pp, HAT_SYNC_ZERORM), kRefMod);
}

TEST_F(HatPageTest, ZeroingSyncLeavesMappingsThatAreNotSyncedAlone) {
  page_t* pp = page_with(7);
  load(page_va(0), pp, kReadWrite | HAT_NOSYNC);
  forget_nrm(pp);
  EXPECT_EQ(hat_pagesync(sys(), pp, HAT_SYNC_ZERORM), 0u);
  EXPECT_EQ(hardware_bits(page_va(0)), PT_REF | PT_MOD);
}

TEST_F(HatPageTest, SyncOfAConstituentSeesTheLargeMapping) {
  page_t* leader = world_.new_large_page();
  load_large(leader, hat_);
  for (page_t* pp : group_of(leader)) forget_nrm(pp);
  ASSERT_TRUE(write(large_va() + 3 * pagesize(), 9));
  EXPECT_EQ(hat_pagesync(sys(), group_of(leader)[1], HAT_SYNC_ZERORM), kRefMod);
  // One entry serves the whole group: each constituent may be the one that was written.
  EXPECT_THAT(bits_of(group_of(leader)), Each(Eq(kRefMod)));
  EXPECT_EQ(hardware_bits(large_va()), 0u);
}

TEST_F(HatPageTest, SyncOfAConstituentDoesNotSeeTheLeadersSmallMappings) {
  page_t* leader = world_.new_large_page();
  load(page_va(0), leader);
  for (page_t* pp : group_of(leader)) forget_nrm(pp);
  ASSERT_TRUE(write(page_va(0), 9));
  EXPECT_EQ(hat_pagesync(sys(), group_of(leader)[1], HAT_SYNC_ZERORM), 0u);
  EXPECT_EQ(hardware_bits(page_va(0)), PT_REF | PT_MOD);
}

TEST_F(HatPageTest, SyncStopsAtTheFirstMappingThatAnswers) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  load(page_va(0), pp, kReadWrite, HAT_LOAD, other_);
  forget_nrm(pp);
  ASSERT_TRUE(write(page_va(0), 9, hat_));  // second on the list
  ASSERT_EQ(read(page_va(0), other_), 9u);  // first on the list
  EXPECT_EQ(hat_pagesync(sys(), pp, HAT_SYNC_STOPON_REF), uint32_t{P_REF});
  EXPECT_EQ(hat_pagesync(sys(), pp, HAT_SYNC_STOPON_MOD), kRefMod);
}

TEST_F(HatPageTest, SyncDoesNotLookWhenTheAnswerIsKnown) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  forget_nrm(pp);
  ASSERT_TRUE(write(page_va(0), 9));
  hat_page_setattr(sys(), pp, P_REF);
  EXPECT_EQ(hat_pagesync(sys(), pp, HAT_SYNC_STOPON_REF), uint32_t{P_REF});
  EXPECT_EQ(hat_pagesync(sys(), pp, HAT_SYNC_STOPON_RM), uint32_t{P_REF});
}

TEST_F(HatPageTest, ZeroingSyncDoesNotStopEarly) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  load(page_va(0), pp, kReadWrite, HAT_LOAD, other_);
  ASSERT_TRUE(write(page_va(0), 9, hat_));
  ASSERT_TRUE(write(page_va(0), 9, other_));
  hat_pagesync(sys(), pp, HAT_SYNC_ZERORM | HAT_SYNC_STOPON_RM);
  EXPECT_EQ(hardware_bits(page_va(0), hat_), 0u);
  EXPECT_EQ(hardware_bits(page_va(0), other_), 0u);
}

TEST_F(HatPageTest, SyncForModifiedDoesNotLookAtAReadOnlyPage) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  forget_nrm(pp);
  ASSERT_TRUE(write(page_va(0), 9));
  hat_page_setattr(sys(), pp, P_RO);
  EXPECT_EQ(hat_pagesync(sys(), pp, HAT_SYNC_STOPON_MOD), uint32_t{P_RO});
}

TEST_F(HatPageTest, SyncStopsAtAPageWithManyMappings) {
  page_t* pp = page_with(7);
  for (uint64_t page = 0; page < 9; ++page) load(page_va(page), pp);
  forget_nrm(pp);
  ASSERT_TRUE(write(page_va(0), 9));
  EXPECT_EQ(hat_pagesync(sys(), pp, HAT_SYNC_STOPON_SHARED), 0u);
  unload(page_va(8));
  EXPECT_EQ(hat_pagesync(sys(), pp, HAT_SYNC_STOPON_SHARED), kRefMod);
}

// ---- hati_update_pte.

class UpdatePteTest : public HatPageTest {
 protected:
  UpdatePteTest() {
    load(page_va(0), pp_);
    forget_nrm(pp_);
    EXPECT_TRUE(write(page_va(0), 9));
    ht_ = world_.find(hat_, 0, 0);
    pte_ = pte_at(page_va(0));
  }

  bool update(x86pte_t expected, x86pte_t new_pte) {
    x86_hm_enter(sys(), pp_);
    const bool done = hati_update_pte(sys(), pp_, ht_, 0, expected, new_pte, &found_);
    x86_hm_exit(sys(), pp_);
    return done;
  }

  page_t* const pp_ = page_with(7);
  htable_t* ht_;
  x86pte_t pte_;
  x86pte_t found_ = 1;
};

TEST_F(UpdatePteTest, BitsThatAreTakenAwayGoToThePage) {
  EXPECT_TRUE(update(pte_, pte_ & ~(PT_REF | PT_MOD)));
  EXPECT_EQ(nrm(pp_), kRefMod);
  EXPECT_EQ(hardware_bits(page_va(0)), 0u);
}

TEST_F(UpdatePteTest, BitsThatStayInTheEntryDoNotGoToThePage) {
  EXPECT_TRUE(update(pte_, pte_ | PT_NX));
  EXPECT_EQ(nrm(pp_), 0u);
  EXPECT_EQ(hardware_bits(page_va(0)), PT_REF | PT_MOD);
}

TEST_F(UpdatePteTest, WriteProtectingMovesTheBitsToThePage) {
  EXPECT_TRUE(update(pte_, pte_ & ~PT_WRITABLE));
  EXPECT_EQ(nrm(pp_), kRefMod);
  EXPECT_EQ(hardware_bits(page_va(0)), 0u);
}

TEST_F(UpdatePteTest, AnEntryThatIsNoLongerSyncedKeepsBothBitsAndSavesThemBefore) {
  EXPECT_TRUE(update(pte_, pte_ | PT_NOSYNC));
  EXPECT_EQ(nrm(pp_), kRefMod);
  EXPECT_EQ(hardware_bits(page_va(0)), PT_REF | PT_MOD);
}

TEST_F(UpdatePteTest, AChangedEntryIsReportedAndLeftAlone) {
  EXPECT_FALSE(update(pte_ & ~PT_MOD, pte_ & ~(PT_REF | PT_MOD)));
  EXPECT_EQ(found_, pte_);
  EXPECT_EQ(pte_at(page_va(0)), pte_);
  EXPECT_EQ(nrm(pp_), 0u);
}

TEST_F(UpdatePteTest, AnEntryThatIsGoneIsNotMistakenForSuccess) {
  unload(page_va(0));
  load(page_va(1), page_with(8));  // keeps the table
  ht_ = world_.find(hat_, 0, 0);
  forget_nrm(pp_);
  EXPECT_FALSE(update(pte_, pte_ & ~(PT_REF | PT_MOD)));
  EXPECT_EQ(found_, 0u);
  EXPECT_EQ(nrm(pp_), 0u);
}

// ---- The page's own bits.

TEST_F(HatPageTest, AttributesAreSetReadAndCleared) {
  page_t* pp = page_with(7);
  forget_nrm(pp);
  hat_page_setattr(sys(), pp, P_MOD);
  hat_page_setattr(sys(), pp, P_RO);
  EXPECT_EQ(hat_page_getattr(pp, P_MOD | P_REF | P_RO), uint32_t{P_MOD | P_RO});
  EXPECT_EQ(hat_page_getattr(pp, P_RO), uint32_t{P_RO});
  hat_page_clrattr(sys(), pp, P_MOD);
  EXPECT_EQ(nrm(pp), uint32_t{P_RO});
}

TEST_F(HatPageTest, ClearingModOnAnOrdinaryVnodeLeavesMappingsWritable) {
  page_t* pp = page_with(7);
  load(page_va(0), pp);
  hat_page_clrattr(sys(), pp, P_MOD);
  EXPECT_TRUE(write(page_va(0), 9));
}

class VmodsortTest : public HatPageTest {
 protected:
  VmodsortTest() {
    for (uint64_t i = 0; i < 3; ++i) pages_.push_back(new_page(i));
  }
  ~VmodsortTest() override {
    for (page_t* pp : pages_) page_destroy(sys().vm, pp, 0);
  }

  page_t* new_page(uint64_t index) {
    page_t* ring = page_create_va(sys().vm, &sorted_, index * pagesize(), pagesize(), PG_EXCL);
    page_t* const pp = ring;
    page_sub(&ring, pp);
    page_io_unlock(sys().vm, pp);
    return pp;
  }
  page_t* tail() {
    MutexGuard guard(page_vnode_mutex(sys().vm, &sorted_));
    return sorted_.v_pages.load(std::memory_order_relaxed)->p_vpprev();
  }

  vnode_t sorted_{"sorted", 2, VMODSORT, nullptr};
  std::vector<page_t*> pages_;
};

TEST_F(VmodsortTest, AModifiedPageGoesToTheTailOfItsVnode) {
  for (page_t* pp : {pages_[1], pages_[0], pages_[2]}) {
    hat_page_setattr(sys(), pp, P_MOD);
    EXPECT_EQ(tail(), pp);
  }
}

TEST_F(VmodsortTest, APageThatIsModifiedAlreadyStaysWhereItIs) {
  hat_page_setattr(sys(), pages_[0], P_MOD);
  hat_page_setattr(sys(), pages_[1], P_MOD);
  hat_page_setattr(sys(), pages_[0], kRefMod);
  EXPECT_EQ(tail(), pages_[1]);
}

TEST_F(VmodsortTest, AReferencedPageStaysWhereItIs) {
  hat_page_setattr(sys(), pages_[0], P_MOD);
  pages_[1]->p_nrm.store(0, std::memory_order_relaxed);
  hat_page_setattr(sys(), pages_[1], P_REF);
  EXPECT_EQ(tail(), pages_[0]);
}

TEST_F(VmodsortTest, ModFoundAtUnloadMovesThePageToo) {
  load(page_va(0), pages_[0]);
  hat_page_setattr(sys(), pages_[1], P_MOD);
  ASSERT_TRUE(write(page_va(0), 9));
  unload(page_va(0));
  EXPECT_EQ(tail(), pages_[0]);
}

TEST_F(VmodsortTest, ClearingModMakesTheNextWriteThroughEveryMappingFault) {
  page_t* pp = pages_[0];
  load(page_va(0), pp);
  load(page_va(0), pp, kReadWrite, HAT_LOAD, other_);
  ASSERT_EQ(read(page_va(0), hat_, /*cpu=*/1), value_in(pp));
  hat_pagesync(sys(), pp, HAT_SYNC_ZERORM);
  hat_page_clrattr(sys(), pp, P_MOD);
  EXPECT_FALSE(write(page_va(0), 9, hat_, /*cpu=*/1));
  EXPECT_FALSE(write(page_va(0), 9, other_, /*cpu=*/2));
  EXPECT_EQ(hat_page_getattr(pp, P_MOD), 0u);
  EXPECT_TRUE(read(page_va(0), hat_).has_value());
}

TEST_F(VmodsortTest, ClearingModKeepsAModificationThatNobodyHasCollected) {
  page_t* pp = pages_[0];
  load(page_va(0), pp);
  hat_page_setattr(sys(), pp, P_MOD);
  ASSERT_TRUE(write(page_va(0), 9));
  hat_page_clrattr(sys(), pp, P_MOD);
  EXPECT_EQ(hat_page_getattr(pp, P_MOD), uint32_t{P_MOD});
  EXPECT_FALSE(write(page_va(0), 10));
}

TEST_F(VmodsortTest, ClearingRefLeavesMappingsWritable) {
  load(page_va(0), pages_[0]);
  hat_page_clrattr(sys(), pages_[0], P_REF);
  EXPECT_TRUE(write(page_va(0), 9));
}

TEST_F(VmodsortTest, ClearingModWriteProtectsMappingsThatAreNotSyncedButKeepsTheirBits) {
  load(page_va(0), pages_[0], kReadWrite | HAT_NOSYNC);
  hat_page_clrattr(sys(), pages_[0], P_MOD);
  EXPECT_FALSE(write(page_va(0), 9));
  EXPECT_EQ(hardware_bits(page_va(0)), PT_REF | PT_MOD);
  EXPECT_EQ(hat_page_getattr(pages_[0], P_MOD), 0u);
}

// ---- Threads.

// A writer keeps writing growing values through one mapping, another mapping comes and goes, and a
// pager saves the page whenever a sync says that it was modified (hat-facts 10.16). What had been
// written before a sync must be saved after it.
template <ModVariant kVariant>
class SyncVsWriter : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "hat/pagesync_vs_writer";
  static constexpr const char* kClaim = "a sync that clears MOD does not lose a modification";
  static constexpr Bounds kBounds{.iterations = 10};

  SyncVsWriter() : world_(config()) {
    pp_ = world_.new_page();
    page_downgrade(world_.sys.vm, pp_);
    for (hat_t*& hat : hats_) hat = world_.new_hat();
    world_.map(hats_[0], 0, pp_);
  }
  ~SyncVsWriter() { HAT_ASSERT(page_tryupgrade(world_.sys.vm, pp_)); }

  void thread(int t) {
    System& sys = world_.sys;
    if (t == 0) {
      hat_switch(sys, hats_[0]);
      for (uint64_t value = 1; value <= 300; ++value) {
        HAT_ASSERT(sys.machine.access(0, 0, AccessKind::kWrite, Privilege::kUser, value).ok);
        written_.store(value, std::memory_order_release);
      }
      hat_switch(sys, sys.kas_hat());
      done_.store(true, std::memory_order_relaxed);
    } else if (t == 1) {
      while (!done_.load(std::memory_order_relaxed)) {
        save();
        yield();
      }
    } else {
      while (!done_.load(std::memory_order_relaxed)) {
        world_.map(hats_[1], 0, pp_);
        world_.unmap(hats_[1], 0);
      }
    }
  }

  void after() {
    save();
    HAT_ASSERT(saved_ == 300);
    const absl::Status audit = hat_audit(world_.sys);
    HAT_ASSERT(audit.ok(), audit.ToString());
  }

 private:
  void save() {
    System& sys = world_.sys;
    const uint64_t before = written_.load(std::memory_order_acquire);
    if ((hat_pagesync(sys, pp_, HAT_SYNC_ZERORM) & P_MOD) != 0) {
      hat_page_clrattr(sys, pp_, P_MOD);
      saved_ = sys.machine.mem().word(pp_->p_pagenum, 0).load(std::memory_order_acquire);
    }
    HAT_ASSERT(saved_ >= before, "invariant 32: a modification was lost");
  }

  static SystemConfig config() {
    SystemConfig config = toy_config();
    config.machine.mod_variant = kVariant;
    return config;
  }

  TestWorld world_;
  page_t* pp_;
  hat_t* hats_[2];
  Atomic<uint64_t> written_{0};
  uint64_t saved_ = 0;
  Atomic<bool> done_{false};
};

TEST(HatPageThreadsTest, SyncsDoNotLoseModificationsOfAWriterThatGoesOn) {
  EXPECT_EQ(run_scenario<SyncVsWriter<ModVariant::kRecheck>>().kind, Kind::kNone);
  EXPECT_EQ(run_scenario<SyncVsWriter<ModVariant::kBlindDirty>>().kind, Kind::kNone);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
