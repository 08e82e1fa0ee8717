// Where tables and their frames come from, and where they go.
#include "hat/htable_alloc.h"

#include "gtest/gtest.h"
#include "hat/hat_boot.h"
#include "hat/htable.h"
#include "hat/htable_for_test.h"
#include "hat/htable_steal.h"
#include "hat/kmem.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uint32_t kAlways = 1'000'000;

class HtableAllocTest : public testing::Test {
 protected:
  explicit HtableAllocTest(const SystemConfig& config = toy_config())
      : world(config), sys(world.sys), hat(world.new_hat()) {}

  page_t* page_of(pfn_t pfn) { return page_numtopp_nolock(sys.vm, pfn); }
  uint32_t reserved() const { return sys.htable_reserve.count.load(std::memory_order_relaxed); }
  void set_reserve_amount(uint32_t amount) {
    sys.htable_reserve.amount.store(amount, std::memory_order_relaxed);
  }
  void fail_allocations(uint32_t per_million) {
    sys.alloc_faults.per_million.store(per_million, std::memory_order_relaxed);
  }
  htable_t* alloc(hat_t* owner = nullptr, htable_t* shared = nullptr) {
    return htable_alloc(sys, owner == nullptr ? hat : owner, 0x80, 0, shared);
  }

  TestWorld world;
  System& sys;
  hat_t* const hat;
};
using HtableAllocDeathTest = HtableAllocTest;

// ---- The reserve.

TEST_F(HtableAllocTest, the_reserve_gives_back_last_in_first_out) {
  htable_t* const a = kmem_alloc_htable(sys, KmFlag::kSleep);
  htable_t* const b = kmem_alloc_htable(sys, KmFlag::kSleep);
  const uint32_t before = reserved();
  htable_put_reserve(sys, a);
  htable_put_reserve(sys, b);
  EXPECT_EQ(reserved(), before + 2);
  EXPECT_EQ(htable_get_reserve(sys), b);
  EXPECT_EQ(htable_get_reserve(sys), a);
  EXPECT_EQ(reserved(), before);
  kmem_free_htable(sys, a);
  kmem_free_htable(sys, b);
}

TEST_F(HtableAllocTest, an_empty_reserve_gives_nothing_and_counts_the_attempt) {
  while (htable_t* const ht = htable_get_reserve(sys)) kmem_free_htable(sys, ht);
  const uint64_t before = sys.hatstat.sum().hs_htable_rgets;
  EXPECT_EQ(htable_get_reserve(sys), nullptr);
  EXPECT_EQ(sys.hatstat.sum().hs_htable_rgets, before + 1);
}

TEST_F(HtableAllocDeathTest, a_table_with_a_frame_does_not_belong_in_the_reserve) {
  htable_t* const ht = alloc();
  EXPECT_DEATH(htable_put_reserve(sys, ht), "invariant 20");
  htable_free(sys, ht);
}

TEST_F(HtableAllocTest, a_table_in_the_reserve_forgets_its_hat) {
  htable_t* const ht = kmem_alloc_htable(sys, KmFlag::kSleep);
  ht->ht_hat = hat;
  htable_put_reserve(sys, ht);
  EXPECT_EQ(ht->ht_hat(), nullptr);
}

TEST_F(HtableAllocTest, adjusting_frees_what_the_reserve_holds_above_its_target) {
  htable_initial_reserve(sys, 3);
  const uint32_t amount = sys.htable_reserve.amount.load(std::memory_order_relaxed);
  EXPECT_GT(reserved(), amount);
  htable_adjust_reserve(sys);
  EXPECT_EQ(reserved(), amount);
}

TEST_F(HtableAllocTest, adjusting_leaves_the_reserve_alone_for_a_nested_load) {
  htable_initial_reserve(sys, 3);
  const uint32_t before = reserved();
  sys.me().t_hatdepth = 2;
  htable_adjust_reserve(sys);
  EXPECT_EQ(reserved(), before);
  sys.me().t_hatdepth = 0;
}

