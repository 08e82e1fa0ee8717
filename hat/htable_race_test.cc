// Threads that create, release, map and steal the same page tables at the same time.
#include "gtest/gtest.h"
#include "hat/htable.h"
#include "hat/htable_alloc.h"
#include "hat/htable_for_test.h"
#include "hat/htable_steal.h"
#include "hat/htable_walk.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class RaceScenario : public ScenarioDefaults {
 public:
  static constexpr Bounds kBounds{.iterations = 300};

  RaceScenario() : world(toy_config()), sys(world.sys), hat(world.new_hat()) {}

 protected:
  // Threads are released together, but a body is shorter than the difference between their starts.
  void meet(uint32_t threads) {
    const uint32_t before = arrived_.fetch_add(1, std::memory_order_acq_rel);
    const uint32_t all = (before / threads + 1) * threads;
    while (arrived_.load(std::memory_order_acquire) < all) yield();
  }

  TestWorld world;
  System& sys;
  hat_t* const hat;

 private:
  Atomic<uint32_t> arrived_{0};
};

// Half of the allocations fail, so that creators are often still allocating when another has
// finished.
template <int kN>
class CreateVsCreate : public RaceScenario {
 public:
  static constexpr int kThreads = kN;
  static constexpr const char* kName = "hat/create_vs_create";
  static constexpr const char* kClaim = "creators of one table end with one table";

