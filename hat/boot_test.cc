#include "gtest/gtest.h"
#include "hat/hat_boot.h"
#include "hat/htable_for_test.h"
#include "hat/htable_walk.h"
#include "hat/kmem.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

uint32_t count(const Reserve<htable_t>& reserve) {
  return reserve.count.load(std::memory_order_relaxed);
}

// Mappings of the kernel in [from, to).
uint64_t kernel_mappings(System& sys, uintptr_t from, uintptr_t to) {
  uint64_t found = 0;
  htable_t* ht = nullptr;
  uintptr_t va = from;
  while (va < to && htable_walk(sys, sys.kas_hat(), &ht, &va, to) != 0) {
    ++found;
    va += sys.mmu().level_size(ht->ht_level());
  }
  if (ht != nullptr) htable_release(sys, ht);
  return found;
}

TEST(Boot, LeavesNoMappingBelowKernelbase) {
  System sys(amd64_config());
  EXPECT_EQ(kernel_mappings(sys, 0, sys.kernelbase), 0u);
}

TEST(Boot, LeavesNoTableBelowKernelbase) {
  System sys(amd64_config());
  hat_t* const kas = sys.kas_hat();
  for (uint32_t bucket = 0; bucket < kas->hat_num_hash(); ++bucket) {
    for (htable_t* ht = kas->hat_ht_hash[bucket](); ht != nullptr; ht = ht->ht_next()) {
      EXPECT_TRUE(ht == kas->hat_htable() || ht->ht_vaddr() >= sys.kernelbase);
    }
  }
  EXPECT_EQ(kas->hat_ht_cached.load(std::memory_order_relaxed), nullptr);
}

TEST(Boot, KeepsTheNucleusMapped) {
  System sys(amd64_config());
  const uintptr_t nucleus = uintptr_t{0} - sys.mmu().pagesize();
  EXPECT_TRUE(hat_probe(sys, sys.kas_hat(), nucleus));
}

TEST(Boot, MapsAllOfMemoryAtKpm) {
  System sys(amd64_config());
  for (pfn_t pfn : {pfn_t{0}, pfn_t{511}, pfn_t{512}, sys.vm.npages - 1}) {
    const uintptr_t va = hat_kpm_page2va(sys, page_numtopp_nolock(sys.vm, pfn));
    EXPECT_EQ(hat_getpfnum(sys, sys.kas_hat(), va), pfn);
    EXPECT_EQ(hat_kpm_vaddr2page(sys, va)->p_pagenum, pfn);
  }
  EXPECT_EQ(hat_getpagesize(sys, sys.kas_hat(), sys.kpm_vbase),
            static_cast<int64_t>(sys.mmu().level_size(1)));
}

TEST(Boot, MapsMemoryThatFillsNoLargePageWithSmallOnes) {
  SystemConfig config = amd64_config();
  config.machine.nframes = 4096 + 3;
  System sys(config);
  const uintptr_t last = sys.kpm_eaddr - sys.mmu().pagesize();
  EXPECT_EQ(hat_getpfnum(sys, sys.kas_hat(), last), sys.vm.npages - 1);
  EXPECT_FALSE(hat_probe(sys, sys.kas_hat(), sys.kpm_eaddr));
}

TEST(Boot, FillsBothReservesAndNoMore) {
  System sys(amd64_config());
  EXPECT_EQ(count(sys.htable_reserve), 8u);
  EXPECT_EQ(sys.hment_reserve.count.load(std::memory_order_relaxed), 8u);
  EXPECT_EQ(sys.use_boot_reserve.load(std::memory_order_relaxed), 0u);
}

TEST(Boot, StartsAllCpusOnTheKernelsHat) {
  System sys(amd64_config());
  EXPECT_EQ(sys.khat_cpuset.snapshot(), CpuSet::all(sys.machine.ncpus()));
  for (CpuId cpu = 0; cpu < sys.machine.ncpus(); ++cpu) {
    EXPECT_EQ(sys.cpus[cpu].cpu_current_hat.load(std::memory_order_relaxed), sys.kas_hat());
    EXPECT_EQ(sys.machine.cr3(cpu), sys.kas_hat()->hat_htable()->ht_pfn());
  }
}

