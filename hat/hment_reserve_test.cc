// Where hments come from: kmem, the reserve, other pages.
#include "hat/hment_reserve.h"

#include "gtest/gtest.h"
#include "hat/hat_for_test.h"
#include "hat/kmem.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uint32_t kAlways = 1'000'000;

// The calling thread loads a translation while it loads a translation.
class NestedLoad {
 public:
  explicit NestedLoad(System& sys) : sys_(sys) {
    for (int i = 0; i < 2; ++i) sys_.reserve_ownership->enter(sys_, HAT_LOAD);
  }
  ~NestedLoad() {
    for (int i = 0; i < 2; ++i) sys_.reserve_ownership->exit(sys_, HAT_LOAD);
  }

 private:
  System& sys_;
};

class HmentReserveTest : public HatTest {
 protected:
  HmentReserveTest() { other_ = world_.new_hat(); }

  uint32_t count() { return sys().hment_reserve.count.load(std::memory_order_relaxed); }
  void set_target(uint32_t n) { sys().hment_reserve.amount.store(n, std::memory_order_relaxed); }
  void set_failures(uint32_t per_million) {
    sys().alloc_faults.per_million.store(per_million, std::memory_order_relaxed);
  }
  void empty_the_reserve() {
    set_target(0);
    while (hment_t* hm = hment_get_reserve(sys())) kmem_free_hment(sys(), hm);
  }
  HatStatTotals stats() { return sys().hatstat.sum(); }

  // A page mapped by hat_ and other_, at the same address of both.
  page_t* shared_page(uint64_t page) {
    page_t* pp = world_.new_page();
    load(page_va(page), pp);
    load(page_va(page), pp, kReadWrite, HAT_LOAD, other_);
    return pp;
  }

  hat_t* other_;
};

TEST_F(HmentReserveTest, BootLeavesTheReserveAtItsTarget) {
  EXPECT_EQ(count(), sys().config.hment_reserve_amount);
}

TEST_F(HmentReserveTest, WhatIsPutLastIsTakenFirst) {
  hment_t* hm = kmem_alloc_hment(sys(), KmFlag::kSleep);
  hment_put_reserve(sys(), hm);
  EXPECT_EQ(hment_get_reserve(sys()), hm);
  kmem_free_hment(sys(), hm);
}

TEST_F(HmentReserveTest, AnHmentOnTheReserveHasForgottenItsMapping) {
  hment_t* hm = kmem_alloc_hment(sys(), KmFlag::kSleep);
  hm->hm_htable = hat_->hat_htable();
  hm->hm_entry = 3;
  hm->hm_pfn = 7;
  hment_put_reserve(sys(), hm);
  EXPECT_EQ(hm->hm_htable(), nullptr);
  EXPECT_EQ(hm->hm_pfn(), PFN_INVALID);
}

TEST_F(HmentReserveTest, AnEmptyReserveGivesNothingAndTheAttemptIsCounted) {
  empty_the_reserve();
  const uint64_t before = stats().hs_hm_get_reserve;
  EXPECT_EQ(hment_get_reserve(sys()), nullptr);
  EXPECT_EQ(stats().hs_hm_get_reserve, before + 1);
}

TEST_F(HmentReserveTest, FillBringsTheReserveAboveItsTarget) {
  hment_reserve_fill(sys(), 3);
  EXPECT_EQ(count(), sys().config.hment_reserve_amount + 3);
}

TEST_F(HmentReserveTest, AdjustFreesTheSurplus) {
  hment_reserve_fill(sys(), 3);
  hment_adjust_reserve(sys());
  EXPECT_EQ(count(), sys().config.hment_reserve_amount);
}

TEST_F(HmentReserveTest, AdjustLeavesTheSurplusToANestedLoad) {
  hment_reserve_fill(sys(), 3);
  const NestedLoad nested(sys());
  hment_adjust_reserve(sys());
  EXPECT_EQ(count(), sys().config.hment_reserve_amount + 3);
}

