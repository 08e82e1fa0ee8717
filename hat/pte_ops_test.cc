#include "hat/pte_ops.h"

#include "gtest/gtest.h"
#include "hat/htable_for_test.h"
#include "hat/shootdown.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr x86pte_t kUserLeaf = PT_WRITABLE | PT_USER;
constexpr uintptr_t kVa = 0;

SystemConfig config_with(InvalidationDesign design, ModVariant variant = ModVariant::kRecheck) {
  SystemConfig config = toy_config();
  config.invalidation = design;
  config.machine.mod_variant = variant;
  return config;
}

std::string design_name(const ::testing::TestParamInfo<InvalidationDesign>& info) {
  return info.param == InvalidationDesign::kCaptured ? "captured" : "shootdown";
}

// A hat with one level-0 table, held, and no mapping list in play.
class PteOps : public ::testing::TestWithParam<InvalidationDesign> {
 protected:
  PteOps() : world_(config_with(GetParam())), hat_(world_.new_hat()), page_(world_.new_page()) {
    table_ = htable_create(sys(), hat_, kVa, 0, nullptr);
  }
  ~PteOps() override {
    // These tests set entries behind the HAT's back and do not count them.
    x86pte_zero(sys(), table_, 0, sys().mmu().ptes_per_table());
    leave_all();
    htable_release(sys(), table_);
  }

  System& sys() { return world_.sys; }
  x86pte_t leaf() const { return MAKEPTE(page_->p_pagenum, 0) | kUserLeaf; }
  x86pte_t get() { return x86pte_get(sys(), table_, 0); }
  Atomic<x86pte_t>& word() { return x86pte_access(sys(), table_, 0); }

  // Makes a CPU run a hat, as its thread would.
  void run_on(CpuId cpu, hat_t* hat) {
    CpuBinding binding(cpu);
    hat_switch(sys(), hat);
  }
  void leave_all() {
    for (CpuId cpu = 0; cpu < sys().machine.ncpus(); ++cpu) run_on(cpu, sys().kas_hat());
  }
  bool access(CpuId cpu, AccessKind kind = AccessKind::kRead) {
    return sys().machine.access(cpu, kVa, kind, Privilege::kUser).ok;
  }
  bool cached(CpuId cpu) {
    for (const TlbEntry& entry : sys().machine.tlb_snapshot(cpu)) {
      if (entry.pfn == page_->p_pagenum) return true;
    }
    return false;
  }

  TestWorld world_;
  hat_t* const hat_;
  page_t* const page_;
  htable_t* table_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Designs, PteOps,
                         ::testing::Values(InvalidationDesign::kCaptured,
                                           InvalidationDesign::kShootdown),
                         design_name);

TEST_P(PteOps, SetReturnsWhatWasThere) {
  EXPECT_EQ(x86pte_set(sys(), table_, 0, leaf()), 0u);
  EXPECT_EQ(x86pte_set(sys(), table_, 0, leaf() | PT_NX), leaf());
  EXPECT_EQ(get(), leaf() | PT_NX);
}

TEST_P(PteOps, SetKeepsRefAndModOfTheSameFrame) {
  word().store(leaf() | PT_REF | PT_MOD, std::memory_order_relaxed);
  x86pte_set(sys(), table_, 0, leaf() | PT_NX);
  EXPECT_EQ(get(), leaf() | PT_NX | PT_REF | PT_MOD);
}

TEST_P(PteOps, SetDropsRefAndModOfAnotherFrame) {
  const x86pte_t other = MAKEPTE(world_.new_page()->p_pagenum, 0) | kUserLeaf;
  word().store(other | PT_REF | PT_MOD, std::memory_order_relaxed);
  x86pte_set(sys(), table_, 0, leaf());
  EXPECT_EQ(get(), leaf());
}

TEST_P(PteOps, SetIgnoresBitsLeftInAnInvalidEntry) {
  word().store(PT_MOD, std::memory_order_relaxed);
  EXPECT_EQ(x86pte_set(sys(), table_, 0, leaf()), PT_MOD);
  EXPECT_EQ(get(), leaf());
}

TEST_P(PteOps, SetOfAnEqualEntryDropsTheStricterOneInTheOwnTlb) {
  run_on(0, hat_);
  word().store(leaf() & ~PT_WRITABLE, std::memory_order_relaxed);
  ASSERT_TRUE(access(0));
  word().store(leaf() | PT_REF, std::memory_order_relaxed);
  EXPECT_EQ(x86pte_set(sys(), table_, 0, leaf()), leaf());
  EXPECT_FALSE(cached(0));
}

