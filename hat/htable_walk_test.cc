// Walks against a naive model: a map of what has been mapped where.
#include "hat/htable_walk.h"

#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "hat/htable.h"
#include "hat/htable_for_test.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class HtableWalkTest : public testing::Test {
 protected:
  HtableWalkTest() : world(toy_config()), sys(world.sys), hat(world.new_hat()) {}

  // Address of each mapping that a walk finds.
  std::vector<uintptr_t> walk(uintptr_t from, uintptr_t to) {
    std::vector<uintptr_t> found;
    htable_t* ht = nullptr;
    uintptr_t va = from;
    while (htable_walk(sys, hat, &ht, &va, to) != 0) {
      found.push_back(va);
      va += sys.mmu().level_size(ht->ht_level());
    }
    EXPECT_EQ(ht, nullptr);
    EXPECT_EQ(va, 0u);
    return found;
  }
  using Vas = std::vector<uintptr_t>;

  TestWorld world;
  System& sys;
  hat_t* const hat;
};

TEST_F(HtableWalkTest, a_walk_over_nothing_ends_at_once) {
  EXPECT_EQ(walk(0, HTABLE_WALK_TO_END), Vas());
}

TEST_F(HtableWalkTest, a_walk_finds_mappings_of_different_tables_in_order) {
  page_t* const pp = world.new_page();
  for (const uintptr_t va : {0x1e0, 0x20, 0x60, 0x80}) world.map(hat, va, pp);
  EXPECT_EQ(walk(0, HTABLE_WALK_TO_END), (Vas{0x20, 0x60, 0x80, 0x1e0}));
}

TEST_F(HtableWalkTest, a_walk_begins_at_its_first_address_and_ends_before_its_last) {
  page_t* const pp = world.new_page();
  for (const uintptr_t va : {0x20, 0x60, 0x80, 0x1e0}) world.map(hat, va, pp);
  EXPECT_EQ(walk(0x60, 0x1e0), (Vas{0x60, 0x80}));
}

TEST_F(HtableWalkTest, a_mapping_found_comes_with_a_hold_that_the_next_call_takes_over) {
  page_t* const pp = world.new_page();
  world.map(hat, 0x20, pp);
  world.map(hat, 0x40, pp);
  htable_t* ht = nullptr;
  uintptr_t va = 0;
  EXPECT_EQ(PTE2PFN(htable_walk(sys, hat, &ht, &va, HTABLE_WALK_TO_END), 0), pp->p_pagenum);
  EXPECT_EQ(busy(ht), 1);
  va += sys.mmu().pagesize();
  htable_walk(sys, hat, &ht, &va, HTABLE_WALK_TO_END);
  EXPECT_EQ(va, 0x40u);
  EXPECT_EQ(busy(ht), 1);
  htable_release(sys, ht);
  EXPECT_EQ(busy(world.find(hat, 0x20, 0)), 0);
}

TEST_F(HtableWalkTest, a_walk_that_is_stopped_early_goes_on_in_the_middle_of_its_table) {
  page_t* const pp = world.new_page();
  world.map(hat, 0x60, pp);
  htable_t* ht = htable_lookup(sys, hat, 0, 0);
  uintptr_t va = 0x40;
  EXPECT_NE(htable_walk(sys, hat, &ht, &va, HTABLE_WALK_TO_END), 0u);
  EXPECT_EQ(va, 0x60u);
  htable_release(sys, ht);
}

TEST_F(HtableWalkTest, the_hold_on_a_table_that_the_address_has_left_is_dropped) {
  page_t* const pp = world.new_page();
  world.map(hat, 0x20, pp);
  world.map(hat, 0x100, pp);
  htable_t* ht = htable_lookup(sys, hat, 0x20, 0);
  uintptr_t va = 0x80;
  EXPECT_NE(htable_walk(sys, hat, &ht, &va, HTABLE_WALK_TO_END), 0u);
  EXPECT_EQ(va, 0x100u);
  htable_release(sys, ht);
  EXPECT_EQ(busy(world.find(hat, 0x20, 0)), 0);
}

TEST_F(HtableWalkTest, a_walk_from_inside_a_large_page_reports_where_that_page_begins) {
  world.map_large(hat, 0x80, world.new_large_page());
  htable_t* ht = nullptr;
  uintptr_t va = 0xc0;
  EXPECT_NE(htable_walk(sys, hat, &ht, &va, HTABLE_WALK_TO_END), 0u);
  EXPECT_EQ(va, 0x80u);
  EXPECT_EQ(ht->ht_level(), 1);
  htable_release(sys, ht);
}

