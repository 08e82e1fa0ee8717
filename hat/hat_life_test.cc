#include "gtest/gtest.h"
#include "hat/hat.h"
#include "hat/hat_boot.h"
#include "hat/hment.h"
#include "hat/htable_for_test.h"
#include "hat/htable_steal.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class HatLife : public ::testing::Test {
 protected:
  HatLife() : world_(toy_config()) {}
  System& sys() { return world_.sys; }
  uintptr_t page_va(uint64_t page) { return page * sys().mmu().pagesize(); }

  TestWorld world_;
};

TEST_F(HatLife, AllocMakesATopTableWithTheKernelsEntries) {
  hat_t* const hat = world_.new_hat();
  htable_t* const top = hat->hat_htable();
  EXPECT_EQ(busy(top), 1);
  EXPECT_EQ(valid(top), 0);
  const uint32_t half = sys().mmu().ptes_per_table() / 2;
  EXPECT_EQ(x86pte_get(sys(), top, half), x86pte_get(sys(), sys().kas_hat()->hat_htable(), half));
  EXPECT_NE(x86pte_get(sys(), top, half), 0u);
  EXPECT_EQ(x86pte_get(sys(), top, 0), 0u);
}

TEST_F(HatLife, AllocPutsTheHatAtTheHeadOfTheList) {
  hat_t* const kas = sys().kas_hat();
  hat_t* const a = world_.new_hat();
  hat_t* const b = world_.new_hat();
  EXPECT_EQ(kas->hat_next(), b);
  EXPECT_EQ(b->hat_next(), a);
  EXPECT_EQ(a->hat_prev(), b);
  EXPECT_EQ(kas->hat_prev(), a);
  EXPECT_EQ(b->hat_prev(), nullptr);
  EXPECT_EQ(a->hat_next(), nullptr);
}

TEST_F(HatLife, FirstUserHatAllowsStealing) {
  EXPECT_EQ(sys().can_steal_post_boot.load(std::memory_order_relaxed), 0u);
  world_.new_hat();
  EXPECT_EQ(sys().can_steal_post_boot.load(std::memory_order_relaxed), 1u);
}

TEST_F(HatLife, FreeTakesTheHatOffTheListWhereverItIs) {
  hat_t* const kas = sys().kas_hat();
  hat_t* const a = world_.new_hat();
  hat_t* const b = world_.new_hat();
  hat_t* const c = world_.new_hat();
  world_.exit(b);
  EXPECT_EQ(c->hat_next(), a);
  EXPECT_EQ(a->hat_prev(), c);
  world_.exit(a);
  EXPECT_EQ(kas->hat_prev(), c);
  EXPECT_EQ(c->hat_next(), nullptr);
  world_.exit(c);
  EXPECT_EQ(kas->hat_next(), nullptr);
  EXPECT_EQ(kas->hat_prev(), nullptr);
}

TEST_F(HatLife, FreeGivesBackAllTables) {
  world_.exit(world_.new_hat());
  const int64_t before = tables(sys());
  hat_t* const hat = world_.new_hat();
  for (uint64_t page : {0, 5, 17}) world_.map(hat, page_va(page), world_.new_page());
  EXPECT_GT(tables(sys()), before);
  world_.exit(hat);
  EXPECT_EQ(tables(sys()), before);
  EXPECT_TRUE(hat_audit(sys()).ok());
}

TEST_F(HatLife, FreeGivesBackCachedTables) {
  world_.exit(world_.new_hat());
  const int64_t before = tables(sys());
  hat_t* const hat = world_.new_hat();
  world_.map(hat, 0, world_.new_page());
  world_.unmap(hat, 0);
  ASSERT_FALSE(world_.cached(hat).empty());
  world_.exit(hat);
  EXPECT_EQ(tables(sys()), before);
}

TEST_F(HatLife, FreeWantsEveryCpuGone) {
  hat_t* const hat = world_.new_hat();
  CpuBinding binding(0);
  hat_switch(sys(), hat);
  EXPECT_DEATH(world_.exit(hat), "invariant 27");
  hat_switch(sys(), sys().kas_hat());
}

TEST_F(HatLife, FreeEndWantsFreeStart) {
  hat_t* const hat = world_.new_hat();
  EXPECT_DEATH(hat_free_end(sys(), hat), "invariant 25");
}