TEST_F(HmentReserveTest, AnAllocationFillsTheReserveFirst) {
  set_target(count() + 3);
  hment_t* hm = hment_alloc(sys());
  EXPECT_EQ(count(), sys().config.hment_reserve_amount + 3);
  set_target(sys().config.hment_reserve_amount);
  hment_free(sys(), hm);
}

TEST_F(HmentReserveTest, AnAllocationLeavesAFullReserveAlone) {
  hment_t* hm = hment_alloc(sys());
  EXPECT_EQ(count(), sys().config.hment_reserve_amount);
  hment_free(sys(), hm);
  EXPECT_EQ(count(), sys().config.hment_reserve_amount);
}

TEST_F(HmentReserveTest, ANestedLoadTakesFromTheReserveAndDoesNotAskKmem) {
  const int64_t before = sys().hment_cache.outstanding();
  const NestedLoad nested(sys());
  hment_t* hm = hment_alloc(sys());
  EXPECT_EQ(count(), sys().config.hment_reserve_amount - 1);
  EXPECT_EQ(sys().hment_cache.outstanding(), before);
  hment_free(sys(), hm);
}

TEST_F(HmentReserveTest, ANestedLoadGivesBackToTheReserveEvenIfItIsFull) {
  hment_t* hm = hment_alloc(sys());
  const NestedLoad nested(sys());
  hment_free(sys(), hm);
  EXPECT_EQ(count(), sys().config.hment_reserve_amount + 1);
}

TEST_F(HmentReserveTest, AFreedHmentGoesToAShortReserve) {
  hment_t* hm = hment_alloc(sys());
  hment_t* reserved = hment_get_reserve(sys());
  hment_free(sys(), hm);
  EXPECT_EQ(count(), sys().config.hment_reserve_amount);
  hment_free(sys(), reserved);
  EXPECT_EQ(count(), sys().config.hment_reserve_amount);
}

TEST_F(HmentReserveTest, WhenKmemFailsAMappingIsStolenBeforeTheReserveIsTouched) {
  page_t* pp = shared_page(0);
  set_failures(kAlways);
  hment_t* hm = hment_alloc(sys());
  EXPECT_EQ(hment_mapcnt(sys(), pp), 1u);
  EXPECT_EQ(count(), sys().config.hment_reserve_amount);
  set_failures(0);
  hment_free(sys(), hm);
}

TEST_F(HmentReserveTest, WhenNothingCanBeStolenTheReserveIsTheLastResort) {
  set_failures(kAlways);
  hment_t* hm = hment_alloc(sys());
  EXPECT_EQ(count(), sys().config.hment_reserve_amount - 1);
  set_failures(0);
  hment_free(sys(), hm);
}