TEST(Boot, EveryCpuReadsKernelMemoryThroughTheTables) {
  System sys(amd64_config());
  for (CpuId cpu = 0; cpu < sys.machine.ncpus(); ++cpu) {
    const uintptr_t va = hat_kpm_page2va(sys, page_numtopp_nolock(sys.vm, 0));
    const AccessResult result = sys.machine.access(cpu, va, AccessKind::kRead, Privilege::kKernel);
    EXPECT_TRUE(result.ok);
    EXPECT_EQ(result.pfn, 0u);
  }
}

TEST(Boot, TablesOfTheSegkmapWindowAreThereForEver) {
  TestWorld world(amd64_config());
  System& sys = world.sys;
  htable_t* const ht = hat_kmap_table(sys, sys.kmap_addr);
  EXPECT_EQ(ht, world.find(sys.kas_hat(), sys.kmap_addr, 0));
  const uint64_t pagesize = sys.mmu().pagesize();
  hat_memload(sys, sys.kas_hat(), sys.kmap_addr, world.new_page(), PROT_READ_ATTR, HAT_LOAD);
  EXPECT_EQ(valid(ht), 1);
  hat_unload(sys, sys.kas_hat(), sys.kmap_addr, pagesize, HAT_UNLOAD);
  EXPECT_EQ(valid(ht), 0);
  EXPECT_EQ(ht, world.find(sys.kas_hat(), sys.kmap_addr, 0));
  EXPECT_EQ(busy(ht), 1);
}

TEST(Boot, TheSegkmapWindowEndsWhereItEnds) {
  System sys(amd64_config());
  EXPECT_TRUE(hat_in_kmap(sys, sys.kmap_addr));
  EXPECT_TRUE(hat_in_kmap(sys, sys.kmap_eaddr - 1));
  EXPECT_FALSE(hat_in_kmap(sys, sys.kmap_eaddr));
  EXPECT_FALSE(hat_in_kmap(sys, sys.kmap_addr - 1));
  EXPECT_DEATH(hat_kmap_table(sys, sys.kmap_eaddr), "hat_in_kmap");
}

TEST(Boot, KpmMapinWantsTheLockedPage) {
  TestWorld world(amd64_config());
  page_t* const page = world.new_page();
  const uintptr_t va = hat_kpm_mapin(world.sys, page, nullptr);
  hat_kpm_mapout(world.sys, page, nullptr, va);
  EXPECT_DEATH(hat_kpm_mapout(world.sys, page, nullptr, va + world.sys.mmu().pagesize()),
               "is not of page");
  page_unlock(world.sys.vm, page);
  EXPECT_DEATH(hat_kpm_mapin(world.sys, page, nullptr), "is not locked");
  EXPECT_DEATH(hat_kpm_fault(world.sys, va), "kpm");
  ASSERT_EQ(page_trylock(world.sys.vm, page, SE_EXCL), 1);
}

// Shapes from the smallest that works to one with a level more than amd64.
std::vector<SystemConfig> shapes() {
  std::vector<SystemConfig> all = {SystemConfig::tiny(), toy_config(), amd64_config()};
  SystemConfig config = SystemConfig::tiny();
  config.machine.mmu.max_page_level = 1;  // large pages in the top table
  all.push_back(config);
  config = toy_config();
  config.machine.mmu.max_page_level = 0;
  all.push_back(config);
  config = toy_config();
  config.machine.mmu.num_level = 4;
  config.machine.nframes = 65;  // 64 in large pages, one in a small one
  config.map_kpm = true;
  all.push_back(config);
  config = amd64_config();
  config.machine.mmu.max_page_level = 2;
  all.push_back(config);
  config = amd64_config();
  config.machine.mmu.max_page_level = 0;
  all.push_back(config);
  config = amd64_config();
  config.machine.mmu.num_level = 5;
  all.push_back(config);
  return all;
}