// ---- Allocation.

TEST_F(HtableAllocTest, a_new_table_is_private_empty_and_has_a_zero_frame_of_its_own) {
  htable_t* const ht = htable_alloc(sys, hat, 0xe0, 0, nullptr);
  EXPECT_EQ(ht->ht_hat(), hat);
  EXPECT_EQ(ht->ht_vaddr(), 0x80u);
  EXPECT_EQ(ht->ht_level(), 0);
  EXPECT_EQ(ht->ht_flags(), 0u);
  EXPECT_EQ(busy(ht), 1);
  EXPECT_EQ(valid(ht), 0);
  EXPECT_EQ(locks(ht), 0);
  EXPECT_EQ(ht->ht_parent(), nullptr);
  ASSERT_NE(ht->ht_pfn(), PFN_INVALID);
  EXPECT_TRUE(world.frame_is_zero(ht->ht_pfn()));
  EXPECT_FALSE(world.exists(hat, 0xe0, 0));
  htable_free(sys, ht);
}

TEST_F(HtableAllocTest, a_frame_that_was_used_before_is_zeroed) {
  for (pfn_t pfn = 0; pfn < sys.vm.npages; ++pfn) {
    if (!PP_ISFREE(page_of(pfn))) continue;
    for (uint32_t i = 0; i < sys.mmu().ptes_per_table(); ++i) {
      sys.machine.mem().word(pfn, i).store(~uint64_t{0}, std::memory_order_relaxed);
    }
  }
  htable_t* const ht = alloc();
  EXPECT_TRUE(world.frame_is_zero(ht->ht_pfn()));
  htable_free(sys, ht);
}

TEST_F(HtableAllocTest, a_cached_table_is_taken_first_with_its_frame) {
  htable_t* const ht = alloc();
  const pfn_t pfn = ht->ht_pfn();
  htable_free(sys, ht);
  ASSERT_EQ(world.cached(hat), std::vector<htable_t*>{ht});
  EXPECT_EQ(htable_alloc(sys, hat, 0x100, 1, nullptr), ht);
  EXPECT_EQ(ht->ht_pfn(), pfn);
  EXPECT_EQ(ht->ht_level(), 1);
  EXPECT_EQ(ht->ht_vaddr(), 0u);
  EXPECT_TRUE(world.cached(hat).empty());
  htable_free(sys, ht);
}

TEST_F(HtableAllocTest, a_shared_table_does_not_waste_a_cached_frame) {
  htable_t* const source = htable_create(sys, world.new_hat(), 0x80, 0, nullptr);
  htable_t* const spare = alloc();
  htable_free(sys, spare);
  htable_t* const ht = alloc(hat, source);
  EXPECT_NE(ht, spare);
  EXPECT_EQ(ht->ht_pfn(), source->ht_pfn());
  EXPECT_EQ(ht->ht_shares(), source);
  htable_free(sys, ht);
  EXPECT_EQ(page_of(source->ht_pfn())->p_selock.load(std::memory_order_relaxed), 1);
  htable_release(sys, source);
}

TEST_F(HtableAllocTest, allocation_fills_a_short_reserve_from_kmem) {
  set_reserve_amount(reserved() + 3);
  const uint32_t amount = reserved() + 3;
  htable_t* const ht = alloc();
  EXPECT_EQ(reserved(), amount);
  htable_free(sys, ht);
}

TEST_F(HtableAllocTest, a_nested_load_takes_from_the_reserve) {
  const uint32_t before = reserved();
  ASSERT_GT(before, 0u);
  sys.me().t_hatdepth = 2;
  htable_t* const ht = alloc();
  EXPECT_EQ(reserved(), before - 1);
  htable_purge_hat(sys, hat);
  sys.htable_dont_cache.fetch_add(1, std::memory_order_relaxed);
  htable_free(sys, ht);
  sys.htable_dont_cache.fetch_sub(1, std::memory_order_relaxed);
  EXPECT_EQ(reserved(), before) << "and gives back there";
  sys.me().t_hatdepth = 0;
}

