#include "hat/shootdown.h"

#include "gtest/gtest.h"
#include "hat/htable_for_test.h"
#include "hat/htable_link.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class Shootdown : public ::testing::Test {
 protected:
  Shootdown() : world_(toy_config()) {}
  ~Shootdown() override {
    for (CpuId cpu = 0; cpu < sys().machine.ncpus(); ++cpu) run_on(cpu, sys().kas_hat());
  }

  System& sys() { return world_.sys; }
  void run_on(CpuId cpu, hat_t* hat) {
    CpuBinding binding(cpu);
    hat_switch(sys(), hat);
  }
  bool read(CpuId cpu, uintptr_t va, Privilege privilege = Privilege::kUser) {
    return sys().machine.access(cpu, va, AccessKind::kRead, privilege).ok;
  }
  bool cached(CpuId cpu, uintptr_t va) {
    for (const TlbEntry& entry : sys().machine.tlb_snapshot(cpu)) {
      if (entry.va == va) return true;
    }
    return false;
  }
  uint64_t interrupts(CpuId cpu) { return sys().machine.core_stats(cpu).interrupts; }
  // A kernel page that every CPU may have cached.
  uintptr_t map_kernel_page() {
    hat_memload(sys(), sys().kas_hat(), sys().kmap_addr, world_.new_page(), PROT_READ_ATTR,
                HAT_LOAD);
    return sys().kmap_addr;
  }

  TestWorld world_;
};

TEST_F(Shootdown, SwitchMovesTheCpuFromOneSetToTheOther) {
  hat_t* const a = world_.new_hat();
  hat_t* const b = world_.new_hat();
  run_on(2, a);
  EXPECT_TRUE(a->hat_cpus.contains(2));
  run_on(2, b);
  EXPECT_FALSE(a->hat_cpus.contains(2));
  EXPECT_TRUE(b->hat_cpus.contains(2));
  EXPECT_EQ(sys().machine.cr3(2), b->hat_htable()->ht_pfn());
  EXPECT_EQ(sys().cpus[2].cpu_current_hat.load(std::memory_order_relaxed), b);
}

TEST_F(Shootdown, TheKernelsHatHasNoSetOfItsOwn) {
  hat_t* const a = world_.new_hat();
  run_on(2, a);
  run_on(2, sys().kas_hat());
  EXPECT_TRUE(a->hat_cpus.snapshot().empty());
  EXPECT_TRUE(sys().kas_hat()->hat_cpus.snapshot().empty());
}

TEST_F(Shootdown, SwitchLeavesNothingOfTheOldHatInTheTlb) {
  hat_t* const a = world_.new_hat();
  world_.map(a, 0, world_.new_page());
  run_on(1, a);
  ASSERT_TRUE(read(1, 0));
  run_on(1, world_.new_hat());
  EXPECT_FALSE(cached(1, 0));
}

TEST_F(Shootdown, SwitchToTheCurrentHatLoadsNothing) {
  hat_t* const a = world_.new_hat();
  world_.map(a, 0, world_.new_page());
  run_on(1, a);
  ASSERT_TRUE(read(1, 0));
  run_on(1, a);
  EXPECT_TRUE(cached(1, 0));
}

TEST_F(Shootdown, ThreadExitSwitchesToTheKernelsHat) {
  hat_t* const a = world_.new_hat();
  CpuBinding binding(3);
  hat_setup(sys(), a);
  EXPECT_TRUE(a->hat_cpus.contains(3));
  hat_thread_exit(sys());
  EXPECT_FALSE(a->hat_cpus.contains(3));
  EXPECT_EQ(sys().me().cpu_current_hat.load(std::memory_order_relaxed), sys().kas_hat());
}

TEST_F(Shootdown, ReachesTheCpusThatRunTheHatAndNoOther) {
  hat_t* const a = world_.new_hat();
  world_.map(a, 0, world_.new_page());
  run_on(1, a);
  run_on(2, a);
  run_on(3, world_.new_hat());
  ASSERT_TRUE(read(1, 0));
  ASSERT_TRUE(read(2, 0));
  const uint64_t before = interrupts(3);
  hat_tlb_inval(sys(), a, 0);
  EXPECT_FALSE(cached(1, 0));
  EXPECT_FALSE(cached(2, 0));
  EXPECT_EQ(interrupts(3), before);
}

