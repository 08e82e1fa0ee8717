// Kernel memory: what stands behind the objects, and the recursion that comes from it.
#include "hat/kmem.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hat/hat_for_test.h"
#include "hat/hment_reserve.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Lets another policy decide and remembers how deep loads were nested.
class DepthRecorder : public ReserveOwnership {
 public:
  explicit DepthRecorder(std::unique_ptr<ReserveOwnership> policy) : policy_(std::move(policy)) {}

  const char* name() const override { return policy_->name(); }
  void enter(System& sys, uint32_t flags) override {
    policy_->enter(sys, flags);
    deepest_ = std::max(deepest_, sys.me().t_hatdepth());
  }
  void exit(System& sys, uint32_t flags) override { policy_->exit(sys, flags); }
  bool may_use(System& sys) const override { return policy_->may_use(sys); }
  bool nested_load_is_noconsist(System& sys) const override {
    return policy_->nested_load_is_noconsist(sys);
  }

  int deepest() const { return deepest_; }

 private:
  const std::unique_ptr<ReserveOwnership> policy_;
  int deepest_ = 0;
};

// With a reserve of tables large enough that boot leaves the heap window's tables to be made when
// they are needed.
SystemConfig kmem_config() {
  SystemConfig config = toy_config();
  config.htable_reserve_amount = 16;
  return config;
}

class KmemTest : public HatTest {
 protected:
  explicit KmemTest(const SystemConfig& config = kmem_config()) : HatTest(config) {
    auto recorder = std::make_unique<DepthRecorder>(std::move(sys().reserve_ownership));
    recorder_ = recorder.get();
    sys().reserve_ownership = std::move(recorder);
  }

  void TearDown() override {
    for (hment_t* hm : hms_) kmem_free_hment(sys(), hm);
    HatTest::TearDown();
  }

  // By objects. The test is on CPU 0, so no other CPU has credit.
  int64_t in_use() {
    return sys().kmem_in_use.load(std::memory_order_relaxed) - sys().me().kmem_credit();
  }
  int64_t backed() { return sys().kmem_backed.load(std::memory_order_relaxed); }
  int64_t surplus() { return backed() - in_use(); }

  // Allocates until the next hment needs another page.
  void use_up_the_surplus() {
    while (surplus() >= static_cast<int64_t>(sizeof(hment_t))) alloc();
  }
  hment_t* alloc(KmFlag flag = KmFlag::kNoSleep) {
    hment_t* hm = kmem_alloc_hment(sys(), flag);
    if (hm != nullptr) hms_.push_back(hm);
    return hm;
  }
  // Pages of the heap window that are in use.
  std::vector<page_t*> heap_pages() {
    std::vector<page_t*> pages;
    for (uintptr_t va = sys().heap_addr; va < sys().heap_eaddr; va += pagesize()) {
      page_t* pp = page_exists(sys().vm, &sys().vm.kvp, va);
      if (pp != nullptr) pages.push_back(pp);
    }
    return pages;
  }

  DepthRecorder* recorder_;
  std::vector<hment_t*> hms_;
};

TEST_F(KmemTest, AnAllocationWithinTheSurplusTakesNoPage) {
  use_up_the_surplus();
  kmem_free_hment(sys(), hms_.back());
  hms_.pop_back();
  const size_t pages = heap_pages().size();
  ASSERT_NE(alloc(), nullptr);
  EXPECT_EQ(heap_pages().size(), pages);
}

TEST_F(KmemTest, GrowthMapsALockedPageInTheHeapWindow) {
  use_up_the_surplus();
  const size_t before = heap_pages().size();
  const int64_t backed_before = backed();
  ASSERT_NE(alloc(), nullptr);
  ASSERT_GT(heap_pages().size(), before);
  EXPECT_GT(backed(), backed_before);
  for (page_t* pp : heap_pages()) {
    EXPECT_TRUE(PAGE_SHARED(pp));
    EXPECT_FALSE(page_iolocked(pp));
    const uintptr_t va = pp->p_offset.load(std::memory_order_relaxed);
    EXPECT_EQ(hat_getpfnum(sys(), sys().kas_hat(), va), pp->p_pagenum);
  }
}

