// Taking tables away from address spaces: whom, in which order, and in what state they are left.
#include "hat/htable_steal.h"

#include <vector>

#include "gtest/gtest.h"
#include "hat/htable.h"
#include "hat/htable_alloc.h"
#include "hat/htable_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

SystemConfig config_with_passes() {
  SystemConfig config = toy_config();
  config.htable_steal_passes = 4;  // as many as a table has entries
  return config;
}

class HtableStealTest : public testing::Test {
 protected:
  explicit HtableStealTest(const SystemConfig& config = config_with_passes())
      : world(config), sys(world.sys) {}

  // A hat with `count` pages mapped in the table at va.
  hat_t* hat_with_pages(uint32_t count, uintptr_t va = 0) {
    hat_t* const hat = world.new_hat();
    map(hat, count, va);
    return hat;
  }
  void map(hat_t* hat, uint32_t count, uintptr_t va, uint32_t flags = HAT_LOAD) {
    for (uint32_t i = 0; i < count; ++i) {
      world.map(hat, va + i * sys.mmu().pagesize(), world.new_page(), flags);
    }
  }
  void cache_tables(hat_t* hat, uint32_t count) {
    std::vector<htable_t*> tables;
    for (uint32_t i = 0; i < count; ++i) {
      tables.push_back(htable_alloc(sys, hat, 0, 0, nullptr));
    }
    for (htable_t* const ht : tables) htable_free(sys, ht);
  }
  // Steals, and gives the tables to the page layer. Returns how many there were.
  uint32_t steal(uint32_t count, bool active = true) {
    htable_t* ht = htable_steal(sys, count, active);
    uint32_t stolen = 0;
    while (ht != nullptr) {
      EXPECT_EQ(ht->ht_hat(), nullptr);
      EXPECT_NE(ht->ht_pfn(), PFN_INVALID);
      EXPECT_EQ(valid(ht), 0);
      EXPECT_TRUE(world.frame_is_zero(ht->ht_pfn()));
      htable_t* const next = ht->ht_next();
      htable_free(sys, ht);
      ht = next;
      ++stolen;
    }
    EXPECT_EQ(sys.htable_dont_cache.load(std::memory_order_relaxed), 0u);
    return stolen;
  }
  std::vector<hat_t*> hats() {
    std::vector<hat_t*> list;
    for (hat_t* h = sys.kas_hat()->hat_next(); h != nullptr; h = h->hat_next()) list.push_back(h);
    return list;
  }
  bool has_table(hat_t* hat, uintptr_t va = 0) { return world.exists(hat, va, 0); }
  void set(hat_t* hat, uint32_t flag) { hat->hat_flags.fetch_or(flag, std::memory_order_relaxed); }
  void clear(hat_t* hat, uint32_t flag) {
    hat->hat_flags.fetch_and(~flag, std::memory_order_relaxed);
  }

  TestWorld world;
  System& sys;
};

TEST_F(HtableStealTest, with_no_user_hats_there_is_nothing_to_steal) { EXPECT_EQ(steal(1), 0u); }

TEST_F(HtableStealTest, cached_tables_are_taken_before_tables_in_use) {
  hat_t* const user = hat_with_pages(1);
  hat_t* const hoarder = hat_with_pages(1);
  cache_tables(hoarder, 1);
  EXPECT_EQ(steal(1), 1u);
  EXPECT_TRUE(world.cached(hoarder).empty());
  EXPECT_TRUE(has_table(user));
  EXPECT_TRUE(has_table(hoarder));
}

TEST_F(HtableStealTest, no_more_is_taken_than_asked_for) {
  hat_t* const hat = world.new_hat();
  cache_tables(hat, 3);
  EXPECT_EQ(steal(2), 2u);
  EXPECT_EQ(world.cached(hat).size(), 1u);
}

TEST_F(HtableStealTest, several_hats_are_robbed_until_there_is_enough) {
  hat_t* const a = world.new_hat();
  hat_t* const b = world.new_hat();
  cache_tables(a, 2);
  cache_tables(b, 2);
  EXPECT_EQ(steal(3), 3u);
  EXPECT_EQ(world.cached(a).size() + world.cached(b).size(), 1u);
}