TEST_F(HtableWalkTest, a_walk_from_the_middle_of_a_table_does_not_go_back_to_its_beginning) {
  page_t* const pp = world.new_page();
  world.map(hat, 0x80, pp);
  world.map(hat, 0x180, pp);
  EXPECT_EQ(walk(0xa0, HTABLE_WALK_TO_END), Vas{0x180});
}

TEST_F(HtableWalkTest, a_walk_of_a_user_hat_ends_at_kernelbase) {
  world.map(hat, 0x20, world.new_page());
  EXPECT_EQ(walk(sys.kernelbase, HTABLE_WALK_TO_END), Vas());
}

TEST_F(HtableWalkTest, a_walk_of_the_kernel_goes_from_below_the_hole_to_the_last_page) {
  hat_t* const kas = sys.kas_hat();
  htable_t* ht = nullptr;
  uintptr_t va = sys.mmu().hole_start() - sys.mmu().pagesize();
  uintptr_t last = 0;
  while (htable_walk(sys, kas, &ht, &va, HTABLE_WALK_TO_END) != 0) {
    EXPECT_FALSE(sys.mmu().in_va_hole(va));
    last = va;
    va += sys.mmu().level_size(ht->ht_level());
  }
  EXPECT_EQ(last, uintptr_t{0} - sys.mmu().pagesize()) << "the nucleus";
  EXPECT_EQ(ht, nullptr);
}

TEST_F(HtableWalkTest, a_scan_that_ends_below_the_hole_goes_on_above_it) {
  const uintptr_t from = sys.mmu().hole_start() - sys.mmu().pagesize();
  htable_t* const ht = htable_create(sys, hat, from, 0, nullptr);
  uintptr_t va = from;
  EXPECT_EQ(htable_scan(sys, ht, &va, HTABLE_WALK_TO_END), 0u);
  EXPECT_EQ(va, sys.mmu().hole_end());
  htable_release(sys, ht);
}

TEST_F(HtableWalkTest, a_scan_stops_at_the_end_of_its_range) {
  world.map(hat, 0x60, world.new_page());
  htable_t* const ht = htable_lookup(sys, hat, 0, 0);
  uintptr_t va = 0;
  EXPECT_EQ(htable_scan(sys, ht, &va, 0x60), 0u);
  EXPECT_EQ(va, 0x60u);
  EXPECT_NE(htable_scan(sys, ht, &va, 0x80), 0u);
  EXPECT_EQ(va, 0x60u);
  htable_release(sys, ht);
}

TEST_F(HtableWalkTest, getpte_finds_the_lowest_table_up_to_a_level) {
  world.map(hat, 0x20, world.new_page());
  uint32_t entry = 0;
  x86pte_t pte = 0;
  htable_t* ht = htable_getpte(sys, hat, 0x40, &entry, &pte, 2);
  ASSERT_NE(ht, nullptr);
  EXPECT_EQ(ht->ht_level(), 0);
  EXPECT_EQ(entry, 2u);
  EXPECT_EQ(pte, 0u);
  htable_release(sys, ht);
  ht = htable_getpte(sys, hat, 0x80, &entry, &pte, 2);
  ASSERT_NE(ht, nullptr);
  EXPECT_EQ(ht->ht_level(), 1);
  EXPECT_EQ(entry, 1u);
  htable_release(sys, ht);
  EXPECT_EQ(htable_getpte(sys, hat, 0x80, &entry, &pte, 0), nullptr);
}

TEST_F(HtableWalkTest, getpte_finds_nothing_in_the_hole) {
  EXPECT_EQ(htable_getpte(sys, hat, sys.mmu().hole_start(), nullptr, nullptr, 2), nullptr);
  EXPECT_EQ(htable_getpte(sys, hat, sys.mmu().hole_end() - 1, nullptr, nullptr, 2), nullptr);
}

TEST_F(HtableWalkTest, getpage_wants_a_valid_leaf) {
  world.map(hat, 0x20, world.new_page());
  uint32_t entry = 0;
  EXPECT_EQ(htable_getpage(sys, hat, 0x40, &entry), nullptr) << "invalid entry";
  EXPECT_EQ(htable_getpage(sys, hat, 0x80, &entry), nullptr) << "no table at level 0";
  EXPECT_EQ(busy(world.find(hat, 0x20, 0)), 0) << "no hold left behind";
  htable_t* const ht = htable_getpage(sys, hat, 0x20, &entry);
  ASSERT_NE(ht, nullptr);
  EXPECT_EQ(entry, 1u);
  htable_release(sys, ht);
}