  CreateVsCreate() { sys.alloc_faults.per_million.store(500'000, std::memory_order_relaxed); }
  void thread(int index) {
    for (uint32_t table = 0; table < kTables; ++table) {
      meet(kN);
      held_[table][index] = htable_create(sys, hat, va_of(table), 0, nullptr);
    }
  }
  void after() {
    for (uint32_t table = 0; table < kTables; ++table) {
      htable_t* const ht = world.find(hat, va_of(table), 0);
      for (htable_t* const held : held_[table]) EXPECT_EQ(held, ht);
      EXPECT_EQ(busy(ht), kN);
      EXPECT_EQ(busy(ht->ht_parent()), 4);
      EXPECT_EQ(valid(ht->ht_parent()), 4);
    }
    EXPECT_EQ(busy(hat->hat_htable()), 3);
    // Losers gave their tables to the cache, zero as they were.
    for (htable_t* const loser : world.cached(hat)) {
      EXPECT_TRUE(world.frame_is_zero(loser->ht_pfn()));
    }
    for (auto& holders : held_) {
      for (htable_t* const held : holders) htable_release(sys, held);
    }
    for (uint32_t table = 0; table < kTables; ++table) {
      EXPECT_FALSE(world.exists(hat, va_of(table), 0));
    }
  }

 private:
  static constexpr uint32_t kTables = 8;  // all of the user's half
  uintptr_t va_of(uint32_t table) const { return table * sys.mmu().level_size(1); }

  htable_t* held_[kTables][kN] = {};
};

// One address for all threads and one for each pair, so that parents gain and lose children too.
template <int kN>
class CreateVsRelease : public RaceScenario {
 public:
  static constexpr int kThreads = kN;
  static constexpr const char* kName = "hat/create_vs_release";
  static constexpr const char* kClaim = "a table is found whole or is gone whole";

  void thread(int index) {
    meet(kN);
    hat_t* const kas = sys.kas_hat();
    for (int round = 0; round < 40; ++round) {
      const uintptr_t va = round % 2 == 0 ? 0 : 0x80 * (1 + static_cast<uintptr_t>(index) / 2);
      // Kernel tables below kernelbase, where releases go all the way up.
      htable_t* const ht = htable_create(sys, kas, va, 0, nullptr);
      EXPECT_EQ(ht->ht_vaddr(), va);
      EXPECT_EQ(ht->ht_hat(), kas);
      htable_t* const parent = ht->ht_parent();
      const x86pte_t pointer = x86pte_get(sys, parent, htable_va2entry(sys, va, parent));
      EXPECT_EQ(pointer, MAKEPTP(ht->ht_pfn()));
      htable_release(sys, ht);
    }
  }
  void after() {
    hat_t* const kas = sys.kas_hat();
    for (uintptr_t va = 0; va < sys.mmu().hole_start(); va += sys.mmu().level_size(1)) {
      EXPECT_FALSE(world.exists(kas, va, 0));
      EXPECT_FALSE(world.exists(kas, va, 1));
    }
    EXPECT_TRUE(hat_audit(sys).ok()) << hat_audit(sys);
  }
};

class CacheVsCache : public RaceScenario {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "hat/htable_cache_vs_cache";
  static constexpr const char* kClaim = "a cached table is taken once";

  void thread(int) {
    for (int round = 0; round < 40; ++round) {
      meet(kThreads);
      htable_t* const ht = htable_alloc(sys, hat, 0, 0, nullptr);
      EXPECT_EQ(busy(ht), 1);
      EXPECT_TRUE(world.frame_is_zero(ht->ht_pfn()));
      x86pte_access(sys, ht, 0).store(1, std::memory_order_relaxed);
      if (round % 3 == 0) htable_purge_hat(sys, hat);
      EXPECT_EQ(x86pte_access(sys, ht, 0).exchange(0, std::memory_order_relaxed), 1u);
      htable_free(sys, ht);
    }
  }
  void after() { EXPECT_TRUE(hat_audit(sys).ok()) << hat_audit(sys); }
};

// Two threads map and unmap pages of the same tables, a third keeps stealing, a fourth walks.
class StealVsLoad : public RaceScenario {
 public:
  static constexpr int kThreads = 4;
  static constexpr const char* kName = "hat/htable_steal_vs_load";
  static constexpr const char* kClaim =
      "a mapping made while its table is being stolen survives "
      "or is gone with all its records";

  StealVsLoad() {
    for (page_t*& pp : pages_) pp = world.new_page();
  }
  void thread(int index) {
    meet(kThreads);
    for (uint32_t round = 0; round < 40; ++round) {
      if (index == 0) {
        for (htable_t* ht = htable_steal(sys, 1); ht != nullptr;) {
          EXPECT_EQ(ht->ht_hat(), nullptr);
          htable_t* const next = ht->ht_next();
          htable_free(sys, ht);
          ht = next;
        }
      } else if (index == 1) {
        walk();
      } else {
        // The page follows from the address: two threads may meet at one.
        const uint32_t slot = (round + static_cast<uint32_t>(index)) % 8;
        world.map(hat, 0x20 * slot, pages_[slot % 2]);
        world.unmap(hat, 0x20 * slot);
      }
    }
  }
  void after() {
    for (uintptr_t va = 0; va < 0x100; va += 0x20) EXPECT_FALSE(hat_probe(sys, hat, va));
    EXPECT_TRUE(hat_audit(sys).ok()) << hat_audit(sys);
  }

 private:
  void walk() {
    htable_t* ht = nullptr;
    uintptr_t va = 0;
    uintptr_t least = 0;
    while (htable_walk(sys, hat, &ht, &va, HTABLE_WALK_TO_END) != 0) {
      EXPECT_GE(va, least);
      va += sys.mmu().pagesize();
      least = va;
    }
  }

  page_t* pages_[2];
};

// A thief and a reaper at work while address spaces come and go.
class StealVsExit : public RaceScenario {
 public:
  static constexpr int kThreads = 4;
  static constexpr const char* kName = "hat/htable_steal_vs_exit";
  static constexpr const char* kClaim = "an exit waits for the thief, and the loot forgets the hat";

  StealVsExit() {
    for (page_t*& pp : pages_) pp = world.new_page();
  }
  void thread(int index) {
    meet(kThreads);
    for (int round = 0; round < 20; ++round) {
      if (index < 2) {
        come_and_go(index);
      } else if (index == 2) {
        htable_reap(sys);
      } else {
        htable_t* const ht = htable_steal(sys, 1);
        if (ht != nullptr) htable_free(sys, ht);
      }
    }
  }
  void after() { EXPECT_TRUE(hat_audit(sys).ok()) << hat_audit(sys); }

 private:
  void come_and_go(int index) {
    as_t as(static_cast<uint32_t>(100 + index));
    {
      WriterGuard guard(as.a_lock);
      as.a_hat = hat_alloc(sys, &as);
    }
    for (uintptr_t va = 0; va < 0x100; va += 0x80) world.map(as.a_hat, va, pages_[index]);
    world.unmap(as.a_hat, 0);  // into the cache
    world.exit(as.a_hat);
  }

  page_t* pages_[2];
};

TEST(HtableRaceTest, two_creators_of_one_table_end_with_one_table) {
  run_scenario<CreateVsCreate<2>>();
}

TEST(HtableRaceTest, four_creators_of_one_table_end_with_one_table) {
  run_scenario<CreateVsCreate<4>>();
}

TEST(HtableRaceTest, two_threads_create_and_release_the_same_tables) {
  run_scenario<CreateVsRelease<2>>();
}

TEST(HtableRaceTest, four_threads_create_and_release_the_same_tables) {
  run_scenario<CreateVsRelease<4>>();
}

TEST(HtableRaceTest, three_threads_take_tables_from_one_cache) { run_scenario<CacheVsCache>(); }

TEST(HtableRaceTest, mappings_come_and_go_while_their_tables_are_stolen) {
  run_scenario<StealVsLoad>();
}

TEST(HtableRaceTest, address_spaces_come_and_go_while_their_tables_are_stolen) {
  run_scenario<StealVsExit>();
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
