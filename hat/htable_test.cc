// Lookup, holds, creation and release of page tables, and the arithmetic on their addresses.
#include "hat/htable.h"

#include "gtest/gtest.h"
#include "hat/htable_alloc.h"
#include "hat/htable_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uintptr_t kVa = 0x40;  // second page of the first table of the toy geometry

class HtableTest : public testing::Test {
 protected:
  HtableTest() : world(toy_config()), sys(world.sys), hat(world.new_hat()) {}

  x86pte_t pointer_to(htable_t* ht) {
    htable_t* const parent = ht->ht_parent();
    return x86pte_get(sys, parent, htable_va2entry(sys, ht->ht_vaddr(), parent));
  }

  TestWorld world;
  System& sys;
  hat_t* const hat;
};
using HtableDeathTest = HtableTest;

// ---- Addresses.

TEST(HtableAddressTest, on_amd64_the_base_of_a_table_is_a_multiple_of_what_the_level_above_maps) {
  TestWorld world(amd64_config());
  EXPECT_EQ(htable_base(world.sys, 0x1234567fff, 0), 0x1234400000u);
  EXPECT_EQ(htable_base(world.sys, 0x1234567fff, 1), 0x1200000000u);
  EXPECT_EQ(htable_base(world.sys, 0x123456789fff, 2), 0x120000000000u);
}

TEST(HtableAddressTest, the_top_table_begins_at_zero_whatever_the_address) {
  TestWorld world(amd64_config());
  EXPECT_EQ(htable_base(world.sys, 0x1234567fff, 3), 0u);
  EXPECT_EQ(htable_base(world.sys, world.sys.kernelbase, 3), 0u);
}

TEST(HtableAddressTest, the_next_entry_after_the_last_one_below_the_hole_is_the_first_one_above) {
  TestWorld world(amd64_config());
  const MmuGeometry& mmu = world.sys.mmu();
  for (level_t level = 0; level < mmu.num_level; ++level) {
    EXPECT_EQ(NEXT_ENTRY_VA(world.sys, mmu.hole_start() - 1, level), mmu.hole_end()) << level;
  }
}

TEST(HtableAddressTest, the_next_entry_after_the_last_one_is_zero) {
  TestWorld world(amd64_config());
  for (level_t level = 0; level < world.sys.mmu().num_level; ++level) {
    EXPECT_EQ(NEXT_ENTRY_VA(world.sys, ~uintptr_t{0}, level), 0u) << level;
  }
}

TEST(HtableAddressTest, the_next_entry_follows_from_the_middle_of_one) {
  TestWorld world(amd64_config());
  EXPECT_EQ(NEXT_ENTRY_VA(world.sys, 0x201234, 0), 0x202000u);
  EXPECT_EQ(NEXT_ENTRY_VA(world.sys, 0x201234, 1), 0x400000u);
}

TEST_F(HtableTest, entry_and_address_are_inverse_in_every_table_of_both_halves) {
  for (level_t level = 0; level < sys.mmu().num_level; ++level) {
    for (uint32_t entry = 0; entry < sys.mmu().ptes_per_table(); ++entry) {
      for (const uintptr_t va : {uintptr_t{0}, uintptr_t{0x180}, sys.kernelbase}) {
        htable_t ht;
        ht.ht_level = level;
        ht.ht_vaddr = htable_base(sys, va, level);
        const uintptr_t at = htable_e2va(sys, &ht, entry);
        EXPECT_FALSE(sys.mmu().in_va_hole(at));
        EXPECT_EQ(htable_va2entry(sys, at, &ht), entry) << std::hex << at << " level " << level;
      }
    }
  }
}

TEST_F(HtableTest, a_table_ends_where_the_next_one_begins_but_never_in_the_hole) {
  htable_t ht;
  ht.ht_level = 0;
  ht.ht_vaddr = 0x80;
  EXPECT_EQ(htable_last_page(sys, &ht), 0x100u);
  ht.ht_vaddr = sys.mmu().hole_start() - sys.mmu().level_size(1);
  EXPECT_EQ(htable_last_page(sys, &ht), sys.mmu().hole_end());
  ht.ht_vaddr = uintptr_t{0} - sys.mmu().level_size(1);
  EXPECT_EQ(htable_last_page(sys, &ht), 0u);
}