TEST_F(HtableWalkTest, getpage_finds_a_large_page) {
  world.map_large(hat, 0x80, world.new_large_page());
  uint32_t entry = 0;
  htable_t* const ht = htable_getpage(sys, hat, 0xe0, &entry);
  ASSERT_NE(ht, nullptr);
  EXPECT_EQ(ht->ht_level(), 1);
  EXPECT_EQ(entry, 1u);
  htable_release(sys, ht);
}

// ---- Against the model.

class HtableWalkModelTest : public testing::TestWithParam<uint32_t> {};

// Maps small and large pages at random places, then compares walks over random ranges.
void compare_with_model(const SystemConfig& config, uint32_t seed, uint32_t mappings) {
  TestWorld world(config);
  System& sys = world.sys;
  const MmuGeometry& mmu = sys.mmu();
  hat_t* const hat = world.new_hat();
  page_t* const small = world.new_page();
  page_t* const large = world.new_large_page();
  std::mt19937_64 random(seed);
  // Places cluster around a few centres, so that tables are shared at every level.
  std::vector<uintptr_t> centres;
  for (int i = 0; i < 5; ++i) {
    uintptr_t va = random() % (sys.userlimit - sys.mmu().level_size(1));
    while (mmu.in_va_hole(va)) va = random() % (sys.userlimit - sys.mmu().level_size(1));
    centres.push_back(va);
  }
  const auto place = [&](level_t level) {
    const int bits = static_cast<int>(random() % static_cast<uint64_t>(mmu.level_shift(2)));
    const uintptr_t va = centres[random() % 5] ^ (random() & ((uintptr_t{1} << bits) - 1));
    return va & mmu.level_mask(level);
  };

  std::map<uintptr_t, level_t> model;
  const auto is_free = [&](uintptr_t va, level_t level) {
    for (const auto& [at, l] : model) {
      if (at < va + mmu.level_size(level) && va < at + mmu.level_size(l)) return false;
    }
    return !mmu.in_va_hole(va) && va + mmu.level_size(level) <= sys.userlimit;
  };
  for (uint32_t i = 0; i < mappings; ++i) {
    const level_t level = random() % 4 == 0 ? 1 : 0;
    const uintptr_t va = place(level);
    if (!is_free(va, level)) continue;
    if (level == 0) {
      world.map(hat, va, small);
    } else {
      world.map_large(hat, va, large);
    }
    model[va] = level;
  }

  for (int round = 0; round < 20; ++round) {
    uintptr_t from = round == 0 ? 0 : place(0);
    uintptr_t to = round == 0 ? HTABLE_WALK_TO_END : place(0);
    if (from > to) std::swap(from, to);
    std::vector<std::pair<uintptr_t, level_t>> expected;
    for (const auto& [va, level] : model) {
      if (from < to && va + mmu.level_size(level) > from && va < to)
        expected.emplace_back(va, level);
    }
    std::vector<std::pair<uintptr_t, level_t>> found;
    htable_t* ht = nullptr;
    uintptr_t va = from;
    while (const x86pte_t pte = htable_walk(sys, hat, &ht, &va, to)) {
      found.emplace_back(va, ht->ht_level());
      EXPECT_EQ(PTE2PFN(pte, ht->ht_level()), (ht->ht_level() == 0 ? small : large)->p_pagenum);
      va += mmu.level_size(ht->ht_level());
    }
    ASSERT_EQ(found, expected) << "seed " << seed << std::hex << " from " << from << " to " << to;
  }
}

TEST_P(HtableWalkModelTest, in_the_toy_geometry_a_walk_returns_exactly_what_is_mapped) {
  compare_with_model(toy_config(), GetParam(), 12);
}

TEST_P(HtableWalkModelTest, on_amd64_a_walk_returns_exactly_what_is_mapped) {
  compare_with_model(amd64_config(), GetParam(), 60);
}

INSTANTIATE_TEST_SUITE_P(Seeds, HtableWalkModelTest, testing::Range(1u, 21u));

}  // namespace
}  // namespace hatcheck::inline HATCHECK_BACKEND