TEST_P(PteOps, SetDoesNotReplaceAPointerToATable) {
  htable_t* const parent = table_->ht_parent();
  const x86pte_t pointer = x86pte_get(sys(), parent, 0);
  ASSERT_TRUE(PTE_ISPTP(pointer, 1));
  EXPECT_EQ(x86pte_set(sys(), parent, 0, MAKEPTE(0, 1) | kUserLeaf), LPAGE_ERROR);
  EXPECT_EQ(x86pte_get(sys(), parent, 0), pointer);
}

TEST_P(PteOps, SetFlushesAnEntryThatMayBeCached) {
  run_on(1, hat_);
  x86pte_set(sys(), table_, 0, leaf());
  ASSERT_TRUE(access(1));
  x86pte_set(sys(), table_, 0, leaf() & ~PT_WRITABLE);
  EXPECT_FALSE(cached(1));
}

TEST_P(PteOps, CasChangesOnlyWhatIsExpected) {
  EXPECT_EQ(x86pte_cas(sys(), table_, 0, 0, leaf()), 0u);
  EXPECT_EQ(x86pte_cas(sys(), table_, 0, 0, leaf() | PT_NX), leaf());
  EXPECT_EQ(get(), leaf());
}

TEST_P(PteOps, InvalClearsAndReturnsTheBitsTheHardwareSet) {
  run_on(1, hat_);
  x86pte_set(sys(), table_, 0, leaf());
  ASSERT_TRUE(access(1, AccessKind::kWrite));
  EXPECT_EQ(x86pte_inval(sys(), table_, 0, leaf()), leaf() | PT_REF | PT_MOD);
  EXPECT_EQ(get(), 0u);
}

TEST_P(PteOps, InvalFlushesEveryCpuThatRunsTheHat) {
  x86pte_set(sys(), table_, 0, leaf());
  for (CpuId cpu = 0; cpu < 3; ++cpu) {
    run_on(cpu, hat_);
    ASSERT_TRUE(access(cpu));
  }
  x86pte_inval(sys(), table_, 0, 0);
  for (CpuId cpu = 0; cpu < 3; ++cpu) EXPECT_FALSE(cached(cpu)) << cpu;
}

TEST_P(PteOps, InvalInterruptsNobodyElse) {
  run_on(1, hat_);
  run_on(2, world_.new_hat());
  x86pte_set(sys(), table_, 0, leaf());
  ASSERT_TRUE(access(1));
  const uint64_t before = sys().machine.core_stats(2).interrupts;
  x86pte_inval(sys(), table_, 0, 0);
  EXPECT_EQ(sys().machine.core_stats(2).interrupts, before);
}

TEST_P(PteOps, InvalLeavesAnEntryOfAnotherFrame) {
  x86pte_set(sys(), table_, 0, leaf());
  const x86pte_t other = MAKEPTE(world_.new_page()->p_pagenum, 0) | kUserLeaf;
  EXPECT_EQ(x86pte_inval(sys(), table_, 0, other), leaf());
  EXPECT_EQ(get(), leaf());
}

TEST_P(PteOps, InvalLeavesAPageTableThatTookTheFrameOfTheLargePage) {
  htable_t* const upper = table_->ht_parent();
  const pfn_t frame = world_.new_large_page()->p_pagenum;
  const x86pte_t pointer = MAKEPTP(frame);
  x86pte_access(sys(), upper, 1).store(pointer, std::memory_order_relaxed);
  EXPECT_EQ(x86pte_inval(sys(), upper, 1, MAKEPTE(frame, 1) | kUserLeaf), pointer);
  EXPECT_EQ(x86pte_get(sys(), upper, 1), pointer);
  x86pte_zero(sys(), upper, 1, 1);
}