TEST_F(HmentReserveTest, WithoutReserveAThirdOfFailuresIsSurvived) {
  empty_the_reserve();
  set_failures(300'000);
  for (int i = 0; i < 2000; ++i) hment_free(sys(), hment_alloc(sys()));
  set_failures(0);
}

using HmentReserveDeathTest = HmentReserveTest;

TEST_F(HmentReserveDeathTest, WithoutKmemReserveAndVictimsAllocationPanics) {
  empty_the_reserve();
  set_failures(kAlways);
  EXPECT_DEATH(hment_alloc(sys()), "hment_alloc: no hment from kmem, the reserve \\(count 0\\)");
  set_failures(0);
}

TEST_F(HmentReserveDeathTest, FreeingAnHmentThatIsStillListedFails) {
  page_t* pp = shared_page(0);
  auto* hm = static_cast<hment_t*>(pp->p_mapping.load(std::memory_order_relaxed));
  EXPECT_DEATH(hment_free(sys(), hm), "still on a list");
}

// ---- Stealing.

TEST_F(HmentReserveTest, StealingUnmapsTheMappingItsHmentStoodFor) {
  page_t* pp = shared_page(0);
  hment_t* hm = hment_steal(sys());
  ASSERT_NE(hm, nullptr);
  EXPECT_EQ(hment_mapcnt(sys(), pp), 1u);
  // The newest mapping is the first of the list.
  EXPECT_FALSE(PTE_ISVALID(pte_at(page_va(0), other_)));
  EXPECT_TRUE(PTE_ISVALID(pte_at(page_va(0), hat_)));
  EXPECT_EQ(stats().hs_hm_steals, 1u);
  hment_free(sys(), hm);
}

TEST_F(HmentReserveTest, AStolenMappingIsGoneFromTheTlb) {
  shared_page(0);
  ASSERT_TRUE(write(page_va(0), 7, other_, /*cpu=*/1));
  hment_free(sys(), hment_steal(sys()));
  EXPECT_FALSE(sys().machine.access(1, page_va(0), AccessKind::kRead, Privilege::kUser).ok);
}

TEST_F(HmentReserveTest, AStolenMappingLeavesItsBitsWithThePage) {
  page_t* pp = shared_page(0);
  forget_nrm(pp);
  ASSERT_TRUE(write(page_va(0), 7, other_));
  hment_free(sys(), hment_steal(sys()));
  EXPECT_EQ(nrm(pp), uint32_t{P_REF | P_MOD});
}

TEST_F(HmentReserveTest, NothingCanBeStolenFromPagesWithoutLists) {
  load(page_va(0), world_.new_page());
  EXPECT_EQ(hment_steal(sys()), nullptr);
  EXPECT_EQ(stats().hs_hm_steal_exam, 0u);
}

TEST_F(HmentReserveTest, HeldAndLockedTablesAreSpared) {
  page_t* pp = shared_page(0);
  htable_t* held = htable_lookup(sys(), hat_, 0, 0);
  world_.find(other_, 0, 0)->ht_lock_cnt.store(1, std::memory_order_relaxed);
  EXPECT_EQ(hment_steal(sys()), nullptr);
  EXPECT_EQ(hment_mapcnt(sys(), pp), 2u);
  EXPECT_EQ(stats().hs_hm_steal_exam, 1u);
  world_.find(other_, 0, 0)->ht_lock_cnt.store(0, std::memory_order_relaxed);
  htable_release(sys(), held);
}

TEST_F(HmentReserveTest, TheKernelIsSpared) {
  page_t* pp = world_.new_page();
  // Not the segkmap window, whose tables are held anyway.
  const uintptr_t va = sys().heap_eaddr - 2 * pagesize();
  hat_memload(sys(), sys().kas_hat(), va, pp, PROT_READ_ATTR, HAT_LOAD);
  hat_memload(sys(), sys().kas_hat(), va + pagesize(), pp, PROT_READ_ATTR, HAT_LOAD);
  EXPECT_EQ(hment_steal(sys()), nullptr);
  hat_unload(sys(), sys().kas_hat(), va, 2 * pagesize(), HAT_UNLOAD);
}

TEST_F(HmentReserveTest, SharedHatsAreSpared) {
  page_t* pp = shared_page(0);
  hat_->hat_flags.fetch_or(HAT_SHARED, std::memory_order_relaxed);
  other_->hat_flags.fetch_or(HAT_SHARED, std::memory_order_relaxed);
  EXPECT_EQ(hment_steal(sys()), nullptr);
  EXPECT_EQ(hment_mapcnt(sys(), pp), 2u);
  hat_->hat_flags.store(0, std::memory_order_relaxed);
  other_->hat_flags.store(0, std::memory_order_relaxed);
}

TEST_F(HmentReserveTest, ExitingHatsAreSpared) {
  page_t* pp = shared_page(0);
  hat_->hat_flags.fetch_or(HAT_FREEING, std::memory_order_relaxed);
  other_->hat_flags.fetch_or(HAT_FREEING, std::memory_order_relaxed);
  EXPECT_EQ(hment_steal(sys()), nullptr);
  EXPECT_EQ(hment_mapcnt(sys(), pp), 2u);
  hat_->hat_flags.store(0, std::memory_order_relaxed);
  other_->hat_flags.store(0, std::memory_order_relaxed);
}

TEST_F(HmentReserveTest, TheNextRoundBeginsBehindTheLastVictim) {
  page_t* first = shared_page(0);
  page_t* second = shared_page(1);
  hment_free(sys(), hment_steal(sys()));
  hment_free(sys(), hment_steal(sys()));
  EXPECT_EQ(hment_mapcnt(sys(), first), 1u);
  EXPECT_EQ(hment_mapcnt(sys(), second), 1u);
}

TEST_F(HmentReserveTest, NobodyIsLeftBehindInTheVictimsTables) {
  shared_page(0);
  hment_free(sys(), hment_steal(sys()));
  EXPECT_EQ(hat_->hat_unmappers.load(std::memory_order_relaxed), 0u);
  EXPECT_EQ(other_->hat_unmappers.load(std::memory_order_relaxed), 0u);
  EXPECT_EQ(world_.find(other_, 0, 0), nullptr);  // it was the last mapping there
}

// A stealer of hments takes the last mappings of address spaces that exit (hat-facts S5).
class StealVsExit : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hat/hment_steal_vs_exit";
  static constexpr const char* kClaim = "an exiting hat is not freed under a stealer";
  static constexpr Bounds kBounds{.iterations = 10};

  StealVsExit() : world_(toy_config()) {
    pp_ = world_.new_page();
    page_downgrade(world_.sys.vm, pp_);
    world_.map(world_.new_hat(), 0, pp_);
  }
  ~StealVsExit() { HAT_ASSERT(page_tryupgrade(world_.sys.vm, pp_)); }

  void thread(int t) {
    System& sys = world_.sys;
    if (t == 0) {
      for (int round = 0; round < 100; ++round) {
        hat_t* hat = world_.new_hat();
        world_.map(hat, 0, pp_);
        world_.map(hat, sys.mmu().pagesize(), pp_);
        world_.exit(hat);
      }
      done_.store(true, std::memory_order_relaxed);
    } else {
      while (!done_.load(std::memory_order_relaxed)) {
        hment_t* hm = hment_steal(sys);
        if (hm != nullptr) hment_free(sys, hm);
        yield();
      }
    }
  }

  void after() {
    const absl::Status audit = hat_audit(world_.sys);
    HAT_ASSERT(audit.ok(), audit.ToString());
  }

 private:
  TestWorld world_;
  page_t* pp_;
  Atomic<bool> done_{false};
};