TEST_F(KmemTest, EveryObjectIsAccountedForUntilItIsFreed) {
  const int64_t before = in_use();
  hment_t* hm = kmem_alloc_hment(sys(), KmFlag::kSleep);
  htable_t* ht = kmem_alloc_htable(sys(), KmFlag::kSleep);
  hat_t* hat = kmem_alloc_hat(sys());
  EXPECT_EQ(in_use(),
            before + static_cast<int64_t>(sizeof(hment_t) + sizeof(htable_t) + sizeof(hat_t)));
  kmem_free_hment(sys(), hm);
  kmem_free_htable(sys(), ht);
  kmem_free_hat(sys(), hat);
  EXPECT_EQ(in_use(), before);
}

TEST_F(KmemTest, ACpuKeepsLittleOfWhatItFrees) {
  use_up_the_surplus();
  for (hment_t* hm : hms_) kmem_free_hment(sys(), hm);
  hms_.clear();
  EXPECT_LE(sys().me().kmem_credit(), 2048);
  EXPECT_GE(sys().me().kmem_credit(), 1024);
}

TEST_F(KmemTest, AFailureOfTheFaultPlanLeavesNothingBehind) {
  const int64_t before = in_use();
  sys().alloc_faults.per_million.store(1'000'000, std::memory_order_relaxed);
  EXPECT_EQ(alloc(KmFlag::kNoSleep), nullptr);
  sys().alloc_faults.per_million.store(0, std::memory_order_relaxed);
  EXPECT_EQ(in_use(), before);
}

TEST_F(KmemTest, WithoutAvailableMemoryANoSleepAllocationFailsAndLeavesNothingBehind) {
  use_up_the_surplus();
  const int64_t before = in_use();
  const int64_t all = availrmem(sys().vm) - sys().vm.config.t_minarmem;
  ASSERT_EQ(page_resv(sys().vm, all, KmFlag::kNoSleep), 1);
  EXPECT_EQ(alloc(KmFlag::kNoSleep), nullptr);
  EXPECT_EQ(in_use(), before);
  page_unresv(sys().vm, all);
  EXPECT_NE(alloc(KmFlag::kNoSleep), nullptr);
}

TEST_F(KmemTest, AFullHeapWindowFailsANoSleepAllocation) {
  while (heap_pages().size() < (sys().heap_eaddr - sys().heap_addr) / pagesize()) {
    ASSERT_NE(alloc(), nullptr);
  }
  use_up_the_surplus();
  const int64_t avail = availrmem(sys().vm);
  EXPECT_EQ(alloc(KmFlag::kNoSleep), nullptr);
  EXPECT_EQ(availrmem(sys().vm), avail);
}

TEST_F(KmemTest, FailuresUseUpNoHeapAddresses) {
  use_up_the_surplus();
  const int64_t all = availrmem(sys().vm) - sys().vm.config.t_minarmem;
  ASSERT_EQ(page_resv(sys().vm, all, KmFlag::kNoSleep), 1);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(alloc(KmFlag::kNoSleep), nullptr);
  page_unresv(sys().vm, all);
  while (heap_pages().size() < (sys().heap_eaddr - sys().heap_addr) / pagesize()) {
    ASSERT_NE(alloc(), nullptr);
  }
}

// ---- The recursion: a load allocates, the allocation loads.

TEST_F(KmemTest, ALoadThatNeedsAnHmentNestsTheLoadOfTheHeapPage) {
  page_t* pp = world_.new_page();
  load(page_va(0), pp);
  use_up_the_surplus();
  const size_t before = heap_pages().size();
  ASSERT_EQ(recorder_->deepest(), 1);  // growth outside of a load
  load(page_va(1), pp);
  EXPECT_GT(heap_pages().size(), before);
  EXPECT_EQ(recorder_->deepest(), 2);
  EXPECT_EQ(sys().me().t_hatdepth(), 0);
  EXPECT_EQ(hment_mapcnt(sys(), pp), 2u);
}