// S2: the sharers know the page under addresses of their own.
TEST_P(PteOps, InvalThroughASharedHatFlushesTheSharers) {
  hat_t* const sharer = world_.new_hat();
  const uintptr_t sharer_va = sys().mmu().level_size(1);
  page_t* const page = world_.new_page();
  world_.map(sharer, sharer_va, page);
  run_on(2, sharer);
  ASSERT_TRUE(sys().machine.access(2, sharer_va, AccessKind::kRead, Privilege::kUser).ok);

  // As if the sharer's table had been shared from hat_: same frame, and REF set by the access.
  word().store(MAKEPTE(page->p_pagenum, 0) | kUserLeaf | PT_REF, std::memory_order_relaxed);
  hat_->hat_flags.fetch_or(HAT_SHARED, std::memory_order_relaxed);
  x86pte_inval(sys(), table_, 0, 0);
  EXPECT_TRUE(sys().machine.tlb_snapshot(2).empty());
}

TEST_P(PteOps, InvalOfAKernelEntryFlushesAllCpus) {
  page_t* const page = world_.new_page();
  const uintptr_t va = sys().kmap_addr;
  hat_memload(sys(), sys().kas_hat(), va, page, PROT_READ_ATTR | PROT_WRITE_ATTR, HAT_LOAD);
  run_on(1, hat_);
  for (CpuId cpu = 0; cpu < 4; ++cpu) {
    ASSERT_TRUE(sys().machine.access(cpu, va, AccessKind::kRead, Privilege::kKernel).ok);
  }
  hat_unload(sys(), sys().kas_hat(), va, sys().mmu().pagesize(), HAT_UNLOAD);
  for (CpuId cpu = 0; cpu < 4; ++cpu) {
    for (const TlbEntry& entry : sys().machine.tlb_snapshot(cpu)) EXPECT_NE(entry.va, va) << cpu;
  }
}

TEST_P(PteOps, UpdateReturnsWhatItFoundInstead) {
  x86pte_set(sys(), table_, 0, leaf() | PT_REF);
  EXPECT_EQ(x86pte_update(sys(), table_, 0, leaf(), leaf() & ~PT_WRITABLE), leaf() | PT_REF);
  EXPECT_EQ(get(), leaf() | PT_REF);
}

TEST_P(PteOps, UpdateFlushesBeforeItReturns) {
  run_on(1, hat_);
  x86pte_set(sys(), table_, 0, leaf());
  ASSERT_TRUE(access(1));
  const x86pte_t now = leaf() | PT_REF;
  EXPECT_EQ(x86pte_update(sys(), table_, 0, now, now & ~PT_WRITABLE), now);
  EXPECT_FALSE(access(1, AccessKind::kWrite));
}

TEST_P(PteOps, CopyAndZeroTouchOnlyTheirEntries) {
  htable_t* const other = htable_create(sys(), hat_, sys().mmu().level_size(1), 0, nullptr);
  for (uint32_t e = 0; e < 4; ++e) {
    x86pte_access(sys(), table_, e).store(leaf() | PT_NX, std::memory_order_relaxed);
  }
  x86pte_copy(sys(), table_, other, 1, 2);
  EXPECT_EQ(x86pte_get(sys(), other, 0), 0u);
  EXPECT_EQ(x86pte_get(sys(), other, 1), leaf() | PT_NX);
  EXPECT_EQ(x86pte_get(sys(), other, 2), leaf() | PT_NX);
  EXPECT_EQ(x86pte_get(sys(), other, 3), 0u);
  x86pte_zero(sys(), other, 1, 2);
  EXPECT_TRUE(world_.frame_is_zero(other->ht_pfn()));
  htable_release(sys(), other);
}

TEST_P(PteOps, NothingIsSetThroughASharer) {
  htable_t* const sharer =
      htable_create(sys(), world_.new_hat(), sys().mmu().level_size(1), 0, table_);
  EXPECT_DEATH(x86pte_set(sys(), sharer, 0, leaf()), "invariant 62");
  EXPECT_DEATH(x86pte_inval(sys(), sharer, 0, 0), "invariant 62");
  EXPECT_DEATH(x86pte_update(sys(), sharer, 0, leaf(), leaf() | PT_NX), "invariant 62");
  htable_release(sys(), sharer);
}

