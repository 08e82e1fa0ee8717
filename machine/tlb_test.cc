// The two translation caches by themselves.
#include "machine/tlb.h"

#include <vector>

#include "gtest/gtest.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr MmuGeometry kMmu;
constexpr uintptr_t kPage = 4096;
constexpr uintptr_t kLarge = kPage * 512;

TlbEntry leaf(uintptr_t va, pfn_t pfn, int level = 0, bool global = false) {
  TlbEntry entry;
  entry.va = va;
  entry.pfn = pfn;
  entry.level = level;
  entry.global = global;
  entry.pte = MAKEPTE(pfn, level) | PT_REF;
  return entry;
}

pfn_t cached(const Tlb& tlb, uintptr_t va) {
  const int slot = tlb.lookup(va);
  return slot == Tlb::kMiss ? PFN_INVALID : tlb.entry(slot).pfn;
}

TEST(Tlb, an_empty_cache_misses_even_at_address_0) {
  Tlb tlb(kMmu, 64, 16);
  EXPECT_EQ(tlb.lookup(0), Tlb::kMiss);
  EXPECT_EQ(tlb.psc_lookup(0).level, 0);
}

TEST(Tlb, a_page_is_found_by_any_of_its_addresses_and_by_no_other) {
  Tlb tlb(kMmu, 64, 16);
  tlb.insert(leaf(5 * kPage, 7));
  EXPECT_EQ(cached(tlb, 5 * kPage), 7u);
  EXPECT_EQ(cached(tlb, 6 * kPage - 1), 7u);
  EXPECT_EQ(cached(tlb, 6 * kPage), PFN_INVALID);
  EXPECT_EQ(cached(tlb, 5 * kPage - 1), PFN_INVALID);
}

TEST(Tlb, a_large_page_is_found_by_any_of_its_addresses) {
  Tlb tlb(kMmu, 64, 16);
  tlb.insert(leaf(3 * kLarge, 512, 1));
  EXPECT_EQ(cached(tlb, 3 * kLarge), 512u);
  EXPECT_EQ(cached(tlb, 4 * kLarge - 1), 512u);
  EXPECT_EQ(cached(tlb, 4 * kLarge), PFN_INVALID);
}

TEST(Tlb, inserting_a_page_again_replaces_its_entry) {
  Tlb tlb(kMmu, 4, 0);
  tlb.insert(leaf(0, 1));
  tlb.insert(leaf(0, 2));
  EXPECT_EQ(cached(tlb, 0), 2u);
  EXPECT_EQ(tlb.snapshot().size(), 1u);
  // Also if only the global mark differs.
  tlb.insert(leaf(0, 3, 0, true));
  EXPECT_EQ(tlb.snapshot().size(), 1u);
}

TEST(Tlb, a_full_set_replaces_in_rotation) {
  Tlb tlb(kMmu, 2, 0);
  tlb.insert(leaf(0 * kPage, 10));
  tlb.insert(leaf(1 * kPage, 11));
  tlb.insert(leaf(2 * kPage, 12));
  EXPECT_EQ(cached(tlb, 0 * kPage), PFN_INVALID);
  EXPECT_EQ(cached(tlb, 1 * kPage), 11u);
  tlb.insert(leaf(3 * kPage, 13));
  EXPECT_EQ(cached(tlb, 1 * kPage), PFN_INVALID);
  EXPECT_EQ(cached(tlb, 2 * kPage), 12u);
  EXPECT_EQ(cached(tlb, 3 * kPage), 13u);
}

TEST(Tlb, all_entries_are_usable) {
  for (const int entries : {1, 2, 3, 4, 8, 16, 64, 1024}) {
    Tlb tlb(kMmu, entries, 0);
    for (int i = 0; i < entries; ++i) {
      tlb.insert(leaf(static_cast<uintptr_t>(i) * kPage, static_cast<pfn_t>(i)));
    }
    EXPECT_EQ(tlb.snapshot().size(), static_cast<size_t>(entries));
    for (int i = 0; i < entries; ++i) {
      EXPECT_EQ(cached(tlb, static_cast<uintptr_t>(i) * kPage), static_cast<pfn_t>(i));
    }
  }
}

TEST(Tlb, a_cache_of_size_0_keeps_nothing) {
  Tlb tlb(kMmu, 0, 0);
  tlb.insert(leaf(0, 1));
  tlb.psc_insert({0, 1, 5, {}});
  EXPECT_EQ(tlb.lookup(0), Tlb::kMiss);
  EXPECT_EQ(tlb.psc_lookup(0).level, 0);
  tlb.invlpg(0);
  tlb.flush_nonglobal();
  tlb.flush_all();
}

TEST(Tlb, marking_dirty_changes_the_mark_and_the_snapshot_of_the_pte) {
  Tlb tlb(kMmu, 64, 0);
  tlb.insert(leaf(kPage, 7));
  tlb.set_dirty(tlb.lookup(kPage));
  const TlbEntry entry = tlb.entry(tlb.lookup(kPage));
  EXPECT_TRUE(entry.dirty);
  EXPECT_EQ(entry.pte, MAKEPTE(7, 0) | PT_REF | PT_MOD);
}