TEST_F(HtableStealTest, of_tables_in_use_the_emptiest_goes_first) {
  hat_t* const full = hat_with_pages(4);
  hat_t* const sparse = hat_with_pages(1);
  hat_t* const half = hat_with_pages(2);
  EXPECT_EQ(steal(1), 1u);
  EXPECT_FALSE(has_table(sparse));
  EXPECT_TRUE(has_table(half));
  EXPECT_EQ(steal(1), 1u);
  EXPECT_FALSE(has_table(half));
  EXPECT_TRUE(has_table(full));
  EXPECT_EQ(steal(1), 1u);
  EXPECT_FALSE(has_table(full));
}

TEST_F(HtableStealTest, a_robbed_hat_has_lost_its_mappings_with_their_records_and_bits) {
  hat_t* const hat = world.new_hat();
  page_t* const pp = world.new_page();
  pp->p_nrm.store(0, std::memory_order_relaxed);
  world.map(hat, 0x20, pp);
  htable_t* const ht = world.find(hat, 0x20, 0);
  x86pte_access(sys, ht, 1).fetch_or(PT_REF | PT_MOD, std::memory_order_relaxed);
  htable_t* const parent = ht->ht_parent();
  EXPECT_EQ(steal(1), 1u);
  EXPECT_FALSE(hat_probe(sys, hat, 0x20));
  EXPECT_EQ(hat_page_getshare(sys, pp), 0u);
  EXPECT_EQ(pp->p_nrm.load(std::memory_order_relaxed), P_REF | P_MOD);
  EXPECT_EQ(valid(parent), 0);
  EXPECT_EQ(busy(parent), 0);
  EXPECT_TRUE(hat_audit(sys).ok()) << hat_audit(sys);
}

TEST_F(HtableStealTest, all_tables_of_a_bucket_can_be_taken) {
  hat_t* const hat = world.new_hat();
  for (uintptr_t va = 0; va < sys.userlimit; va += sys.mmu().level_size(1)) map(hat, 1, va);
  EXPECT_EQ(steal(100), 8u);
}

TEST_F(HtableStealTest, a_table_that_somebody_holds_stays) {
  hat_t* const hat = hat_with_pages(1);
  htable_t* const ht = htable_lookup(sys, hat, 0, 0);
  EXPECT_EQ(steal(1), 0u);
  EXPECT_TRUE(hat_probe(sys, hat, 0));
  EXPECT_EQ(busy(ht), 1);
  htable_release(sys, ht);
}

TEST_F(HtableStealTest, a_table_with_locked_mappings_stays) {
  hat_t* const hat = world.new_hat();
  map(hat, 1, 0, HAT_LOAD_LOCK);
  EXPECT_EQ(steal(1), 0u);
  EXPECT_TRUE(hat_probe(sys, hat, 0));
  world.unmap(hat, 0, HAT_UNLOAD_UNLOCK);
}

TEST_F(HtableStealTest, a_shared_table_stays_and_so_does_the_table_it_shares) {
  hat_t* const source_hat = hat_with_pages(1);
  hat_t* const hat = world.new_hat();
  htable_t* const source = htable_lookup(sys, source_hat, 0, 0);
  htable_t* const sharer = htable_create(sys, hat, 0, 0, source);
  htable_release(sys, source);
  sharer->ht_valid_cnt.store(1, std::memory_order_relaxed);
  htable_busy_add(sharer, -1);
  EXPECT_EQ(steal(2), 0u);
  EXPECT_TRUE(has_table(hat));
  EXPECT_TRUE(hat_probe(sys, source_hat, 0));
  htable_busy_add(sharer, 1);
  sharer->ht_valid_cnt.store(0, std::memory_order_relaxed);
  htable_release(sys, sharer);
}

TEST_F(HtableStealTest, shared_exiting_and_marked_hats_are_left_alone) {
  for (const uint32_t flag : {HAT_SHARED, HAT_FREEING, HAT_VICTIM}) {
    hat_t* const hat = hat_with_pages(1);
    cache_tables(hat, 1);
    set(hat, flag);
    EXPECT_EQ(steal(5), 0u) << flag;
    EXPECT_EQ(flags(hat), flag);
    clear(hat, flag);
    EXPECT_EQ(steal(5), 2u);
  }
}

TEST_F(HtableStealTest, no_hat_stays_marked) {
  hat_with_pages(1);
  hat_with_pages(2);
  world.new_hat();
  EXPECT_EQ(steal(1), 1u);
  for (const hat_t* const hat : hats()) EXPECT_EQ(flags(hat), 0u);
  EXPECT_EQ(steal(5), 1u);
  for (const hat_t* const hat : hats()) EXPECT_EQ(flags(hat), 0u);
}