TEST_F(HatLife, LifeCycleCallsWantTheLock) {
  as_t as;
  EXPECT_DEATH(hat_alloc(sys(), &as), "a_lock");
  hat_t* const hat = world_.new_hat();
  EXPECT_DEATH(hat_free_start(sys(), hat), "a_lock");
  EXPECT_DEATH(hat_swapout(sys(), hat), "a_lock");
}

TEST_F(HatLife, EnterAndExitHoldTheHatsMutex) {
  hat_t* const hat = world_.new_hat();
  hat_enter(hat);
  EXPECT_TRUE(hat->hat_mutex.held());
  hat_exit(hat);
  EXPECT_FALSE(hat->hat_mutex.held());
}

TEST_F(HatLife, HashSizeFollowsTheMemorySize) {
  SystemConfig config = toy_config();
  EXPECT_EQ(hat_hash_size(sys()), 4u);  // as configured
  config.hat_num_hash = 0;
  config.machine.mmu.num_level = 4;
  EXPECT_EQ(hat_hash_size(System(config)), 16u);
  SystemConfig large;
  large.machine.nframes = 65536;
  EXPECT_EQ(hat_hash_size(System(large)), 64u);
}

TEST_F(HatLife, SwapoutUnloadsWhatIsNotLocked) {
  hat_t* const hat = world_.new_hat();
  page_t* const page = world_.new_page();
  world_.map(hat, page_va(0), page);
  world_.map(hat, page_va(9), world_.new_page());
  {
    ReaderGuard guard(hat->hat_as()->a_lock);
    hat_swapout(sys(), hat);
  }
  EXPECT_EQ(hat->hat_pages_mapped[0].load(std::memory_order_relaxed), 0);
  EXPECT_FALSE(hat_page_is_mapped(sys(), page));
  EXPECT_TRUE(world_.cached(hat).empty());
}

TEST_F(HatLife, SwapoutKeepsATableWithALock) {
  hat_t* const hat = world_.new_hat();
  const uint64_t next_table = sys().mmu().ptes_per_table();
  world_.map(hat, page_va(0), world_.new_page());
  world_.map(hat, page_va(1), world_.new_page(), HAT_LOAD_LOCK);
  world_.map(hat, page_va(next_table), world_.new_page());
  {
    ReaderGuard guard(hat->hat_as()->a_lock);
    hat_swapout(sys(), hat);
  }
  EXPECT_TRUE(hat_probe(sys(), hat, page_va(0)));
  EXPECT_TRUE(hat_probe(sys(), hat, page_va(1)));
  EXPECT_FALSE(hat_probe(sys(), hat, page_va(next_table)));
  world_.unmap(hat, page_va(1), HAT_UNLOAD_UNLOCK);
}

TEST_F(HatLife, SwapoutUnloadsLargePages) {
  hat_t* const hat = world_.new_hat();
  world_.map_large(hat, 0, world_.new_large_page());
  world_.map(hat, sys().mmu().level_size(1), world_.new_page());
  {
    ReaderGuard guard(hat->hat_as()->a_lock);
    hat_swapout(sys(), hat);
  }
  EXPECT_EQ(hat_get_mapped_size(sys(), hat), 0u);
}

TEST_F(HatLife, SwapoutLeavesSharedTablesAlone) {
  const uint64_t span = sys().mmu().level_size(1);
  hat_t* const ism = world_.new_hat();
  for (uint64_t page = 0; page < sys().mmu().ptes_per_table(); ++page) {
    world_.map(ism, page_va(page), world_.new_page(), HAT_LOAD_SHARE);
  }
  hat_t* const hat = world_.new_hat();
  world_.map(hat, span, world_.new_page());
  {
    WriterGuard guard(hat->hat_as()->a_lock);
    ASSERT_EQ(hat_share(sys(), hat, 0, ism, 0, span, 0), 0);
    ASSERT_TRUE(world_.find(hat, 0, 0)->ht_flags() & HTABLE_SHARED_PFN);
    hat_swapout(sys(), hat);
    EXPECT_TRUE(hat_probe(sys(), hat, 0));
    EXPECT_FALSE(hat_probe(sys(), hat, span));
    hat_unshare(sys(), hat, 0, span, 0);
  }
  world_.exit(hat);
}