TEST_F(HtableDeathTest, asking_a_table_for_an_address_elsewhere_is_caught) {
  htable_t ht;
  ht.ht_level = 0;
  ht.ht_vaddr = 0x80;
  EXPECT_DEATH(htable_va2entry(sys, 0x100, &ht), "does not cover 0x100");
}

TEST(HtableAddressTest, the_bucket_mixes_address_level_and_hat) {
  TestWorld world(amd64_config());
  hat_t* const hat = world.new_hat();
  const uint32_t mask = hat->hat_num_hash() - 1;
  const uintptr_t va = 0x7654600000;
  const uint64_t salt = reinterpret_cast<uintptr_t>(hat) >> 4;
  EXPECT_EQ(htable_hash(world.sys, hat, va, 1), ((va >> 21) + (va >> 28) + 1 + salt) & mask);
}

// ---- Lookup and creation.

TEST_F(HtableTest, a_new_hat_has_nothing_but_its_top_table) {
  EXPECT_EQ(htable_lookup(sys, hat, kVa, 0), nullptr);
  EXPECT_EQ(htable_lookup(sys, hat, kVa, 1), nullptr);
  htable_t* const top = htable_lookup(sys, hat, kVa, 2);
  EXPECT_EQ(top, hat->hat_htable());
  htable_release(sys, top);
}

TEST_F(HtableTest, creation_makes_the_missing_parents_and_leaves_each_the_hold_of_its_child) {
  htable_t* const ht = htable_create(sys, hat, kVa, 0, nullptr);
  htable_t* const middle = ht->ht_parent();
  htable_t* const top = hat->hat_htable();
  EXPECT_EQ(middle->ht_parent(), top);
  EXPECT_EQ(busy(ht), 1);
  EXPECT_EQ(busy(middle), 1);
  EXPECT_EQ(busy(top), 2) << "its own, and that of its child";
  EXPECT_EQ(valid(ht), 0);
  EXPECT_EQ(valid(middle), 1);
  htable_release(sys, ht);
}

TEST_F(HtableTest, the_pointer_entry_of_the_parent_names_the_frame_of_the_child) {
  htable_t* const ht = htable_create(sys, hat, kVa, 0, nullptr);
  EXPECT_EQ(pointer_to(ht), MAKEPTP(ht->ht_pfn()));
  EXPECT_EQ(pointer_to(ht->ht_parent()), MAKEPTP(ht->ht_parent()->ht_pfn()));
  htable_release(sys, ht);
}

TEST_F(HtableTest, creating_a_table_that_exists_finds_it_and_adds_one_hold) {
  htable_t* const ht = htable_create(sys, hat, kVa, 0, nullptr);
  EXPECT_EQ(htable_create(sys, hat, kVa + 0x20, 0, nullptr), ht);
  EXPECT_EQ(busy(ht), 2);
  EXPECT_EQ(busy(ht->ht_parent()), 1);
  htable_release(sys, ht);
  htable_release(sys, ht);
}

TEST_F(HtableTest, lookup_adds_a_hold) {
  htable_t* const ht = htable_create(sys, hat, kVa, 0, nullptr);
  EXPECT_EQ(htable_lookup(sys, hat, kVa, 0), ht);
  EXPECT_EQ(busy(ht), 2);
  htable_release(sys, ht);
  htable_release(sys, ht);
}

TEST_F(HtableTest, tables_of_two_hats_at_one_address_are_two) {
  hat_t* const other = world.new_hat();
  htable_t* const a = htable_create(sys, hat, kVa, 0, nullptr);
  htable_t* const b = htable_create(sys, other, kVa, 0, nullptr);
  EXPECT_NE(a, b);
  EXPECT_NE(a->ht_pfn(), b->ht_pfn());
  htable_release(sys, a);
  htable_release(sys, b);
}

TEST_F(HtableDeathTest, creating_a_user_table_at_a_kernel_address_is_caught) {
  EXPECT_DEATH(htable_create(sys, hat, sys.kernelbase, 0, nullptr), "is not the hat's");
}

TEST_F(HtableDeathTest, sharing_where_there_is_a_table_of_another_origin_is_caught) {
  htable_t* const source = htable_create(sys, world.new_hat(), kVa, 0, nullptr);
  htable_t* const own = htable_create(sys, hat, kVa, 0, nullptr);
  EXPECT_DEATH(htable_create(sys, hat, kVa, 0, source), "was to be shared");
  htable_release(sys, own);
  htable_release(sys, source);
}