TEST_F(Shootdown, OfOneAddressKeepsTheOthers) {
  hat_t* const a = world_.new_hat();
  const uintptr_t other = sys().mmu().pagesize();
  world_.map(a, 0, world_.new_page());
  world_.map(a, other, world_.new_page());
  run_on(1, a);
  ASSERT_TRUE(read(1, 0));
  ASSERT_TRUE(read(1, other));
  hat_tlb_inval(sys(), a, 0);
  EXPECT_FALSE(cached(1, 0));
  EXPECT_TRUE(cached(1, other));
}

TEST_F(Shootdown, OfAllAddressesKeepsTheKernels) {
  hat_t* const a = world_.new_hat();
  world_.map(a, 0, world_.new_page());
  const uintptr_t kernel_va = map_kernel_page();
  run_on(1, a);
  ASSERT_TRUE(read(1, 0));
  ASSERT_TRUE(read(1, kernel_va, Privilege::kKernel));
  hat_tlb_inval(sys(), a, DEMAP_ALL_ADDR);
  EXPECT_FALSE(cached(1, 0));
  EXPECT_TRUE(cached(1, kernel_va));
  EXPECT_EQ(sys().machine.cr3(1), a->hat_htable()->ht_pfn());
}

TEST_F(Shootdown, OfAnExitingHatDoesNothing) {
  hat_t* const a = world_.new_hat();
  run_on(1, a);
  a->hat_flags.fetch_or(HAT_FREEING, std::memory_order_relaxed);
  const uint64_t before = interrupts(1);
  hat_tlb_inval(sys(), a, 0);
  EXPECT_EQ(interrupts(1), before);
  a->hat_flags.fetch_and(~HAT_FREEING, std::memory_order_relaxed);
}

TEST_F(Shootdown, OfASharedHatFlushesUserEntriesOnAllCpus) {
  hat_t* const sharer = world_.new_hat();
  world_.map(sharer, 0, world_.new_page());
  run_on(1, sharer);
  ASSERT_TRUE(read(1, 0));
  hat_t* const shared = world_.new_hat();
  shared->hat_flags.fetch_or(HAT_SHARED, std::memory_order_relaxed);
  hat_tlb_inval(sys(), shared, sys().mmu().level_size(1));
  EXPECT_FALSE(cached(1, 0));
}

TEST_F(Shootdown, AnInterruptIsIgnoredByACpuThatHasLeftTheHat) {
  hat_t* const a = world_.new_hat();
  hat_t* const b = world_.new_hat();
  world_.map(b, 0, world_.new_page());
  run_on(1, b);
  ASSERT_TRUE(read(1, 0));
  sys().machine.with_core(1, [&](Core& core) { hati_demap_func(sys(), core, a, 0); });
  EXPECT_TRUE(cached(1, 0));
}

// S25 and scenario 34.
TEST_F(Shootdown, AnIdleCpuIsNotInterruptedAndFlushesWhenItWakes) {
  const uintptr_t va = map_kernel_page();
  ASSERT_TRUE(read(1, va, Privilege::kKernel));
  {
    CpuBinding binding(1);
    tlb_going_idle(sys());
  }
  const uint64_t before = interrupts(1);
  hat_unload(sys(), sys().kas_hat(), va, sys().mmu().pagesize(), HAT_UNLOAD);
  EXPECT_EQ(interrupts(1), before);
  EXPECT_TRUE(cached(1, va));
  EXPECT_GE(sys().hatstat.sum().hs_tlb_inval_delayed, 1u);
  {
    CpuBinding binding(1);
    tlb_service(sys());
  }
  EXPECT_FALSE(cached(1, va));
}

TEST_F(Shootdown, ACpuThatWokeIsInterruptedAgain) {
  const uintptr_t va = map_kernel_page();
  CpuBinding binding(1);
  tlb_going_idle(sys());
  tlb_service(sys());
  ASSERT_TRUE(read(1, va, Privilege::kKernel));
  hat_tlb_inval(sys(), sys().kas_hat(), va);
  EXPECT_FALSE(cached(1, va));
}

TEST_F(Shootdown, ACpuThatMissedNothingKeepsItsTlbWhenItWakes) {
  const uintptr_t va = map_kernel_page();
  CpuBinding binding(1);
  ASSERT_TRUE(read(1, va, Privilege::kKernel));
  tlb_going_idle(sys());
  tlb_service(sys());
  EXPECT_TRUE(cached(1, va));
}