// A CPU writes through a clean TLB entry while another takes WRITABLE away.
template <ModVariant kVariant, InvalidationDesign kDesign>
class WriteVsDowngrade : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "pte_ops/write_vs_downgrade";
  static constexpr const char* kClaim =
      "a write that got through leaves MOD and WRITABLE, or is found by the downgrade";
  static constexpr Bounds kBounds{.iterations = 300};

  WriteVsDowngrade() : world_(config_with(kDesign, kVariant)), hat_(world_.new_hat()) {
    table_ = htable_create(world_.sys, hat_, kVa, 0, nullptr);
    writable_ = MAKEPTE(world_.new_page()->p_pagenum, 0) | kUserLeaf;
    x86pte_set(world_.sys, table_, 0, writable_);
    CpuBinding binding(1);
    hat_switch(world_.sys, hat_);
    // Cached, writable and clean.
    HAT_ASSERT(world_.sys.machine.access(1, kVa, AccessKind::kRead, Privilege::kUser).ok);
  }

  void thread(int index) {
    System& sys = world_.sys;
    if (index == 1) {
      written_ = sys.machine.access(1, kVa, AccessKind::kWrite, Privilege::kUser, 7).ok;
      return;
    }
    const x86pte_t expect = writable_ | PT_REF;
    done_ = x86pte_update(sys, table_, 0, expect, writable_ & ~PT_WRITABLE) == expect;
  }

  void after() {
    System& sys = world_.sys;
    const x86pte_t pte = x86pte_get(sys, table_, 0);
    HAT_ASSERT(written_ == ((pte & PT_MOD) != 0), "MOD and the write disagree");
    HAT_ASSERT(written_ == ((pte & PT_WRITABLE) != 0), "WRITABLE and the write disagree");
    HAT_ASSERT(done_ != written_, "the downgrade says it was done, and the page was written");
    {
      CpuBinding binding(1);
      hat_switch(sys, sys.kas_hat());
    }
    x86pte_zero(sys, table_, 0, 1);
    htable_release(sys, table_);
  }

 private:
  TestWorld world_;
  hat_t* const hat_;
  htable_t* table_;
  x86pte_t writable_;
  bool written_ = false;
  bool done_ = false;
};

TEST(PteRaces, NoWriteIsLostByADowngrade) {
  using enum InvalidationDesign;
  using Recheck = WriteVsDowngrade<ModVariant::kRecheck, kShootdown>;
  using Blind = WriteVsDowngrade<ModVariant::kBlindDirty, kShootdown>;
  EXPECT_NE(run_scenario<Recheck>().verdict, Verdict::kViolated);
  EXPECT_NE(run_scenario<Blind>().verdict, Verdict::kViolated);
}

// CPUs come and go, and access a page that is mapped and unmapped all the time. Each unmapping
// begins a new life of the frame: the machine panics if anybody still uses a translation of the
// last one.
template <InvalidationDesign kDesign>
class InvalVsAccess : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 4;
  static constexpr const char* kName = "pte_ops/inval_vs_access";
  static constexpr const char* kClaim = "after x86pte_inval nobody uses the old translation";
  static constexpr Bounds kBounds{.iterations = 4};

  InvalVsAccess() : world_(config_with(kDesign)), hat_(world_.new_hat()) {
    table_ = htable_create(world_.sys, hat_, kVa, 0, nullptr);
    pfn_ = world_.new_page()->p_pagenum;
  }

  void thread(int index) {
    System& sys = world_.sys;
    if (index == 0) {
      for (int round = 0; round < 100; ++round) {
        x86pte_set(sys, table_, 0, MAKEPTE(pfn_, 0) | kUserLeaf);
        if (choose(4) == 0) yield();
        x86pte_inval(sys, table_, 0, 0);
        sys.machine.mem().set_kind(pfn_, FrameKind::kData);
      }
      stop_.store(1, std::memory_order_relaxed);
      return;
    }
    while (stop_.load(std::memory_order_relaxed) == 0) {
      hat_switch(sys, hat_);
      for (int i = 0; i < 5; ++i) {
        const AccessKind kind = i % 2 == 0 ? AccessKind::kRead : AccessKind::kWrite;
        sys.machine.access(this_cpu(), kVa, kind, Privilege::kUser);
      }
      hat_switch(sys, sys.kas_hat());
      if (choose(4) == 0) yield();
    }
  }

  void after() { htable_release(world_.sys, table_); }

 private:
  TestWorld world_;
  hat_t* const hat_;
  htable_t* table_;
  pfn_t pfn_;
  Atomic<int> stop_{0};
};

TEST(PteRaces, NobodyUsesATranslationThatWasTakenAway) {
  using enum InvalidationDesign;
  EXPECT_NE(run_scenario<InvalVsAccess<kShootdown>>().verdict, Verdict::kViolated);
  EXPECT_NE(run_scenario<InvalVsAccess<kCaptured>>().verdict, Verdict::kViolated);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