TEST_F(HtableDeathTest, acquiring_a_table_that_is_not_hashed_is_caught) {
  htable_t* const ht = htable_alloc(sys, hat, kVa, 0, nullptr);
  EXPECT_DEATH(htable_acquire(sys, ht), "invariant 10");
  htable_free(sys, ht);
}

// ---- Release.

TEST_F(HtableTest, the_last_release_of_an_empty_table_frees_it_and_unlinks_it) {
  htable_t* const ht = htable_create(sys, hat, kVa, 0, nullptr);
  htable_t* const middle = ht->ht_parent();
  htable_release(sys, ht);
  EXPECT_FALSE(world.exists(hat, kVa, 0));
  EXPECT_EQ(valid(middle), 0);
  EXPECT_TRUE(world.frame_is_zero(middle->ht_pfn()));
}

TEST_F(HtableTest, a_user_table_that_could_map_large_pages_stays_though_empty_and_unheld) {
  htable_t* const ht = htable_create(sys, hat, kVa, 0, nullptr);
  htable_t* const middle = ht->ht_parent();
  htable_release(sys, ht);
  EXPECT_EQ(world.find(hat, kVa, 1), middle);
  EXPECT_EQ(busy(middle), 0);
  EXPECT_EQ(busy(hat->hat_htable()), 2);
}

TEST_F(HtableTest, a_release_that_is_not_the_last_keeps_the_table) {
  htable_t* const ht = htable_create(sys, hat, kVa, 0, nullptr);
  htable_acquire(sys, ht);
  htable_release(sys, ht);
  EXPECT_EQ(world.find(hat, kVa, 0), ht);
  EXPECT_EQ(busy(ht), 1);
  htable_release(sys, ht);
}

TEST_F(HtableTest, a_table_with_a_valid_entry_stays_without_holds) {
  world.map(hat, kVa, world.new_page());
  htable_t* const ht = world.find(hat, kVa, 0);
  ASSERT_NE(ht, nullptr);
  EXPECT_EQ(busy(ht), 0);
  EXPECT_EQ(valid(ht), 1);
  world.unmap(hat, kVa);
  EXPECT_FALSE(world.exists(hat, kVa, 0));
}

TEST_F(HtableTest, release_goes_up_through_kernel_tables_below_kernelbase) {
  hat_t* const kas = sys.kas_hat();
  const int32_t top_busy = busy(kas->hat_htable());
  const int32_t top_valid = valid(kas->hat_htable());
  htable_release(sys, htable_create(sys, kas, kVa, 0, nullptr));
  EXPECT_FALSE(world.exists(kas, kVa, 0));
  EXPECT_FALSE(world.exists(kas, kVa, 1));
  EXPECT_EQ(busy(kas->hat_htable()), top_busy);
  EXPECT_EQ(valid(kas->hat_htable()), top_valid);
}

TEST_F(HtableTest, release_stops_at_a_parent_that_has_another_child) {
  hat_t* const kas = sys.kas_hat();
  htable_t* const first = htable_create(sys, kas, 0, 0, nullptr);
  htable_t* const second = htable_create(sys, kas, 0x80, 0, nullptr);
  htable_t* const parent = first->ht_parent();
  ASSERT_EQ(second->ht_parent(), parent);
  EXPECT_EQ(busy(parent), 2);
  htable_release(sys, first);
  EXPECT_EQ(world.find(kas, 0, 1), parent);
  EXPECT_EQ(busy(parent), 1);
  htable_release(sys, second);
  EXPECT_FALSE(world.exists(kas, 0, 1));
}

TEST_F(HtableTest, an_empty_table_of_an_exiting_hat_stays_until_the_end) {
  htable_t* const ht = htable_create(sys, hat, kVa, 0, nullptr);
  {
    WriterGuard guard(hat->hat_as()->a_lock);
    hat_free_start(sys, hat);
  }
  htable_release(sys, ht);
  EXPECT_EQ(world.find(hat, kVa, 0), ht);
  EXPECT_EQ(busy(ht), 0);
  hat->hat_flags.fetch_and(~HAT_FREEING, std::memory_order_relaxed);  // let the fixture exit it
}