TEST_F(Shootdown, NoCpuIdlesOnAUserHat) {
  hat_t* const a = world_.new_hat();
  CpuBinding binding(1);
  hat_switch(sys(), a);
  EXPECT_DEATH(tlb_going_idle(sys()), "S25");
  hat_switch(sys(), sys().kas_hat());
}

TEST_F(Shootdown, NoCpuSwitchesToAnExitingHat) {
  hat_t* const a = world_.new_hat();
  a->hat_flags.fetch_or(HAT_FREEING, std::memory_order_relaxed);
  EXPECT_DEATH(hat_switch(sys(), a), "invariant 25");
  a->hat_flags.fetch_and(~HAT_FREEING, std::memory_order_relaxed);
}

// S1: a CPU may cache the pointer to a table although no leaf is left below it.
TEST_F(Shootdown, UnlinkingATableDropsThePointerThatCpusHaveCached) {
  hat_t* const a = world_.new_hat();
  world_.map(a, 0, world_.new_page());
  run_on(1, a);
  htable_t* const ht = htable_lookup(sys(), a, 0, 0);
  world_.unmap(a, 0);
  ASSERT_FALSE(read(1, 0));
  auto has_pointer = [&] {
    for (const PscEntry& entry : sys().machine.psc_snapshot(1)) {
      if (entry.va == 0 && entry.level == 1) return true;
    }
    return false;
  };
  ASSERT_TRUE(has_pointer());
  htable_release(sys(), ht);
  ASSERT_FALSE(world_.exists(a, 0, 0));
  EXPECT_FALSE(has_pointer());
}

TEST_F(Shootdown, LinkingReplacesBitsThatTheHardwareLeftBehind) {
  hat_t* const a = world_.new_hat();
  htable_t* const parent = htable_create(sys(), a, 0, 1, nullptr);
  x86pte_access(sys(), parent, 0).store(PT_REF, std::memory_order_relaxed);
  htable_t* const child = htable_create(sys(), a, 0, 0, nullptr);
  EXPECT_EQ(x86pte_get(sys(), parent, 0), MAKEPTP(child->ht_pfn()));
  EXPECT_EQ(valid(parent), 1);
  htable_release(sys(), child);
  htable_release(sys(), parent);
}

TEST_F(Shootdown, LinkingOverAPagePanics) {
  hat_t* const a = world_.new_hat();
  world_.map_large(a, 0, world_.new_large_page());
  EXPECT_DEATH(htable_create(sys(), a, 0, 0, nullptr), "link_ptp");
}

// An idle CPU wakes, uses a kernel page and idles again, while another unmaps and remaps the page.
// Each unmapping begins a new life of the frame: a stale use makes the machine panic.
class IdleVsKernelUnmap : public ScenarioDefaults {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "shootdown/idle_vs_kernel_unmap";
  static constexpr const char* kClaim = "no CPU uses a kernel translation it slept through";
  static constexpr Bounds kBounds{.iterations = 4};

  IdleVsKernelUnmap() : world_(toy_config()), va_(world_.sys.kmap_addr) {}

  void thread(int index) {
    System& sys = world_.sys;
    if (index == 0) {
      page_t* const page = world_.new_page();
      for (int round = 0; round < 100; ++round) {
        hat_memload(sys, sys.kas_hat(), va_, page, PROT_READ_ATTR | PROT_WRITE_ATTR, HAT_LOAD);
        if (choose(4) == 0) yield();
        hat_unload(sys, sys.kas_hat(), va_, sys.mmu().pagesize(), HAT_UNLOAD);
        sys.machine.mem().set_kind(page->p_pagenum, FrameKind::kData);
      }
      stop_.store(1, std::memory_order_relaxed);
      return;
    }
    while (stop_.load(std::memory_order_relaxed) == 0) {
      tlb_going_idle(sys);
      if (choose(4) == 0) yield();
      tlb_service(sys);
      for (int i = 0; i < 3; ++i) {
        sys.machine.access(this_cpu(), va_, AccessKind::kRead, Privilege::kKernel);
      }
    }
  }

 private:
  TestWorld world_;
  const uintptr_t va_;
  Atomic<int> stop_{0};
};

TEST(ShootdownRaces, NoCpuUsesWhatItSleptThrough) {
  EXPECT_NE(run_scenario<IdleVsKernelUnmap>().verdict, Verdict::kViolated);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