TEST(Tlb, invlpg_drops_one_address_global_or_not_whatever_the_page_size) {
  Tlb tlb(kMmu, 64, 16);
  tlb.insert(leaf(0, 1));
  tlb.insert(leaf(kPage, 2, 0, true));
  tlb.insert(leaf(kLarge, 512, 1, true));
  tlb.invlpg(kPage + 5);
  EXPECT_EQ(cached(tlb, kPage), PFN_INVALID);
  EXPECT_EQ(cached(tlb, 0), 1u);
  tlb.invlpg(kLarge + 3 * kPage);
  EXPECT_EQ(cached(tlb, kLarge), PFN_INVALID);
  EXPECT_EQ(cached(tlb, 0), 1u);
}

TEST(Tlb, invlpg_drops_both_sizes_of_a_doubly_cached_address) {
  Tlb tlb(kMmu, 64, 16);
  tlb.insert(leaf(0, 512, 1));
  tlb.insert(leaf(kPage, 2));
  EXPECT_EQ(cached(tlb, kPage), 2u) << "the smaller page wins";
  tlb.invlpg(kPage);
  EXPECT_EQ(cached(tlb, kPage), PFN_INVALID);
}

TEST(Tlb, loading_cr3_spares_global_entries_and_a_full_flush_does_not) {
  Tlb tlb(kMmu, 64, 16);
  tlb.insert(leaf(0, 1));
  tlb.insert(leaf(kPage, 2, 0, true));
  tlb.flush_nonglobal();
  EXPECT_EQ(cached(tlb, 0), PFN_INVALID);
  EXPECT_EQ(cached(tlb, kPage), 2u);
  tlb.flush_all();
  EXPECT_EQ(cached(tlb, kPage), PFN_INVALID);
  EXPECT_TRUE(tlb.snapshot().empty());
}

TEST(Psc, the_entry_nearest_to_the_leaf_is_used) {
  Tlb tlb(kMmu, 64, 16);
  tlb.psc_insert({0, 3, 30, {}});
  tlb.psc_insert({0, 2, 20, {}});
  EXPECT_EQ(tlb.psc_lookup(kPage).table, 20u);
  tlb.psc_insert({0, 1, 10, {}});
  EXPECT_EQ(tlb.psc_lookup(kPage).table, 10u);
  EXPECT_EQ(tlb.psc_lookup(kLarge).table, 20u) << "outside of the span of the lowest entry";
  EXPECT_EQ(tlb.psc_lookup(kMmu.level_size(2)).table, 30u);
  EXPECT_EQ(tlb.psc_lookup(kMmu.level_size(3)).level, 0);
}

TEST(Psc, inserting_a_span_again_replaces_its_entry) {
  Tlb tlb(kMmu, 64, 2);
  tlb.psc_insert({0, 1, 10, {}});
  tlb.psc_insert({0, 1, 11, {}});
  EXPECT_EQ(tlb.psc_lookup(0).table, 11u);
  EXPECT_EQ(tlb.psc_snapshot().size(), 1u);
}

TEST(Psc, a_full_cache_replaces_in_rotation) {
  Tlb tlb(kMmu, 64, 2);
  tlb.psc_insert({0 * kLarge, 1, 10, {}});
  tlb.psc_insert({1 * kLarge, 1, 11, {}});
  tlb.psc_insert({2 * kLarge, 1, 12, {}});
  EXPECT_EQ(tlb.psc_lookup(0 * kLarge).level, 0);
  EXPECT_EQ(tlb.psc_lookup(1 * kLarge).table, 11u);
  EXPECT_EQ(tlb.psc_lookup(2 * kLarge).table, 12u);
  tlb.psc_insert({3 * kLarge, 1, 13, {}});
  EXPECT_EQ(tlb.psc_lookup(1 * kLarge).level, 0);
  EXPECT_EQ(tlb.psc_lookup(2 * kLarge).table, 12u);
}

TEST(Psc, every_flush_drops_all_of_it) {
  for (int how = 0; how < 3; ++how) {
    Tlb tlb(kMmu, 64, 16);
    tlb.psc_insert({0, 1, 10, {}});
    tlb.psc_insert({5 * kLarge, 1, 11, {}});
    if (how == 0) {
      tlb.invlpg(kMmu.level_size(2));
    } else if (how == 1) {
      tlb.flush_nonglobal();
    } else {
      tlb.flush_all();
    }
    EXPECT_TRUE(tlb.psc_snapshot().empty()) << how;
    EXPECT_EQ(tlb.psc_lookup(0).level, 0) << how;
  }
}

TEST(TlbDeathTest, sizes_that_give_no_power_of_two_of_sets_are_refused) {
  EXPECT_EXIT(Tlb(kMmu, 6, 0), testing::ExitedWithCode(1), "4 times a power of two");
  EXPECT_EXIT(Tlb(kMmu, 12, 0), testing::ExitedWithCode(1), "4 times a power of two");
  EXPECT_EXIT(Tlb(kMmu, -1, 0), testing::ExitedWithCode(1), "4 times a power of two");
}

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