TEST_F(HtableAllocTest, when_kmem_fails_a_table_is_stolen) {
  hat_t* const other = world.new_hat();
  htable_t* const theirs = alloc(other);
  htable_free(sys, theirs);
  // Not what zero looks like, as after an unmap on hardware that writes late.
  sys.machine.mem().word(theirs->ht_pfn(), 1).store(PT_REF, std::memory_order_relaxed);
  fail_allocations(kAlways);
  htable_t* const ht = alloc();
  fail_allocations(0);
  EXPECT_EQ(ht, theirs);
  EXPECT_EQ(ht->ht_hat(), hat);
  EXPECT_TRUE(world.frame_is_zero(ht->ht_pfn()));
  EXPECT_EQ(sys.hatstat.sum().hs_steals, 1u);
  htable_free(sys, ht);
}

TEST_F(HtableAllocTest, the_frame_that_comes_with_a_stolen_table_is_not_kept_for_a_shared_one) {
  hat_t* const other = world.new_hat();
  htable_t* const source = htable_create(sys, other, 0x80, 0, nullptr);
  htable_t* const spare = alloc(other);
  const pfn_t frame = spare->ht_pfn();
  htable_free(sys, spare);
  const int64_t before = tables(sys);
  fail_allocations(kAlways);
  htable_t* const ht = alloc(hat, source);
  fail_allocations(0);
  EXPECT_EQ(ht, spare);
  EXPECT_TRUE(PP_ISFREE(page_of(frame)));
  EXPECT_EQ(tables(sys), before - 1);
  htable_free(sys, ht);
  htable_release(sys, source);
}