// An exiter sleeps because somebody still works on its tables; whoever is done with tables, any
// tables, while somebody sleeps wakes it to look again.
class UnmapperWakesExiter : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hat/unmapper_wakes_exiter";
  static constexpr const char* kClaim = "an exiter that waits for unmappers is woken";
  static constexpr Bounds kBounds{.iterations = 10};

  UnmapperWakesExiter() : world_(toy_config()), exiting_(world_.new_hat()) {
    hat_t* hat = world_.new_hat();
    page_t* pp = world_.new_page();
    world_.map(hat, 0, pp);
    world_.map(hat, world_.sys.mmu().pagesize(), pp);
    exiting_->hat_unmappers.store(1, std::memory_order_relaxed);
  }

  void thread(int t) {
    System& sys = world_.sys;
    if (t == 0) {
      world_.exit(exiting_);
      return;
    }
    while (sys.hat_free_waiters.load(std::memory_order_seq_cst) == 0) yield();
    // It has the lock from before it counts itself until it is asleep.
    { MutexGuard asleep(sys.hat_list_lock); }
    exiting_->hat_unmappers.fetch_sub(1, std::memory_order_seq_cst);
    hment_t* hm = hment_steal(sys);
    HAT_ASSERT(hm != nullptr);
    hment_free(sys, hm);
  }

 private:
  TestWorld world_;
  hat_t* const exiting_;
};

TEST(HmentReserveThreadsTest, WhoeverIsDoneWithTablesWakesAnExiter) {
  EXPECT_EQ(run_scenario<UnmapperWakesExiter>().kind, Kind::kNone);
}

TEST(HmentReserveThreadsTest, ExitWaitsForAStealerThatTookItsLastMapping) {
  EXPECT_EQ(run_scenario<StealVsExit>().kind, Kind::kNone);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
