// The frames of page tables, those of the boot loader included.
#include "gtest/gtest.h"
#include "hat/hat_boot.h"
#include "hat/htable.h"
#include "hat/htable_alloc.h"
#include "hat/htable_for_test.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uint32_t kAlways = 1'000'000;
constexpr uintptr_t kSeed = 77;  // no htable is there

class PtableTest : public testing::Test {
 protected:
  PtableTest() : world(toy_config()), sys(world.sys) { world.new_hat(); }

  page_t* page_of(pfn_t pfn) { return page_numtopp_nolock(sys.vm, pfn); }
  // Leaves the system without spare memory until it is destroyed.
  void use_up_memory() {
    while (freemem(sys.vm) > sys.vm.config.throttlefree + 1) world.new_page();
  }

  TestWorld world;
  System& sys;
};
using PtableDeathTest = PtableTest;

TEST_F(PtableTest, the_frame_of_a_table_is_held_shared_and_known_to_the_hardware_as_a_table) {
  const pfn_t pfn = ptable_alloc(sys, kSeed);
  ASSERT_NE(pfn, PFN_INVALID);
  EXPECT_EQ(page_of(pfn)->p_selock.load(std::memory_order_relaxed), 1);
  EXPECT_EQ(sys.machine.mem().kind(pfn), FrameKind::kTable);
  ptable_free(sys, pfn);
}

TEST_F(PtableTest, a_frame_is_counted_while_it_is_a_table) {
  const int64_t before = tables(sys);
  const pfn_t pfn = ptable_alloc(sys, kSeed);
  EXPECT_EQ(tables(sys), before + 1);
  ptable_free(sys, pfn);
  EXPECT_EQ(tables(sys), before);
  const HatStatTotals total = sys.hatstat.sum();
  EXPECT_EQ(static_cast<int64_t>(total.hs_ptable_allocs - total.hs_ptable_frees), before);
}

TEST_F(PtableTest, a_freed_frame_is_free_memory_again_and_has_no_name) {
  const int64_t free_before = freemem(sys.vm);
  const int64_t avail_before = availrmem(sys.vm);
  const pfn_t pfn = ptable_alloc(sys, kSeed);
  EXPECT_EQ(freemem(sys.vm), free_before - 1);
  ptable_free(sys, pfn);
  EXPECT_EQ(freemem(sys.vm), free_before);
  EXPECT_EQ(availrmem(sys.vm), avail_before);
  EXPECT_TRUE(PP_ISFREE(page_of(pfn)));
  EXPECT_EQ(page_of(pfn)->p_vnode.load(std::memory_order_relaxed), nullptr);
  EXPECT_EQ(sys.machine.mem().kind(pfn), FrameKind::kFree);
}

TEST_F(PtableTest, the_last_pages_are_left_to_those_who_free_memory) {
  use_up_memory();
  const int64_t before = tables(sys);
  EXPECT_EQ(ptable_alloc(sys, kSeed), PFN_INVALID);
  EXPECT_EQ(tables(sys), before) << "a failure is not counted";
  const NoMemWait pageout(sys.vm);
  const pfn_t pfn = ptable_alloc(sys, kSeed);
  EXPECT_NE(pfn, PFN_INVALID);
  ptable_free(sys, pfn);
}

TEST_F(PtableTest, a_forced_shortage_fails_and_is_not_counted) {
  const int64_t before = tables(sys);
  sys.force_steal_per_million.store(kAlways, std::memory_order_relaxed);
  EXPECT_EQ(ptable_alloc(sys, kSeed), PFN_INVALID);
  sys.force_steal_per_million.store(0, std::memory_order_relaxed);
  EXPECT_EQ(tables(sys), before);
}

TEST_F(PtableTest, a_page_that_cannot_be_had_is_not_counted) {
  const pfn_t pfn = ptable_alloc(sys, kSeed);
  const int64_t before = tables(sys);
  EXPECT_EQ(ptable_alloc(sys, kSeed), PFN_INVALID) << "the seed is in use";
  EXPECT_EQ(tables(sys), before);
  ptable_free(sys, pfn);
}

TEST_F(PtableDeathTest, freeing_a_frame_that_is_not_held_is_caught) {
  const pfn_t pfn = ptable_alloc(sys, kSeed);
  ptable_free(sys, pfn);
  EXPECT_DEATH(ptable_free(sys, pfn), "invariant 21");
}