// One more level than usual, so that the heap window spans several tables of level 1.
SystemConfig deep_config() {
  SystemConfig config = kmem_config();
  config.machine.mmu.num_level = 4;
  config.kernelheap_bytes = 2 * config.machine.mmu.level_size(2);
  return config;
}

class KmemDeepTest : public KmemTest {
 protected:
  KmemDeepTest() : KmemTest(deep_config()) {}

  // Heap pages are taken in the order of their addresses.
  uintptr_t next_heap_page() { return sys().heap_addr + heap_pages().size() * pagesize(); }
  uint32_t tables_in_reserve() {
    return sys().htable_reserve.count.load(std::memory_order_relaxed);
  }
};

TEST_F(KmemDeepTest, TheNestedLoadTakesItsTablesFromTheReserve) {
  page_t* pp = world_.new_page();
  load(page_va(0), pp);
  use_up_the_surplus();
  while (next_heap_page() % sys().mmu().level_size(2) != 0) {
    ASSERT_NE(alloc(), nullptr);
    use_up_the_surplus();
  }
  const uintptr_t va = next_heap_page();
  ASSERT_LT(va, sys().heap_eaddr);
  ASSERT_FALSE(world_.exists(sys().kas_hat(), va, 1));
  const uint32_t before = tables_in_reserve();
  load(page_va(1), pp);  // needs an hment, and that the page at va
  EXPECT_EQ(recorder_->deepest(), 2);
  EXPECT_TRUE(world_.exists(sys().kas_hat(), va, 0));
  EXPECT_EQ(tables_in_reserve(), before - 2) << "of level 1 and of level 0";
}

SystemConfig thread_ownership() {
  SystemConfig config = kmem_config();
  config.reserves = ReserveDesign::kThread;
  return config;
}

class KmemThreadOwnershipTest : public KmemTest {
 protected:
  KmemThreadOwnershipTest() : KmemTest(thread_ownership()) {}
};

TEST_F(KmemThreadOwnershipTest, TheNestedLoadIsOffList) {
  page_t* pp = world_.new_page();
  load(page_va(0), pp);
  use_up_the_surplus();
  const std::vector<page_t*> before = heap_pages();
  load(page_va(1), pp);
  EXPECT_EQ(recorder_->deepest(), 2);
  EXPECT_EQ(sys().me().t_hatdepth(), 0);
  for (page_t* heap_page : heap_pages()) {
    if (std::find(before.begin(), before.end(), heap_page) == before.end()) {
      EXPECT_EQ(hment_mapcnt(sys(), heap_page), 0u);
    }
  }
}

TEST_F(KmemTest, ReapBringsTheReservesBackToTheirTargets) {
  hment_reserve_fill(sys(), 5);
  const int64_t before = in_use();
  kmem_reap(sys());
  EXPECT_EQ(sys().hment_reserve.count.load(std::memory_order_relaxed),
            sys().config.hment_reserve_amount);
  EXPECT_EQ(in_use(), before - 5 * static_cast<int64_t>(sizeof(hment_t)));
}

SystemConfig without_heap() {
  SystemConfig config = toy_config();
  config.kernelheap_bytes = 0;
  return config;
}

TEST(KmemWithoutHeapTest, MemoryNeedsNoPagesWhenThereIsNoHeapWindow) {
  TestWorld world(without_heap());
  std::vector<hment_t*> hms;
  const int64_t free_before = freemem(world.sys.vm);
  for (int i = 0; i < 1000; ++i) hms.push_back(kmem_alloc_hment(world.sys, KmFlag::kNoSleep));
  EXPECT_EQ(freemem(world.sys.vm), free_before);
  for (hment_t* hm : hms) kmem_free_hment(world.sys, hm);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