TEST_F(HtableTest, an_empty_shared_table_is_freed_and_lets_go_of_its_sharee) {
  htable_t* const source = htable_create(sys, world.new_hat(), kVa, 0, nullptr);
  htable_t* const sharer = htable_create(sys, hat, kVa, 0, source);
  EXPECT_EQ(busy(source), 2);
  htable_release(sys, sharer);
  EXPECT_EQ(busy(source), 1);
  EXPECT_FALSE(world.exists(hat, kVa, 0));
  htable_release(sys, source);
}

TEST_F(HtableTest, a_shared_table_uses_the_frame_of_its_sharee) {
  htable_t* const source = htable_create(sys, world.new_hat(), kVa, 0, nullptr);
  htable_t* const sharer = htable_create(sys, hat, kVa, 0, source);
  EXPECT_EQ(sharer->ht_pfn(), source->ht_pfn());
  EXPECT_EQ(pointer_to(sharer), MAKEPTP(source->ht_pfn()));
  EXPECT_EQ(sharer->ht_flags(), HTABLE_SHARED_PFN);
  htable_release(sys, sharer);
  htable_release(sys, source);
}

TEST_F(HtableTest, the_last_sharer_takes_the_sharee_with_it) {
  hat_t* const source_hat = world.new_hat();
  htable_t* const source = htable_create(sys, source_hat, kVa, 0, nullptr);
  htable_t* const sharer = htable_create(sys, hat, kVa, 0, source);
  htable_release(sys, source);
  EXPECT_TRUE(world.exists(source_hat, kVa, 0));
  htable_release(sys, sharer);
  EXPECT_FALSE(world.exists(source_hat, kVa, 0));
}

TEST_F(HtableTest, an_empty_shared_table_is_freed_even_in_an_exiting_hat) {
  htable_t* const source = htable_create(sys, world.new_hat(), kVa, 0, nullptr);
  htable_t* const sharer = htable_create(sys, hat, kVa, 0, source);
  hat->hat_flags.fetch_or(HAT_FREEING, std::memory_order_relaxed);
  htable_release(sys, sharer);
  EXPECT_FALSE(world.exists(hat, kVa, 0));
  EXPECT_EQ(busy(source), 1);
  hat->hat_flags.fetch_and(~HAT_FREEING, std::memory_order_relaxed);
  htable_release(sys, source);
}

TEST_F(HtableTest, a_lock_taken_before_the_first_entry_does_not_disturb_another_holder) {
  htable_t* const ht = htable_create(sys, hat, kVa, 0, nullptr);
  htable_acquire(sys, ht);
  HTABLE_LOCK_INC(sys, ht);
  htable_release(sys, ht);
  EXPECT_EQ(locks(ht), 1);
  HTABLE_LOCK_DEC(sys, ht);
  htable_release(sys, ht);
}

TEST_F(HtableDeathTest, freeing_an_empty_table_that_has_locks_is_caught) {
  htable_t* const ht = htable_create(sys, hat, kVa, 0, nullptr);
  HTABLE_LOCK_INC(sys, ht);
  EXPECT_DEATH(htable_release(sys, ht), "invariant 22");
  HTABLE_LOCK_DEC(sys, ht);
  htable_release(sys, ht);
}

TEST_F(HtableDeathTest, releasing_once_too_often_is_caught) {
  htable_t* const ht = htable_create(sys, hat, kVa, 1, nullptr);
  htable_release(sys, ht);
  EXPECT_DEATH(htable_release(sys, ht), "invariant 13");
}

// ---- Counts.

TEST_F(HtableTest, kernel_tables_do_not_count_locks) {
  htable_t* const ht = sys.kas_hat()->hat_htable();
  HTABLE_LOCK_INC(sys, ht);
  EXPECT_EQ(locks(ht), 0);
  HTABLE_LOCK_DEC(sys, ht);
  EXPECT_EQ(locks(ht), 0);
}

TEST_F(HtableDeathTest, counting_below_zero_is_caught) {
  htable_t* const ht = htable_create(sys, hat, kVa, 0, nullptr);
  EXPECT_DEATH(HTABLE_DEC(sys, ht), "invariant 11");
  EXPECT_DEATH(HTABLE_LOCK_DEC(sys, ht), "invariant 22");
  htable_release(sys, ht);
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