// A reader holds the page of a table that is to be freed.
class FreeVsReader : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hat/ptable_free_vs_reader";
  static constexpr const char* kClaim = "while it waits for a reader, the page keeps its name";
  static constexpr Bounds kBounds{.iterations = 100};

  FreeVsReader() : world_(toy_config()) {
    pfn_ = ptable_alloc(world_.sys, kSeed);
    pp_ = page_numtopp_nolock(world_.sys.vm, pfn_);
    offset_ = pp_->p_offset.load(std::memory_order_relaxed);
    HAT_ASSERT(page_trylock(world_.sys.vm, pp_, SE_SHARED) != 0);
  }
  void thread(int index) {
    Vm& vm = world_.sys.vm;
    if (index == 0) {
      ptable_free(world_.sys, pfn_);
      return;
    }
    // Until the other thread has given up its own lock.
    while ((pp_->p_selock.load(std::memory_order_acquire) & ~SE_EWANTED) != 1) yield();
    EXPECT_EQ(page_exists(vm, &vm.kvp, offset_), pp_);
    EXPECT_FALSE(PP_ISFREE(pp_));
    page_unlock(vm, pp_);
  }
  void after() {
    EXPECT_TRUE(PP_ISFREE(pp_));
    EXPECT_TRUE(hat_audit(world_.sys).ok()) << hat_audit(world_.sys);
  }

 private:
  TestWorld world_;
  pfn_t pfn_;
  page_t* pp_;
  uint64_t offset_;
};

TEST(PtableRaceTest, a_frame_that_a_reader_holds_keeps_its_name_until_it_can_be_freed) {
  run_scenario<FreeVsReader>();
}

// ---- Tables found at boot.

TEST_F(PtableTest, boot_leaves_every_table_counted_and_none_below_kernelbase) {
  hat_t* const kas = sys.kas_hat();
  for (uintptr_t va = 0; va < sys.mmu().hole_start(); va += sys.mmu().level_size(1)) {
    EXPECT_FALSE(world.exists(kas, va, 0));
    EXPECT_FALSE(world.exists(kas, va, 1));
  }
  EXPECT_TRUE(hat_audit(sys).ok()) << hat_audit(sys);
}

TEST_F(PtableTest, attaching_wraps_what_the_hardware_has_with_counts_and_holds) {
  hat_t* const found = sys.hat_cache.alloc(KmFlag::kSleep);
  as_t as;
  hat_init_empty(sys, found, &as);
  const auto table = [&](uintptr_t seed) {
    const pfn_t pfn = ptable_alloc(sys, seed);
    sys.machine.mem().zero(pfn);
    // As the boot loader leaves it: nobody's yet, and not counted.
    page_unlock(sys.vm, page_of(pfn));
    sys.active_ptables.fetch_sub(1, std::memory_order_relaxed);
    return pfn;
  };
  const pfn_t top = table(kSeed);
  const pfn_t middle = table(kSeed + 1);
  const pfn_t leaf = table(kSeed + 2);
  PhysMem& mem = sys.machine.mem();
  const int64_t before = tables(sys);
  // The last entry everywhere: above kernelbase.
  mem.word(top, 3).store(MAKEPTP(middle), std::memory_order_relaxed);
  mem.word(middle, 3).store(MAKEPTP(leaf), std::memory_order_relaxed);
  mem.word(leaf, 3).store(MAKEPTE(1, 0) | PT_REF, std::memory_order_relaxed);
  mem.word(leaf, 1).store(MAKEPTE(1, 0) | PT_REF, std::memory_order_relaxed);

  htable_t* const ht = htable_attach(sys, found, 0, 2, nullptr, top);
  const uintptr_t last = uintptr_t{0} - sys.mmu().pagesize();
  htable_t* const ht1 = world.find(found, last, 1);
  htable_t* const ht0 = world.find(found, last, 0);
  ASSERT_NE(ht0, nullptr);
  EXPECT_EQ(ht0->ht_pfn(), leaf);
  EXPECT_EQ(ht0->ht_parent(), ht1);
  EXPECT_EQ(ht1->ht_parent(), ht);
  EXPECT_EQ(valid(ht0), 2);
  EXPECT_EQ(valid(ht1), 1);
  EXPECT_EQ(busy(ht0), 1);
  EXPECT_EQ(busy(ht1), 2);
  EXPECT_EQ(busy(ht), 2);
  EXPECT_EQ(found->hat_pages_mapped[0].load(std::memory_order_relaxed), 2);
  EXPECT_EQ(tables(sys), before + 3);
  EXPECT_EQ(page_of(leaf)->p_selock.load(std::memory_order_relaxed), 1);

  found->hat_flags.fetch_or(HAT_FREEING, std::memory_order_relaxed);
  htable_purge_hat(sys, found);
  EXPECT_EQ(tables(sys), before);
  sys.hat_cache.free(found);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