TEST_F(HtableAllocTest, with_nothing_to_steal_allocation_goes_on_until_memory_can_be_had) {
  fail_allocations(900'000);
  std::vector<htable_t*> made;
  for (int i = 0; i < 20; ++i) made.push_back(alloc());
  fail_allocations(0);
  EXPECT_GT(sys.hatstat.sum().hs_steals, 0u);
  for (htable_t* const ht : made) {
    EXPECT_NE(ht->ht_pfn(), PFN_INVALID);
    htable_free(sys, ht);
  }
}

TEST(HtableZeroReserveTest, without_a_reserve_the_heap_still_gets_the_tables_it_needs_to_grow) {
  for (SystemConfig config : {toy_config(), amd64_config()}) {
    config.htable_reserve_amount = 0;
    config.hment_reserve_amount = 0;
    config.alloc_failures_per_million = 300'000;
    TestWorld world(config);
    hat_t* const hat = world.new_hat();
    for (uintptr_t i = 0; i < 10; ++i) {
      world.map(hat, 3 * i * world.sys.mmu().pagesize(), world.new_page());
    }
    EXPECT_TRUE(hat_audit(world.sys).ok()) << hat_audit(world.sys);
  }
}

TEST_F(HtableAllocTest, an_htable_whose_frame_cannot_be_had_is_put_back) {
  // One cached table to be stolen in the end.
  htable_free(sys, alloc(world.new_hat()));
  const int64_t before = sys.htable_cache.outstanding();
  const uint32_t reserve_before = reserved();
  sys.force_steal_per_million.store(kAlways, std::memory_order_relaxed);
  htable_t* const ht = alloc();
  sys.force_steal_per_million.store(0, std::memory_order_relaxed);
  EXPECT_EQ(sys.htable_cache.outstanding(), before);
  EXPECT_EQ(reserved(), reserve_before);
  htable_free(sys, ht);
}

// ---- Disposal.

TEST_F(HtableAllocTest, an_empty_table_goes_to_the_cache_of_its_hat) {
  htable_t* const ht = alloc();
  const int64_t before = tables(sys);
  htable_free(sys, ht);
  EXPECT_EQ(world.cached(hat), std::vector<htable_t*>{ht});
  EXPECT_EQ(tables(sys), before);
}

TEST_F(HtableAllocTest, nothing_is_cached_while_tables_are_being_stolen_or_purged) {
  htable_t* const ht = alloc();
  const int64_t before = tables(sys);
  sys.htable_dont_cache.fetch_add(1, std::memory_order_relaxed);
  htable_free(sys, ht);
  sys.htable_dont_cache.fetch_sub(1, std::memory_order_relaxed);
  EXPECT_TRUE(world.cached(hat).empty());
  EXPECT_EQ(tables(sys), before - 1);
}

TEST_F(HtableAllocTest, an_exiting_hat_caches_nothing) {
  htable_t* const ht = alloc();
  hat->hat_flags.fetch_or(HAT_FREEING, std::memory_order_relaxed);
  htable_free(sys, ht);
  EXPECT_TRUE(world.cached(hat).empty());
  hat->hat_flags.fetch_and(~HAT_FREEING, std::memory_order_relaxed);
}

TEST_F(HtableAllocTest, a_table_without_a_hat_is_not_cached) {
  htable_t* const ht = alloc();
  const pfn_t pfn = ht->ht_pfn();
  ht->ht_hat = nullptr;
  htable_free(sys, ht);
  EXPECT_TRUE(world.cached(hat).empty());
  EXPECT_TRUE(PP_ISFREE(page_of(pfn)));
}

TEST_F(HtableAllocDeathTest, caching_a_table_that_is_not_empty_is_caught) {
  htable_t* const ht = alloc();
  HTABLE_INC(ht);
  EXPECT_DEATH(htable_free(sys, ht), "invariant 19");
  HTABLE_DEC(sys, ht);
  htable_free(sys, ht);
}

// ---- Purge.

TEST_F(HtableAllocTest, purging_a_living_hat_empties_its_cache_only) {
  world.map(hat, 0x20, world.new_page());
  htable_t* const a = alloc();
  htable_t* const b = alloc();
  htable_free(sys, a);
  htable_free(sys, b);
  const int64_t before = tables(sys);
  htable_purge_hat(sys, hat);
  EXPECT_TRUE(world.cached(hat).empty());
  EXPECT_EQ(tables(sys), before - 2);
  EXPECT_TRUE(hat_probe(sys, hat, 0x20));
  EXPECT_EQ(sys.htable_dont_cache.load(std::memory_order_relaxed), 0u);
}

TEST_F(HtableAllocTest, purging_an_exiting_hat_frees_all_its_tables_whatever_their_counts) {
  const int64_t before = tables(sys);
  hat_t* const doomed = sys.hat_cache.alloc(KmFlag::kSleep);
  as_t as;
  hat_init_empty(sys, doomed, &as);
  doomed->hat_htable = htable_create(sys, doomed, 0, 2, nullptr);
  htable_t* const ht = htable_create(sys, doomed, 0x80, 0, nullptr);
  HTABLE_INC(ht);
  htable_free(sys, alloc(doomed));
  EXPECT_EQ(tables(sys), before + 4);
  doomed->hat_flags.fetch_or(HAT_FREEING, std::memory_order_relaxed);
  htable_purge_hat(sys, doomed);
  EXPECT_EQ(tables(sys), before);
  sys.hat_cache.free(doomed);
}

TEST_F(HtableAllocDeathTest, exiting_with_a_table_still_shared_is_caught) {
  htable_t* const source = htable_create(sys, world.new_hat(), 0x80, 0, nullptr);
  htable_t* const sharer = htable_create(sys, hat, 0x80, 0, source);
  hat->hat_flags.fetch_or(HAT_FREEING, std::memory_order_relaxed);
  EXPECT_DEATH(htable_purge_hat(sys, hat), "invariant 62");
  hat->hat_flags.fetch_and(~HAT_FREEING, std::memory_order_relaxed);
  htable_release(sys, sharer);
  htable_release(sys, source);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