TEST_F(HatLife, CopiesAreNotMadeAtFork) {
  hat_t* const hat = world_.new_hat();
  EXPECT_EQ(hat_dup(sys(), hat, hat, 0, sys().mmu().pagesize(), 0), 0);
  hat_map(sys(), hat, 0, sys().mmu().pagesize(), 0);
  hat_swapin(sys(), hat);
  EXPECT_EQ(hat_get_mapped_size(sys(), hat), 0u);
}

// Scenario 11: exit against a stealer.
class ExitVsSteal : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "hat_life/exit_vs_steal";
  static constexpr const char* kClaim = "a hat outlives the stealer that works on it";
  static constexpr Bounds kBounds{.iterations = 30};

  ExitVsSteal() : world_(toy_config()) {
    world_.new_hat();  // so that stealing is on
    for (page_t*& page : pages_) page = world_.new_page();
  }

  void thread(int index) {
    System& sys = world_.sys;
    if (index == 0) {
      for (int round = 0; round < 50; ++round) {
        hat_t* const hat = world_.new_hat();
        for (uint64_t i = 0; i < 4; ++i) {
          world_.map(hat, i * sys.mmu().level_size(1), pages_[i]);
        }
        world_.unmap(hat, 0);
        world_.exit(hat);
      }
      stop_.store(1, std::memory_order_relaxed);
      return;
    }
    while (stop_.load(std::memory_order_relaxed) == 0) {
      htable_t* ht = htable_steal(sys, 2);
      while (ht != nullptr) {
        htable_t* const next = ht->ht_next();
        htable_free(sys, ht);
        ht = next;
      }
    }
  }

  void after() { HAT_ASSERT(hat_audit(world_.sys).ok()); }

 private:
  TestWorld world_;
  page_t* pages_[4];
  Atomic<int> stop_{0};
};

TEST(HatLifeRaces, AHatOutlivesTheStealerThatWorksOnIt) {
  EXPECT_NE(run_scenario<ExitVsSteal>().verdict, Verdict::kViolated);
}

// Scenario 10, S5: exit against somebody who takes the last mapping away.
class ExitVsPageunload : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hat_life/exit_vs_pageunload";
  static constexpr const char* kClaim = "tables and hat outlive whoever unmaps a page from outside";
  static constexpr Bounds kBounds{.iterations = 300};

  ExitVsPageunload() : world_(toy_config()), page_(world_.new_page()), hat_(world_.new_hat()) {
    world_.map(hat_, 0, page_);
  }

  void thread(int index) {
    if (index == 0) {
      world_.exit(hat_);
    } else {
      hat_pageunload(world_.sys, page_);
    }
  }

  void after() {
    HAT_ASSERT(hment_mapcnt(world_.sys, page_) == 0);
    HAT_ASSERT(hat_audit(world_.sys).ok());
  }

 private:
  TestWorld world_;
  page_t* const page_;
  hat_t* const hat_;
};

TEST(HatLifeRaces, TablesOutliveWhoeverUnmapsAPageFromOutside) {
  EXPECT_NE(run_scenario<ExitVsPageunload>().verdict, Verdict::kViolated);
}

// The same, forced: an unmapper that takes its time.
class ExitWaits : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hat_life/exit_waits";
  static constexpr const char* kClaim = "hat_free_end returns after the last unmapper has left";
  static constexpr Bounds kBounds{.iterations = 100};

  ExitWaits() : world_(toy_config()), hat_(world_.new_hat()) {
    hat_->hat_unmappers.fetch_add(1, std::memory_order_relaxed);
  }

  void thread(int index) {
    System& sys = world_.sys;
    if (index == 0) {
      world_.exit(hat_);
      HAT_ASSERT(left_.load(std::memory_order_relaxed) == 1);
      return;
    }
    // As hati_page_unmap does when it has dropped its hold.
    while (choose(20) != 0) yield();
    left_.store(1, std::memory_order_relaxed);
    hat_->hat_unmappers.fetch_sub(1, std::memory_order_seq_cst);
    if (sys.hat_free_waiters.load(std::memory_order_seq_cst) == 0) return;
    MutexGuard guard(sys.hat_list_lock);
    sys.hat_list_cv.broadcast();
  }

 private:
  TestWorld world_;
  hat_t* const hat_;
  Atomic<int> left_{0};
};

TEST(HatLifeRaces, FreeEndWaitsForTheLastUnmapper) {
  EXPECT_NE(run_scenario<ExitWaits>().verdict, Verdict::kViolated);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