TEST_F(HtableStealTest, the_hat_that_gave_enough_becomes_the_last_of_the_list) {
  hat_t* const c = world.new_hat();
  hat_t* const b = world.new_hat();
  hat_t* const a = world.new_hat();
  ASSERT_EQ(hats(), (std::vector<hat_t*>{a, b, c}));
  cache_tables(a, 2);
  cache_tables(b, 2);
  cache_tables(c, 2);
  EXPECT_EQ(steal(1), 1u);
  EXPECT_EQ(hats(), (std::vector<hat_t*>{b, c, a}));
  EXPECT_EQ(steal(1), 1u);
  EXPECT_EQ(hats(), (std::vector<hat_t*>{c, a, b}));
  EXPECT_EQ(steal(1), 1u);
  EXPECT_EQ(hats(), (std::vector<hat_t*>{a, b, c}));
  EXPECT_EQ(steal(3), 3u);
  EXPECT_EQ(sys.kas_hat()->hat_prev(), hats().back());
  EXPECT_TRUE(hat_audit(sys).ok()) << hat_audit(sys);
}

TEST_F(HtableStealTest, a_victim_in_the_middle_moves_behind_the_others) {
  hat_t* const c = world.new_hat();
  hat_t* const b = world.new_hat();
  hat_t* const a = world.new_hat();
  cache_tables(b, 1);
  EXPECT_EQ(steal(1), 1u);
  EXPECT_EQ(hats(), (std::vector<hat_t*>{a, c, b}));
  EXPECT_TRUE(hat_audit(sys).ok()) << hat_audit(sys);
}

TEST_F(HtableStealTest, a_fruitless_round_leaves_the_order_as_it_is) {
  hat_t* const b = world.new_hat();
  hat_t* const a = world.new_hat();
  EXPECT_EQ(steal(1), 0u);
  EXPECT_EQ(hats(), (std::vector<hat_t*>{a, b}));
}

// ---- Reaping.

TEST_F(HtableStealTest, reaping_takes_cached_tables_and_none_in_use) {
  hat_t* const hat = hat_with_pages(1);
  cache_tables(hat, 2);
  htable_reap(sys);
  EXPECT_TRUE(world.cached(hat).empty());
  EXPECT_TRUE(hat_probe(sys, hat, 0));
  EXPECT_EQ(sys.hatstat.sum().hs_reaped, 2u);
  EXPECT_EQ(sys.hatstat.sum().hs_reap_attempts, 1u);
}

TEST_F(HtableStealTest, reaping_gives_the_frames_back) {
  hat_t* const hat = world.new_hat();
  cache_tables(hat, 2);
  const int64_t before = tables(sys);
  htable_reap(sys);
  EXPECT_EQ(tables(sys), before - 2);
}

TEST_F(HtableStealTest, reaping_takes_a_twentieth_of_memory_if_there_are_so_many_tables) {
  ASSERT_EQ(sys.vm.npages / 20, 12u);
  hat_t* const hat = world.new_hat();
  cache_tables(hat, 20);
  htable_reap(sys);
  EXPECT_EQ(world.cached(hat).size(), 8u);
}

TEST(HtableReapTest, in_a_small_memory_reaping_takes_ten) {
  SystemConfig config = toy_config();
  config.machine.nframes = 100;
  TestWorld world(config);
  hat_t* const hat = world.new_hat();
  std::vector<htable_t*> spare;
  for (int i = 0; i < 15; ++i) spare.push_back(htable_alloc(world.sys, hat, 0, 0, nullptr));
  for (htable_t* const ht : spare) htable_free(world.sys, ht);
  htable_reap(world.sys);
  EXPECT_EQ(world.cached(hat).size(), 5u);
}

TEST(HtableReapTest, before_the_first_user_hat_reaping_takes_nothing) {
  TestWorld world(toy_config());
  hat_t* const kas = world.sys.kas_hat();
  htable_free(world.sys, htable_alloc(world.sys, kas, 0, 0, nullptr));
  const size_t before = world.cached(kas).size();
  EXPECT_GT(before, 0u);
  htable_reap(world.sys);
  EXPECT_EQ(world.cached(kas).size(), before);
}

TEST_F(HtableStealTest, reaping_trims_the_reserve) {
  world.new_hat();
  htable_initial_reserve(sys, 5);
  htable_reap(sys);
  EXPECT_EQ(sys.htable_reserve.count.load(std::memory_order_relaxed),
            sys.htable_reserve.amount.load(std::memory_order_relaxed));
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