TEST(Boot, WorksOnEveryShapeOfPageTables) {
  for (const SystemConfig& config : shapes()) {
    System sys(config);
    const absl::Status status = hat_audit(sys);
    EXPECT_TRUE(status.ok()) << config.machine.mmu.num_level << " levels: " << status.ToString();
    EXPECT_EQ(kernel_mappings(sys, 0, sys.kernelbase), 0u);
  }
}

// Invariant 35: nobody would tell a user hat of a new top-level entry of the kernel.
TEST(Boot, TopLevelEntriesOfTheKernelNeverChange) {
  for (const SystemConfig& config : shapes()) {
    TestWorld world(config);
    System& sys = world.sys;
    htable_t* const user = world.new_hat()->hat_htable();
    htable_t* const kernel = sys.kas_hat()->hat_htable();
    const uint64_t pagesize = sys.mmu().pagesize();
    for (uintptr_t va : {sys.kmap_addr, sys.heap_eaddr - pagesize}) {
      hat_memload(sys, sys.kas_hat(), va, world.new_page(), PROT_READ_ATTR, HAT_LOAD);
    }
    for (int round = 0; round < 2; ++round) {
      const uint32_t first = sys.mmu().index(sys.kernelbase, sys.mmu().max_level());
      for (uint32_t e = first; e < sys.mmu().ptes_per_table(); ++e) {
        EXPECT_EQ(x86pte_get(sys, user, e), x86pte_get(sys, kernel, e)) << "entry " << e;
      }
      for (uintptr_t va : {sys.kmap_addr, sys.heap_eaddr - pagesize}) {
        hat_unload(sys, sys.kas_hat(), va, pagesize, HAT_UNLOAD);
      }
    }
  }
}

TEST(Boot, BothReserveDesignsAndIndexesBoot) {
  for (ReserveDesign reserves : {ReserveDesign::kThread, ReserveDesign::kDepth}) {
    for (IndexDesign index : {IndexDesign::kChain, IndexDesign::kAvl}) {
      SystemConfig config = toy_config();
      config.reserves = reserves;
      config.index = index;
      System sys(config);
      EXPECT_TRUE(hat_audit(sys).ok());
    }
  }
}

TEST(Boot, WorksWithNoReservesAtAll) {
  SystemConfig config = amd64_config();
  config.htable_reserve_amount = 0;
  config.hment_reserve_amount = 0;
  TestWorld world(config);
  world.map(world.new_hat(), 0x1000, world.new_page());
  EXPECT_TRUE(hat_audit(world.sys).ok());
}

TEST(BootDeathTest, WindowsThatDoNotFitAreRefused) {
  SystemConfig config = SystemConfig::tiny();
  config.kernelheap_bytes += config.machine.mmu.pagesize();
  EXPECT_DEATH(System sys(config), "do not fit");
  config = SystemConfig::tiny();
  config.map_kpm = true;
  EXPECT_DEATH(System sys(config), "do not fit");
}

TEST(BootDeathTest, LockCountsMustBePowersOfTwo) {
  SystemConfig config = toy_config();
  config.mlist_num_lock = 3;
  EXPECT_DEATH(System sys(config), "mlist_num_lock must be a power of two");
}

TEST(BootDeathTest, AUserHatLeftAtTheEndIsReported) {
  EXPECT_DEATH(
      {
        System sys(toy_config());
        as_t as;
        as.a_lock.enter(RwMode::kWriter);
        hat_alloc(sys, &as);
        as.a_lock.exit();
      },
      "1 user hats left");
}

TEST(BootDeathTest, AnObjectLeftAtTheEndIsReported) {
  EXPECT_DEATH(
      {
        System sys(toy_config());
        kmem_alloc_hment(sys, KmFlag::kSleep);
      },
      "leak");
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
